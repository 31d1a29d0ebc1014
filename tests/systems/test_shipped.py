"""The weights that ship with Kinema are what their cards say, and do the main job."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
import torch

import kinema
from kinema import registry
from kinema.clip import Clip
from kinema.metrics.extractors import TINY

LARGEST_MB = 40
LIMITS = {"transformer": 12e6, "codec": 6e6, "text": 1e6}
TAGS = [(name, tag) for name, card in registry.cards().items() for tag in card.tags]


@pytest.mark.parametrize(("name", "tag"), TAGS)
def test_the_file_is_the_one_of_the_card(name: str, tag: str) -> None:
    card = registry.weights(name, tag)
    content = (registry.SHIPPED / card.file).read_bytes()
    assert hashlib.sha256(content).hexdigest() == card.sha256
    assert len(content) <= LARGEST_MB * 1e6


def test_no_file_ships_without_a_card() -> None:
    known = {registry.weights(name, tag).file for name, tag in TAGS}
    known.add(TINY.name)  # of a score; its passport tells the digest
    assert known == {path.name for path in registry.SHIPPED.iterdir()}


def test_the_shapes_model_is_small_and_says_how_it_was_made() -> None:
    model = kinema.load("ltx_video:shapes")
    for role, limit in LIMITS.items():
        assert sum(p.numel() for p in model.parts[role].parameters()) <= limit
    sampling = model.config.sampling
    assert (sampling.height, sampling.width, sampling.num_frames, sampling.fps) == (96, 96, 25, 12)
    # The world may have learned words since, and longer sentences.
    preset, text = type(model).PRESETS["shapes"](), model.config.text
    said = {"vocabulary": text.vocabulary, "max_words": text.max_words}
    assert model.config == replace(preset, text=replace(preset.text, **said))
    assert set(text.vocabulary) <= set(preset.text.vocabulary)


def test_the_codec_of_the_shapes_model_reconstructs_and_the_clip_follows_the_prompt() -> None:
    """A red thing on navy: the brightest reds move left, frame after frame, around the border."""
    model = kinema.load("ltx_video:shapes")
    clip = model.generate("a large red circle moves left on a navy background", seed=0)
    assert isinstance(clip, Clip)
    frames = torch.from_numpy(clip.frames.copy()).float()
    red = (frames[..., 0] > 120) & (frames[..., 1] < 110) & (frames[..., 2] < 110)
    assert (red.sum((1, 2)) > 100).float().mean() > 0.8  # a large circle covers about 800 pixels
    corner = frames[:, :6, :6].mean((0, 1, 2))
    assert corner[2] > corner[0] + 30  # navy
    # Circular mean of the columns: a step to the left turns the angle backwards.
    angle = torch.arange(96) * (2 * torch.pi / 96)
    columns = red.float().sum(1)
    phase = torch.atan2((columns * angle.sin()).sum(1), (columns * angle.cos()).sum(1))
    turns = torch.atan2((phase[1:] - phase[:-1]).sin(), (phase[1:] - phase[:-1]).cos())
    assert (turns < 0).float().mean() > 0.8
