"""The stages of GR-1: films without actions, then demonstrations; see `gr1.py`.

Letters: B batch, L steps of a window, S side of an image, A numbers of the arm.
"""

from __future__ import annotations

import functools
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from kinema.clip import Clip
from kinema.errors import InputError
from kinema.media import write_contact_sheet
from kinema.networks.patch_decoder import normalized, to_images, to_patches
from kinema.noise import Noise
from kinema.systems.gr1_config import POLICY, VIDEO, PolicyRecipe, VideoRecipe
from kinema.training.imitation import FramePrediction, Imitation
from kinema.training.objective import Batch
from kinema.training.stage import Data, Stage
from kinema.worlds.tabletop import Episode, Split, Tabletop

if TYPE_CHECKING:
    from kinema.systems.gr1 import GR1

ON_A_SHEET = 4
TRAINS = ("text", "image", "policy")


class Windows:
    """Windows of episodes of a table, by sample index.

    A batch holds ``instruction`` (B texts), ``image`` and ``wrist`` (B, L, 3, S, S), ``arm`` and
    ``motion`` (B, L, A), ``gripper`` (B, L, 2), ``opens`` (B, L) in {0, 1} and ``real`` (B, L).

    Args:
        model: says how images and arms are given to its networks.
        world: of the episodes.
        episodes: how many different ones there are.
    """

    def __init__(self, model: GR1, world: Tabletop, *, episodes: int) -> None:
        self.model, self.world, self.episodes = model, world, episodes
        self._episode = functools.lru_cache(maxsize=4096)(world.episode)

    def __call__(self, samples: tuple[int, ...]) -> dict[str, Any]:
        """The batch of some sample indices."""
        places = Noise(self.world.seed, samples).uniform((len(samples), 2), "window").tolist()
        drawn = [self._episode(int(which * self.episodes)) for which, _ in places]
        rows = [self._window(episode, at) for episode, (_, at) in zip(drawn, places)]
        batch: dict[str, Any] = {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
        return {**batch, "instruction": [str(episode.task) for episode in drawn]}

    def _window(self, episode: Episode, at: float) -> dict[str, Tensor]:
        length, count = self.model.config.policy.max_steps, len(episode.actions)
        start = int(at * (max(count - length, 0) + 1))
        steps = slice(start, min(start + length, count))
        states, actions = episode.states[steps], torch.from_numpy(episode.actions[steps])
        arm = torch.tensor([state.gripper for state in states], dtype=torch.float32)
        is_open = torch.tensor([state.is_open for state in states])
        window = {
            **{name: self.model.images(x) for name, x in episode.images(steps).items()},
            **self.model.felt(arm, is_open),
            "motion": self.model.wide(actions[:, :2]),
            "opens": (actions[:, 2] > 0).float(),
            "real": torch.ones(len(states), dtype=torch.bool),
        }
        return {name: at_end(value, length) for name, value in window.items()}


def at_end(x: Tensor, length: int) -> Tensor:
    """Rows (N, ...) with zeros behind them, `length` in all."""
    return F.pad(x, (0, 0) * (x.ndim - 1) + (0, length - len(x)))


def table(model: GR1, split: Split, seed: int) -> Tabletop:
    """The table of a split, with pictures of the model's size."""
    side, rollout = model.config.policy.image_size, model.config.rollout
    return Tabletop(
        seed=seed,
        split=split,
        num_frames=rollout.steps,
        height=side,
        width=side,
        fps=rollout.fps,
    )


def windows(model: GR1, recipe: VideoRecipe, named: str | None, *, split: Split) -> Data:
    """Episodes of one split; held out are robots on grounds of their own."""
    if named not in (None, Tabletop.name):
        raise InputError(f"GR-1 learns from episodes of the world tabletop, not from {named!r}")
    if not 0 < recipe.ahead < model.config.policy.max_steps:
        raise InputError(
            f"a frame {recipe.ahead} steps ahead lies outside a window of "
            f"{model.config.policy.max_steps}; choose recipe.ahead smaller"
        )
    source = Windows(model, table(model, split, 0), episodes=recipe.episodes)
    unseen = Windows(model, table(model, "held_out", 1), episodes=recipe.held_out)
    return Data(source, unseen(tuple(range(recipe.held_out))))


def shared(model: GR1, recipe: VideoRecipe) -> dict[str, Any]:
    """What both objectives are told."""
    return {
        "trained": [role for role in TRAINS if role not in recipe.frozen],
        "ahead": recipe.ahead,
        "patch_size": model.config.policy.patch_size,
    }


def video_objective(model: GR1, recipe: VideoRecipe) -> FramePrediction:
    """Frames to come, from language and one camera alone."""
    return FramePrediction(dict(model.parts), predict=model.foresee, **shared(model, recipe))


def policy_objective(model: GR1, recipe: PolicyRecipe) -> Imitation:
    """Actions, and frames of both cameras."""
    given = {"weights": recipe.weights, **shared(model, recipe)}
    return Imitation(dict(model.parts), predict=model.imitate, **given)


def video_sheet(model: GR1, held_out: Batch, path: Path) -> None:
    """Films above what was foreseen of each frame, with the contrast of the true patches."""
    size = model.config.policy.patch_size
    batch = {name: value[:ON_A_SHEET] for name, value in held_out.items()}
    images = batch["image"]
    foreseen = model.foresee(batch).value.cpu()
    ahead = images.shape[1] - 1
    shown = [images[:, 1:]]
    true = normalized(to_patches(images[:, 1:], size))
    shown.append(to_images(true.restored(foreseen[:, :ahead]), size))
    clips = [model.clip(x) for pair in zip(*shown) for x in pair]
    labels = [f"{name}: {said}" for said in batch["instruction"] for name in ("film", "foreseen")]
    write_contact_sheet(path, clips, labels, columns=2, frames_per_clip=ahead, overwrite=True)


def policy_sheet(model: GR1, held_out: Batch, path: Path) -> None:
    """What the policy does in scenes that it has not seen."""
    trials = [model.attempt(seed, None) for seed in range(ON_A_SHEET)]
    clips = [Clip(trial.frames, model.config.rollout.fps) for trial in trials]
    labels = [f"{t.instruction}: {'done' if t.success else 'not done'}" for t in trials]
    write_contact_sheet(path, clips, labels, columns=1, frames_per_clip=10, overwrite=True)


STAGES = {
    "video": Stage(
        trains=TRAINS,
        recipes=VIDEO,
        objective=video_objective,
        data=partial(windows, split="video"),
        sheet=video_sheet,
    ),
    "policy": Stage(
        trains=TRAINS,
        recipes=POLICY,
        objective=policy_objective,
        data=partial(windows, split="train"),
        sheet=policy_sheet,
    ),
}
