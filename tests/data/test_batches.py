"""Batches of a world."""

from __future__ import annotations

import pytest
import torch

from kinema.data.batches import RandomCrops, WorldClips
from kinema.errors import InputError
from kinema.worlds.shapes import Shapes

WORLD = Shapes(seed=0, split="train", num_frames=5, height=24, width=32, fps=12.0)


def test_a_batch_holds_the_samples_asked_for() -> None:
    batch = WorldClips(WORLD)((7, 2))
    assert batch["clips"].shape == (2, 3, 5, 24, 32)
    assert batch["clips"].dtype == torch.float32
    for row, index in enumerate((7, 2)):
        sample = WORLD.sample(index)
        frames = torch.from_numpy(sample.clip.frames).permute(3, 0, 1, 2)
        restored = ((batch["clips"][row] + 1) * 127.5).round().to(torch.uint8)
        assert torch.equal(restored, frames)
        assert batch["captions"][row] == sample.captions
    assert float(batch["clips"].min()) >= -1
    assert float(batch["clips"].max()) <= 1


def test_a_row_does_not_depend_on_its_batch() -> None:
    source = WorldClips(WORLD)
    assert torch.equal(source((3, 4))["clips"][1], source((4,))["clips"][0])


def test_crops_are_windows_of_the_clips_at_places_of_their_own() -> None:
    source = WorldClips(WORLD)
    samples = tuple(range(40))
    whole, cropped = source(samples), RandomCrops(source, side=16, seed=0)(samples)
    assert cropped["clips"].shape == (40, 3, 5, 16, 16)
    assert cropped["captions"] == whole["captions"]
    places = set()
    for clip, crop in zip(whole["clips"], cropped["clips"]):
        windows = clip.unfold(2, 16, 1).unfold(3, 16, 1)  # (3, T, tops, lefts, 16, 16)
        equal = (windows == crop[:, :, None, None]).all(-1).all(-1).all(0).all(0)
        assert equal.any()
        places |= {tuple(place) for place in equal.nonzero().tolist()}
    tops, lefts = ({place[axis] for place in places} for axis in (0, 1))
    assert (min(tops), max(tops)) == (0, 24 - 16)
    assert (min(lefts), max(lefts)) == (0, 32 - 16)


def test_a_crop_belongs_to_its_sample() -> None:
    crops = RandomCrops(WorldClips(WORLD), side=16, seed=0)
    assert torch.equal(crops((3, 4))["clips"][1], crops((4,))["clips"][0])


def test_a_crop_that_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match="a crop of 25 pixels does not fit in clips of 24x32"):
        RandomCrops(WorldClips(WORLD), side=25, seed=0)((0,))
