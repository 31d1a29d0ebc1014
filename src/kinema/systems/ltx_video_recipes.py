"""Recipes of LTX-Video's stages, by preset.

Paper, code and licence: see `ltx_video.py`. Those of the published sizes follow the paper where it
tells them; the others are ours, for two cores.
"""

from __future__ import annotations

from dataclasses import replace

from kinema.config import config
from kinema.training.recipe import Recipe
from kinema.training.vae_gan import VAEGANWeights

PUBLISHED = ("full", "full_0_9_1", "full_0_9_5", "full_13b")


@config
class CodecRecipe(Recipe):
    """How the codec is trained.

    Args:
        loss: weights of its losses.
        frames, crop: length and side, in pixels, of the windows that it trains on.
    """

    loss: VAEGANWeights
    frames: int
    crop: int


@config
class GeneratorRecipe(Recipe):
    """How transformer and text encoder are trained.

    Args:
        text_drop: share of the clips that are learned without their text.
    """

    text_drop: float


FULL_CODEC = CodecRecipe(
    steps=200_000,
    batch_size=64,
    learning_rate=1e-4,
    warmup=1000,
    decay=0.2,
    report_every=1000,
    save_every=1000,
    held_out=16,
    loss=VAEGANWeights(wavelet=0.5, kl=1e-4, gan=0.01, gan_from=50_000, critic_width=64),
    frames=121,
    crop=256,
)
SHAPES_CODEC = CodecRecipe(
    steps=7_500,
    batch_size=8,
    optimizer="muon",
    learning_rate=1.5e-3,
    warmup=100,
    decay=0.4,
    precision="bfloat16",
    report_every=1000,
    save_every=500,
    held_out=16,
    loss=VAEGANWeights(wavelet=0.2, kl=3e-4, gan=0.002, gan_from=6500, critic_width=16),
    frames=9,
    crop=48,
)
TINY_CODEC = replace(
    SHAPES_CODEC,
    steps=1500,
    report_every=500,
    loss=replace(SHAPES_CODEC.loss, gan_from=1200, critic_width=8),
)
NANO_CODEC = replace(
    SHAPES_CODEC,
    steps=8,
    batch_size=2,
    report_every=4,
    save_every=2,
    held_out=2,
    loss=replace(SHAPES_CODEC.loss, gan_from=4, critic_width=4),
    crop=32,
)
CODEC = {
    **dict.fromkeys(PUBLISHED, FULL_CODEC),
    "shapes": SHAPES_CODEC,
    "tiny": TINY_CODEC,
    "nano": NANO_CODEC,
}

SHAPES_REFINE = replace(
    SHAPES_CODEC,
    steps=700,
    batch_size=2,
    learning_rate=6e-4,
    warmup=20,
    decay=1.0,
    ema=0.99,
    report_every=350,
    save_every=350,
    frames=25,
    crop=96,
)
REFINE = {
    **dict.fromkeys(
        PUBLISHED,
        replace(FULL_CODEC, steps=20_000, batch_size=16, learning_rate=5e-5, warmup=100, decay=1.0),
    ),
    "shapes": SHAPES_REFINE,
    "tiny": replace(SHAPES_REFINE, loss=TINY_CODEC.loss, frames=17, crop=48),
    "nano": replace(
        SHAPES_REFINE,
        steps=6,
        report_every=4,
        save_every=2,
        held_out=2,
        loss=NANO_CODEC.loss,
        crop=32,
    ),
}

SHAPES_GENERATOR = GeneratorRecipe(
    steps=3_600,
    batch_size=16,
    optimizer="muon",
    learning_rate=1e-3,
    warmup=100,
    decay=0.5,
    ema=0.998,
    precision="bfloat16",
    report_every=400,
    save_every=400,
    held_out=64,
    text_drop=0.1,
)
GENERATOR = {
    **dict.fromkeys(
        PUBLISHED,
        GeneratorRecipe(
            steps=500_000,
            batch_size=1024,
            learning_rate=1e-4,
            warmup=1000,
            decay=0.2,
            precision="bfloat16",
            report_every=1000,
            save_every=1000,
            held_out=64,
            text_drop=0.1,
        ),
    ),
    "shapes": SHAPES_GENERATOR,
    "tiny": replace(SHAPES_GENERATOR, steps=2000, precision="float32", report_every=500),
    "nano": replace(
        SHAPES_GENERATOR, steps=8, batch_size=4, report_every=4, save_every=2, held_out=4
    ),
}
