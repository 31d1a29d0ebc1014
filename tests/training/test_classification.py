"""The objective of recognizers: targets, what is frozen, how rates fall with depth."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kinema.errors import InputError
from kinema.noise import Noise
from kinema.training.classification import Classification, ClassifierRecipe, depth_rates

NOISE = Noise(0, (0, 1, 2))
RECIPE = ClassifierRecipe(
    steps=10,
    batch_size=3,
    learning_rate=1e-3,
    label_smoothing=0.2,
    mixup=0.0,
    cutmix=0.0,
    layer_decay=1.0,
    frozen=(),
    flip=0.0,
    crop_area=(1.0, 1.0),
)


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(4, 4)
        self.blocks = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
        self.head = nn.Linear(4, 6)

    def forward(self, x: Tensor) -> Tensor:
        for layer in (self.embed, *self.blocks):
            x = layer(x).tanh()
        return self.head(x)


def made(**changes: object) -> Classification:
    torch.manual_seed(0)
    network = Network()
    return Classification({"network": network}, logits=network, recipe=replace(RECIPE, **changes))


def batch() -> dict[str, Tensor]:
    return {"clips": Noise(1, (0, 1, 2)).normal((3, 4), "x"), "classes": torch.tensor([0, 5, 2])}


def soft(objective: Classification, targets: Tensor) -> Tensor:
    smooth = 0.8 * targets + 0.2 / 6
    return -(smooth * objective.logits(batch()["clips"]).log_softmax(1)).sum(1).mean()


def test_smoothing_gives_a_share_to_all_classes():
    objective = made()
    loss, logs = objective.loss("classifier", batch(), 0, NOISE)
    torch.testing.assert_close(loss, soft(objective, F.one_hot(batch()["classes"], 6).float()))
    assert logs["loss"] == loss.detach()


def test_mixed_clips_have_the_classes_of_both():
    objective, shares = made(), torch.tensor([0.3, 1.0, 0.5])
    mixed = {**batch(), "others": torch.tensor([1, 1, 1]), "shares": shares}
    loss, _ = objective.loss("classifier", mixed, 0, NOISE)
    own, other = (F.one_hot(mixed[name], 6) for name in ("classes", "others"))
    targets = shares[:, None] * own + (1 - shares)[:, None] * other
    torch.testing.assert_close(loss, soft(objective, targets))


def test_held_out_numbers_are_without_smoothing_and_beside_a_guess():
    objective = made()
    logs = objective.held_out(batch(), NOISE)
    logits = objective.logits(batch()["clips"])
    torch.testing.assert_close(logs["loss"], F.cross_entropy(logits, batch()["classes"]))
    assert float(logs["trivial"]) == pytest.approx(math.log(6))
    assert logs["top1"] == (logits.argmax(1) == batch()["classes"]).float().mean()
    assert logs["top1"] <= logs["top5"] <= 1


def test_what_is_frozen_belongs_to_no_player():
    objective = made(frozen=("embed.*", "blocks.0.*"))
    trained = set(objective.trained("classifier"))
    assert trained == {
        f"networks.network.{name}.{kind}"
        for name in ("blocks.1", "blocks.2", "head")
        for kind in ("weight", "bias")
    }


@pytest.mark.parametrize(
    ("frozen", "said"), [(("embedd.*",), "fits 'embedd"), (("*",), "leaves nothing to train")]
)
def test_patterns_that_make_no_sense_are_named(frozen, said):
    with pytest.raises(InputError, match=said):
        made(frozen=frozen)


def test_rates_fall_from_the_head_to_the_embedding():
    network = nn.ModuleDict({"network": Network()})
    assert depth_rates(network, 1.0) == {}
    rates = depth_rates(network, 0.5)
    found = {
        name.removeprefix("network.").removesuffix(".weight"): rates[name]
        for name in rates
        if "weight" in name
    }
    assert found == {
        "embed": 0.0625,
        "blocks.0": 0.125,
        "blocks.1": 0.25,
        "blocks.2": 0.5,
        "head": 1.0,
    }
    assert made(layer_decay=0.5).rates["networks.network.embed.bias"] == 0.0625


def test_rates_fall_through_all_networks_a_clip_passes():
    first, second = Network(), Network()
    second.late = nn.Parameter(torch.zeros(1))
    second.BEHIND_BLOCKS = ("late",)
    rates = depth_rates(nn.ModuleDict({"first": first, "network": second}), 0.5)
    depths = {name: -math.log2(rate) for name, rate in rates.items() if "bias" not in name}
    assert depths == {
        "first.embed.weight": 7,
        "first.blocks.0.weight": 6,
        "first.blocks.1.weight": 5,
        "first.blocks.2.weight": 4,
        "first.head.weight": 4,
        "network.late": 0,
        "network.embed.weight": 4,
        "network.blocks.0.weight": 3,
        "network.blocks.1.weight": 2,
        "network.blocks.2.weight": 1,
        "network.head.weight": 0,
    }


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"label_smoothing": 1.5}, "label_smoothing"),
        ({"layer_decay": 0.0}, "layer_decay"),
        ({"crop_area": (0.5, 0.2)}, "crop_area"),
        ({"steps": 0}, "steps"),
    ],
)
def test_numbers_out_of_range_are_named(change, said):
    with pytest.raises(InputError, match=said):
        replace(RECIPE, **change)
