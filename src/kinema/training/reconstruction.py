"""The objective of variational autoencoders of clips: squared error and KL, and what they share.

Source: Auto-Encoding Variational Bayes (arXiv 1312.6114), equation 10, with a weight on the KL.

Letters: B batch, C latent channels, T, H, W frames, rows, columns; t, h, w those of latents.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from kinema.networks.video_vae import VideoVAE
from kinema.noise import Noise
from kinema.training.objective import Batch, Logs, Objective


class Reconstruction(Objective):
    """One player, ``codec``: squared error of clips, and the KL of their latents.

    A batch holds ``clips`` (B, 3, T, H, W) in [-1, 1].

    Args:
        codec: encoder and decoder.
        kl: weight of the KL, in nats per latent value.
    """

    equal_calls = True

    def __init__(self, codec: VideoVAE, *, kl: float) -> None:
        super().__init__()
        self.codec, self.kl = codec, kl
        self.players = {"codec": ("codec.*",)}

    def loss(self, player: str, batch: Batch, step: int, noise: Noise) -> tuple[Tensor, Logs]:
        """At latents that are drawn from the posterior."""
        x = batch["clips"]
        mean, log_variance = (moment.float() for moment in self.codec.posterior(x))
        z = self.codec.normalize(draw(mean, log_variance, noise))
        mse = F.mse_loss(self.codec.decode(z).float(), x)
        kl = divergence(mean, log_variance)
        loss = mse + self.kl * kl
        return loss, {"loss": loss.detach(), "mse": mse.detach(), "kl": kl.detach()}

    def held_out(self, batch: Batch, noise: Noise) -> Logs:
        """PSNR in dB and squared error at the mode, the error of a gray clip, the latents' spread.

        The spread should be about 1, which the process takes it for.
        """
        x = batch["clips"]
        z = self.codec.encode(x)
        y = self.codec.decode(z).float().clamp(-1, 1)
        return {
            "loss": F.mse_loss(y, x),
            "psnr": psnr(y, x).mean(),
            "trivial": of_gray(x),
            "latent_std": z.float().std(),
        }


def draw(mean: Tensor, log_variance: Tensor, noise: Noise) -> Tensor:
    """Latents drawn from a posterior; all are (B, C, t, h, w)."""
    return mean + (0.5 * log_variance).exp() * noise.normal(mean.shape, "posterior").to(mean)


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """The KL of posteriors (B, C, t, h, w) from the standard normal, in nats per latent value."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()


def of_gray(x: Tensor) -> Tensor:
    """The squared error of clips (B, 3, T, H, W) that have the mean color of theirs throughout."""
    return (x - x.mean((2, 3, 4), keepdim=True)).square().mean()


def psnr(x: Tensor, y: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB per clip (B,), for values in [-1, 1]."""
    return 10 * torch.log10(4 / (x - y).square().flatten(1).mean(1))
