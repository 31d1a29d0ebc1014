"""Configuration and presets of Stable Video Diffusion.

Paper, code and license: see `svd.py`. Sizes of `full` and `full_xt` are the published ones, but for
the image encoder; the others are ours, for the world `shapes`.
"""

from __future__ import annotations

from dataclasses import replace

from kinema.config import config
from kinema.data.clips import ClipSize
from kinema.errors import InputError
from kinema.networks import kl_vae_config, svd_unet
from kinema.networks.kl_vae_config import KLVAEConfig
from kinema.networks.svd_unet import SVDUNetConfig
from kinema.networks.vit import ViTConfig

MICRO_CONDITIONS = 3  # frame rate, motion bucket, noise on the still


@config
class Sampling(ClipSize):
    """How clips are made: their size, and the sampler.

    Args:
        steps: of Euler's rule.
        sigma_min, sigma_max, rho: of the noise levels; see `schedules.karras`.
        guidance: scales at the first and the last frame; they grow linearly between.
        motion: what the network is told of how much moves, 0 to 255.
        still_noise: deviation of the noise on the still, which is told to the network too.
    """

    steps: int
    sigma_min: float
    sigma_max: float
    rho: float
    guidance: tuple[float, float]
    motion: float
    still_noise: float

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise InputError(f"sampling needs 1 step or more, not {self.steps}")
        if self.num_frames < 2:
            raise InputError(f"a still is animated over 2 frames or more, not {self.num_frames}")
        if not 0 < self.sigma_min < self.sigma_max:
            raise InputError(
                f"sigma_min lies between 0 and sigma_max {self.sigma_max}, not at {self.sigma_min}"
            )


@config
class SVDConfig:
    """Networks and sampling of one model.

    Args:
        image: the encoder whose summary of the still is the token that is attended to. The
            published one is CLIP's; a plain ViT of its width stands in for it.
        unet, vae: the networks.
        P_mean, P_std: of ln(sigma) in training.
        sampling: how clips are made.

    Raises:
        InputError: the networks do not fit one another, or the clips do not fit them.
    """

    image: ViTConfig
    unet: SVDUNetConfig
    vae: KLVAEConfig
    P_mean: float
    P_std: float
    sampling: Sampling

    def __post_init__(self) -> None:
        latent = self.vae.latent_channels
        if {self.unet.in_channels, self.unet.out_channels, self.unet.concat_channels} != {latent}:
            raise InputError(
                f"in_channels, out_channels and concat_channels of the unet must all be {latent},"
                " the latent_channels of the vae"
            )
        if self.image.width != self.unet.context_channels:
            raise InputError("context_channels of the unet must equal the width of the image role")
        if self.unet.vector_channels < 1 or self.unet.vector_channels % (2 * MICRO_CONDITIONS):
            raise InputError(
                f"vector_channels of the unet must be a multiple of {2 * MICRO_CONDITIONS},"
                f" not {self.unet.vector_channels}"
            )
        self.sampling.expect_multiple(self.vae.stride * self.unet.stride)


def full() -> SVDConfig:
    """SVD: 14 frames of 576x1024; the image encoder is a stand-in of CLIP's width."""
    return SVDConfig(
        image=ViTConfig(image_size=224, patch_size=16, width=1024, num_layers=24, num_heads=16),
        unet=svd_unet.full(),
        vae=kl_vae_config.stable_diffusion(),
        P_mean=0.7,
        P_std=1.6,
        sampling=Sampling(
            num_frames=14,
            height=576,
            width=1024,
            fps=7.0,
            steps=25,
            sigma_min=0.002,
            sigma_max=700.0,
            rho=7.0,
            guidance=(1.0, 2.5),
            motion=127.0,
            still_noise=0.02,
        ),
    )


def full_xt() -> SVDConfig:
    """SVD-XT: 25 frames; the same networks."""
    sampling = replace(full().sampling, num_frames=25, steps=30, guidance=(1.5, 3.0))
    return replace(full(), P_mean=1.0, sampling=sampling)


def tiny() -> SVDConfig:
    """8 frames of 48x48, trained on two cores in minutes."""
    unet = svd_unet.tiny()
    return SVDConfig(
        image=ViTConfig(
            image_size=48, patch_size=8, width=unet.context_channels, num_layers=2, num_heads=2
        ),
        unet=unet,
        vae=KLVAEConfig(
            latent_channels=4, channels=(16, 32, 32), num_layers=1, norm_groups=8, scale=1.0
        ),
        P_mean=-0.4,
        P_std=1.2,
        sampling=replace(
            full().sampling, num_frames=8, height=48, width=48, fps=8.0, steps=20, sigma_max=80.0
        ),
    )


def nano() -> SVDConfig:
    """The real classes at under 200,000 parameters, for contract tests."""
    unet = svd_unet.nano()
    return replace(
        tiny(),
        image=ViTConfig(
            image_size=16, patch_size=8, width=unet.context_channels, num_layers=1, num_heads=2
        ),
        unet=unet,
        vae=KLVAEConfig(latent_channels=4, channels=(8, 8), num_layers=1, norm_groups=4, scale=1.0),
        sampling=replace(tiny().sampling, num_frames=4, height=16, width=16, steps=3),
    )


PRESETS = {preset.__name__: preset for preset in (full, full_xt, tiny, nano)}
