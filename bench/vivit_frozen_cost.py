"""What freezing saves in ViViT, on one CPU thread: operations, kept activations, seconds of a step.

The same model of both transformers takes steps of three stages: `whole` trains all of it,
`classifier` all but the spatial transformer, `cached` the same on features that are there already.
It has the sizes of B/16x2 at fewer layers and pixels. The steps run in turn; medians.

python bench/vivit_frozen_cost.py
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from kinema.noise import Noise
from kinema.planning.meters import flops, saved_activations
from kinema.systems.vivit_frozen import SYSTEM, ViViTFrozen
from kinema.systems.vivit_frozen_presets import CACHED, RECIPES, ViViTFrozenConfig, full
from kinema.systems.vivit_frozen_training import STAGES
from kinema.training.classification import PLAYER

NAMES = ("whole", "classifier", "cached")
SAMPLES = (0, 1)
ROUNDS = 5


def smaller() -> ViViTFrozenConfig:
    """B/16x2 for 8 frames of 96 pixels, with 6 and 2 layers in the place of 12 and 4."""
    config = full()
    return replace(
        config,
        views=replace(config.views, num_frames=8, size=96, resize=96),
        spatial=replace(config.spatial, image_size=96, num_layers=6),
        network=replace(config.network, num_steps=4, num_patches=36, num_layers=2),
    )


def step_of(name: str, model: ViViTFrozen, batch: dict[str, Tensor]) -> Callable[[], Tensor]:
    """The loss of a stage, for which its parameters and no others ask a gradient."""
    recipe = CACHED["tiny"] if name == "cached" else RECIPES["full"]
    objective = STAGES[name].objective(model, recipe)

    def loss() -> Tensor:
        model.parts.requires_grad_(False)
        for parameter in objective.trained(PLAYER).values():
            parameter.requires_grad_(True)
        return objective.loss(PLAYER, batch, 0, Noise(0, SAMPLES))[0]

    return loss


def main() -> None:
    """One line for each stage: trained parameters, operations, megabytes, seconds, and shares."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = smaller()
    model = SYSTEM(config)
    shape = (len(SAMPLES), 3, config.views.num_frames, config.views.size, config.views.size)
    clips = Noise(0, SAMPLES).uniform(shape, "clips") * 2 - 1
    batch = {
        "clips": clips,
        "classes": torch.tensor([1, 2]),
        "features": model.frozen_tokens(clips),
    }
    steps = {name: step_of(name, model, batch) for name in NAMES}
    seconds: dict[str, list[float]] = {name: [] for name in NAMES}
    for _ in range(ROUNDS):
        for name, loss in steps.items():
            model.parts.zero_grad(set_to_none=True)
            begin = time.process_time()
            loss().backward()
            seconds[name].append(time.process_time() - begin)
    first = None
    print("stage        trained  GFLOPs     MB  seconds  shares of whole")
    for name, loss in steps.items():
        operations = flops(lambda loss=loss: loss().backward())
        kept = saved_activations(loss)
        trained = sum(p.numel() for p in model.parts.parameters() if p.requires_grad)
        figures = (operations, kept, statistics.median(seconds[name]))
        first = first or figures
        shares = ", ".join(f"{own / of:.2f}" for own, of in zip(figures, first))
        print(
            f"{name:10} {trained / 1e6:8.2f}M {operations / 1e9:7.1f} {kept / 1e6:6.1f} "
            f"{figures[2]:8.2f}  {shares}"
        )


if __name__ == "__main__":
    main()
