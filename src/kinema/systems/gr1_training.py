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
from kinema.data.batches import Source
from kinema.errors import InputError
from kinema.media import write_contact_sheet
from kinema.networks.gr1 import GR1TransformerConfig
from kinema.networks.patch_decoder import normalized, to_images, to_patches
from kinema.noise import Noise
from kinema.systems.gr1_config import POLICY, VIDEO, PolicyRecipe, VideoRecipe
from kinema.systems.gr1_episodes import table, trial
from kinema.systems.gr1_observations import felt, images, pixels, wide
from kinema.training.imitation import FramePrediction, Imitation
from kinema.training.objective import Batch
from kinema.training.sheets import draw_sheet
from kinema.training.stage import Stage
from kinema.worlds.tabletop import Episode, Split, Tabletop

if TYPE_CHECKING:
    from kinema.systems.gr1 import GR1

ON_A_SHEET = 4
TRAINS = ("text", "image", "policy")
FILMS = "films"  # before the names of what learns from them: the card says what they do not reach


class Windows:
    """Windows of episodes of a table, by sample index.

    A batch holds ``instruction`` (B texts), ``image`` and ``wrist`` (B, L, 3, S, S), ``arm`` and
    ``motion`` (B, L, A), ``gripper`` (B, L, 2), ``opens`` (B, L) in {0, 1} and ``real`` (B, L).

    Args:
        sizes: of images, arms and windows.
        world: of the episodes.
        episodes: how many different ones there are.
    """

    def __init__(self, sizes: GR1TransformerConfig, world: Tabletop, *, episodes: int) -> None:
        self.sizes, self.world, self.episodes = sizes, world, episodes
        self._episode = functools.lru_cache(maxsize=4096)(world.episode)

    def __call__(self, samples: tuple[int, ...]) -> dict[str, Any]:
        """The batch of some sample indices."""
        places = Noise(self.world.seed, samples).uniform((len(samples), 2), "window").tolist()
        drawn = [self._episode(int(which * self.episodes)) for which, _ in places]
        rows = [self._window(episode, at) for episode, (_, at) in zip(drawn, places)]
        batch: dict[str, Any] = {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
        return {**batch, "instruction": [str(episode.task) for episode in drawn]}

    def _window(self, episode: Episode, at: float) -> dict[str, Tensor]:
        sizes, count = self.sizes, len(episode.actions)
        length = sizes.max_steps
        start = int(at * (max(count - length, 0) + 1))
        steps = slice(start, min(start + length, count))
        states, actions = episode.states[steps], torch.from_numpy(episode.actions[steps])
        arm = torch.tensor([state.gripper for state in states], dtype=torch.float32)
        is_open = torch.tensor([state.is_open for state in states])
        window = {
            **{n: images(x, sizes.image_size) for n, x in episode.images(steps).items()},
            **felt(arm, is_open, sizes.arm_width),
            "motion": wide(actions[:, :2], sizes.arm_width),
            "opens": (actions[:, 2] > 0).float(),
            "real": torch.ones(len(states), dtype=torch.bool),
        }
        return {name: at_end(value, length) for name, value in window.items()}


def at_end(x: Tensor, length: int) -> Tensor:
    """Rows (N, ...) with zeros behind them, `length` in all."""
    return F.pad(x, (0, 0) * (x.ndim - 1) + (0, length - len(x)))


def windows(model: GR1, recipe: VideoRecipe, world: str, *, split: Split) -> tuple[Source, Source]:
    """Episodes of one split; held out are robots on grounds of their own."""
    if not 0 < recipe.ahead < model.config.policy.max_steps:
        raise InputError(
            f"a frame {recipe.ahead} steps ahead lies outside a window of "
            f"{model.config.policy.max_steps}; choose recipe.ahead smaller"
        )
    sizes = model.config.policy
    train = Windows(sizes, table(model, split, 0), episodes=recipe.episodes)
    return train, Windows(sizes, table(model, "held_out", 1), episodes=recipe.held_out)


def video_objective(model: GR1, recipe: VideoRecipe) -> FramePrediction:
    """Frames to come, from language and one camera alone."""
    return FramePrediction(
        {FILMS: model.parts},
        trained=[f"{FILMS}.{role}" for role in trained(recipe)],
        predict=model.foresee,
        ahead=recipe.ahead,
        patch_size=model.config.policy.patch_size,
    )


def policy_objective(model: GR1, recipe: PolicyRecipe) -> Imitation:
    """Actions, and frames of both cameras."""
    return Imitation(
        dict(model.parts),
        trained=trained(recipe),
        predict=model.imitate,
        weights=recipe.weights,
        ahead=recipe.ahead,
        patch_size=model.config.policy.patch_size,
    )


def trained(recipe: VideoRecipe) -> list[str]:
    """The roles that a recipe does not freeze."""
    return [role for role in TRAINS if role not in recipe.frozen]


def video_sheet(model: GR1, held_out: Batch, path: Path) -> None:
    """Films above what was foreseen of each frame, with the contrast of the true patches."""
    size = model.config.policy.patch_size
    batch = {name: value[:ON_A_SHEET] for name, value in held_out.items()}
    real = batch["image"]
    foreseen = model.foresee(batch).value.cpu()
    ahead = real.shape[1] - 1
    true = normalized(to_patches(real[:, 1:], size))
    made = to_images(true.restored(foreseen[:, :ahead]), size)
    films = {"film": pixels(real[:, 1:]), "foreseen": pixels(made)}
    draw_sheet(path, films, batch["instruction"], columns=2)


def policy_sheet(model: GR1, held_out: Batch, path: Path) -> None:
    """What the policy does in scenes that it has not seen."""
    trials = [trial(model, seed, None) for seed in range(ON_A_SHEET)]
    clips = [Clip(made.frames, model.config.rollout.fps) for made in trials]
    labels = [f"{t.instruction}: {'done' if t.success else 'not done'}" for t in trials]
    write_contact_sheet(path, clips, labels, columns=1, frames_per_clip=10, overwrite=True)


STAGES = {
    "video": Stage(
        trains=TRAINS,
        recipes=VIDEO,
        objective=video_objective,
        data=partial(windows, split="video"),
        sheet=video_sheet,
        worlds=("tabletop",),
    ),
    "policy": Stage(
        trains=TRAINS,
        recipes=POLICY,
        objective=policy_objective,
        data=partial(windows, split="train"),
        sheet=policy_sheet,
        worlds=("tabletop",),
    ),
}
