"""Filters on latents between two passes of a generator (LTX-Video's multi-scale pipeline).

Authors' code: github.com/Lightricks/LTX-Video (Apache-2.0), ``tone_map_latents`` and
``adain_filter_latent``. Verified by recorded cases.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kinema.errors import InputError


def tone_map(latents: Tensor, compression: float) -> Tensor:
    """Pulls large values in: each is scaled by 1 - 0.6 c sigmoid(3 c (abs(x) - 1)).

    Args:
        latents: any shape.
        compression: c in [0, 1]; 0 changes nothing.

    Raises:
        InputError: the compression is outside [0, 1].
    """
    if not 0 <= compression <= 1:
        raise InputError(f"the compression of a tone map lies in [0, 1], not {compression}")
    c = 0.75 * compression
    return latents * (1 - 0.8 * c * torch.sigmoid(4 * c * (latents.abs() - 1)))


def match_statistics(latents: Tensor, reference: Tensor, factor: float) -> Tensor:
    """Adaptive instance normalization (arXiv:1703.06868, eq. 8) to a reference, per channel.

    Args:
        latents: (B, C, ...).
        reference: (B, C, ...), of any size; its mean and standard deviation, taken per sample and
            channel, become those of the result.
        factor: how far to go; 0 changes nothing, 1 all the way.

    Returns:
        Shape of the latents.
    """
    places = tuple(range(2, latents.ndim))
    std, mean = torch.std_mean(latents, dim=places, keepdim=True)
    target_std, target_mean = torch.std_mean(reference, dim=places, keepdim=True)
    return torch.lerp(latents, (latents - mean) / std * target_std + target_mean, factor)
