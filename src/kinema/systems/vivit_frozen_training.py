"""The training plan of a frozen ViViT: a spatial transformer of stills, then what reads its tokens.

Papers, code and license: see `vivit_frozen.py`. The stage `image` stands for an image model, where
there is none of the size: it tells of single frames what color the object with corners has, and in
which ninth it stands. The stage `whole` is ViViT's own training, which leaves nothing frozen.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from kinema.clip import Clip
from kinema.data.batches import Source
from kinema.data.clips import to_clip
from kinema.media import write_contact_sheet
from kinema.media.heat import heat_map
from kinema.networks.vivit_config import TUBELET
from kinema.noise import Noise
from kinema.systems.recognizer import HEAD_STD
from kinema.systems.recognizer_frames import COLORS
from kinema.systems.recognizer_training import FPS, WORLDS, classifier_stage, stills
from kinema.systems.vivit_frozen_features import feature_stage
from kinema.systems.vivit_frozen_presets import CACHED, IMAGES, RECIPES, FrozenRecipe
from kinema.systems.zeroi2v_training import NINTHS
from kinema.training.classification import Classification, ClassifierRecipe
from kinema.training.objective import Batch
from kinema.training.stage import Stage
from kinema.worlds.world import WorldSample

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


def still_logits(model: ViViTFrozen, network: Stills, clips: Tensor) -> Tensor:
    """The same for clips in [-1, 1]."""
    return network(model.normalized(clips))


def image_objective(model: ViViTFrozen, recipe: ClassifierRecipe) -> Classification:
    """Cross-entropy of what single frames show."""
    return learning_stills(model, recipe, len(SHOWN))


def learning_stills(model: ViViTFrozen, recipe: ClassifierRecipe, count: int) -> Classification:
    """Cross-entropy of so many classes of single frames."""
    network = Stills(model, count)
    logits = partial(still_logits, model, network)
    return Classification({"network": network}, logits=logits, recipe=recipe)


def shown_by(sample: WorldSample) -> int:
    """The class of a still."""
    return SHOWN.index((sample.labels["color"], sample.graph.objects[0].place))


def image_data(model: ViViTFrozen, recipe: ClassifierRecipe, named: str) -> tuple[Source, Source]:
    """Stills of a world, to train on and held out."""
    return stills(model, named, shown_by)


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
    model.start_temporal(recipe.temporal)
    return Classification({"network": model.network}, logits=model.logits, recipe=recipe)


def whole_objective(model: ViViTFrozen, recipe: FrozenRecipe) -> Classification:
    """Cross-entropy of the logits, from which everything learns."""
    model.start_temporal(recipe.temporal)
    networks = {"spatial": model.spatial, "network": model.network}
    return Classification(networks, logits=model.whole_logits, recipe=recipe)


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
