"""Recipes of LTX-Video's stages, by preset.

Paper, code and license: see `ltx_video.py`. Those of the published sizes follow the paper where it
tells them; the others are ours, for two cores.
"""

from __future__ import annotations

from dataclasses import replace

from kinema.config import config
from kinema.errors import InputError
from kinema.systems.ltx_video_versions import VERSIONS
from kinema.training.denoising import TextRecipe
from kinema.training.recipe import Recipe
from kinema.training.vae_gan import VAEGANWeights

PUBLISHED = ("full", *VERSIONS)


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
class GeneratorRecipe(TextRecipe):
    """How transformer and text encoder are trained.

    Args:
        first_given, start_given: shares whose first, or first three, latent frames are given.
        stills_given: share with one to three single frames appended, drawn apart from the start.
        given_level: what is given has a noise level between 0 and this.
        shown: weight of a second loss, what tokens show; see `kinema.training.shown`.
        skip_broken: of a folder of clips, train on those that can be used.

    Raises:
        InputError: a share or the level is out of its range.
    """

    first_given: float = 0.0
    start_given: float = 0.0
    stills_given: float = 0.0
    given_level: float = 0.0
    shown: float = 0.0
    skip_broken: bool = False

    def __post_init__(self) -> None:
        Recipe.__post_init__(self)  # a class with slots has no super()
        shares = (self.text_drop, self.first_given, self.start_given, self.stills_given)
        if not all(0 <= share <= 1 for share in (*shares, self.first_given + self.start_given)):
            raise InputError(
                "text_drop, first_given, start_given and stills_given are shares of the clips; "
                f"{shares} are not"
            )
        if not self.shown >= 0:
            raise InputError(f"shown is the weight of a loss, 0 or more, not {self.shown}")
        if not 0 <= self.given_level < 1:
            raise InputError(f"given_level must lie in [0, 1), not be {self.given_level}")


# Batches of the published sizes are split into single clips, of which one accelerator holds one.
FULL_CODEC = CodecRecipe(
    steps=200_000,
    batch_size=64,
    accumulate=64,
    learning_rate=1e-4,
    held_out=16,
    loss=VAEGANWeights(wavelet=0.5, kl=1e-4, gan=0.01, gan_from=50_000, critic_width=64),
    frames=121,
    crop=256,
)
SHAPES_CODEC = CodecRecipe(
    steps=20_000,
    batch_size=8,
    optimizer="muon",
    learning_rate=1.5e-3,
    warmup=100,
    decay=0.4,
    precision="bfloat16",
    save_every=500,
    held_out=16,
    loss=VAEGANWeights(wavelet=0.2, kl=3e-4, gan=0.002, gan_from=19_000, critic_width=16),
    frames=9,
    crop=48,
)
TINY_CODEC = replace(
    SHAPES_CODEC,
    steps=1500,
    report_every=500,
    loss=replace(SHAPES_CODEC.loss, gan_from=1200, critic_width=8),
)
NANO_CODEC = SHAPES_CODEC.nano(
    batch_size=2, loss=replace(SHAPES_CODEC.loss, gan_from=4, critic_width=4), crop=32
)
CODEC = {
    **dict.fromkeys(PUBLISHED, FULL_CODEC),
    "shapes": SHAPES_CODEC,
    "tiny": TINY_CODEC,
    "nano": NANO_CODEC,
}

SHAPES_REFINE = replace(
    SHAPES_CODEC,
    steps=6_000,
    batch_size=2,
    learning_rate=6e-4,
    warmup=20,
    decay=1.0,
    ema=0.99,
    report_every=500,
    frames=25,
    crop=96,
)
REFINE = {
    **dict.fromkeys(
        PUBLISHED,
        replace(
            FULL_CODEC,
            steps=20_000,
            batch_size=16,
            accumulate=16,
            learning_rate=5e-5,
            warmup=100,
            decay=1.0,
        ),
    ),
    "shapes": SHAPES_REFINE,
    "tiny": replace(SHAPES_REFINE, steps=700, loss=TINY_CODEC.loss, frames=17, crop=48),
    "nano": SHAPES_REFINE.nano(batch_size=2, steps=6, loss=NANO_CODEC.loss, crop=32),
}

SHAPES_GENERATOR = GeneratorRecipe(
    steps=12_000,
    batch_size=8,
    optimizer="muon",
    learning_rate=2e-3,
    warmup=200,
    decay=0.6,
    ema=0.999,
    precision="bfloat16",
    save_every=500,
    text_drop=0.1,
    first_given=0.15,
    start_given=0.1,
    stills_given=0.15,
    given_level=0.05,
    shown=0.2,
)
GENERATOR = {
    **dict.fromkeys(
        PUBLISHED,
        GeneratorRecipe(
            steps=500_000,
            batch_size=1024,
            accumulate=1024,
            learning_rate=1e-4,
            precision="bfloat16",
            text_drop=0.1,
        ),
    ),
    "shapes": SHAPES_GENERATOR,
    "tiny": replace(SHAPES_GENERATOR, steps=2000, precision="float32", report_every=500),
    "nano": SHAPES_GENERATOR.nano(
        batch_size=4, first_given=0.0, start_given=0.0, stills_given=0.0, given_level=0.0
    ),
}
