"""Configuration, presets and recipes of C3V.

Paper, code and license: see `c3v.py`. The paper's numbers of score distillation stand in an
appendix that we have not seen; these are ours.
"""

from __future__ import annotations

from dataclasses import replace

from kinema.config import config
from kinema.data.clips import ClipSize
from kinema.errors import InputError
from kinema.networks.ltx_transformer import LTXTransformerConfig
from kinema.networks.word_encoder import WordEncoderConfig
from kinema.scenes.director import VOCABULARY
from kinema.training.denoising import TextRecipe
from kinema.training.recipe import Recipe


@config
class Pictures:
    """What the prior sees: squares of `side` pixels as tokens of patch x patch.

    Args:
        side, patch: in pixels.
        steps: of Euler's rule, where the prior draws pictures itself.
    """

    side: int
    patch: int
    steps: int

    def __post_init__(self) -> None:
        if self.side % self.patch:
            raise InputError(f"side {self.side} is not divisible by patch {self.patch}")


@config
class Refinement:
    """Score distillation into the layout: first the heights, then the locations.

    Args:
        height_steps, location_steps: steps of the optimizer for either.
        draws: pictures and noises in a step.
        learning_rate: of the variables under the sigmoids.
        guidance: scale of classifier-free guidance.
        times: the lowest time, and the highest at the start and at the end.
        height_bound: tau of the heights, as a share of them.
        location_bound: tau of the locations, in meters.
    """

    height_steps: int
    location_steps: int
    draws: int
    learning_rate: float
    guidance: float
    times: tuple[float, float, float]
    height_bound: float
    location_bound: float

    def __post_init__(self) -> None:
        if not 0 < self.height_bound < 2:
            raise InputError(f"height_bound must lie in (0, 2), not be {self.height_bound}")
        low, *high = self.times
        if not 0 < low < min(high) <= max(high) < 1:
            raise InputError(f"times must be in (0, 1), the lowest first, not {list(self.times)}")

    @property
    def recipe(self) -> Recipe:
        """The numbers of the fit."""
        return Recipe(
            steps=self.height_steps + self.location_steps,
            batch_size=self.draws,
            learning_rate=self.learning_rate,
            warmup=0,
            decay=0.3,
            weight_decay=0.0,
            ema=0.9,
        )


@config
class C3VConfig:
    """Networks of the prior, what it sees, the size of films, and the refinement."""

    text: WordEncoderConfig
    prior: LTXTransformerConfig
    pictures: Pictures
    sampling: ClipSize
    refinement: Refinement

    def __post_init__(self) -> None:
        channels = 3 * self.pictures.patch**2
        if self.prior.latent_channels != channels:
            raise InputError(
                f"latent_channels of prior must be {channels}, the values of a patch, "
                f"not {self.prior.latent_channels}"
            )
        if self.prior.caption_channels != self.text.width:
            raise InputError(f"caption_channels of prior must be {self.text.width}, as text.width")


def full() -> C3VConfig:
    """Films and pictures of 512x512, and a prior of about the size of Stable Diffusion's."""
    return C3VConfig(
        text=WordEncoderConfig(
            vocabulary=VOCABULARY, max_words=64, width=768, num_layers=12, num_heads=12
        ),
        prior=LTXTransformerConfig(
            latent_channels=768,
            caption_channels=768,
            num_layers=23,
            num_heads=24,
            head_width=64,
            max_position=(2.0, 1024.0, 1024.0),
        ),
        pictures=Pictures(side=512, patch=16, steps=50),
        sampling=ClipSize(num_frames=64, height=512, width=512, fps=16.0),
        refinement=Refinement(
            height_steps=500,
            location_steps=1000,
            draws=4,
            learning_rate=1e-2,
            guidance=100.0,
            times=(0.02, 0.98, 0.5),
            height_bound=1.0,
            location_bound=1.0,
        ),
    )


def tiny() -> C3VConfig:
    """Trains on two cores in minutes; refines in about one."""
    return C3VConfig(
        text=WordEncoderConfig(
            vocabulary=VOCABULARY, max_words=40, width=48, num_layers=1, num_heads=2
        ),
        prior=LTXTransformerConfig(
            latent_channels=48,
            caption_channels=48,
            num_layers=4,
            num_heads=3,
            head_width=32,
            theta=8.0,
            max_position=(2.0, 64.0, 64.0),
        ),
        pictures=Pictures(side=32, patch=4, steps=20),
        sampling=ClipSize(num_frames=8, height=96, width=96, fps=8.0),
        refinement=Refinement(
            height_steps=100,
            location_steps=200,
            draws=4,
            learning_rate=0.05,
            guidance=7.5,
            times=(0.02, 0.98, 0.5),
            height_bound=1.0,
            location_bound=1.2,
        ),
    )


def nano() -> C3VConfig:
    """The real classes at under 200,000 parameters, for contract tests."""
    base = tiny()
    return replace(
        base,
        text=replace(base.text, width=16),
        prior=replace(base.prior, caption_channels=16, num_layers=2, num_heads=2, head_width=12),
        pictures=Pictures(side=16, patch=4, steps=2),
        sampling=ClipSize(num_frames=3, height=24, width=24, fps=8.0),
        refinement=replace(base.refinement, height_steps=1, location_steps=2, draws=2),
    )


@config
class PriorRecipe(TextRecipe):
    """How the prior is trained; `compositions` is how many different pictures are drawn."""

    compositions: int


FULL = PriorRecipe(
    steps=400_000, batch_size=256, learning_rate=1e-4, compositions=1_000_000, text_drop=0.1
)
TINY = replace(
    FULL,
    steps=3000,
    batch_size=16,
    optimizer="muon",
    learning_rate=4e-3,
    warmup=50,
    decay=0.5,
    ema=0.99,
    report_every=500,
    save_every=500,
    compositions=5000,
)
RECIPES = {"full": FULL, "tiny": TINY, "nano": TINY.nano(batch_size=4, compositions=16)}
