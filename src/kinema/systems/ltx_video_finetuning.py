"""Fine-tuning LTX-Video on a folder of clips, with all weights or with low-rank adapters, while it
is reminded of what it knows.

Paper, code and licence: see `ltx_video.py`. Adapters: LoRA (arXiv 2106.09685), on the layers that
the authors' trainer adapts. Reminders: see `ltx_video_replay.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kinema.data.batches import Mixture, Source
from kinema.errors import InputError
from kinema.networks.word_encoder import WordEncoder
from kinema.nn import lora
from kinema.systems.ltx_video_clips import prepare_clips
from kinema.systems.ltx_video_finetuning_recipes import RECIPES, FinetuneRecipe
from kinema.systems.ltx_video_replay import known, write_known
from kinema.systems.ltx_video_training import (
    generator_data,
    generator_objective,
    generator_sheet,
)
from kinema.training.denoising import DenoisingObjective
from kinema.training.objective import Batch
from kinema.training.stage import Stage

if TYPE_CHECKING:
    from kinema.systems.ltx_video import LTXVideo

ADAPTED = ("transformer_blocks.*.to_*", "transformer_blocks.*.ff.net.*")


def prepare(model: LTXVideo, recipe: FinetuneRecipe, named: str | None, folder: Path) -> str | None:
    """As `prepare_clips`; new words get adapters, and reminders are drawn or made.

    Raises:
        InputError: nothing to train on was named, or files or reminders cannot be used.
    """
    if named is None or not Path(named).is_dir():
        missing = "name what to learn from" if named is None else f"there is no folder {named}"
        raise InputError(f"{missing}: --data FOLDER with clips and captions")
    count = len(words_of(model))
    into = prepare_clips(model, recipe, named, folder)
    if into == named:
        if recipe.replay:
            raise InputError(f"{named} holds latents, into which recipe.replay mixes nothing")
        return named
    new = words_of(model)[count:]
    if recipe.lora and new:
        assert isinstance(model.text, WordEncoder)
        lora.attach_rows(model.text.words, len(new))
    if recipe.replay:
        assert into is not None, "a folder was named"
        write_known(model, recipe, Path(into), clips=named, new=new)
    return into


def words_of(model: LTXVideo) -> tuple[str, ...]:
    """The vocabulary of the text encoder; none where it reads all words."""
    return model.text.config.vocabulary if isinstance(model.text, WordEncoder) else ()


def objective(model: LTXVideo, recipe: FinetuneRecipe) -> DenoisingObjective:
    """As the generator's; with adapters nothing else is trained."""
    made = generator_objective(model, recipe)
    if recipe.lora:
        lora.attach(model.transformer, ADAPTED, rank=recipe.lora, seed=0)
        made.players = {"generator": (lora.TRAINED,)}
    return made


def data(model: LTXVideo, recipe: FinetuneRecipe, folder: str) -> tuple[Source, Source]:
    """As the generator's, with reminders in a share of the steps."""
    source, unseen = generator_data(model, recipe, folder)
    if not recipe.replay:
        return source, unseen
    other, size = known(model, recipe, Path(folder)), recipe.batch_size
    return Mixture(source, other, share=recipe.replay, batch_size=size), unseen


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
    overfits_to=1.0,
)
