"""Key map of `kinema.networks.c3d`: the Chainer files of TGANv2.

They are two: ``conv3d_deepnetA_ucf.npz`` with the weights and ``mean2.npz`` with the clip that is
subtracted. Verified by a manifest of what Chainer writes; the published files were not seen.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from kinema.errors import InputError
from kinema.weights.keymap import KeyMap, Lazy, Rename, lazy
from kinema.weights.npz import open_npz

MEAN = "mean"
CORNER, SIDE = 8, 112  # where the network looks, in a picture of 128 lines
OFFICIAL = KeyMap(Rename("*/W", "*.weight"), Rename("*/b", "*.bias"))


def open_published(weights: str | Path, mean: str | Path) -> dict[str, Lazy]:
    """Both files as one, for `weights.files.load_tensors` with `OFFICIAL`.

    Args:
        weights: ``conv3d_deepnetA_ucf.npz``.
        mean: ``mean2.npz``: an array ``mean`` (3, 16, H, W), of which the part that the authors
            take is kept: 112 x 112 from the corner (8, 8), also where W is more than 128.

    Raises:
        InputError: a file cannot be read, or the mean clip is missing or too small.
    """
    clip = open_npz(mean).get(MEAN)
    if clip is None or len(clip.shape) != 4 or min(clip.shape[2:]) < CORNER + SIDE:
        least = CORNER + SIDE
        raise InputError(f"{mean} must hold an array 'mean' (3, 16, H, W), H and W {least} or more")
    return {**open_npz(weights), **lazy({MEAN: middle(clip.read())})}


def middle(mean: Tensor) -> Tensor:
    """The part of a mean clip (3, 16, H, W) that is subtracted, (3, 16, 112, 112)."""
    end = CORNER + SIDE
    return mean[:, :, CORNER:end, CORNER:end]
