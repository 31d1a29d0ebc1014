"""The training plan of a frozen ViViT: a spatial transformer of stills, then what reads its tokens.

Papers, code and license: see `vivit_frozen.py`. The stage `image` stands for an image model, where
there is none of the size: it tells of single frames what color the object with corners has, and in
which ninth it stands. The stage `whole` is ViViT's own training, which leaves nothing frozen.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from kinema.clip import Clip
from kinema.data.batches import Source
from kinema.data.clips import SPLITS, split_of, to_clip
from kinema.media import write_contact_sheet
from kinema.media.heat import heat_map
from kinema.networks.vivit_config import TUBELET
from kinema.noise import Noise
from kinema.systems.recognizer import HEAD_STD
from kinema.systems.recognizer_frames import COLORS
from kinema.systems.recognizer_training import FPS, WORLDS, classifier_stage, drawn_size
from kinema.systems.videomae_v2 import VideoMAEV2
from kinema.systems.vivit_frozen_features import feature_stage
from kinema.systems.vivit_frozen_presets import CACHED, IMAGES, RECIPES, FrozenRecipe
from kinema.systems.zeroi2v_training import NINTHS
from kinema.training.classification import Classification, ClassifierRecipe
from kinema.training.objective import Batch
from kinema.training.stage import Stage
from kinema.worlds.motion_classes import FEWEST_FRAMES
from kinema.worlds.world import World

if TYPE_CHECKING:
    from kinema.systems.vivit_frozen import ViViTFrozen

ON_SHEET = 12
SHOWN = tuple((color, place) for color in COLORS for place in NINTHS)
"""Classes of stills: the color of what counts, and in which ninth of the frame it stands."""


class Stills(nn.Module):
    """The spatial transformer under a head for single frames, which no model keeps.

    Args:
        model: whose spatial transformer it is.
        count: of the classes.
    """

    def __init__(self, model: ViViTFrozen, count: int) -> None:
        super().__init__()
        self.spatial = model.spatial
        table = self.spatial.cls_token
        self.head = nn.Linear(table.shape[-1], count, device=table.device, dtype=table.dtype)
        if not table.is_meta:
            with torch.no_grad():
                drawn = Noise(0, (0,)).normal((1, *self.head.weight.shape), "stills")[0]
                self.head.weight.copy_(HEAD_STD * drawn)
                self.head.bias.zero_()

    def forward(self, clips: Tensor) -> Tensor:
        """Logits (B, K) of the first frames of clips (B, 3, T, S, S), normalized."""
        still = clips[:, :, :1].expand(-1, -1, TUBELET, -1, -1)
        return self.head(self.spatial(still)[:, 0, 0])


def still_logits(model: ViViTFrozen, stills: Stills, clips: Tensor) -> Tensor:
    """The same for clips in [-1, 1]."""
    return stills(model.normalized(clips))


def image_objective(model: ViViTFrozen, recipe: ClassifierRecipe) -> Classification:
    """Cross-entropy of what single frames show."""
    return learning_stills(model, recipe, len(SHOWN))


def learning_stills(model: ViViTFrozen, recipe: ClassifierRecipe, count: int) -> Classification:
    """Cross-entropy of so many classes of single frames."""
    stills = Stills(model, count)
    logits = partial(still_logits, model, stills)
    return Classification({"network": stills}, logits=logits, recipe=recipe)


def stills_of(world: World) -> Source:
    """Batches of first frames of a world, as clips (B, 3, 1, S, S), with what they show (B,)."""

    def batch(samples: tuple[int, ...]) -> dict[str, Any]:
        drawn = [world.sample(index) for index in samples]
        shown = [(sample.labels["color"], sample.graph.objects[0].place) for sample in drawn]
        frames = [torch.from_numpy(sample.clip.to_float()[:, :1]) for sample in drawn]
        classes = torch.tensor([SHOWN.index(each) for each in shown])
        return {"clips": torch.stack(frames), "classes": classes}

    return batch


def image_data(model: ViViTFrozen, recipe: ClassifierRecipe, named: str) -> tuple[Source, Source]:
    """Stills of a world, to train on and held out, of clips that are as short as there can be."""
    size = replace(drawn_size(model), num_frames=FEWEST_FRAMES)
    train, unseen = (stills_of(split_of(named, split, size)) for split in SPLITS)
    return train, unseen


def image_sheet(model: ViViTFrozen, held_out: Batch, path: Path) -> None:
    """The first held-out frames, and how like the class token each place is."""
    clips = held_out["clips"][:ON_SHEET].expand(-1, -1, TUBELET, -1, -1)
    with torch.no_grad():
        tokens = nn.functional.normalize(model.tokens(clips)[:, 0].float(), dim=-1)
    cosines = (tokens[:, 1:] * tokens[:, :1]).sum(-1).cpu().numpy()
    side = model.config.spatial.image_size // model.config.spatial.patch_size
    shown = []
    for x, cosine in zip(clips, cosines):
        frame = to_clip(x, FPS).frames[0]
        places = (cosine.reshape(side, side) + 1) / 2
        heat = heat_map(frame, places, np.ones_like(places, dtype=bool))
        shown.append(Clip(np.stack([frame, heat]), fps=FPS))
    write_contact_sheet(
        path, shown, [""] * len(shown), columns=4, frames_per_clip=2, overwrite=True
    )


def frozen_objective(model: ViViTFrozen, recipe: FrozenRecipe) -> Classification:
    """Cross-entropy of the logits, whose gradient ends before the spatial transformer."""
    start_temporal(model, recipe)
    return Classification({"network": model.network}, logits=model.logits, recipe=recipe)


def whole_objective(model: ViViTFrozen, recipe: FrozenRecipe) -> Classification:
    """Cross-entropy of the logits, from which everything learns."""
    start_temporal(model, recipe)
    networks = {"spatial": model.spatial, "network": model.network}
    return Classification(networks, logits=model.whole_logits, recipe=recipe)


def start_temporal(model: ViViTFrozen, recipe: FrozenRecipe) -> None:
    """Starts the temporal transformer from a file of VideoMAE V2, if the recipe names one.

    Raises:
        InputError: the file is damaged, or its blocks are of another size.
    """
    if recipe.temporal:
        other = VideoMAEV2.from_pretrained(recipe.temporal)
        model.network.take(other.network.blocks[: model.config.network.num_layers])


STAGES = {
    "image": Stage(
        trains=("spatial",),
        recipes=IMAGES,
        objective=image_objective,
        data=image_data,
        sheet=image_sheet,
        worlds=WORLDS,
    ),
    "classifier": replace(
        classifier_stage(RECIPES, trains=("network",)),
        objective=frozen_objective,
        starts_from=("image",),
    ),
    "cached": replace(feature_stage(CACHED), starts_from=("image",)),
    "whole": replace(
        classifier_stage(RECIPES, trains=("spatial", "network")),
        objective=whole_objective,
        starts_from=("image",),
    ),
}
