"""Stable Video Diffusion as a system: what its network is told, and how guidance meets frames."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from kinema.clip import Clip
from kinema.condition import Conditions, Grid, Tokens, Vector
from kinema.errors import InputError
from kinema.networks.svd_unet import micro_conditions
from kinema.noise import Noise
from kinema.systems.svd import SVD
from kinema.systems.svd_conditions import conditions, framed, motion_bucket
from kinema.systems.svd_config import SVDConfig, full, nano
from kinema.systems.svd_training import prepare_batch

ROWS = (3, 8)


@pytest.fixture(scope="module")
def model() -> SVD:
    """At nano size; layers that start at zero, which would hide the conditions, are opened."""
    torch.manual_seed(0)
    model = SVD(nano())
    for name, parameter in model.parts.named_parameters():
        noise = Noise(0, (0,)).normal((1, *parameter.shape), name)[0]
        parameter.data.add_(noise, alpha=0.05)
    return model


@pytest.fixture(scope="module")
def clips() -> Tensor:
    return Noise(0, ROWS).uniform((2, 3, 4, 16, 16), "clips") * 2 - 1


def told(model: SVD, stills: Tensor, level: float, seed: int = 0) -> Conditions:
    motion, levels = torch.tensor([10.0, 200.0]), torch.full((2,), level)
    return conditions(model, stills, motion, levels, 8.0, Noise(seed, ROWS))


def test_guidance_grows_linearly_over_the_frames(model: SVD, clips: Tensor) -> None:
    sampling = replace(model.config.sampling, guidance=(1.0, 2.5))
    conditioned = told(model, clips[:, :, 0], 0.1)
    denoise = model.process.denoiser(model.unet)
    x, sigma = Noise(1, ROWS).normal((2, 4, 4, 8, 8), "x"), torch.full((2,), 3.0)
    with torch.no_grad():
        with_still = denoise(x, sigma, conditioned)
        without = denoise(x, sigma, conditioned.drop(("crossattn", "concat")))
        guided = model.guidance(sampling)(denoise, x, sigma, conditioned, 0)
    assert (with_still - without).abs().amax((0, 1, 3, 4)).min() > 1e-3
    for frame, scale in enumerate((1.0, 1.5, 2.0, 2.5)):
        expected = without[:, :, frame] + scale * (with_still - without)[:, :, frame]
        torch.testing.assert_close(guided[:, :, frame], expected, rtol=1e-4, atol=1e-5)


def test_the_latent_is_noised_and_not_scaled_and_the_token_is_neither(
    model: SVD, clips: Tensor
) -> None:
    scaled = SVD(replace(nano(), vae=replace(nano().vae, scale=0.2)))
    scaled.parts.load_state_dict(model.parts.state_dict())
    stills = clips[:, :, 0]
    with torch.no_grad():
        clean, noisy, other = (
            told(scaled, stills, level, seed) for level, seed in ((0.0, 0), (0.3, 0), (0.3, 1))
        )
        mean, _ = model.vae.posterior(stills[:, :, None])
    assert torch.equal(clean.of(Grid, "concat").x, mean)
    latents = [one.of(Grid, "concat").x for one in (clean, noisy, other)]
    assert not torch.equal(latents[0], latents[1])
    assert not torch.equal(latents[1], latents[2])
    tokens = [one.of(Tokens, "crossattn").x for one in (clean, noisy, other)]
    assert tokens[0].shape == (2, 1, 8)
    assert torch.equal(tokens[0], tokens[1])
    assert torch.equal(tokens[0], tokens[2])


def test_the_vector_tells_frame_rate_motion_and_noise_in_this_order(
    model: SVD, clips: Tensor
) -> None:
    vector = told(model, clips[:, :, 0], 0.25).of(Vector, "vector").x
    values = torch.tensor([[7.0, 10.0, 0.25], [7.0, 200.0, 0.25]])
    assert torch.equal(vector, micro_conditions(values, width=8))


def test_clips_are_learned_without_token_and_latent_but_never_without_the_vector(
    model: SVD, clips: Tensor
) -> None:
    kept, dropped = (
        prepare_batch(model, d, {**model.encoded(clips, ROWS), "fps": 8.0}, Noise(0, ROWS))
        for d in (0.0, 1.0)
    )
    assert torch.equal(kept.x0, dropped.x0)
    for name, kind in (("crossattn", Tokens), ("concat", Grid)):
        assert kept.conditions.of(kind, name).x.abs().amin() > 0
        assert not dropped.conditions.of(kind, name).x.any()
    vectors = (part.conditions.of(Vector, "vector").x for part in (kept, dropped))
    assert torch.equal(*vectors)


def test_a_clip_does_not_depend_on_its_batch(model: SVD, clips: Tensor) -> None:
    sampling, stills = model.config.sampling, clips[:, :, 0]
    together = model.animate(stills, noise=Noise(0, ROWS), sampling=sampling)
    alone = model.animate(stills[1:], noise=Noise(0, ROWS[1:]), sampling=sampling)
    assert together.shape == clips.shape
    torch.testing.assert_close(together[1:], alone, rtol=1e-4, atol=1e-4)


def test_a_job_looks_at_the_first_frame_only(model: SVD) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (3, 20, 30, 3), dtype=np.uint8)
    first, changed = frames.copy(), frames.copy()
    changed[1:] = 0
    made = [
        model.run({"image": Clip(these, 5.0)}, 4)["clip"] for these in (first, changed, frames[1:])
    ]
    assert made[0].frames.shape == (4, 16, 16, 3)
    assert made[0].fps == model.config.sampling.fps
    assert np.array_equal(made[0].frames, made[1].frames)
    assert not np.array_equal(made[0].frames, made[2].frames)


def test_a_still_keeps_its_proportions() -> None:
    frame = np.zeros((1, 20, 60, 3), np.uint8)
    frame[:, :, 20:40] = 255
    assert (framed(Clip(frame, 1.0), 10, 10).frames > 200).mean() > 0.85
    assert framed(Clip(frame, 1.0), 48, 64).size == (48, 64)
    assert framed(Clip(frame, 1.0), 7, 48).size == (7, 48)


def test_motion_is_0_in_a_still_clip_and_at_most_255() -> None:
    clip = torch.zeros(1, 3, 4, 8, 8)
    assert motion_bucket(clip).item() == 0
    clip[:, :, ::2, 0, 0] = 1
    little = motion_bucket(clip).item()
    assert 0 < little < 255
    clip[:, :, ::2] = 1
    assert motion_bucket(clip).item() == 255


def wrong(what: str) -> SVDConfig:
    one = nano()
    if what == "image":
        return replace(one, image=replace(one.image, width=16))
    if what == "vae":
        return replace(one, vae=replace(one.vae, latent_channels=8))
    if what == "vector":
        return replace(one, unet=replace(one.unet, vector_channels=0))
    values = {"steps": 0, "sigma_max": 0.001}
    return replace(one, sampling=replace(one.sampling, **{what: values.get(what, 1)}))


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("image", "width of the image role"),
        ("vae", "must all be 8"),
        ("vector", "multiple of 6, not 0"),
        ("height", "height must be a multiple of 4, not 1"),
        ("num_frames", "2 frames or more, not 1"),
        ("sigma_max", "between 0 and sigma_max"),
        ("steps", "1 step or more, not 0"),
    ],
)
def test_what_does_not_fit_is_refused(what: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        wrong(what)


def test_the_full_networks_are_the_published_ones() -> None:
    parts = SVD(full(), device="meta").parts
    count = {role: sum(p.numel() for p in part.parameters()) for role, part in parts.items()}
    assert count["unet"] == 1_524_623_082
    assert count["vae"] == 97_742_847
