"""Every instrument answers to the damage that it is for, and the others stay."""

from __future__ import annotations

import pytest
import torch

from kinema.metrics import drift
from kinema.metrics.corruptions import blurred, tinted
from kinema.metrics.extractors import random_frames
from kinema.worlds import load

T = 40


@pytest.fixture(scope="module")
def clip() -> torch.Tensor:
    """(T, 3, H, W) in [0, 1]."""
    world = load("shapes", seed=0, split="all", num_frames=T, height=48, width=48, fps=8)
    return torch.from_numpy(world.sample(0).clip.frames).movedim(-1, 1).double() / 255


def summarized(frames: torch.Tensor) -> dict[str, float]:
    embedder = random_frames({}, "cpu")
    features = embedder.run((frames.clamp(0, 1) * 255).round().to(torch.uint8))
    curves = drift.curves(frames, features)
    assert curves.shape == (6, T)
    return dict(zip(drift.INSTRUMENTS, drift.summary(curves).tolist()))


def test_a_level_clip_is_level(clip):
    found = summarized(clip[:1].expand(T, -1, -1, -1))
    for name in ("color", "contrast", "sharpness"):
        assert found[name] == pytest.approx(0, abs=1e-9)
    assert found["identity"] == pytest.approx(0, abs=1e-6)
    assert found["repetition"] == pytest.approx(1, abs=1e-6)
    assert found["seam"] == pytest.approx(1)


def test_a_drift_of_color_shows_in_color(clip):
    ramp = torch.linspace(0, 1, T).double()
    slow, fast = (summarized(tinted(clip[None], s * ramp)[0]) for s in (0.1, 0.3))
    before = summarized(clip)
    assert before["color"] < 0.02 < slow["color"] < fast["color"]


def test_lost_contrast_and_lost_sharpness_show(clip):
    ramp = torch.linspace(1, 0.3, T).double()[:, None, None, None]
    pale = summarized(0.5 + ramp * (clip - 0.5))
    assert pale["contrast"] < -0.02 + summarized(clip)["contrast"]
    softer = torch.cat([clip[:20], blurred(clip[None], 1.5)[0][20:]])
    assert summarized(softer)["sharpness"] < 3 * min(summarized(clip)["sharpness"], -1e-4)


def test_another_scene_shows_in_identity_and_as_a_seam(clip):
    world = load("shapes", seed=5, split="all", num_frames=T, height=48, width=48, fps=8)
    other = torch.from_numpy(world.sample(3).clip.frames).movedim(-1, 1).double() / 255
    joined = torch.cat([clip[:20], other[20:]])
    assert summarized(joined)["identity"] < 2 * summarized(clip)["identity"] - 0.05
    assert summarized(joined)["seam"] > 5 * summarized(clip)["seam"]
    assert int(drift.seams(joined).argmax()) == 20


def test_repetition_is_equal_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = torch.randn(50, 8, generator=torch.Generator().manual_seed(0))
    at_once = drift.repetition(noise)
    monkeypatch.setattr(drift, "CELLS", 7 * len(noise))
    torch.testing.assert_close(drift.repetition(noise), at_once)


def test_a_clip_that_starts_again_repeats_itself():
    noise = torch.randn(T, 16, generator=torch.Generator().manual_seed(0))
    assert drift.repetition(noise)[-1] < 0.9
    assert drift.repetition(torch.cat([noise[:20], noise[:20]]))[20:].min() > 0.999
    assert (drift.repetition(noise)[: drift.APART] == 0).all()
