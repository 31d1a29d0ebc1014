"""Trains the small network that `fvd-tiny` rests on, to tell what clips of `shapes` show.

    python bench/train_clip_convnet.py clip_convnet.shapes.safetensors

Classes are told one by one: every motion, shape, color and kind of ground of the world's second
level is in a clip or is not. Prints of each kind the mean average precision over its classes on
held-out clips, before and after.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from kinema.config import to_dict
from kinema.metrics.attributes import expected
from kinema.networks import clip_convnet
from kinema.networks.clip_convnet import ClipConvNet
from kinema.noise import Noise
from kinema.training.log import StepBar
from kinema.training.objective import Batch, Logs, Objective
from kinema.training.recipe import Recipe
from kinema.training.trainer import Trainer
from kinema.weights.files import save
from kinema.worlds import WorldSample, load
from kinema.worlds.motions import MOTIONS
from kinema.worlds.outlines import SHAPES
from kinema.worlds.palette import COLORS

SIZE = {"num_frames": 17, "height": 64, "width": 64, "fps": 12.0}
KINDS: dict[str, tuple[str, ...]] = {
    "motion": MOTIONS,
    "shape": tuple(SHAPES),
    "color": tuple(COLORS),
    "ground": ("flat", "gradient", "stripes", "checker", "dots"),
}
HELD_OUT = 512
RECIPE = Recipe(
    steps=3_000,
    batch_size=16,
    optimizer="muon",
    learning_rate=2e-3,
    warmup=100,
    decay=0.6,
    ema=0.995,
)


def shown(sample: WorldSample) -> set[tuple[str, str]]:
    """What a clip shows, as (kind, class)."""
    reading = expected(sample.graph)
    found = {("ground", reading.background_kind)}
    for thing in reading.objects:
        found |= {("shape", thing.shape), ("color", thing.color)}
        found |= {("motion", motion) for motion in thing.motions}
    return found


class Clips:
    """Batches of clips (B, 3, T, H, W) and of what they show, ``targets`` (B, K) of 0 and 1."""

    def __init__(self, split: str) -> None:
        self.world = load("shapes:level=2", seed=0, split=split, **SIZE)

    def __call__(self, samples: tuple[int, ...]) -> dict[str, Any]:
        """The batch of some sample indices."""
        drawn = [self.world.sample(index) for index in samples]
        classes = [(kind, name) for kind, names in KINDS.items() for name in names]
        targets = [[float(each in shown(sample)) for each in classes] for sample in drawn]
        clips = [torch.from_numpy(sample.clip.to_float()) for sample in drawn]
        return {"clips": torch.stack(clips), "targets": torch.tensor(targets)}


class Telling(Objective):
    """One player, the network; binary cross-entropy of each class."""

    def __init__(self, network: ClipConvNet) -> None:
        super().__init__()
        self.network, self.players = network, {"network": ("network.*",)}

    def loss(self, player: str, batch: Batch, step: int, noise: Noise) -> tuple[Tensor, Logs]:
        """Of a batch of `Clips`."""
        logits = self.network(batch["clips"]).float()
        loss = F.binary_cross_entropy_with_logits(logits, batch["targets"])
        return loss, {"loss": loss.detach()}

    def held_out(self, batch: Batch, noise: Noise) -> Logs:
        """Mean average precision of each kind of classes, over those that some clip shows."""
        parts = [self.network(part) for part in batch["clips"].split(64)]
        precision = average_precision(torch.cat(parts).float(), batch["targets"])
        sizes = [len(names) for names in KINDS.values()]
        return {kind: p.nanmean() for kind, p in zip(KINDS, precision.split(sizes))}


def average_precision(logits: Tensor, targets: Tensor) -> Tensor:
    """(B, K) twice -> (K,): of the clips that show a class, the mean precision at their ranks."""
    ranked = targets.gather(0, logits.argsort(dim=0, descending=True))
    precision = ranked.cumsum(0) / torch.arange(1, len(ranked) + 1)[:, None]
    return (precision * ranked).sum(0) / ranked.sum(0)


def main() -> None:
    """Trains, prints what it tells before and after, and stores the averaged weights."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path, help="ends in .safetensors; replaced")
    parser.add_argument("--steps", type=int, default=RECIPE.steps)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    classes = sum(map(len, KINDS.values()))
    network = ClipConvNet(replace(clip_convnet.tiny(), num_classes=classes))
    recipe = replace(RECIPE, steps=options.steps)
    trainer = Trainer(Telling(network), Clips("train"), recipe, seed=0, device="cpu")
    unseen = Clips("held_out")(tuple(range(HELD_OUT)))
    report("before", trainer, unseen)
    with StepBar(start=0, total=recipe.steps) as bar:
        for trainer.step in range(recipe.steps):
            bar.advance(trainer.train_step())
    trainer.finish()
    report("after", trainer, unseen)
    config = json.dumps(to_dict(network.config), sort_keys=True)
    save(options.file, network.state_dict(), {"config": config}, overwrite=True)


@torch.no_grad()
def report(when: str, trainer: Trainer, unseen: Batch) -> None:
    """Prints what the network tells of clips that it was not trained on."""
    logs = trainer.objective.held_out(unseen, Noise(1, tuple(range(HELD_OUT))))
    print(when, "  ".join(f"{kind} {float(value):.3f}" for kind, value in logs.items()), flush=True)


if __name__ == "__main__":
    main()
