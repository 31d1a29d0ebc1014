"""The objective of autoencoders: its terms by their formulas, and that a small one learns."""

from __future__ import annotations

import pytest
import torch

from kinema.networks.kl_vae import KLVAE
from kinema.networks.kl_vae_config import KLVAEConfig
from kinema.noise import Noise
from kinema.training.reconstruction import Reconstruction, divergence, draw, of_gray, psnr

NOISE = Noise(0, (0, 1))
CLIPS = 2 * NOISE.uniform((2, 3, 3, 16, 16), "clips") - 1
CONFIG = KLVAEConfig(latent_channels=4, channels=(8, 8), num_layers=1, norm_groups=4, scale=0.5)


def objective(kl: float = 0.1) -> Reconstruction:
    torch.manual_seed(0)
    return Reconstruction(KLVAE(CONFIG), kl=kl)


def test_the_loss_is_its_formula() -> None:
    learned = objective()
    loss, logs = learned.loss("codec", {"clips": CLIPS}, 0, NOISE)
    mean, log_variance = learned.codec.posterior(CLIPS)
    z = mean + (log_variance / 2).exp() * NOISE.normal(mean.shape, "posterior")
    decoded = learned.codec.decode(0.5 * z)
    torch.testing.assert_close(logs["mse"], (decoded - CLIPS).square().mean())
    deviation = (log_variance / 2).exp()
    normal = torch.distributions.Normal(torch.zeros_like(mean), torch.ones_like(mean))
    expected = torch.distributions.kl_divergence(
        torch.distributions.Normal(mean, deviation), normal
    )
    torch.testing.assert_close(logs["kl"], expected.mean())
    torch.testing.assert_close(loss, logs["mse"] + 0.1 * logs["kl"])


def test_a_standard_normal_posterior_costs_nothing() -> None:
    zero = torch.zeros(2, 4, 3, 8, 8)
    assert divergence(zero, zero) == 0
    assert divergence(zero + 1, zero) == 0.5
    drawn = draw(zero, zero, NOISE)
    assert torch.equal(drawn, NOISE.normal(zero.shape, "posterior"))
    assert torch.equal(draw(zero + 3, zero - 1e9, NOISE), zero + 3)


def test_it_learns() -> None:
    learned = objective(kl=1e-6)
    adam = torch.optim.Adam(learned.parameters(), lr=5e-3)
    losses = []
    for _ in range(30):
        loss, _ = learned.loss("codec", {"clips": CLIPS}, 0, NOISE)
        losses.append(float(loss.detach()))
        adam.zero_grad()
        loss.backward()
        adam.step()
    assert losses[-1] < 0.8 * losses[0]


@torch.no_grad()
def test_held_out_numbers_are_those_of_the_mode() -> None:
    learned = objective()
    logs = learned.held_out({"clips": CLIPS}, NOISE)
    decoded = learned.codec.decode(learned.codec.encode(CLIPS)).clamp(-1, 1)
    torch.testing.assert_close(logs["loss"], (decoded - CLIPS).square().mean())
    torch.testing.assert_close(logs["psnr"], psnr(decoded, CLIPS).mean())
    assert logs["trivial"] == of_gray(CLIPS) == pytest.approx(1 / 3, abs=0.02)
    torch.testing.assert_close(logs["latent_std"], learned.codec.encode(CLIPS).std())


def test_psnr_in_decibels() -> None:
    x = torch.zeros(2, 3, 1, 4, 4)
    y = x.clone()
    y[0] += 0.2
    y[1] += 2.0
    assert psnr(x, y).tolist() == pytest.approx([20.0, 0.0], abs=1e-4)
