"""The training of C3V's prior: pictures of correct compositions under their prompts.

Paper, code and license: see `c3v.py`. The paper takes Stable Diffusion, which has seen how large
people are and where they stand; ours has seen that here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from kinema.data.batches import Source
from kinema.networks.ltx_transformer import patchify
from kinema.noise import Noise
from kinema.scenes.assets import COLORS, HEIGHTS, SCENES
from kinema.scenes.composition import Composition
from kinema.scenes.director import CAMERAS, RuleDirector, direct
from kinema.scenes.plan import Placed, Plan
from kinema.systems.c3v_config import RECIPES, PriorRecipe
from kinema.systems.c3v_prior import draw, prepare
from kinema.training.captions import drop_texts
from kinema.training.denoising import DenoisingObjective, Prepared
from kinema.training.objective import Batch
from kinema.training.sheets import draw_sheet
from kinema.training.stage import Stage

if TYPE_CHECKING:
    from kinema.systems.c3v import C3V

# Where the places of prompts are on the floor, x and z in meters, and how far off one may be.
SPOTS = {
    "left": (-1.2, 0.0),
    "right": (1.2, 0.0),
    "front": (0.0, 1.0),
    "back": (0.0, -1.5),
    "middle": (0.0, 0.0),
}
OFF = 0.2
GOING, STAYING = ("walks", "runs"), ("jumps", "waves", "stands")
ON_A_SHEET = 6


@dataclass(frozen=True)
class Correct:
    """A composition as it should be: the prompt, its plan with true places, one of its frames."""

    prompt: str
    plan: Plan
    frame: int


class Compositions:
    """Pictures of correct compositions: (B, 3, S, S) in [-1, 1], and the prompts of each.

    Args:
        seed: those of different seeds differ.
        count: how many there are; samples beyond begin anew.
        num_frames: of the films that they are from.
        side: S.
    """

    def __init__(self, *, seed: int, count: int, num_frames: int, side: int) -> None:
        self.seed, self.count, self.num_frames, self.side = seed, count, num_frames, side
        self._drawn: dict[int, tuple[Tensor, str]] = {}

    def __call__(self, samples: tuple[int, ...]) -> dict[str, Any]:
        """The batch of some sample indices."""
        drawn = self._drawn
        for index in {sample % self.count for sample in samples} - drawn.keys():
            correct = self.correct(index)
            composition = Composition(correct.plan, device="cpu")
            layout = composition.layout(correct.plan)
            side = self.side
            picture = composition.picture(layout, correct.frame, height=side, width=side)
            drawn[index] = picture, correct.prompt
        pictures, prompts = zip(*(drawn[sample % self.count] for sample in samples))
        return {"pictures": torch.stack(pictures), "prompts": list(prompts)}

    def correct(self, index: int) -> Correct:
        """A composition, drawn by its index."""
        numbers = iter(Noise(self.seed, (index,)).uniform((1, 12), "composition")[0].tolist())

        def pick(names: Any) -> Any:
            return list(names)[int(next(numbers) * len(names))]

        scene, name, color, motion = map(pick, (SCENES, HEIGHTS, COLORS, (*GOING, *STAYING)))
        camera, frame = pick(CAMERAS), pick(range(self.num_frames))
        if motion in GOING:
            ends = pick([*permutations(("left", "right"), 2), *permutations(("front", "back"), 2)])
            where = f"from {ends[0]} to {ends[1]}"
        else:
            ends = (pick(SPOTS),) * 2
            where = f"in the {ends[0]}"
        prompt = f"a {color} {name} {motion} {where} in a {scene}, the camera {camera}"
        dx, dz = (OFF * (2 * next(numbers) - 1) for _ in range(2))
        (x0, z0), (x1, z1) = (SPOTS[place] for place in ends)
        shares = [i / max(self.num_frames - 1, 1) for i in range(self.num_frames)]
        path = [(x0 + s * (x1 - x0) + dx, 0.0, z0 + s * (z1 - z0) + dz) for s in shares]
        placed = Placed(height=HEIGHTS[name], locations=tuple(path))
        plan = direct(RuleDirector(self.num_frames), prompt).with_places({0: placed})
        return Correct(prompt, plan, frame)


def objective(model: C3V, recipe: PriorRecipe) -> DenoisingObjective:
    """Transformer and text encoder together."""
    networks = {role: model.parts[role] for role in ("prior", "text")}
    rows = partial(prepare_batch, model, recipe.text_drop)
    return DenoisingObjective(networks, predict="prior", process=model.process, prepare=rows)


def prepare_batch(model: C3V, text_drop: float, batch: Batch, noise: Noise) -> Prepared:
    """Tokens of pictures under their prompts, some of which are dropped."""
    prompts = drop_texts(batch["prompts"], noise, drop=text_drop)
    pictures = batch["pictures"].to(model.device)
    tokens = patchify(pictures[:, :, None], size=model.config.pictures.patch)
    return Prepared(x0=tokens, conditions=prepare(model, prompts), noise=noise)


def data(model: C3V, recipe: PriorRecipe, world: str) -> tuple[Source, Source]:
    """Compositions that the scene code draws; others are held out."""
    size = {"num_frames": model.config.sampling.num_frames, "side": model.config.pictures.side}
    train = Compositions(seed=0, count=recipe.compositions, **size)
    return train, Compositions(seed=1, count=recipe.held_out, **size)


def sheet(model: C3V, held_out: Batch, path: Path) -> None:
    """Held-out pictures, each above what the prior draws of its prompt, with equal noise."""
    prompts = held_out["prompts"][:ON_A_SHEET]
    drawn = draw(model, prompts, Noise(0, tuple(range(len(prompts)))))
    rows = {"scene": held_out["pictures"][:, :, None], "prior": drawn[:, :, None]}
    draw_sheet(path, rows, prompts, columns=4)


STAGES = {
    "prior": Stage(
        trains=("text", "prior"),
        recipes=RECIPES,
        objective=objective,
        data=data,
        sheet=sheet,
        worlds=("compositions",),
    )
}
