"""Recipes for fine-tuning LTX-Video, by preset.

Paper, code and licence: see `ltx_video.py`. The numbers are ours; those of the published sizes are
near what the authors' trainer proposes.
"""

from __future__ import annotations

from typing import Any

from kinema.config import config, from_dict, to_dict
from kinema.errors import InputError
from kinema.systems.ltx_video_recipes import GENERATOR, PUBLISHED, GeneratorRecipe

MODEL = "model"


@config
class FinetuneRecipe(GeneratorRecipe):
    """How a model that knows something learns more.

    Args:
        lora: rank of the adapters; 0 trains all weights.
        lora_rate: learning rate of adapters.
        replay: share of the steps that train on what the model knows.
        replay_from: where that comes from: a world, a folder that `kinema encode` wrote, or
            ``model``: clips that it makes itself before it is trained.
        replay_clips: how many are drawn or made.
        replay_prompts: file with a prompt in each line for ``model``; if empty, it makes clips from
            the captions, without words that are new to it.

    Raises:
        InputError: a number is out of its range.
    """

    lora: int = 0
    lora_rate: float
    replay: float = 0.0
    replay_from: str = MODEL
    replay_clips: int = 128
    replay_prompts: str = ""

    def __post_init__(self) -> None:
        GeneratorRecipe.__post_init__(self)
        if self.lora < 0 or self.replay_clips < 1:
            raise InputError("lora must be 0 or more, and replay_clips 1 or more")
        if not 0 <= self.replay < 1:
            raise InputError(f"replay is a share of the steps below 1, not {self.replay}")

    def with_lora(self, rank: int) -> FinetuneRecipe:
        """The recipe for adapters of this rank."""
        changes = {"lora": rank, "optimizer": "adamw", "learning_rate": self.lora_rate}
        return from_dict(FinetuneRecipe, to_dict(self) | changes)


def finetuned(base: GeneratorRecipe, **changes: Any) -> FinetuneRecipe:
    """A recipe that follows the one by which a model was trained."""
    return from_dict(FinetuneRecipe, to_dict(base) | changes)


SHAPES = finetuned(
    GENERATOR["shapes"],
    steps=400,
    learning_rate=3e-4,
    lora_rate=1e-3,
    warmup=20,
    ema=0.99,
    report_every=100,
    save_every=50,
    held_out=16,
    replay=0.5,
    replay_from="shapes",
    replay_clips=256,
)
RECIPES = {
    **{
        preset: finetuned(
            GENERATOR[preset],
            steps=2000,
            batch_size=1,
            learning_rate=2e-5,
            lora_rate=2e-4,
            warmup=100,
            ema=0.99,
            report_every=250,
            save_every=250,
            held_out=4,
        )
        for preset in PUBLISHED
    },
    "shapes": SHAPES,
    "tiny": from_dict(FinetuneRecipe, to_dict(SHAPES) | {"precision": "float32"}),
    "nano": finetuned(
        GENERATOR["nano"], learning_rate=3e-4, lora_rate=3e-3, warmup=1, replay_clips=8
    ),
}
