"""From a folder of clips to latents beside a run: everything is checked before anything is encoded.

A run reads such a folder once; what it trains on are the latents, as with those of `kinema encode`.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from rich.console import Console
from rich.progress import track
from torch import Tensor, nn

from kinema.data import folder_latents
from kinema.data.batches import Source
from kinema.data.buckets import Shaper
from kinema.data.clips import SPLITS
from kinema.data.folder_latents import FolderLatents, Planned
from kinema.data.latents import LatentCache
from kinema.data.media_folder import Captioned, inspect, is_media_folder, read_folder
from kinema.errors import InputError
from kinema.training import checkpoint
from kinema.training.encode import Encode
from kinema.weights.digest import digest

NONE_HELD_OUT = "; too few to hold any out, so held-out figures are of clips that are trained on"
LATENTS = "latents"
LOGGER = logging.getLogger(__name__)
T = TypeVar("T")


class Clips(NamedTuple):
    """What `kinema.data.media_folder.read_folder` found."""

    files: Sequence[Captioned]
    faults: Sequence[str]


def find_clips(named: str | None, *, captioned: bool) -> Clips | None:
    """The files of a folder of clips; None if the folder holds latents, or something else.

    Args:
        named: what the user named.
        captioned: whether a file without a caption cannot be used.

    Raises:
        InputError: nothing was named.
    """
    if named is None:
        raise InputError(
            "this stage trains on latents: pass --data FOLDER that `kinema encode` wrote, or a "
            "folder of clips" + (" with captions" if captioned else "")
        )
    if is_latents(named) or not is_media_folder(named):
        return None
    return Clips(*read_folder(named, captioned=captioned))


def is_latents(named: str) -> bool:
    """Whether `kinema encode` wrote a folder."""
    return (Path(named) / "train" / "index.json").is_file()


def read_latents(codec: nn.Module, folder: str, batch_size: int) -> tuple[Source, Source]:
    """What to train on and what is held out: latents of clips, or those of `kinema encode`.

    Args:
        codec: that the latents must come from.
        folder: what `encode_folder` gave, or what the user named.
        batch_size: rows of a step.

    Raises:
        InputError: the folder holds no latents, lacks some, or they belong to another codec.
    """
    digested = digest(codec)
    if folder_latents.is_written(Path(folder)):
        clips = FolderLatents(Path(folder), codec=digested, batch_size=batch_size, seed=0)
        return clips, lambda samples: clips.held_out(len(samples))
    train, unseen = (LatentCache(Path(folder) / s, codec=digested, seed=0) for s in SPLITS)
    return train, unseen


def encode_folder(
    encode: Encode,
    codec: nn.Module,
    clips: Clips,
    run: Path,
    *,
    shaper: Shaper,
    fps: float,
    stills: int,
    pictures: bool,
    check_caption: Callable[[str], object],
    skip_broken: bool,
) -> str:
    """Encodes the files of a folder that can be used, and writes what they are.

    Args:
        encode: of the model.
        codec: its network whose latents they are.
        clips: the files.
        run: folder of the run. Once it has trained on some files, they may not change.
        shaper: chooses the buckets.
        fps: of the model's clips.
        stills: frames of each clip that are kept beside its latents.
        pictures: whether the model learns from single frames too.
        check_caption: raises InputError for one that the model cannot read.
        skip_broken: train on what is left where files cannot be used.

    Returns:
        The folder of the latents, in that of the run.

    Raises:
        InputError: files cannot be used, each of which is named in the log; none is left; or they
            are not those that the run began with.
    """
    into, digested, broken, planned = run / LATENTS, digest(codec), list(clips.faults), []
    for file in clips.files:
        try:
            for caption in file.captions:
                _check(file, caption, check_caption)
            media = inspect(file, fps=fps, shortest=shaper.shortest)
            if media.num_frames == 1 and not pictures:
                raise InputError(f"{file.path} is a picture; this model learns from clips alone")
            planned.append(
                folder_latents.plan(media, shaper, codec=digested, fps=fps, stills=stills)
            )
        except InputError as error:
            broken.append(str(error))
    _report(broken, len(planned), skip_broken=skip_broken)
    begun = bool(checkpoint.paths(run)) and folder_latents.is_written(into)
    if begun and (change := folder_latents.difference(into, planned)):
        raise InputError(f"{change} since the run in {run} began; use another --output")
    LOGGER.info("%s", described(planned, fps))
    one = partial(_encode_one, encode)
    undecoded = folder_latents.write(into, shown(planned, "encoding"), fps=fps, encode=one)
    left = [file for file in planned if (into / file.latents).exists()]
    _report(undecoded, len(left), skip_broken=skip_broken)
    folder_latents.write_index(into, left, codec=digested, fps=fps)
    return str(into)


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
        f"data: {_counted(len(planned) - pictures, 'clip', 'clips')} and "
        f"{_counted(pictures, 'picture', 'pictures')} give "
        f"{_counted(windows.total(), 'window', 'windows')} at {fps:g} fps: {buckets} "
        "(frames x height x width)"
        + (f"; {_counted(small, 'file is', 'files are')} enlarged to that" if small else "")
        + (f"; {_counted(unseen, 'file is', 'files are')} held out" if unseen else NONE_HELD_OUT)
    )


def _counted(count: int, one: str, several: str) -> str:
    return f"{count} {one if count == 1 else several}"


def shown(items: Sequence[T], what: str) -> Iterable[T]:
    """The items, one after another, with a bar on stderr where that is a terminal."""
    console = Console(stderr=True)
    return track(items, what, console=console, transient=True, disable=not console.is_terminal)


def _encode_one(encode: Encode, clip: Tensor, number: int) -> dict[str, Tensor]:
    return {name: values[0] for name, values in encode(clip[None], (number,)).items()}


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
