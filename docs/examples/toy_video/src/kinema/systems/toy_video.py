"""Toy video: a diffusion transformer over patches of pixels, after DiT (arXiv 2212.09748).

Authors' code: github.com/facebookresearch/DiT (CC-BY-NC-4.0). What differs is in the card.

Letters: B batch, N tokens, C channels of a token; T, H, W frames, rows, columns of pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ClassVar, cast

import torch
from einops import rearrange
from torch import Tensor

from kinema.card import Card
from kinema.condition import Conditions
from kinema.config import config
from kinema.data.batches import WorldClips
from kinema.errors import InputError
from kinema.media import write_contact_sheet
from kinema.networks.toy_transformer import ToyTransformer, ToyTransformerConfig
from kinema.networks.word_encoder import WordEncoder, WordEncoderConfig
from kinema.noise import Noise
from kinema.processes import schedules
from kinema.processes.flow import Flow, LogitNormal
from kinema.processes.guidance import Term, linear
from kinema.processes.process import Callback
from kinema.systems.text_to_video import TextToVideo
from kinema.training.denoising import DenoisingObjective
from kinema.training.objective import Batch
from kinema.training.recipe import Recipe
from kinema.training.stage import Data, Stage
from kinema.worlds import load as load_world
from kinema.worlds.shapes import VOCABULARY

CARD = Card(
    name="toy_video",
    number=63,
    title="Toy Video",
    arxiv="2212.09748",
    year=2022,
    kind="generator",
    job="a text prompt becomes a clip",
    code="github.com/facebookresearch/DiT",
    code_license="CC-BY-NC-4.0",
    weights_license="none published",
    claim="a transformer alone denoises patches of pixels",
    applies=("weights", "parity", "tiny", "run"),
    verified=("the transformer, by one recorded case and a manifest",),
    deviations=("pixels instead of latents; a text instead of a class",),
)
# A token is 2 frames of 8x8 pixels.
SHIFT = schedules.TokenShift(tokens=(16, 64), mu=(0.0, 0.7))
PATCHES = "b c (t p) (h q) (w r) -> b (t h w) (c p q r)"
PIXELS = "b (t h w) (c p q r) -> b c (t p) (h q) (w r)"


@config
class Sampling:
    """Size of clips, steps of Euler's rule, scale of classifier-free guidance."""

    num_frames: int
    height: int
    width: int
    fps: float
    steps: int
    guidance: float


@config
class ToyVideoConfig:
    """Networks and sampling."""

    text: WordEncoderConfig
    transformer: ToyTransformerConfig
    sampling: Sampling


def sizes(*, width: int, num_layers: int, num_heads: int) -> ToyTransformerConfig:
    """A transformer for 8 frames of 32x32."""
    return ToyTransformerConfig(
        channels=3 * 2 * 8 * 8,
        num_tokens=4 * 4 * 4,
        caption_channels=32,
        width=width,
        num_layers=num_layers,
        num_heads=num_heads,
    )


def tiny() -> ToyVideoConfig:
    """Trains on two cores in minutes."""
    return ToyVideoConfig(
        text=WordEncoderConfig(
            vocabulary=VOCABULARY, max_words=40, width=32, num_layers=1, num_heads=2
        ),
        transformer=sizes(width=192, num_layers=4, num_heads=4),
        sampling=Sampling(num_frames=8, height=32, width=32, fps=8.0, steps=20, guidance=3.0),
    )


def full() -> ToyVideoConfig:
    """As wide and deep as DiT-S."""
    return replace(tiny(), transformer=sizes(width=384, num_layers=12, num_heads=6))


def nano() -> ToyVideoConfig:
    """The real classes at under 200,000 parameters, for contract tests."""
    base = tiny()
    return replace(
        base,
        transformer=sizes(width=64, num_layers=1, num_heads=2),
        sampling=replace(base.sampling, steps=3),
    )


@config
class ToyRecipe(Recipe):
    """`text_drop` is the share of clips learned without text."""

    text_drop: float


TINY = ToyRecipe(
    steps=2000,
    batch_size=16,
    learning_rate=1e-3,
    warmup=50,
    decay=0.4,
    report_every=500,
    save_every=500,
    held_out=64,
    text_drop=0.1,
)
RECIPES = {
    "full": TINY,
    "tiny": TINY,
    "nano": replace(TINY, steps=8, batch_size=4, report_every=4, save_every=2, held_out=4),
}


def objective(model: ToyVideo, recipe: ToyRecipe) -> DenoisingObjective:
    """Transformer and text encoder together."""
    networks = {role: model.parts[role] for role in ("transformer", "text")}
    prepare = partial(prepare_batch, model, recipe.text_drop)
    return DenoisingObjective(
        networks, predict="transformer", process=model.process, prepare=prepare
    )


def prepare_batch(
    model: ToyVideo, text_drop: float, batch: Batch, noise: Noise
) -> tuple[Tensor, Conditions]:
    """Tokens of clips under their first captions, some of which are dropped."""
    dropped = noise.uniform((len(noise),), "caption") < text_drop
    texts = ["" if drop else said[0] for said, drop in zip(batch["captions"], dropped)]
    tokens = rearrange(batch["clips"].to(model.device), PATCHES, p=2, q=8, r=8)
    return tokens, model.prepare(texts, "")


def data(model: ToyVideo, recipe: ToyRecipe, named: str | None) -> Data:
    """Clips that a world draws (`shapes` if none is named)."""
    size = {n: getattr(model.config.sampling, n) for n in ("num_frames", "height", "width", "fps")}
    world = partial(load_world, named or "shapes", **size)
    unseen = WorldClips(world(seed=1, split="held_out"))
    return Data(WorldClips(world(seed=0, split="train")), unseen(tuple(range(recipe.held_out))))


def sheet(model: ToyVideo, held_out: Batch, path: Path) -> None:
    """Clips from the first held-out captions, always with the same noise."""
    prompts = [said[0] for said in held_out["captions"][:4]]
    noise, sampling = Noise(0, tuple(range(len(prompts)))), model.config.sampling
    tokens = model.latents(prompts, noise=noise, sampling=sampling, negative="")
    clips = [model.clip(x, sampling) for x in model.decode(tokens, noise=noise, sampling=sampling)]
    write_contact_sheet(path, clips, prompts, columns=1, frames_per_clip=8, overwrite=True)


STAGES = {
    "generator": Stage(
        trains=("transformer", "text"),
        recipes=RECIPES,
        objective=objective,
        data=data,
        sheet=sheet,
    )
}


class ToyVideo(TextToVideo):
    """The system; the state of its process is tokens (B, N, C)."""

    CARD = CARD
    CONFIG = ToyVideoConfig
    PRESETS: ClassVar = {preset.__name__: preset for preset in (full, tiny, nano)}
    PARTS: ClassVar = {"text": WordEncoder, "transformer": ToyTransformer}
    STAGES = STAGES
    config: ToyVideoConfig
    process = Flow(times=LogitNormal(shift=SHIFT))

    def prepare(self, texts: Sequence[str], negative: str) -> Conditions:
        """Encoded texts (B, L, D); their null is the encoded `negative`."""
        encode = cast(WordEncoder, self.parts["text"])
        ids = encode.ids([*texts, *([negative] * len(texts))]).to(self.device)
        given, null = (encode(rows) for rows in ids.chunk(2))
        return Conditions({"text": replace(given, null=null)})

    def latent_shape(self, sampling: Sampling) -> tuple[int, int]:
        """(N, C); raises InputError unless clips are of the size that was trained."""
        size = (sampling.num_frames, sampling.height, sampling.width)
        if size != (8, 32, 32):
            raise InputError(f"this model makes 8 frames of 32x32, not {size}")
        return self.config.transformer.num_tokens, self.config.transformer.channels

    @torch.inference_mode()
    def latents(
        self,
        prompts: Sequence[str],
        *,
        noise: Noise,
        sampling: Sampling,
        negative: str,
        callback: Callback | None = None,
    ) -> Tensor:
        """Clips as tokens (B, N, C); row b has the noise of ``noise.samples[b]``."""
        shape = (len(prompts), *self.latent_shape(sampling))
        sigmas = schedules.linear(sampling.steps)
        return self.process.sample(
            cast(ToyTransformer, self.parts["transformer"]),
            self.process.start(shape, noise).to(next(self.parts.parameters())),
            schedules.with_zero(schedules.shift(sigmas, SHIFT.at(shape[1]))),
            conditions=self.prepare(prompts, negative),
            guidance=linear([Term(weight=sampling.guidance - 1, drop=("text",))]),
            callback=callback,
        )

    def decode(self, latents: Tensor, *, noise: Noise, sampling: Sampling) -> Tensor:
        """Tokens as clips (B, 3, T, H, W)."""
        return rearrange(latents, PIXELS, t=4, h=4, p=2, q=8, r=8)


SYSTEM = ToyVideo
