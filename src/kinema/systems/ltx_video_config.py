"""Configuration and presets of LTX-Video: sizes, sampling, training recipes.

Paper, code and licence: see `ltx_video.py`.
"""

from __future__ import annotations

from dataclasses import replace

from kinema.conditions.text import T5Config
from kinema.config import config
from kinema.networks import ltx_transformer, ltx_vae_config
from kinema.networks.ltx_transformer import LTXTransformerConfig
from kinema.networks.ltx_vae_config import BlockConfig, LTXVAEConfig
from kinema.networks.word_encoder import WordEncoderConfig
from kinema.training.recipe import Recipe
from kinema.training.vae_gan import VAEGANWeights
from kinema.worlds import shapes as shapes_world


@config
class Sampling:
    """How clips are made: their size, and the defaults of a model's sampler.

    Args:
        num_frames, height, width, fps: of a clip.
        steps: of Euler's rule.
        guidance: scale of classifier-free guidance; 1 is none.
        perturbed: weight of the branch in which the attention of `perturbed_blocks` returns its values.
        rescale: how far the spread of the guided prediction is brought back.
        terminal: the last noise level that is predicted from.
        decode_time, decode_noise: what a timed decoder is told, and the level of noise added before it.
    """

    num_frames: int
    height: int
    width: int
    fps: float
    steps: int
    guidance: float
    perturbed: float
    perturbed_blocks: tuple[int, ...]
    rescale: float
    terminal: float
    decode_time: float
    decode_noise: float


@config
class LTXVideoConfig:
    """Networks, sampling and training of one LTX-Video model."""

    text: WordEncoderConfig | T5Config
    transformer: LTXTransformerConfig
    codec: LTXVAEConfig
    causal_positions: bool
    sampling: Sampling
    codec_loss: VAEGANWeights
    codec_frames: int
    codec_recipe: Recipe
    generator_recipe: Recipe
    text_drop: float


def full() -> LTXVideoConfig:
    """Version 0.9.0: 2B transformer, VAE 0.9.0, T5 v1.1 XXL."""
    return LTXVideoConfig(
        text=T5Config(folder="t5-v1_1-xxl", width=4096, max_tokens=256),
        transformer=ltx_transformer.ltx_2b(),
        codec=ltx_vae_config.v0_9_0(),
        causal_positions=False,
        sampling=Sampling(
            num_frames=121,
            height=512,
            width=768,
            fps=24.0,
            steps=40,
            guidance=3.0,
            perturbed=1.0,
            perturbed_blocks=(19,),
            rescale=0.7,
            terminal=0.1,
            decode_time=0.05,
            decode_noise=0.025,
        ),
        codec_loss=VAEGANWeights(wavelet=0.5, kl=1e-4, gan=0.01, gan_from=50_000, critic_width=64),
        codec_frames=121,
        codec_recipe=Recipe(
            steps=200_000,
            batch_size=64,
            learning_rate=1e-4,
            warmup=1000,
            decay=0.2,
            report_every=1000,
            save_every=1000,
            held_out=16,
        ),
        generator_recipe=Recipe(
            steps=500_000,
            batch_size=1024,
            learning_rate=1e-4,
            warmup=1000,
            decay=0.2,
            precision="bfloat16",
            report_every=1000,
            save_every=1000,
            held_out=64,
        ),
        text_drop=0.1,
    )


def full_0_9_1() -> LTXVideoConfig:
    """Version 0.9.1: the timed decoder with noise maps."""
    return replace(full(), codec=ltx_vae_config.v0_9_1())


def full_0_9_5() -> LTXVideoConfig:
    """Version 0.9.5: the space-to-depth VAE; the first latent frame lies one pixel frame long."""
    return replace(full(), codec=ltx_vae_config.v0_9_5(), causal_positions=True)


def full_13b() -> LTXVideoConfig:
    """Version 0.9.7: the 13B transformer with the VAE of 0.9.5."""
    return replace(full_0_9_5(), transformer=ltx_transformer.ltx_13b())


def shapes_codec(*, width: int, latent_channels: int, time_stride: int) -> LTXVAEConfig:
    """A small VAE of the 0.9.5 family: 16x16 pixels by 4 or 8 frames to one latent, timed decoder."""
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


def words(*, width: int, num_layers: int, num_heads: int) -> WordEncoderConfig:
    """A word encoder over the vocabulary of the world `shapes`."""
    return WordEncoderConfig(
        vocabulary=shapes_world.VOCABULARY,
        max_words=40,
        width=width,
        num_layers=num_layers,
        num_heads=num_heads,
    )


def shapes() -> LTXVideoConfig:
    """The shipped model: 25 frames of 96x96 at 12 fps of the world `shapes`, trained on two cores."""
    return LTXVideoConfig(
        text=words(width=160, num_layers=2, num_heads=4),
        transformer=LTXTransformerConfig(
            latent_channels=64,
            caption_channels=160,
            num_layers=8,
            num_heads=6,
            head_width=48,
            max_position=(4.0, 192.0, 192.0),
            theta=1000.0,
        ),
        codec=shapes_codec(width=32, latent_channels=64, time_stride=8),
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
        ),
        codec_loss=VAEGANWeights(wavelet=0.2, kl=1e-4, gan=0.002, gan_from=8000, critic_width=16),
        codec_frames=17,
        codec_recipe=Recipe(
            steps=11_000,
            batch_size=2,
            learning_rate=1e-3,
            warmup=100,
            decay=0.4,
            report_every=1000,
            save_every=500,
            held_out=16,
        ),
        generator_recipe=Recipe(
            steps=9_000,
            batch_size=8,
            learning_rate=6e-4,
            warmup=300,
            decay=0.4,
            precision="bfloat16",
            report_every=1000,
            save_every=500,
            held_out=64,
        ),
        text_drop=0.1,
    )


def tiny() -> LTXVideoConfig:
    """Trains on two cores in minutes: 17 frames of 48x48."""
    base = shapes()
    return replace(
        base,
        text=words(width=64, num_layers=2, num_heads=2),
        transformer=replace(
            base.transformer,
            latent_channels=32,
            caption_channels=64,
            num_layers=4,
            num_heads=4,
            head_width=32,
        ),
        codec=shapes_codec(width=16, latent_channels=32, time_stride=8),
        sampling=replace(base.sampling, num_frames=17, height=48, width=48, perturbed_blocks=(2,)),
        codec_loss=replace(base.codec_loss, gan_from=1200, critic_width=8),
        codec_recipe=replace(base.codec_recipe, steps=1500, batch_size=4, report_every=500),
        generator_recipe=replace(
            base.generator_recipe, steps=2000, batch_size=16, precision="float32", report_every=500
        ),
    )


def nano() -> LTXVideoConfig:
    """The real classes at under 200,000 parameters, for contract tests: 9 frames of 32x32."""
    base = tiny()
    return replace(
        base,
        text=words(width=16, num_layers=1, num_heads=2),
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
        codec_loss=replace(base.codec_loss, gan_from=4, critic_width=4),
        codec_frames=9,
        codec_recipe=replace(
            base.codec_recipe, steps=8, batch_size=2, report_every=4, save_every=2, held_out=2
        ),
        generator_recipe=replace(
            base.generator_recipe, steps=8, batch_size=4, report_every=4, save_every=2, held_out=4
        ),
    )


PRESETS = {
    preset.__name__: preset
    for preset in (full, full_0_9_1, full_0_9_5, full_13b, shapes, tiny, nano)
}
