"""The objective of video codecs: reconstruction, wavelets, KL and a reconstruction GAN.

Source: LTX-Video (arXiv 2501.00103), section 2.1. The critic of the reconstruction GAN sees a clip
and its reconstruction, stacked over channels in a random order, and tells patch by patch which
comes first; the codec makes them hard to tell apart. A timed decoder learns to remove noise of
level U[0, 0.2] from its latents while it decodes.

LTX-Video also has an LPIPS term; it needs weights trained by others and is left out here.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kinema.config import config
from kinema.networks.ltx_vae import LTXVAE
from kinema.nn.wavelets import haar_3d
from kinema.noise import Noise
from kinema.training.distributed import gathered
from kinema.training.objective import Batch, Logs, Objective
from kinema.training.reconstruction import divergence, draw, of_gray, psnr

MAX_DECODE_NOISE = 0.2
STATISTICS_RATE = 0.02


@config
class VAEGANWeights:
    """How much each term counts, and from which step on the critic plays.

    Args:
        wavelet: L1 of the Haar sub-bands.
        kl: per latent value, in nats.
        gan: the critic's term for the codec.
        gan_from: the step at which the critic begins.
        critic_width: channels of the critic's first layer.
    """

    wavelet: float
    kl: float
    gan: float
    gan_from: int
    critic_width: int


class Critic(nn.Module):
    """Logits (B, 1, t, h, w): of two clips, patch by patch, whether the first is the real one."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv3d(6, width, (3, 4, 4), (1, 2, 2), 1),
            nn.LeakyReLU(0.2),
            nn.Conv3d(width, 2 * width, 4, 2, 1),
            nn.GroupNorm(4, 2 * width),
            nn.LeakyReLU(0.2),
            nn.Conv3d(2 * width, 4 * width, 4, 2, 1),
            nn.GroupNorm(4, 4 * width),
            nn.LeakyReLU(0.2),
            nn.Conv3d(4 * width, 1, 3, 1, (0, 1, 1)),
        )

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Two clips (B, 3, T, H, W)."""
        h = self.layers[:-1](torch.cat([first, second], 1))
        # Padded in time out here: in bfloat16 on the CPU, torch leaves parts of the gradient of a
        # 3x3x3 kernel without values where the convolution pads clips of two frames itself.
        return self.layers[-1](F.pad(h, (0, 0, 0, 0, 1, 1)))


class VAEGAN(Objective):
    """Players: ``codec``, and from a step on ``critic``.

    A batch holds ``clips`` (B, 3, T, H, W) in [-1, 1].
    """

    equal_calls = True

    def __init__(self, codec: LTXVAE, weights: VAEGANWeights) -> None:
        super().__init__()
        self.codec, self.weights = codec, weights
        self.critic = Critic(weights.critic_width)
        self.players = {"codec": ("codec.*",), "critic": ("critic.*",)}
        self._seen: tuple[Tensor, Tensor] | None = None

    def turns(self, step: int) -> tuple[str, ...]:
        """The critic waits until the codec reconstructs."""
        return ("codec", "critic") if step >= self.weights.gan_from else ("codec",)

    def loss(self, player: str, batch: Batch, step: int, noise: Noise) -> tuple[Tensor, Logs]:
        """The codec's loss, or the critic's on what the codec's turn has just decoded."""
        if player == "critic":
            assert self._seen is not None, "the critic moves after the codec"
            loss = self._telling_apart(*self._seen, noise)
            return loss, {"loss": loss.detach()}
        return self._codec_loss(batch["clips"], step, noise)

    def _codec_loss(self, x: Tensor, step: int, noise: Noise) -> tuple[Tensor, Logs]:
        w = self.weights
        mean, log_variance = (moment.float() for moment in self.codec.posterior(x))
        z = draw(mean, log_variance, noise)
        self._follow_statistics(mean.detach())
        level = MAX_DECODE_NOISE * noise.uniform((len(noise),), "decode level").to(x)
        y = self.decode_noised(self.codec.normalize(z), level, noise).float()
        mse = F.mse_loss(y, x)
        wavelet = (haar_3d(y) - haar_3d(x)).abs().mean()
        kl = divergence(mean, log_variance)
        loss = mse + w.wavelet * wavelet + w.kl * kl
        logs = {"mse": mse.detach(), "wavelet": wavelet.detach(), "kl": kl.detach()}
        if step >= w.gan_from:
            self._seen = (x, y.detach())
            fooled = -self._telling_apart(x, y, noise)
            loss = loss + w.gan * fooled
            logs["gan"] = fooled.detach()
        return loss, {"loss": loss.detach(), **logs}

    def decode_noised(self, z: Tensor, level: Tensor, noise: Noise) -> Tensor:
        """Decodes normalized latents; for a timed decoder noise of `level` (B,) is added before."""
        if not self.codec.config.timestep_conditioning:
            return self.codec.decode(z)
        mix = level.reshape(-1, 1, 1, 1, 1)
        noised = (1 - mix) * z + mix * noise.normal(z.shape, "decode").to(z)
        return self.codec.decode(noised, time=level)

    def _telling_apart(self, real: Tensor, fake: Tensor, noise: Noise) -> Tensor:
        """The critic's cross-entropy; each pair's order is drawn, and the same for both players."""
        swapped = (noise.uniform((len(noise),), "order") < 0.5).to(real.device)
        mask = swapped.reshape(-1, 1, 1, 1, 1)
        logits = self.critic(torch.where(mask, fake, real), torch.where(mask, real, fake))
        truth = (~mask).to(logits.dtype).expand_as(logits)
        return F.binary_cross_entropy_with_logits(logits.float(), truth.float())

    @torch.no_grad()
    def _follow_statistics(self, mean: Tensor) -> None:
        """Moves the statistics that normalize the latents towards those of this batch."""
        if not self.training:
            return
        deviation, average = torch.std_mean(gathered(mean), dim=(0, 2, 3, 4))
        self.codec.mean_of_means.lerp_(average, STATISTICS_RATE)
        self.codec.std_of_means.lerp_(deviation, STATISTICS_RATE)

    def held_out(self, batch: Batch, noise: Noise) -> Logs:
        """PSNR in dB of the mode without noise, MSE by noise level, the spread of the latents."""
        x = batch["clips"]
        z = self.codec.encode(x)
        logs: dict[str, Any] = {}
        for level in (0.0, 0.1, 0.2):
            levels = torch.full((len(x),), level, device=x.device)
            y = self.decode_noised(z, levels, noise).float().clamp(-1, 1)
            logs[f"mse/noise={level}"] = F.mse_loss(y, x)
            if level == 0:
                logs["psnr"] = psnr(y, x).mean()
                logs["trivial"] = of_gray(x)
        logs["latent_std"] = z.float().std()
        return logs
