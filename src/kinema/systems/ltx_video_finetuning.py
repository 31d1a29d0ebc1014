"""Fine-tuning LTX-Video on a folder of clips, with all weights or with low-rank adapters, while it
is reminded of what it knows.

Paper, code and license: see `ltx_video.py`. Adapters: LoRA (arXiv 2106.09685), on the layers that
the authors' trainer adapts. Reminders: see `ltx_video_replay.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kinema.data.batches import Source
from kinema.networks.word_encoder import WordEncoder
from kinema.nn import lora
from kinema.systems.ltx_video_clips import prepare_clips
from kinema.systems.ltx_video_finetuning_recipes import RECIPES, FinetuneRecipe
from kinema.systems.ltx_video_given import GivenFrames
from kinema.systems.ltx_video_replay import write_known
from kinema.systems.ltx_video_training import (
    generator_data,
    generator_objective,
    generator_sheet,
)
from kinema.training import finetuning
from kinema.training.objective import Batch
from kinema.training.stage import Stage

if TYPE_CHECKING:
    from kinema.systems.ltx_video import LTXVideo

ADAPTED = ("transformer_blocks.*.to_*", "transformer_blocks.*.ff.net.*")


def prepare(model: LTXVideo, recipe: FinetuneRecipe, named: str | None, folder: Path) -> str:
    """As `prepare_clips`; new words get adapters, and reminders are drawn or made.

    Raises:
        InputError: nothing to train on was named, or files or reminders cannot be used.
    """
    count = len(words_of(model))
    into, lacking = finetuning.prepare(
        recipe, named, lambda: prepare_clips(model, recipe, named, folder)
    )
    new = words_of(model)[count:]
    if recipe.lora and new:
        assert isinstance(model.text, WordEncoder)
        lora.attach_rows(model.text.words, len(new))
    if lacking:
        write_known(model, recipe, Path(into), clips=str(named), new=new)
    return into


def words_of(model: LTXVideo) -> tuple[str, ...]:
    """The vocabulary of the text encoder; none where it reads all words."""
    return model.text.config.vocabulary if isinstance(model.text, WordEncoder) else ()


def objective(model: LTXVideo, recipe: FinetuneRecipe) -> GivenFrames:
    """As the generator's; with adapters nothing else is trained."""
    made = generator_objective(model, recipe)
    finetuning.adapt(made, model.transformer, ADAPTED, recipe)
    return made


def data(model: LTXVideo, recipe: FinetuneRecipe, folder: str) -> tuple[Source, Source]:
    """As the generator's, with reminders in a share of the steps."""
    source, unseen = generator_data(model, recipe, folder)
    return finetuning.with_reminders(source, model.codec, recipe, folder), unseen


def sheet(model: LTXVideo, held_out: Batch, path: Path) -> None:
    """As the generator's, each prompt once."""
    captions = list(dict.fromkeys(tuple(said) for said in held_out["captions"]))
    generator_sheet(model, {"captions": captions}, path)


FINETUNE = Stage(
    trains=("transformer", "text"),
    recipes=RECIPES,
    objective=objective,
    data=data,
    prepare=prepare,
    sheet=sheet,
    latents_of="codec",
    starts_from=("generator",),
)
