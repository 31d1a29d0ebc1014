"""The training plan of TGANs-C: first the caption encoder, which is then fixed, then the generator
against its critics.

Paper, code and licence: see `tgans_c.py`. Losses, Adam's numbers and the batch are the paper's,
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

from kinema.clip import Clip
from kinema.data.batches import WorldClips
from kinema.errors import InputError
from kinema.media import write_contact_sheet
from kinema.noise import Noise
from kinema.training.caption_autoencoder import CaptionAutoencoder, draw_captions
from kinema.training.matching_gan import MatchingGAN
from kinema.training.objective import Batch
from kinema.training.recipe import Recipe
from kinema.training.stage import Data, Stage
from kinema.worlds.shapes import Shapes

if TYPE_CHECKING:
    from kinema.systems.tgans_c import TGANsC

SUBJECT = ("shape", "color", "motion")  # what every caption of the world shapes names
ON_A_SHEET = 6
STILL = {"num_frames": 1, "height": 16, "width": 16}  # captions do not depend on the size

FULL_TEXT = Recipe(
    steps=20_000,
    batch_size=64,
    learning_rate=1e-3,
    warmup=100,
    decay=0.5,
    report_every=1000,
    save_every=1000,
    held_out=64,
)
TINY_TEXT = replace(FULL_TEXT, steps=500, learning_rate=1e-2, ema=0.99, report_every=250)
TEXT = {
    "full": FULL_TEXT,
    "tiny": TINY_TEXT,
    "nano": replace(TINY_TEXT, steps=8, batch_size=4, report_every=4, save_every=2, held_out=4),
}

FULL_GAN = Recipe(
    steps=100_000,
    batch_size=64,
    learning_rate=2e-4,
    warmup=0,
    decay=0.5,
    weight_decay=0.0,
    betas=(0.5, 0.999),
    clip_norm=100.0,
    ema=0.0,
    report_every=1000,
    save_every=1000,
    held_out=64,
)
TINY_GAN = replace(
    FULL_GAN, steps=2000, batch_size=32, learning_rate=1e-3, report_every=250, save_every=250
)
GAN = {
    "full": FULL_GAN,
    "tiny": TINY_GAN,
    "nano": replace(TINY_GAN, steps=8, batch_size=4, report_every=4, save_every=2, held_out=4),
}


class ShapesClips(WorldClips):
    """Clips of the world `shapes`, their captions, and ``subjects``: what every caption names."""

    def __call__(self, samples: tuple[int, ...]) -> dict[str, Any]:
        """The batch of some sample indices."""
        drawn = [self.world.sample(index) for index in samples]
        return {
            "clips": torch.stack([torch.from_numpy(one.clip.to_float()) for one in drawn]),
            "captions": [one.captions for one in drawn],
            "subjects": [" ".join(one.labels[name] for name in SUBJECT) for one in drawn],
        }


def text_objective(model: TGANsC, recipe: Recipe) -> CaptionAutoencoder:
    """The caption encoder with a decoder."""
    return CaptionAutoencoder(model.text)


def text_data(model: TGANsC, recipe: Recipe, named: str | None) -> Data:
    """Captions of the world `shapes`; its clips are drawn as small as they can be."""
    return drawn(model, recipe, named, **STILL)


def text_sheet(model: TGANsC, held_out: Batch, path: Path) -> None:
    """How alike sentences are: one row and column for each caption, those of a clip together."""
    captions = [text for said in held_out["captions"][:ON_A_SHEET] for text in said]
    unit = F.normalize(model.text.encode(captions).float(), dim=1)
    picture = (unit @ unit.T).repeat_interleave(8, 0).repeat_interleave(8, 1)
    draw_sheet([picture.expand(3, 1, -1, -1)], ["cosines of the sentences of captions"], 1.0, path)


def gan_objective(model: TGANsC, recipe: Recipe) -> MatchingGAN:
    """The generator against its critics; the caption encoder is fixed."""
    return MatchingGAN(model.generator, model.critics, prepare=partial(prepare_batch, model))


@torch.no_grad()
def prepare_batch(model: TGANsC, batch: Batch, noise: Noise) -> tuple[Tensor, Tensor]:
    """Clips and sentences; one caption of each clip is drawn."""
    return batch["clips"].to(model.device), model.text.encode(draw_captions(batch, noise))


def gan_data(model: TGANsC, recipe: Recipe, named: str | None) -> Data:
    """Clips of the world `shapes` in the generator's size."""
    size = model.config.sampling
    return drawn(
        model, recipe, named, num_frames=size.num_frames, height=size.height, width=size.width
    )


def drawn(model: TGANsC, recipe: Recipe, named: str | None, **size: int) -> Data:
    """Samples of the world `shapes`; combinations that are not trained on are held out.

    Raises:
        InputError: something else was named.
    """
    if named not in (None, "shapes"):
        raise InputError(f"tgans_c knows the words of the world shapes only, not --data {named}")
    fps = model.config.sampling.fps
    train = ShapesClips(Shapes(seed=0, split="train", fps=fps, **size))
    unseen = ShapesClips(Shapes(seed=1, split="held_out", fps=fps, **size))
    return Data(train, unseen(tuple(range(recipe.held_out))))


def gan_sheet(model: TGANsC, held_out: Batch, path: Path) -> None:
    """Held-out clips, each above what is made from its first caption, always with equal noise."""
    real, prompts = held_out["clips"][:ON_A_SHEET], [said[0] for said in held_out["captions"]]
    prompts = prompts[:ON_A_SHEET]
    made = model.make(prompts, Noise(0, tuple(range(len(prompts)))))
    rows = [row for pair in zip(real, made) for row in pair]
    labels = [f"{name}: {prompt}" for prompt in prompts for name in ("world", "made")]
    draw_sheet(rows, labels, model.config.sampling.fps, path)


def draw_sheet(clips: list[Tensor], labels: list[str], fps: float, path: Path) -> None:
    """A contact sheet of clips (3, T, H, W) in [-1, 1]."""
    rows = [Clip.from_float(clip.float().cpu().numpy(), fps) for clip in clips]
    write_contact_sheet(
        path, rows, labels[: len(rows)], columns=1, frames_per_clip=8, overwrite=True
    )


STAGES = {
    "text": Stage(
        trains=("text",), recipes=TEXT, objective=text_objective, data=text_data, sheet=text_sheet
    ),
    "gan": Stage(
        trains=("generator", "critics"),
        recipes=GAN,
        objective=gan_objective,
        data=gan_data,
        sheet=gan_sheet,
        starts_from=("text",),
    ),
}
