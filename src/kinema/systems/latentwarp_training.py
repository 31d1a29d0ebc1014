"""The training of LatentWarp's image model: pictures from edges and captions.

Paper, code and license: see `latentwarp.py`. The paper trains nothing and takes published weights;
here U-Net, control branch and text encoder learn together, on single frames of the world `shapes`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from kinema.clip import Clip
from kinema.condition import Conditions
from kinema.config import config
from kinema.data.batches import WorldStills
from kinema.errors import InputError
from kinema.media import write_contact_sheet
from kinema.noise import Noise
from kinema.training.denoising import DenoisingObjective
from kinema.training.objective import Batch
from kinema.training.recipe import Recipe
from kinema.training.stage import Data, Stage
from kinema.worlds.shapes import Shapes, Split

if TYPE_CHECKING:
    from kinema.systems.latentwarp import LatentWarp

ON_A_SHEET = 6
FULL_EDGE = 0.5  # a step of this much light between neighbors is an edge of strength 1


@config
class ImageRecipe(Recipe):
    """`text_drop`: the share of pictures that are learned without text."""

    text_drop: float


FULL = ImageRecipe(
    steps=100_000,
    batch_size=32,
    accumulate=32,
    learning_rate=1e-5,
    warmup=500,
    decay=0.1,
    precision="bfloat16",
    report_every=1000,
    save_every=1000,
    held_out=64,
    text_drop=0.1,
)
TINY = replace(
    FULL,
    steps=2000,
    batch_size=16,
    accumulate=1,
    learning_rate=1e-3,
    warmup=100,
    decay=0.5,
    precision="float32",
    report_every=500,
    save_every=500,
)
RECIPES = {
    "full": FULL,
    "tiny": TINY,
    "nano": replace(TINY, steps=8, batch_size=4, report_every=4, save_every=2, held_out=4),
}


def edges(pixels: Tensor) -> Tensor:
    """Control maps (B, 3, T, H, W) in [0, 1] of clips in [-1, 1]: how steep the light changes.

    Central differences of the strongest channel; the three channels of the map are equal.
    """
    padded = F.pad(pixels, (1, 1, 1, 1, 0, 0), mode="replicate")
    dx = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / 2
    dy = (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / 2
    steep = (dx.square() + dy.square()).sqrt().amax(1, keepdim=True)
    return (steep / FULL_EDGE).clamp(max=1).expand(-1, 3, -1, -1, -1)


def caption(labels: Mapping[str, str]) -> str:
    """What can be said of one frame: all labels but the motion."""
    ground = labels["background"]
    if labels["background_kind"] == "gradient":
        ground = f"{ground} gradient"
    article = "an" if ground[0] in "aeiou" else "a"
    size, color, shape = (labels[name] for name in ("size", "color", "shape"))
    return f"a {size} {color} {shape} on {article} {ground} background"


def shapes(model: LatentWarp, *, seed: int, split: Split, num_frames: int) -> Shapes:
    """The world `shapes` in the size of a model's frames."""
    size = model.config.sampling
    return Shapes(
        seed=seed,
        split=split,
        num_frames=num_frames,
        height=size.height,
        width=size.width,
        fps=size.fps,
    )


def objective(model: LatentWarp, recipe: ImageRecipe) -> DenoisingObjective:
    """U-Net with its control branch, and text encoder."""
    networks = {role: model.parts[role] for role in ("unet", "text")}
    prepare = partial(prepare_batch, model, recipe.text_drop)
    return DenoisingObjective(networks, predict="unet", process=model.process, prepare=prepare)


def prepare_batch(
    model: LatentWarp, text_drop: float, batch: Batch, noise: Noise
) -> tuple[Tensor, Conditions]:
    """Latents of pictures, their edges, and their captions, some of which are dropped."""
    dropped = noise.uniform((len(noise),), "text") < text_drop
    prompts = ["" if drop else said[0] for said, drop in zip(batch["captions"], dropped)]
    pixels = batch["clips"].to(model.device)
    with torch.no_grad():
        latents = model.vae.encode(pixels)
    return latents, model.prepare(prompts, edges(pixels))


def data(model: LatentWarp, recipe: ImageRecipe, named: str | None) -> Data:
    """Single frames of the world `shapes`; combinations that are not trained on are held out.

    Raises:
        InputError: something else was named.
    """
    if named not in (None, "shapes"):
        raise InputError(f"latentwarp knows the words of the world shapes only, not --data {named}")
    train = WorldStills(shapes(model, seed=0, split="train", num_frames=1), caption)
    unseen = WorldStills(shapes(model, seed=1, split="held_out", num_frames=1), caption)
    return Data(train, unseen(tuple(range(recipe.held_out))))


def sheet(model: LatentWarp, held_out: Batch, path: Path) -> None:
    """Held-out frames, their edges, and what is made of edges and caption, with equal noise."""
    real = held_out["clips"][:ON_A_SHEET]
    prompts = [said[0] for said in held_out["captions"][:ON_A_SHEET]]
    maps = edges(real)
    conditions = model.prepare(prompts, maps.to(model.device))
    made = model.sample(conditions, Noise(0, tuple(range(len(real))))).cpu()
    rows = [picture for three in zip(real, 2 * maps - 1, made) for picture in three]
    labels = [f"{name}: {prompt}" for prompt in prompts for name in ("world", "edges", "made")]
    stills = [Clip.from_float(picture.float().numpy(), 1.0) for picture in rows]
    write_contact_sheet(path, stills, labels, columns=3, frames_per_clip=1, overwrite=True)


STAGES = {
    "image": Stage(
        trains=("text", "unet"), recipes=RECIPES, objective=objective, data=data, sheet=sheet
    )
}
