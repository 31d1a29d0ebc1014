"""The training of LatentWarp's image model: pictures from edges and captions.

Paper, code and license: see `latentwarp.py`. The paper trains nothing and takes published weights;
here U-Net, control branch and text encoder learn together, on single frames of the world `shapes`.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from kinema.data.batches import ShapesStills, Source
from kinema.data.clips import SPLITS, split_of
from kinema.noise import Noise
from kinema.training.captions import drop_texts
from kinema.training.denoising import DenoisingObjective, Prepared, TextRecipe
from kinema.training.objective import Batch
from kinema.training.recipe import UNCLIPPED
from kinema.training.sheets import draw_sheet
from kinema.training.stage import Stage

if TYPE_CHECKING:
    from kinema.systems.latentwarp import LatentWarp

ON_A_SHEET = 6
FULL_EDGE = 0.5  # a step of this much light between neighbors is an edge of strength 1

# Rate, and that no gradient is clipped, as in the training of ControlNet (arXiv 2302.05543), by the
# authors' tutorial; a picture at a time, which one accelerator holds.
FULL = TextRecipe(
    steps=100_000,
    batch_size=32,
    accumulate=32,
    learning_rate=1e-5,
    warmup=500,
    decay=0.1,
    clip_norm=UNCLIPPED,
    precision="bfloat16",
    text_drop=0.1,
)
TINY = replace(
    FULL,
    steps=2000,
    batch_size=16,
    accumulate=1,
    clip_norm=1.0,
    learning_rate=1e-3,
    warmup=100,
    decay=0.5,
    precision="float32",
    report_every=500,
    save_every=500,
)
RECIPES = {"full": FULL, "tiny": TINY, "nano": TINY.nano(batch_size=4)}


def edges(pixels: Tensor) -> Tensor:
    """Control maps (B, 3, T, H, W) in [0, 1] of clips in [-1, 1]: how steep the light changes.

    Central differences of the strongest channel; the three channels of the map are equal.
    """
    padded = F.pad(pixels, (1, 1, 1, 1, 0, 0), mode="replicate")
    dx = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / 2
    dy = (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / 2
    steep = (dx.square() + dy.square()).sqrt().amax(1, keepdim=True)
    return (steep / FULL_EDGE).clamp(max=1).expand(-1, 3, -1, -1, -1)


def objective(model: LatentWarp, recipe: TextRecipe) -> DenoisingObjective:
    """U-Net with its control branch, and text encoder."""
    networks = {role: model.parts[role] for role in ("unet", "text")}
    prepare = partial(prepare_batch, model, recipe.text_drop)
    return DenoisingObjective(networks, predict="unet", process=model.process, prepare=prepare)


def prepare_batch(model: LatentWarp, text_drop: float, batch: Batch, noise: Noise) -> Prepared:
    """Latents of pictures, their edges, and their captions, some of which are dropped."""
    prompts = drop_texts([said[0] for said in batch["captions"]], noise, drop=text_drop)
    pixels = batch["clips"].to(model.device)
    with torch.no_grad():
        latents = model.vae.encode(pixels)
    conditions = model.prepare(prompts, edges(pixels))
    return Prepared(x0=latents, conditions=conditions, noise=noise)


def data(model: LatentWarp, recipe: TextRecipe, world: str) -> tuple[Source, Source]:
    """Single frames; combinations that are not trained on are held out."""
    size = replace(model.config.sampling, num_frames=1)
    train, unseen = (ShapesStills(split_of(world, split, size)) for split in SPLITS)
    return train, unseen


def sheet(model: LatentWarp, held_out: Batch, path: Path) -> None:
    """Held-out frames, their edges, and what is made of edges and caption, with equal noise."""
    real = held_out["clips"][:ON_A_SHEET]
    prompts = [said[0] for said in held_out["captions"][:ON_A_SHEET]]
    maps = edges(real)
    conditions = model.prepare(prompts, maps.to(model.device))
    made = model.sample(conditions, Noise(0, tuple(range(len(real)))))
    draw_sheet(path, {"world": real, "edges": 2 * maps - 1, "made": made}, prompts, columns=3)


STAGES = {
    "image": Stage(
        trains=("text", "unet"),
        recipes=RECIPES,
        objective=objective,
        data=data,
        sheet=sheet,
        worlds=("shapes",),
    )
}
