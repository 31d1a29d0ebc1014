"""The training plan of TGANs-C: first the caption encoder, which is then fixed, then the generator
against its critics.

Paper, code and license: see `tgans_c.py`. Losses, Adam's numbers and the batch are the paper's,
as far as they are known; lengths are ours.

The norms' statistics follow the weights of the moment, not their average: averaged weights would
meet statistics that are not theirs. So the recipes of the stage "gan" average nothing.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from kinema.data.batches import Source, WorldClips
from kinema.data.clips import SPLITS, ClipSize, split_of
from kinema.noise import Noise
from kinema.training.caption_autoencoder import CaptionAutoencoder
from kinema.training.captions import draw_captions
from kinema.training.matching_gan import MatchingGAN
from kinema.training.objective import Batch
from kinema.training.recipe import UNCLIPPED, Recipe
from kinema.training.sheets import draw_sheet
from kinema.training.stage import Stage

if TYPE_CHECKING:
    from kinema.systems.tgans_c import TGANsC

SUBJECT = ("shape", "color", "motion")  # what every caption of the world shapes names
ON_A_SHEET = 6
STILL = ClipSize(num_frames=1, height=16, width=16, fps=12.0)  # captions do not depend on it

FULL_TEXT = Recipe(steps=20_000, batch_size=64, learning_rate=1e-3, warmup=100, decay=0.5)
TINY_TEXT = replace(FULL_TEXT, steps=500, learning_rate=1e-2, ema=0.99, report_every=250)
TEXT = {"full": FULL_TEXT, "tiny": TINY_TEXT, "nano": TINY_TEXT.nano(batch_size=4)}
FULL_GAN = Recipe(
    steps=100_000,
    batch_size=64,
    learning_rate=2e-4,
    warmup=0,
    decay=0.5,
    weight_decay=0.0,
    betas=(0.5, 0.999),
    clip_norm=UNCLIPPED,
    ema=0.0,
)
TINY_GAN = replace(
    FULL_GAN, steps=2000, batch_size=32, learning_rate=1e-3, report_every=250, save_every=250
)
GAN = {"full": FULL_GAN, "tiny": TINY_GAN, "nano": TINY_GAN.nano(batch_size=4)}


class ShapesClips(WorldClips):
    """Clips of the world `shapes`, their captions, and ``subjects``: what every caption names."""

    def __call__(self, samples: tuple[int, ...]) -> dict[str, Any]:
        """The batch of some sample indices."""
        batch = super().__call__(samples)
        subjects = [" ".join(labels[name] for name in SUBJECT) for labels in batch["labels"]]
        return {**batch, "subjects": subjects}


def text_objective(model: TGANsC, recipe: Recipe) -> CaptionAutoencoder:
    """The caption encoder with a decoder."""
    return CaptionAutoencoder(model.text)


def text_data(model: TGANsC, recipe: Recipe, world: str) -> tuple[Source, Source]:
    """Captions; their clips are drawn as small as they can be."""
    return drawn(world, STILL)


def text_sheet(model: TGANsC, held_out: Batch, path: Path) -> None:
    """How alike sentences are: one row and column for each caption, those of a clip together."""
    captions = [text for said in held_out["captions"][:ON_A_SHEET] for text in said]
    unit = F.normalize(model.text.encode(captions).float(), dim=1)
    picture = (unit @ unit.T).repeat_interleave(8, 0).repeat_interleave(8, 1)
    draw_sheet(path, {"cosines": picture.expand(1, 3, 1, -1, -1)}, ["sentences"], columns=1)


def gan_objective(model: TGANsC, recipe: Recipe) -> MatchingGAN:
    """The generator against its critics; the caption encoder is fixed."""
    return MatchingGAN(model.generator, model.critics, prepare=partial(prepare_batch, model))


@torch.no_grad()
def prepare_batch(model: TGANsC, batch: Batch, noise: Noise) -> tuple[Tensor, Tensor]:
    """Clips and sentences; one caption of each clip is drawn."""
    sentences = model.text.encode(draw_captions(batch, noise, drop=0.0))
    return batch["clips"].to(model.device), sentences


def gan_data(model: TGANsC, recipe: Recipe, world: str) -> tuple[Source, Source]:
    """Clips in the generator's size."""
    return drawn(world, model.config.sampling)


def drawn(world: str, size: ClipSize) -> tuple[Source, Source]:
    """Clips with their subjects; combinations that are not trained on are held out."""
    train, unseen = (ShapesClips(split_of(world, split, size)) for split in SPLITS)
    return train, unseen


def gan_sheet(model: TGANsC, held_out: Batch, path: Path) -> None:
    """Held-out clips, each above what is made from its first caption, always with equal noise."""
    real, prompts = held_out["clips"][:ON_A_SHEET], [said[0] for said in held_out["captions"]]
    noise = Noise(0, tuple(range(len(real))))
    made = model.latents(prompts[: len(real)], noise=noise, sampling=model.config.sampling)
    draw_sheet(path, {"world": real, "made": made}, prompts, columns=1)


STAGES = {
    "text": Stage(
        trains=("text",),
        recipes=TEXT,
        objective=text_objective,
        data=text_data,
        sheet=text_sheet,
        worlds=("shapes",),
    ),
    "gan": Stage(
        trains=("generator", "critics"),
        recipes=GAN,
        objective=gan_objective,
        data=gan_data,
        sheet=gan_sheet,
        worlds=("shapes",),
        starts_from=("text",),
    ),
}
