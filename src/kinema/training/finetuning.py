"""Fine-tuning on a folder of clips, with all weights or with low-rank adapters, while the model is
reminded of what it knows.

Adapters: LoRA (arXiv 2106.09685). Reminders are latents that are mixed into those of the clips: of
a world, of a cache that was encoded before, or whatever else a system writes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

from torch import nn

from kinema.config import from_dict, to_dict
from kinema.data import latents
from kinema.data.batches import Mixture, Source
from kinema.data.clips import ClipSize, split_of
from kinema.data.latents import LatentCache
from kinema.errors import InputError
from kinema.nn import lora
from kinema.training.clip_folder import is_latents
from kinema.training.encode import Encode, encode_world, latent_key, untold
from kinema.training.objective import Objective
from kinema.weights.digest import digest

LOGGER = logging.getLogger(__name__)
KNOWN = "known"
AT_ONCE = 8  # clips that are encoded together
# Numbers that fine-tunings share: of published sizes, near those of the trainer of LTX-Video's
# authors (github.com/Lightricks/LTX-Video-Trainer), and of models in miniature, which are ours.
PUBLISHED: dict[str, Any] = {
    "steps": 2000,
    "batch_size": 4,
    "accumulate": 4,
    "learning_rate": 1e-5,
    "warmup": 100,
    "ema": 0.99,
    "report_every": 250,
    "save_every": 250,
    "held_out": 4,
}
MINIATURE: dict[str, Any] = {
    "steps": 400,
    "warmup": 20,
    "ema": 0.99,
    "report_every": 100,
    "save_every": 50,
    "held_out": 16,
    "replay": 0.5,
    "replay_from": "shapes",
    "replay_clips": 256,
}


@dataclass(frozen=True, kw_only=True)
class Finetuning:
    """What the recipe of a fine-tuning has beside the numbers of the stage that it follows.

    It comes first among the bases of such a recipe, whose ``__post_init__`` calls `check`.

    Args:
        lora: rank of the adapters; 0 trains all weights.
        lora_rate: learning rate of adapters.
        replay: share of the steps that train on what the model knows.
        replay_from: where that comes from: a world, or a folder that `kinema encode` wrote.
        replay_clips: how many are drawn.
    """

    __slots__ = ()  # those of a configuration come with its class

    lora: int = 0
    lora_rate: float
    replay: float = 0.0
    replay_from: str
    replay_clips: int = 128

    def check(self) -> None:
        """Raises InputError if a number is out of its range."""
        if self.lora < 0 or self.replay_clips < 1:
            raise InputError("lora must be 0 or more, and replay_clips 1 or more")
        if not 0 <= self.replay < 1:
            raise InputError(f"replay is a share of the steps below 1, not {self.replay}")

    def with_lora(self, rank: int) -> Self:
        """The recipe for adapters of this rank."""
        changes = {"lora": rank, "optimizer": "adamw", "learning_rate": self.lora_rate}
        return from_dict(type(self), to_dict(self) | changes)


def prepare(
    recipe: Finetuning, named: str | None, encode: Callable[[], str | None]
) -> tuple[str, bool]:
    """The folder of the latents to learn from, and whether there are reminders to write beside it.

    Args:
        recipe: of the fine-tuning.
        named: what the user named.
        encode: encodes a folder of clips; gives what was named if that is none.

    Raises:
        InputError: nothing to learn from was named, or reminders cannot be mixed into it.
    """
    if named is None or not Path(named).is_dir():
        missing = "name what to learn from" if named is None else f"there is no folder {named}"
        raise InputError(f"{missing}: --data FOLDER with clips")
    into = encode()
    assert into is not None, "a folder was named"
    if into == named and recipe.replay:
        raise InputError(f"{named} holds latents, into which recipe.replay mixes nothing")
    return into, bool(recipe.replay) and not is_latents(recipe.replay_from)


def adapt(
    objective: Objective, network: nn.Module, patterns: Sequence[str], recipe: Finetuning
) -> None:
    """With adapters nothing else is trained.

    Args:
        objective: of one player.
        network: gets the adapters.
        patterns: of the names of its layers that do.
        recipe: says their rank.
    """
    if recipe.lora:
        lora.attach(network, patterns, rank=recipe.lora, seed=0)
        objective.players = dict.fromkeys(objective.players, (lora.TRAINED,))


def draw_known(
    encode: Encode,
    codec: nn.Module,
    recipe: Finetuning,
    folder: str,
    *,
    size: ClipSize,
    stills: int,
) -> None:
    """Writes latents of clips of the world that the model knows, unless they are there.

    Args:
        encode: of the model.
        codec: its network whose latents they are.
        recipe: names the world.
        folder: of the latents that they are mixed with.
        size: of the model's clips.
        stills: frames of each clip that are kept beside its latents.

    Raises:
        InputError: there is no such world.
    """
    world = split_of(recipe.replay_from, "train", size)
    LOGGER.info("replay: %d clips of the world %s", recipe.replay_clips, recipe.replay_from)
    drawn = partial(encode_world, encode, untold, world, batch_size=AT_ONCE)
    key = latent_key(codec, world, stills)
    latents.write(Path(folder) / KNOWN, key, recipe.replay_clips, drawn)


def with_reminders(source: Source, codec: nn.Module, recipe: Any, folder: str) -> Source:
    """A source of latents, with reminders in a share of the steps.

    Args:
        source: what is new.
        codec: whose latents they are.
        recipe: of the fine-tuning; a `Recipe` that is a `Finetuning`.
        folder: of the latents, with the reminders beside them.
    """
    if not recipe.replay:
        return source
    cached = is_latents(recipe.replay_from)
    place = Path(recipe.replay_from) / "train" if cached else Path(folder) / KNOWN
    other = LatentCache(place, codec=digest(codec), seed=1)
    return Mixture(source, other, share=recipe.replay, batch_size=recipe.batch_size)
