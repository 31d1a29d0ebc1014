"""Scores answer to planted damage, more to more of it, and only to their kind of it."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from clip_folders import SIZE, T, drawn
from torch import Tensor

from kinema.metrics import corruptions, measures
from kinema.metrics.definitions import DEFINITIONS
from kinema.metrics.extractors import random_frames
from kinema.noise import Noise

COUNT = 8
NOISE = Noise(0, tuple(range(COUNT)))
RAMP = torch.linspace(0, 1, T)
LEVELS = (0.3, 0.6, 1.0)
DAMAGE = {
    "blur": lambda x, s: corruptions.blurred(x, 2 * s),
    "noise": lambda x, s: corruptions.noisy(x, 0.2 * s, NOISE),
    "held": lambda x, s: corruptions.stuttering(x, s, NOISE),
    "shuffled": lambda x, s: corruptions.shuffled(x, int(T * s), NOISE),
    "tinted": lambda x, s: corruptions.tinted(x, 0.4 * s * RAMP),
}
# The score, the damages that it must answer to, and whether damage makes it fall.
PAIRED = {
    "psnr": (DAMAGE, True),
    "ssim": (DAMAGE, True),
    "tof": (("noise", "held", "shuffled"), False),
}


@pytest.fixture(scope="module")
def clean() -> Tensor:
    """(N, T, 3, H, W) in [0, 1]."""
    frames = [torch.from_numpy(clip.frames) for clip in drawn(1, COUNT)]
    return torch.stack(frames).movedim(-1, 2).float() / 255


def levels(x: Tensor) -> Tensor:
    return (x.clamp(0, 1) * 255).round().to(torch.uint8)


@pytest.mark.parametrize(
    ("name", "damage"),
    [(name, damage) for name, (damages, _) in PAIRED.items() for damage in damages],
)
def test_scores_of_pairs_answer_more_to_more_damage(clean, name, damage):
    _, falls = PAIRED[name]
    measure: measures.Measure = DEFINITIONS[name].measure({}, "cpu")
    original = levels(clean)
    values = []
    for strength in (0.0, *LEVELS):
        damaged = levels(DAMAGE[damage](clean, strength)) if strength else original
        values.append(torch.stack([measure.run(a, b) for a, b in zip(original, damaged)]).mean())
    for before, after in pairwise(values):
        assert after < before if falls else after > before


def test_stream_tells_time_from_space():
    embedder = random_frames({}, "cpu")
    clean = torch.stack([torch.from_numpy(clip.frames) for clip in drawn(1, 24)]).movedim(-1, 2)
    clean, noise = clean.float() / 255, Noise(0, tuple(range(24)))

    def scores(x: Tensor) -> Tensor:
        features = torch.stack([embedder.run(clip) for clip in levels(x)])
        return DEFINITIONS["stream"].formula.statistic(known, NOISE)(features)

    known = torch.stack([embedder.run(clip) for clip in levels(clean)])
    t, f, d = scores(clean)
    assert (t.item(), f.item(), d.item()) == (pytest.approx(1, abs=1e-6), 1, 1)
    shuffled = scores(corruptions.shuffled(clean, T, noise))
    assert shuffled[0] < 0.7 * t
    torch.testing.assert_close(shuffled[1:], torch.stack([f, d]), atol=0.05, rtol=0)
    snow = scores(corruptions.noisy(clean[:, :1], 1.0, noise).expand_as(clean) + 0.5)
    assert snow[1] < 0.5 * f


def test_damage_is_what_it_says(clean):
    assert torch.equal(corruptions.stuttering(clean, 0.0, NOISE), clean)
    held = corruptions.stuttering(clean, 1.0, NOISE)
    assert torch.equal(held, corruptions.frozen(clean))
    half = corruptions.stuttering(clean, 0.5, NOISE)
    same = (half[:, 1:] == half[:, :-1]).flatten(2).all(2)
    assert 0.3 < same.float().mean() < 0.7
    soft = corruptions.blurred(clean, 1.0)
    assert soft.shape == (COUNT, T, 3, SIZE, SIZE)
    torch.testing.assert_close(soft.mean(), clean.mean(), atol=5e-3, rtol=0)
    assert soft.diff(dim=-1).abs().mean() < clean.diff(dim=-1).abs().mean()
    flat = torch.full((1, 2, 3, 9, 9), 0.4)
    torch.testing.assert_close(corruptions.blurred(flat, 1.5), flat)
    tinted = corruptions.tinted(clean, torch.full((T,), 0.1))
    torch.testing.assert_close((tinted - clean).mean((0, 1, 3, 4)), torch.tensor([0.1, 0.0, -0.1]))
    torch.testing.assert_close(
        (corruptions.noisy(clean, 0.2, NOISE) - clean).std().item(), 0.2, atol=0.01, rtol=0
    )
