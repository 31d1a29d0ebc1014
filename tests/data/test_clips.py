"""Sizes of clips, the splits of worlds, and pixels as clips."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kinema.config import config, from_dict, to_dict
from kinema.data.clips import SPLITS, ClipSize, split_of, to_clip
from kinema.errors import InputError

SIZE = ClipSize(num_frames=5, height=24, width=32, fps=8.0)


@config
class Longer(ClipSize):
    steps: int


def test_a_size_can_be_extended() -> None:
    longer = Longer(**to_dict(SIZE), steps=3)
    assert isinstance(longer, ClipSize)
    assert from_dict(Longer, to_dict(longer)) == longer


@pytest.mark.parametrize(
    ("of", "said"),
    [
        (16, "height must be a multiple of 16, not 24"),
        (12, "width must be a multiple of 12, not 32"),
    ],
)
def test_sides_that_are_no_multiples_are_named(of: int, said: str) -> None:
    SIZE.expect_multiple(8)
    with pytest.raises(InputError, match=said):
        SIZE.expect_multiple(of)


def test_splits_are_worlds_of_their_own() -> None:
    train, held_out = (split_of("shapes", split, SIZE) for split in SPLITS)
    for world, split in ((train, "train"), (held_out, "held_out")):
        assert world.options == {"seed": SPLITS[split], "split": split, **to_dict(SIZE)}
        clip = world.sample(0).clip
        assert (clip.num_frames, clip.size, clip.fps) == (5, (24, 32), 8.0)
    assert not np.array_equal(train.sample(0).clip.frames, held_out.sample(0).clip.frames)
    with pytest.raises(InputError, match="unknown world 'shape'; did you mean 'shapes'"):
        split_of("shape", "train", SIZE)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_pixels_become_a_clip(dtype: torch.dtype) -> None:
    x = torch.tensor([-2.0, -1.0, 0.0, 1.0], dtype=dtype).expand(3, 2, 1, 4)
    clip = to_clip(x, 6.0)
    assert clip.fps == 6.0
    assert clip.frames[1, 0, :, 2].tolist() == [0, 0, 128, 255]
