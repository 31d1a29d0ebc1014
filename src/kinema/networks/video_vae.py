"""What variational autoencoders of video have in common; see `kl_vae.py` and `ltx_vae.py`.

Letters: B batch, C channels, T frames, H height, W width; lower case t, h, w for the latent grid.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kinema.errors import InputError
from kinema.nn.checkpointing import Checkpointed
from kinema.nn.conv import Factors

LOG_VARIANCE_RANGE = (-30.0, 20.0)


class VideoVAE(Checkpointed):
    """Clips (B, 3, T, H, W) in [-1, 1] <-> normalized latents (B, C, t, h, w).

    A subclass writes `moments`, `normalize` and `decode`. Where it divides time, a clip has a
    frame more than a multiple of that: the first stands alone.

    Attributes:
        stride: pixels per latent over time, height, width.
        channels: C.
        causal: no frame is encoded with a later one.

    Args:
        stride, channels: as above.
        in_channels: of the clips, 3.
    """

    causal = True

    def __init__(self, *, stride: Factors, channels: int, in_channels: int) -> None:
        super().__init__()
        self.stride, self.channels, self.in_channels = stride, channels, in_channels

    def latent_shape(self, num_frames: int, height: int, width: int) -> tuple[int, int, int, int]:
        """(C, t, h, w) of a clip.

        Raises:
            InputError: the codec cannot take the size; the message names the nearest that it can.
        """
        st, sh, sw = self.stride
        wrong = [
            *_misfit("frames", num_frames, st, 1),
            *_misfit("height", height, sh, 0),
            *_misfit("width", width, sw, 0),
        ]
        if wrong:
            size = f"{num_frames} frames of {height} x {width} (height x width)"
            raise InputError(f"the codec cannot take {size}: {'; '.join(wrong)}")
        return self.channels, (num_frames - 1) // st + 1, height // sh, width // sw

    def moments(self, x: Tensor) -> Tensor:
        """Clips (B, 3, T, H, W) -> mean and log-variance as channels, (B, C + C or 1, t, h, w).

        A single log-variance is that of all channels of a place.
        """
        raise NotImplementedError

    def normalize(self, z: Tensor) -> Tensor:
        """Latents as the encoder gives them -> latents of deviation about 1 over the data."""
        raise NotImplementedError

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance, within [-30, 20], of the latents before they are normalized.

        Both are (B, C, t, h, w).

        Raises:
            InputError: x is no clip, or has a size that the codec cannot take.
        """
        check_clips("clips", x, self.in_channels)
        self.latent_shape(*x.shape[2:])
        mean, log_variance = self.moments(x).tensor_split([self.channels], 1)
        return mean, log_variance.clamp(*LOG_VARIANCE_RANGE).expand_as(mean)

    def encode(self, x: Tensor, *, noise: Tensor | None = None) -> Tensor:
        """(B, 3, T, H, W) in [-1, 1] -> normalized latents (B, C, t, h, w).

        Args:
            noise: standard normal, of the latents' shape, for a draw from the posterior; without it
                the latents are the posterior's mode.

        Raises:
            InputError: x is no clip, or has a size that the codec cannot take.
        """
        z, log_variance = self.posterior(x)
        if noise is not None:
            z = z + torch.exp(0.5 * log_variance) * noise
        return self.normalize(z)

    def decode(self, z: Tensor) -> Tensor:
        """Normalized latents (B, C, t, h, w) -> clips (B, 3, T, H, W), about [-1, 1], not clamped.

        A subclass may take more, such as the time of a decoder that denoises.

        Raises:
            InputError: z is not of this codec.
        """
        raise NotImplementedError


def check_clips(what: str, x: Tensor, channels: int) -> None:
    """Refuses what is not (B, channels, T, H, W), with an InputError that says `what` it was."""
    if x.ndim != 5 or x.shape[1] != channels:
        shape = tuple(x.shape)
        raise InputError(f"{what} must be (batch, {channels}, time, height, width), not {shape}")


def _misfit(name: str, value: int, step: int, rest: int) -> list[str]:
    """What is wrong with a size that must be a positive multiple of `step`, plus `rest`."""
    least = rest or step
    if value >= least and value % step == rest % step:
        return []
    below = (value - rest) // step * step + rest
    near = " or ".join(str(n) for n in (below, below + step) if n >= least) or str(least)
    rule = f"a multiple of {step}" + (f" plus {rest}" if rest else "")
    return [f"{name} must be {rule}, nearest {near}"]
