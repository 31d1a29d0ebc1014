"""From a folder of captioned clips to latents beside a run: everything is checked before anything
is encoded.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from kinema.data import folder_latents
from kinema.data.buckets import Shaper
from kinema.data.folder_latents import Planned
from kinema.data.media_folder import Captioned, inspect
from kinema.errors import InputError
from kinema.training import checkpoint
from kinema.training.encode import encode_stills, still_frames
from kinema.weights.digest import digest

NONE_HELD_OUT = "; too few to hold any out, so held-out figures are of clips that are trained on"
LOGGER = logging.getLogger(__name__)
T = TypeVar("T")


def encode_folder(
    codec: Any,
    files: Sequence[Captioned],
    faults: Sequence[str],
    run: Path,
    into: Path,
    *,
    shaper: Shaper,
    fps: float,
    stills: int,
    check_caption: Callable[[str], object],
    skip_broken: bool,
) -> None:
    """Encodes the files of a folder that can be used, and writes what they are.

    Args:
        codec: a video VAE, whose mode is kept.
        files, faults: what `kinema.data.media_folder.read_folder` found.
        run: folder of the run. Once it has trained on some files, they may not change.
        into: folder of the latents.
        shaper: chooses the buckets.
        fps: of the model's clips.
        stills: frames after the first of each clip that are encoded alone too, where it has them.
        check_caption: raises InputError for one that the model cannot read.
        skip_broken: train on what is left where files cannot be used.

    Raises:
        InputError: files cannot be used, each of which is named in the log; none is left; or they
            are not those that the run began with.
    """
    digested, broken, planned = digest(codec), list(faults), []
    for file in files:
        try:
            for caption in file.captions:
                _check(file, caption, check_caption)
            media = inspect(file, fps=fps, shortest=shaper.shortest)
            planned.append(
                folder_latents.plan(media, shaper, codec=digested, fps=fps, stills=stills)
            )
        except InputError as error:
            broken.append(str(error))
    _report(broken, len(planned), skip_broken=skip_broken)
    begun = any(run.glob(checkpoint.PATTERN)) and folder_latents.is_written(into)
    if begun and (change := folder_latents.difference(into, planned)):
        raise InputError(f"{change} since the run in {run} began; use another --output")
    LOGGER.info("%s", described(planned, fps))
    encode = partial(encode_clip, codec, stills)
    undecoded = folder_latents.write(into, shown(planned, "encoding"), fps=fps, encode=encode)
    left = [file for file in planned if (into / file.latents).exists()]
    _report(undecoded, len(left), skip_broken=skip_broken)
    folder_latents.write_index(into, left, codec=digested, fps=fps)


@torch.no_grad()
def encode_clip(codec: Any, stills: int, clip: Tensor, number: int) -> dict[str, Tensor]:
    """Latents of a clip (3, T, H, W), and of single frames where it has so many, on the CPU.

    Args:
        codec: a video VAE.
        stills: S, how many frames.
        clip: in [-1, 1].
        number: says which frames.

    Returns:
        ``latents`` (C, t, h, w), ``stills`` (S, C, h, w), and their numbers ``still_frames`` (S,).
    """
    device = str(next(codec.parameters()).device)
    tensors = {"latents": codec.encode(clip[None].to(device))[0].cpu()}
    if 0 < stills < clip.shape[1]:
        frames = still_frames((number,), clip.shape[1], stills)
        tensors["stills"] = encode_stills(codec, clip[None], frames, device)[0]
        tensors["still_frames"] = frames[0]
    return tensors


def described(planned: Sequence[Planned], fps: float) -> str:
    """What will be trained on, in one line: files, windows, buckets."""
    windows = Counter[Any]()
    for file in planned:
        windows[file.bucket] += len(file.starts)
    pictures = sum(file.media.num_frames == 1 for file in planned)
    buckets = ", ".join(f"{windows[bucket]} of {bucket}" for bucket in sorted(windows))
    small = sum(
        file.media.height < file.bucket.height or file.media.width < file.bucket.width
        for file in planned
    )
    unseen = len(folder_latents.held_out([file.entry for file in planned]))
    return (
        f"data: {len(planned) - pictures} clips and {pictures} pictures give "
        f"{windows.total()} windows at {fps:g} fps: {buckets} (frames x height x width)"
        + (f"; {small} files are enlarged to that" if small else "")
        + (f"; {unseen} files are held out" if unseen else NONE_HELD_OUT)
    )


def shown(items: Sequence[T], what: str) -> Iterable[T]:
    """The items, one after another, with a bar on stderr where that is a terminal."""
    console = Console(stderr=True)
    return track(items, what, console=console, transient=True, disable=not console.is_terminal)


def _check(file: Captioned, caption: str, check_caption: Callable[[str], object]) -> None:
    try:
        check_caption(caption)
    except InputError as error:
        raise InputError(f"{file.path}: {error}") from error


def _report(faults: Sequence[str], left: int, *, skip_broken: bool) -> None:
    for line in faults:
        LOGGER.warning("%s", line)
    if faults and not skip_broken:
        raise InputError(
            f"{len(faults)} of {left + len(faults)} files cannot be used, as told above; mend or "
            "remove them, or train on the others with --set recipe.skip_broken=true"
        )
    if not left:
        raise InputError("no file of the folder can be used, as told above")
