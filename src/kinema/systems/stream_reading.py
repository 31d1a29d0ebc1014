"""Features of the clips in two folders; see `stream.py`.

Letters: N clips, F frames, H height, W width, D features of a frame.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from kinema.clip import Clip
from kinema.data.media_folder import CLIPS
from kinema.errors import InputError
from kinema.media import arrays
from kinema.metrics.clip_sets import ARRAY, read_array
from kinema.metrics.stream import FEWEST_FRAMES

GIVEN = ("features.npy", "features.npz")
FRAMES_AT_ONCE = 16


def read_features(folders: Sequence[Path], *, fewest: int) -> list[Tensor] | None:
    """The features (N, F, D) float32 that folders hold in a file; None if all hold clips.

    Args:
        folders: each with clips, or with `features.npy`, or with `features.npz` of one array.
        fewest: how many clips a folder must have.

    Raises:
        InputError: a file is broken, of another shape, not finite or too small; the folders differ
            in F or D; one holds clips, another features.
    """
    files = [_features_file(folder) for folder in folders]
    present = [file for file in files if file is not None]
    if not present:
        return None
    if len(present) < len(files):
        bare = folders[files.index(None)]
        raise InputError(
            f"{present[0]} holds features, {bare} does not; give both as clips or both as features"
        )
    sets = [_read_features(file) for file in present]
    for file, features in zip(present, sets):
        _expect_count(file, len(features), fewest)
        if features.shape[1:] != sets[0].shape[1:]:
            (f, d), (g, e) = sets[0].shape[1:], features.shape[1:]
            raise InputError(
                f"{file} has {g} frames of {e} features, {present[0]} has {f} of {d}; "
                "embed clips of one length with one network"
            )
    return sets


@torch.no_grad()
def embed_clips(
    folders: Sequence[Path], embedder: Callable[[Tensor], Tensor], *, fewest: int
) -> list[Tensor]:
    """Features (N, F, D) of the clips in each folder, in the order of their names.

    Args:
        folders: with video files, or .npy files of uint8 (F, H, W, 3); other files are left alone.
        embedder: frames (B, 3, H, W) in [-1, 1] -> (B, D).
        fewest: how many clips a folder must have.

    Raises:
        InputError: a folder has too few clips, or a clip is broken, has fewer than 4 frames, or is
            not as long or as large as the first of all.
    """
    sets = [_clip_files(folder) for folder in folders]
    for folder, paths in zip(folders, sets):
        _expect_count(folder, len(paths), fewest)
    shape: tuple[int, ...] = ()
    features = []
    for paths in sets:
        rows = []
        for path in paths:
            frames = _read_frames(path)
            shape = shape or frames.shape
            if frames.shape != shape:
                raise InputError(
                    f"{path} has {_said(frames.shape)}, {sets[0][0]} has {_said(shape)}; "
                    "cut and resize all clips alike"
                )
            parts = torch.from_numpy(frames).split(FRAMES_AT_ONCE)
            rows.append(torch.cat([embedder(_to_float(part)) for part in parts]))
        features.append(torch.stack(rows))
    return features


def _expect_count(place: Path, count: int, fewest: int) -> None:
    if count < fewest:
        raise InputError(f"{place} holds {count} clips; at least {fewest} are needed: add clips")


def _expect_frames(path: Path, frames: int) -> None:
    if frames < FEWEST_FRAMES:
        raise InputError(f"{path} has {frames} frames; give clips of {FEWEST_FRAMES} or more")


def _clip_files(folder: Path) -> list[Path]:
    """The clips in a folder, by name."""
    files = (path for path in folder.glob("[!.]*") if path.name not in GIVEN)
    return sorted(path for path in files if path.suffix.lower() in (*CLIPS, ARRAY))


def _features_file(folder: Path) -> Path | None:
    """The file of features in a folder, if there is one."""
    found = [folder / name for name in GIVEN if (folder / name).is_file()]
    if found and len(others := [*found, *_clip_files(folder)]) > 1:
        raise InputError(f"{folder} holds both {others[0].name} and {others[1].name}; keep one")
    return found[0] if found else None


def _read_frames(path: Path) -> np.ndarray:
    """(F, H, W, 3) uint8."""
    frames = read_array(path) if path.suffix.lower() == ARRAY else Clip.read(path).frames
    _expect_frames(path, len(frames))
    return frames


def _read_features(path: Path) -> Tensor:
    """(N, F, D) float32."""
    x = arrays.read_array(path)
    if x.ndim != 3 or x.dtype.kind != "f":
        raise InputError(
            f"{path} must hold floats (clips, frames, features), not {x.dtype} {x.shape}"
        )
    _expect_frames(path, x.shape[1])
    features = torch.from_numpy(x.astype(np.float32))
    if not features.isfinite().all():
        raise InputError(f"{path} holds NaN or infinity; embed these frames again")
    return features


def _to_float(frames: Tensor) -> Tensor:
    """Frames (F, H, W, 3) uint8 -> (F, 3, H, W) in [-1, 1]."""
    return frames.movedim(-1, 1).float() / 127.5 - 1


def _said(shape: tuple[int, ...]) -> str:
    return f"{shape[0]} frames of {shape[1]}x{shape[2]}"
