"""Given tokens: image and video conditioning by a time per token (arXiv 2501.00103, sec. 2.4)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from kinema.noise import Noise
from kinema.processes.steps import Step


@dataclass(frozen=True, kw_only=True)
class Hold:
    """A step hook that keeps given tokens until the sampler has come down to their noise level.

    Args:
        given: the tokens (B, N, C) as they stand at the start.
        strength: m (B, N) in [0, 1]; a token's time is min(t, 1 - m), and it moves only while
            t <= 1 - m (to 1e-6).
        noise: source of the noise of each step.
        noise_scale: tokens of strength 1 are shown with noise_scale t^2 of fresh noise.
    """

    given: Tensor
    strength: Tensor
    noise: Noise
    noise_scale: float

    def before(self, x: Tensor, step: Step) -> Tensor:
        """Shows the held tokens with the noise of this step."""
        if self.noise_scale == 0:
            return x
        fresh = self.noise.normal(x.shape, f"hold {step.index}").to(x)
        noised = self.given + self.noise_scale * step.sigma**2 * fresh
        return torch.where((self.strength > 1 - 1e-6)[..., None], noised, x)

    def time(self, time: Tensor, step: Step) -> Tensor:
        """min(t, 1 - m), shape (B, N), for times (B,) or (B, N)."""
        time = time if time.ndim == 2 else time[:, None]
        return torch.minimum(time, 1 - self.strength)

    def after(self, x: Tensor, x_next: Tensor, step: Step) -> Tensor:
        """Undoes the step where t > 1 - m."""
        moves = step.sigma - 1e-6 < 1 - self.strength
        return torch.where(moves[..., None], x_next, x)
