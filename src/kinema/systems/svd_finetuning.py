"""Fine-tuning Stable Video Diffusion on a folder of clips, without captions.

Paper, code and license: see `svd.py`. With adapters only attention over time learns, as in the
paper's camera motions. Rates and lengths are ours.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kinema.config import config, from_dict, to_dict
from kinema.data.batches import Source
from kinema.systems.svd_training import (
    UNET,
    UNetRecipe,
    prepare_clips,
    unet_data,
    unet_objective,
    unet_sheet,
)
from kinema.training import finetuning
from kinema.training.denoising import DenoisingObjective, Prepared
from kinema.training.finetuning import Finetuning
from kinema.training.stage import Stage

if TYPE_CHECKING:
    from kinema.systems.svd import SVD

ADAPTED = ("*.temporal_transformer_blocks.*.attn1.to_*",)


@config
class FinetuneRecipe(Finetuning, UNetRecipe):
    """How a model that knows something learns more.

    Raises:
        InputError: a number is out of its range.
    """

    def __post_init__(self) -> None:
        UNetRecipe.__post_init__(self)
        self.check()


def finetuned(base: UNetRecipe, **changes: Any) -> FinetuneRecipe:
    """A recipe that follows the one by which a model was trained."""
    return from_dict(FinetuneRecipe, to_dict(base) | changes)


FULL = finetuned(UNET["full"], **finetuning.PUBLISHED, lora_rate=1e-4, replay_from="shapes")
TINY = finetuned(UNET["tiny"], **finetuning.MINIATURE, learning_rate=2e-4, lora_rate=1e-3)
RECIPES = {
    **dict.fromkeys(("full", "full_xt"), FULL),
    "tiny": TINY,
    "nano": finetuned(UNET["nano"], lora_rate=3e-3, warmup=1, replay_from="shapes", replay_clips=8),
}


def prepare(model: SVD, recipe: FinetuneRecipe, named: str | None, folder: Path) -> str:
    """As `prepare_clips`; reminders are drawn.

    Raises:
        InputError: nothing to train on was named, or files or reminders cannot be used.
    """
    into, lacking = finetuning.prepare(
        recipe, named, lambda: prepare_clips(model, recipe, named, folder)
    )
    if lacking:
        size, stills = model.config.sampling, model.STILLS
        finetuning.draw_known(model.encoded, model.vae, recipe, into, size=size, stills=stills)
    return into


def objective(model: SVD, recipe: FinetuneRecipe) -> DenoisingObjective[Prepared]:
    """As that of the U-Net; with adapters nothing else is trained."""
    made = unet_objective(model, recipe)
    finetuning.adapt(made, model.unet, ADAPTED, recipe)
    return made


def data(model: SVD, recipe: FinetuneRecipe, folder: str) -> tuple[Source, Source]:
    """As that of the U-Net, with reminders in a share of the steps."""
    source, unseen = unet_data(model, recipe, folder)
    return finetuning.with_reminders(source, model.vae, recipe, folder), unseen


FINETUNE = Stage(
    trains=("unet", "image"),
    recipes=RECIPES,
    objective=objective,
    data=data,
    prepare=prepare,
    sheet=unet_sheet,
    latents_of="vae",
    starts_from=("unet",),
)
