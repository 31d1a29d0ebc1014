from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from kinema.errors import InputError
from kinema.metrics import stream as module
from kinema.metrics.corruptions import offset, shuffled
from kinema.metrics.stream import Signals, histogram_correlation, signals, stream
from kinema.noise import Noise

CLIPS, WIDTH = 120, 8
LENGTHS = (16, 64, 128)


def noise(seed: int) -> Noise:
    return Noise(seed, tuple(range(CLIPS)))


def sequences(frames: int, seed: int) -> Tensor:
    """Features (N, F, D) whose amplitudes fall off with frequency, as those of moving things."""
    count = frames // 2
    f = torch.arange(1, count + 1)
    amplitude = (1 + 0.3 * noise(seed).normal((CLIPS, count, WIDTH), "amplitude")) / f[:, None]
    phase = 2 * torch.pi * noise(seed).uniform((CLIPS, 1, count, WIDTH), "phase")
    angle = 2 * torch.pi * torch.arange(frames)[:, None] * f / frames
    waves = (amplitude[:, None] * (angle[..., None] + phase).cos()).sum(2)
    return waves + noise(seed).normal((CLIPS, 1, WIDTH), "constant") + 3


def code(features: Tensor) -> Signals:
    return signals(features, variant="code")


def power_law(frames: int, slope: float) -> Tensor:
    """One clip of one feature whose amplitude at frequency k is 100 k^slope."""
    spectrum = torch.zeros(frames // 2 + 1, dtype=torch.complex64)
    k = torch.arange(1, frames // 2 + 1)
    spectrum[1:] = 100 * k**slope * (frames // 2 + 1) / 2
    return torch.fft.irfft(spectrum, n=frames)[None, :, None]


# The identities that define what the scores measure.


@pytest.mark.parametrize("frames", LENGTHS)
def test_order_of_frames_concerns_time_alone(frames):
    real, fake = sequences(frames, 0), sequences(frames, 1)
    before = stream(code(real), code(fake), k=5)
    after = stream(code(real), code(shuffled(fake, frames, noise(2))), k=5)
    assert (after.fidelity, after.diversity) == (before.fidelity, before.diversity)
    assert after.temporal < 0.3 * before.temporal
    assert before.temporal > 0.4


@pytest.mark.parametrize("frames", LENGTHS)
def test_a_constant_for_each_clip_concerns_space_alone(frames):
    real, fake = sequences(frames, 0), sequences(frames, 1)
    before = stream(code(real), code(fake), k=5)
    after = stream(code(real), code(offset(fake, 4.0, noise(2))), k=5)
    assert after.temporal == pytest.approx(before.temporal, abs=0.01)
    assert after.fidelity < 0.5 * before.fidelity


@pytest.mark.parametrize("frames", [4, 5, 15, *LENGTHS])
@pytest.mark.parametrize("variant", ["code", "moment"])
def test_a_set_is_as_natural_as_itself(frames, variant):
    x = signals(sequences(frames, 0), variant=variant)
    assert stream(x, x, k=5).temporal == pytest.approx(1, abs=1e-6)
    assert stream(x, x, k=5).fidelity == 1


def test_swapping_the_sets_swaps_fidelity_and_diversity():
    real, fake = code(sequences(16, 0)), code(0.8 * sequences(16, 1))
    there, back = stream(real, fake, k=5), stream(fake, real, k=5)
    assert (there.fidelity, there.diversity) == (back.diversity, back.fidelity)
    assert there.fidelity != there.diversity
    assert there.temporal == pytest.approx(back.temporal)


# The signals themselves.


@pytest.mark.parametrize("frames", [4, 15, 16, 64])
@pytest.mark.parametrize("slope", [-2.0, -0.5, 0.0, 1.0])
def test_the_skew_of_a_power_law_has_a_closed_form(frames, slope):
    k = np.arange(1, frames // 2 + 1, dtype=np.float64)
    p = k**slope / np.sum(k**slope)  # a distribution over frequencies
    moment = np.sum(p * k**3) / np.sum(p * k**2) ** 1.5
    published = np.sum(k ** (slope + 3)) / np.sqrt(np.sum(k ** (slope + 2)) / np.sum(k**slope))
    clip = power_law(frames, slope)
    assert code(clip).skew.item() == pytest.approx(published, rel=1e-4)
    assert signals(clip, variant="moment").skew.item() == pytest.approx(moment, rel=1e-4)


def test_the_skew_does_not_know_size_or_level():
    x = 1000 * sequences(16, 0).double()  # far above the floor of amplitudes
    assert torch.allclose(code(7 * x).skew, code(x).skew, rtol=1e-4)
    assert torch.allclose(code(x + 9000).skew, code(x).skew, rtol=1e-9)
    assert code(x).skew.dtype == torch.float64


def test_a_still_clip_has_a_flat_spectrum():
    still = torch.full((1, 16, 1), 3.0)
    k = np.arange(1, 9, dtype=np.float64)
    expected = np.sum(k**3) / np.sqrt(np.sum(k**2) / len(k))
    assert code(still).skew.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("frames", [15, 16])
def test_the_mean_signal_has_the_published_factor_and_no_sign(frames):
    x = sequences(frames, 0)
    factor = 2 * frames / (frames // 2 + 1)
    assert torch.allclose(code(x).mean, factor * x.mean(1).abs(), rtol=1e-4)
    assert torch.equal(code(-x).mean, code(x).mean)


def test_blocks_change_nothing(monkeypatch):
    x = sequences(16, 0)
    whole = code(x)
    for block in (1, 1000):
        monkeypatch.setattr(module, "BLOCK", block)
        parts = code(x)
        assert torch.equal(parts.mean, whole.mean)
        assert torch.allclose(parts.skew, whole.skew, rtol=1e-6)


def test_the_histogram_lies_between_integers_truncated_towards_zero():
    a = 0.9 * (2 * noise(0).uniform((CLIPS, 1), "a") - 1).double()
    b = 0.9 * (2 * noise(1).uniform((CLIPS, 1), "b") - 1).double().abs()
    p, q = (np.histogram(x.numpy(), bins=50, range=(-1, 1))[0] for x in (a, b))
    assert histogram_correlation(a, b) == pytest.approx(np.corrcoef(p, q)[0, 1] ** 2)


def test_bad_features_are_refused():
    x = sequences(16, 0)
    with pytest.raises(InputError, match="at least 4 frames, not 3"):
        code(x[:, :3])
    x[3, 2, 1] = torch.nan
    with pytest.raises(InputError, match="NaN"):
        code(x)
    with pytest.raises(InputError, match="did you mean 'moment'"):
        signals(sequences(16, 0), variant="moments")
    few = code(sequences(16, 0)[:5])
    with pytest.raises(InputError, match="at least 6 samples, not 5"):
        stream(few, few, k=5)
