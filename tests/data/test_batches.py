"""Batches of a world."""

from __future__ import annotations

import torch

from kinema.data.batches import WorldClips
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
