"""The objective of codecs: its terms, its players, and gradients that can be trusted."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from nano_stage import fresh, recipe_of
from torch import Tensor, nn

from kinema.errors import InputError
from kinema.nn.wavelets import haar_3d
from kinema.noise import Noise
from kinema.training.vae_gan import STATISTICS_RATE, VAEGAN, Critic

CLIPS = Noise(1, (0, 1)).uniform((2, 3, 9, 32, 32), "clips") * 2 - 1
NOISE = Noise(0, (0, 1))
BEFORE, AFTER = 0, 100  # the critic joins between these steps


def objective() -> VAEGAN:
    model = fresh()
    return VAEGAN(model.codec, recipe_of("codec").loss)


def test_haar_keeps_the_energy_and_finds_constants() -> None:
    x = Noise(0, (0, 1)).normal((2, 3, 4, 6, 8), "x")
    bands = haar_3d(x)
    assert bands.shape == (8, 2, 3, 2, 3, 4)
    torch.testing.assert_close(bands.square().sum(), x.square().sum())
    flat = haar_3d(torch.ones(1, 1, 2, 2, 2))
    assert flat.flatten().tolist() == pytest.approx([8**0.5, 0, 0, 0, 0, 0, 0, 0], abs=1e-6)
    moving = torch.ones(1, 1, 2, 2, 2)
    moving[:, :, 1] = -1
    assert haar_3d(moving).abs().flatten().nonzero().tolist() == [[1]]


def test_haar_leaves_out_what_is_odd_and_refuses_what_is_single() -> None:
    x = Noise(0, (0,)).normal((1, 1, 5, 4, 4), "x")
    assert torch.equal(haar_3d(x), haar_3d(x[:, :, :4]))
    with pytest.raises(InputError, match="wavelets need clips of 2 frames"):
        haar_3d(x[:, :, :1])


def test_the_codecs_loss_is_the_sum_of_its_terms() -> None:
    game = objective().eval()
    w = game.weights
    loss, logs = game.loss("codec", {"clips": CLIPS}, BEFORE, NOISE)
    torch.testing.assert_close(loss, logs["mse"] + w.wavelet * logs["wavelet"] + w.kl * logs["kl"])
    loss, logs = game.loss("codec", {"clips": CLIPS}, AFTER, NOISE)
    expected = logs["mse"] + w.wavelet * logs["wavelet"] + w.kl * logs["kl"] + w.gan * logs["gan"]
    torch.testing.assert_close(loss, expected)


def test_kl_is_that_of_gaussians() -> None:
    game = objective().eval()
    mean, log_variance = game.codec.posterior(CLIPS)
    given = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    unit = torch.distributions.Normal(0.0, 1.0)
    expected = torch.distributions.kl_divergence(given, unit).mean()
    torch.testing.assert_close(
        game.loss("codec", {"clips": CLIPS}, BEFORE, NOISE)[1]["kl"], expected
    )


def test_the_players_pull_in_opposite_directions_at_the_same_pairs() -> None:
    game = objective().eval()
    assert game.turns(BEFORE) == ("codec",)
    assert game.turns(AFTER) == ("codec", "critic")
    _, logs = game.loss("codec", {"clips": CLIPS}, AFTER, NOISE)
    loss, _ = game.loss("critic", {"clips": CLIPS}, AFTER, NOISE)
    torch.testing.assert_close(loss.detach(), -logs["gan"])


def test_a_critic_that_knows_nothing_cannot_tell() -> None:
    game = objective().eval()
    nn.init.zeros_(game.critic.layers[-1].weight)
    nn.init.zeros_(game.critic.layers[-1].bias)
    _, logs = game.loss("codec", {"clips": CLIPS}, AFTER, NOISE)
    assert float(logs["gan"]) == pytest.approx(-0.6931, abs=1e-4)


def test_a_critic_learns_to_tell() -> None:
    game = objective().eval()
    batch, adam = {"clips": CLIPS}, torch.optim.AdamW(game.critic.parameters(), lr=3e-3)
    for step in range(30):
        noise = Noise(step, (0, 1))  # other orders, other reconstructions
        game.loss("codec", batch, AFTER, noise)
        loss, _ = game.loss("critic", batch, AFTER, noise)
        adam.zero_grad()
        loss.backward()
        adam.step()
    assert float(loss.detach()) < 0.3


@pytest.mark.parametrize("frames", [9, 17])
def test_gradients_in_bfloat16_are_those_of_float32(frames: int) -> None:
    critic = Critic(8)
    for parameter in critic.parameters():
        values = Noise(3, (0,)).normal((1, *parameter.shape), str(tuple(parameter.shape)))[0]
        parameter.data.copy_(values / max(1, parameter[0].numel()) ** 0.5)
    x, y = (Noise(seed, (0, 1)).normal((2, 3, frames, 32, 32), "clip") for seed in (0, 1))

    def gradients(enabled: bool) -> dict[str, Tensor]:
        # Memory that was used before must not show in what is computed from now on.
        used = [torch.full((n,), float("nan")) for n in (27, 432, 864, 1728, 10_000, 50_000)]
        del used
        critic.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            logits = critic(x, y)
        F.softplus(logits.float()).mean().backward()
        return {name: parameter.grad.clone() for name, parameter in critic.named_parameters()}

    exact = gradients(enabled=False)
    for _ in range(5):
        for name, gradient in gradients(enabled=True).items():
            error = (gradient - exact[name]).abs().max() / exact[name].abs().max()
            assert error < 0.1, f"{name}: {float(error)}"


def test_statistics_follow_the_latents_in_training_only() -> None:
    game = objective()
    mean, _ = game.codec.posterior(CLIPS)
    deviation, average = torch.std_mean(mean, dim=(0, 2, 3, 4))
    game.eval().loss("codec", {"clips": CLIPS}, BEFORE, NOISE)
    assert torch.equal(game.codec.mean_of_means, torch.zeros(8))
    game.train().loss("codec", {"clips": CLIPS}, BEFORE, NOISE)
    torch.testing.assert_close(game.codec.mean_of_means, STATISTICS_RATE * average)
    torch.testing.assert_close(game.codec.std_of_means, 1 + STATISTICS_RATE * (deviation - 1))


def test_held_out_numbers() -> None:
    game = objective().eval()
    logs = game.held_out({"clips": CLIPS}, NOISE)
    decoded = game.codec.decode(game.codec.encode(CLIPS), time=torch.zeros(2)).clamp(-1, 1)
    torch.testing.assert_close(logs["mse/noise=0.0"], (decoded - CLIPS).square().mean())
    assert logs["mse/noise=0.2"] != logs["mse/noise=0.1"] != logs["mse/noise=0.0"]
    flat = CLIPS.mean((2, 3, 4), keepdim=True)
    torch.testing.assert_close(logs["trivial"], (CLIPS - flat).square().mean())


def test_a_decoder_without_time_decodes_without_noise() -> None:
    model = fresh()
    codec = type(model.codec)(replace(model.config.codec, timestep_conditioning=False))
    game = VAEGAN(codec, recipe_of("codec").loss).eval()
    z = codec.encode(CLIPS)
    torch.testing.assert_close(game.decode_noised(z, torch.full((2,), 0.2), NOISE), codec.decode(z))
