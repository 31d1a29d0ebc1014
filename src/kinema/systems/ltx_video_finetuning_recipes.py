"""Recipes for fine-tuning LTX-Video, by preset.

Paper, code and license: see `ltx_video.py`. Numbers that other systems share: see `finetuning.py`.
"""

from __future__ import annotations

from typing import Any

from kinema.config import config, from_dict, to_dict
from kinema.systems.ltx_video_recipes import GENERATOR, PUBLISHED, GeneratorRecipe
from kinema.training import finetuning
from kinema.training.finetuning import Finetuning

MODEL = "model"


@config
class FinetuneRecipe(Finetuning, GeneratorRecipe):
    """How a model that knows something learns more.

    Args:
        replay_from: beside what `Finetuning` names, ``model``: clips that it makes itself before it
            is trained.
        replay_prompts: file with a prompt in each line for ``model``; if empty, it makes clips from
            the captions, without words that are new to it.

    Raises:
        InputError: a number is out of its range.
    """

    replay_prompts: str = ""

    def __post_init__(self) -> None:
        GeneratorRecipe.__post_init__(self)
        self.check()


def finetuned(base: GeneratorRecipe, **changes: Any) -> FinetuneRecipe:
    """A recipe that follows the one by which a model was trained.

    Of people's clips nothing but their words tells what they show.
    """
    return from_dict(FinetuneRecipe, to_dict(base) | {"shown": 0.0} | changes)


WORLD = {"replay_from": "shapes:level=2"}  # what the generators in miniature learned
SHAPES = finetuned(
    GENERATOR["shapes"], **finetuning.MINIATURE | WORLD, learning_rate=3e-4, lora_rate=1e-3
)
RECIPES = {
    **{
        preset: finetuned(
            GENERATOR[preset], **finetuning.PUBLISHED, lora_rate=2e-4, replay_from=MODEL
        )
        for preset in PUBLISHED
    },
    "shapes": SHAPES,
    "tiny": from_dict(FinetuneRecipe, to_dict(SHAPES) | {"precision": "float32"}),
    "nano": finetuned(
        GENERATOR["nano"],
        learning_rate=3e-4,
        lora_rate=3e-3,
        warmup=1,
        replay_from=MODEL,
        replay_clips=8,
    ),
}
