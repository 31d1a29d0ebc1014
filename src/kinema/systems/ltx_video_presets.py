"""Presets of LTX-Video that train on two cores, and the table of all presets.

Paper, code and license: see `ltx_video.py`. Sizes are ours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from kinema.networks.ltx_transformer import LTXTransformerConfig
from kinema.networks.ltx_vae_config import BlockConfig, LTXVAEConfig
from kinema.networks.word_encoder import WordEncoderConfig
from kinema.processes.schedules import TokenShift
from kinema.systems.ltx_video_config import LTXVideoConfig, Sampling
from kinema.systems.ltx_video_versions import VERSIONS, full
from kinema.worlds import shapes as shapes_world

WORDS = WordEncoderConfig(
    vocabulary=shapes_world.VOCABULARY, max_words=64, width=160, num_layers=2, num_heads=4
)


def shapes_codec(*, width: int, latent_channels: int, time_stride: int) -> LTXVAEConfig:
    """A small VAE of the 0.9.5 family: 16x16 pixels by 4 or 8 frames to a latent, timed."""
    res = BlockConfig(kind="res_x", num_layers=1)
    encoder: tuple[BlockConfig, ...] = (
        res,
        BlockConfig(kind="compress_all_res", multiplier=2),
        res,
        BlockConfig(kind="compress_all_res"),
        res,
    )
    decoder: tuple[BlockConfig, ...] = (
        BlockConfig(kind="res_x", num_layers=2),
        BlockConfig(kind="compress_all", residual=True),
        BlockConfig(kind="res_x", num_layers=2),
        BlockConfig(kind="compress_all", multiplier=2, residual=True),
        res,
    )
    if time_stride == 8:
        encoder = (*encoder, BlockConfig(kind="compress_time_res"), res)
        decoder = (res, BlockConfig(kind="compress_time", residual=True), *decoder)
    return LTXVAEConfig(
        in_channels=3,
        latent_channels=latent_channels,
        patch_size=4,
        encoder_base_channels=width,
        decoder_base_channels=width,
        encoder_blocks=encoder,
        decoder_blocks=decoder,
        timestep_conditioning=True,
        causal_decoder=False,
        spatial_padding_mode="zeros",
    )


def shapes() -> LTXVideoConfig:
    """The shipped model: 25 frames of 96x96 at 12 fps of the world `shapes`, from two cores."""
    return LTXVideoConfig(
        text=WORDS,
        transformer=LTXTransformerConfig(
            latent_channels=64,
            caption_channels=160,
            num_layers=8,
            num_heads=6,
            head_width=48,
            max_position=(4.0, 192.0, 192.0),
            theta=100.0,
            absolute_positions=True,
        ),
        codec=shapes_codec(width=32, latent_channels=64, time_stride=4),
        causal_positions=True,
        sampling=Sampling(
            num_frames=25,
            height=96,
            width=96,
            fps=12.0,
            steps=20,
            guidance=3.0,
            perturbed=0.0,
            perturbed_blocks=(4,),
            rescale=0.5,
            terminal=0.05,
            decode_time=0.05,
            decode_noise=0.025,
            renoise=0.8,
        ),
        shift=TokenShift(tokens=(128, 1024), mu=(3.1, 4.1)),
    )


def tiny() -> LTXVideoConfig:
    """Trains on two cores in minutes: 17 frames of 48x48.

    Its latents stay as the codec makes them, and hide less at a level of noise than those of
    `shapes`, which are in the metric of pixels.
    """
    base = shapes()
    return replace(
        base,
        text=replace(WORDS, width=64, num_heads=2),
        transformer=replace(
            base.transformer,
            latent_channels=32,
            caption_channels=64,
            num_layers=4,
            num_heads=4,
            head_width=32,
            absolute_positions=False,
        ),
        codec=shapes_codec(width=16, latent_channels=32, time_stride=8),
        sampling=replace(
            base.sampling, num_frames=17, height=48, width=48, perturbed_blocks=(2,), renoise=0.0
        ),
        shift=TokenShift(tokens=(128, 1024), mu=(1.8, 2.8)),
    )


def nano() -> LTXVideoConfig:
    """The real classes at under 200,000 parameters, for contract tests: 9 frames of 32x32."""
    base = tiny()
    return replace(
        base,
        text=replace(WORDS, width=16, num_layers=1, num_heads=2),
        transformer=replace(
            base.transformer,
            latent_channels=8,
            caption_channels=16,
            num_layers=2,
            num_heads=2,
            head_width=12,
        ),
        codec=shapes_codec(width=4, latent_channels=8, time_stride=8),
        sampling=replace(
            base.sampling, num_frames=9, height=32, width=32, steps=3, perturbed_blocks=(1,)
        ),
    )


PRESETS: dict[str, Callable[[], LTXVideoConfig]] = {
    "full": full,
    **VERSIONS,
    **{preset.__name__: preset for preset in (shapes, tiny, nano)},
}
