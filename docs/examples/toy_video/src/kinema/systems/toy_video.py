"""Toy video: a diffusion transformer over patches of pixels, after DiT (arXiv 2212.09748).

Authors' code: github.com/facebookresearch/DiT (CC-BY-NC-4.0). What differs is in the card.

Letters: B batch, N tokens, C channels of a token; T, H, W frames, rows, columns of pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ClassVar

from einops import rearrange
from torch import Tensor

from kinema.card import Card
from kinema.condition import Conditions
from kinema.config import config
from kinema.data.batches import Source, WorldClips
from kinema.data.clips import SPLITS, ClipSize, split_of
from kinema.errors import InputError
from kinema.networks.toy_transformer import ToyTransformer, ToyTransformerConfig
from kinema.networks.word_encoder import WordEncoder, WordEncoderConfig
from kinema.noise import Noise
from kinema.processes import schedules
from kinema.processes.flow import Flow, LogitNormal
from kinema.processes.guidance import Term, linear
from kinema.systems.model import Part
from kinema.systems.text_to_video import TextToVideo
from kinema.training.captions import drop_texts
from kinema.training.denoising import DenoisingObjective, Prepared, TextRecipe
from kinema.training.objective import Batch
from kinema.training.sheets import draw_sheet
from kinema.training.stage import Stage
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
    dead={"*.to_k.bias": "what is added to all keys changes no softmax"},
)
# A token is 2 frames of 8x8 pixels.
SHIFT = schedules.TokenShift(tokens=(16, 64), mu=(0.0, 0.7))
PATCHES = "b c (t p) (h q) (w r) -> b (t h w) (c p q r)"
PIXELS = "b (t h w) (c p q r) -> b c (t p) (h q) (w r)"


@config
class Sampling(ClipSize):
    """Size of clips, steps of Euler's rule, scale of classifier-free guidance."""

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


TINY = TextRecipe(
    steps=2000,
    batch_size=16,
    learning_rate=1e-3,
    warmup=50,
    decay=0.4,
    report_every=500,
    save_every=500,
    text_drop=0.1,
)
RECIPES = {"full": TINY, "tiny": TINY, "nano": TINY.nano(batch_size=4)}


def objective(model: ToyVideo, recipe: TextRecipe) -> DenoisingObjective:
    """Transformer and text encoder together."""
    networks = {role: model.parts[role] for role in ("transformer", "text")}
    prepare = partial(prepare_batch, model, recipe.text_drop)
    return DenoisingObjective(
        networks, predict="transformer", process=model.process, prepare=prepare
    )


def prepare_batch(model: ToyVideo, text_drop: float, batch: Batch, noise: Noise) -> Prepared:
    """Tokens of clips under their first captions, some of which are dropped."""
    texts = drop_texts([said[0] for said in batch["captions"]], noise, drop=text_drop)
    tokens = rearrange(batch["clips"].to(model.device), PATCHES, p=2, q=8, r=8)
    conditions = model.prepare(texts, "", model.config.sampling)
    return Prepared(x0=tokens, conditions=conditions, noise=noise)


def data(model: ToyVideo, recipe: TextRecipe, world: str) -> tuple[Source, Source]:
    """Clips that a world draws."""
    train, unseen = (split_of(world, split, model.config.sampling) for split in SPLITS)
    return WorldClips(train), WorldClips(unseen)


def sheet(model: ToyVideo, held_out: Batch, path: Path) -> None:
    """Clips from the first held-out captions, always with the same noise."""
    prompts = [said[0] for said in held_out["captions"][:4]]
    noise, sampling = Noise(0, tuple(range(len(prompts)))), model.config.sampling
    tokens = model.latents(prompts, noise=noise, sampling=sampling)
    made = model.decode(tokens, noise=noise, sampling=sampling)
    draw_sheet(path, {"made": made}, prompts, columns=1)


STAGES = {
    "generator": Stage(
        trains=("transformer", "text"),
        recipes=RECIPES,
        objective=objective,
        data=data,
        sheet=sheet,
        worlds=("shapes",),
    )
}


class ToyVideo(TextToVideo):
    """The system; the state of its process is tokens (B, N, C)."""

    CARD = CARD
    CONFIG = ToyVideoConfig
    PRESETS: ClassVar = {preset.__name__: preset for preset in (full, tiny, nano)}
    STAGES = STAGES
    config: ToyVideoConfig
    text = Part(WordEncoder)
    transformer = Part(ToyTransformer)
    process = Flow(times=LogitNormal(shift=SHIFT))

    def prepare(self, prompts: Sequence[str], negative: str, sampling: Sampling) -> Conditions:
        """Encoded prompts (B, L, D); their null is the encoded `negative`."""
        ids = self.text.ids([*prompts, *([negative] * len(prompts))]).to(self.device)
        given, null = (self.text(rows) for rows in ids.chunk(2))
        return Conditions({"text": replace(given, null=null)})

    def latent_shape(self, sampling: Sampling) -> tuple[int, int]:
        """(N, C); raises InputError unless clips are of the size that was trained."""
        size = (sampling.num_frames, sampling.height, sampling.width)
        if size != (8, 32, 32):
            raise InputError(f"this model makes 8 frames of 32x32, not {size}")
        return self.config.transformer.num_tokens, self.config.transformer.channels

    def sample(self, conditions: Conditions, noise: Noise, sampling: Sampling) -> Tensor:
        """Clips as tokens (B, N, C); row b has the noise of ``noise.samples[b]``."""
        shape = (len(noise), *self.latent_shape(sampling))
        sigmas = schedules.linear(sampling.steps)
        return self.process.sample(
            self.transformer,
            self.process.start(shape, noise).to(next(self.parts.parameters())),
            schedules.with_zero(schedules.shift(sigmas, SHIFT.at(shape[1]))),
            conditions=conditions,
            guidance=linear([Term(weight=sampling.guidance - 1, drop=("text",))]),
        )

    def decode(self, latents: Tensor, *, noise: Noise, sampling: Sampling) -> Tensor:
        """Tokens as clips (B, 3, T, H, W)."""
        return rearrange(latents, PIXELS, t=4, h=4, p=2, q=8, r=8)


SYSTEM = ToyVideo
