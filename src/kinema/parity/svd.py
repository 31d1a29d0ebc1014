"""Adapters for all recorded cases of Stable Video Diffusion."""

from __future__ import annotations

from kinema.parity import svd_sampling, svd_unet, svd_vae
from kinema.parity.runner import Adapter

ADAPTERS: dict[str, Adapter] = {
    **svd_unet.ADAPTERS,
    **svd_vae.ADAPTERS,
    **svd_sampling.ADAPTERS,
}
