"""Preprocessing against Pillow: resizing, the middle, normalizing; clips as frames one by one."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from kinema.config import from_dict, to_dict
from kinema.data.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from kinema.errors import InputError
from kinema.networks import clip, dinov2, videomae
from kinema.noise import Noise

SMALL = Preprocessing(
    shorter_side=24, size=20, interpolation="bicubic", mean=(0.2, 0.4, 0.6), std=(0.5, 0.25, 1.0)
)
PILLOW = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


def picture(height: int, width: int) -> np.ndarray:
    """(H, W, 3) uint8, with sharp edges."""
    drawn = Noise(0, (0,)).uniform((1, -(-height // 3), -(-width // 3), 3), "picture")[0]
    levels = (drawn * 255).round().to(torch.uint8).numpy()
    return levels.repeat(3, 0).repeat(3, 1)[:height, :width]


def pixels(levels: np.ndarray) -> Tensor:
    """(1, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(levels).permute(2, 0, 1)[None] / 127.5 - 1


def by_pillow(levels: np.ndarray, how: Preprocessing) -> np.ndarray:
    """(3, size, size), normalized."""
    height, width = levels.shape[:2]
    short = min(height, width)
    size = (how.shorter_side * width // short, how.shorter_side * height // short)
    image = Image.fromarray(levels).resize(size, PILLOW[how.interpolation])
    left, top = (round((length - how.size) / 2) for length in size)
    x = np.asarray(image.crop((left, top, left + how.size, top + how.size))) / 255
    return ((x - how.mean) / how.std).transpose(2, 0, 1)


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("size", [(64, 64), (31, 97), (50, 36), (24, 24), (11, 17)])
def test_pictures_are_prepared_as_by_pillow(size: tuple[int, int], interpolation: str) -> None:
    how = from_dict(Preprocessing, {**to_dict(SMALL), "interpolation": interpolation})
    levels = picture(*size)
    found = how(pixels(levels))
    assert found.shape == (1, 3, 20, 20)
    # Pillow rounds to 256 levels after each of two axes.
    levels_off = (
        (found[0].numpy() - by_pillow(levels, how)) * np.array(how.std)[:, None, None] * 255
    )
    assert np.abs(levels_off).max() < 1.6
    assert np.abs(levels_off).mean() < 0.5


def test_the_crop_is_taken_from_the_middle() -> None:
    how = replace(SMALL, shorter_side=20)
    x = torch.linspace(-1, 1, 45).expand(1, 3, 20, 45)
    found = how(x)[0, 2, 0]  # mean 0.6, deviation 1
    torch.testing.assert_close(found, (x[0, 0, 0, 12:32] + 1) / 2 - 0.6)


def test_overshoot_of_bicubic_is_clamped() -> None:
    x = torch.ones(1, 3, 12, 12)
    x[..., 6:] = -1
    bright = (1 - torch.tensor(SMALL.mean)) / torch.tensor(SMALL.std)
    torch.testing.assert_close(SMALL(x).amax((0, 2, 3)), bright)


def test_frames_of_a_clip_are_prepared_one_by_one() -> None:
    clips = Noise(0, (0, 1)).uniform((2, 3, 4, 30, 41), "clips") * 2 - 1
    found = SMALL(clips)
    assert found.shape == (2, 3, 4, 20, 20)
    for frame in range(4):
        torch.testing.assert_close(found[:, :, frame], SMALL(clips[:, :, frame]))


@pytest.mark.parametrize("network", [clip, dinov2, videomae])
def test_networks_say_how_they_want_pictures(network: object) -> None:
    how: Preprocessing = network.PREPROCESSING
    assert from_dict(Preprocessing, json.loads(json.dumps(to_dict(how)))) == how
    assert how(torch.zeros(1, 3, 240, 300)).shape == (1, 3, 224, 224)
    if network is not clip:
        assert (how.mean, how.std) == (IMAGENET_MEAN, IMAGENET_STD)


def test_a_crop_that_is_larger_than_the_picture_is_refused() -> None:
    with pytest.raises(InputError, match="size must be in 1 to 24, not 25"):
        replace(SMALL, size=25)
