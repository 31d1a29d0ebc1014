"""Published recipes: every version has one, with the numbers of its authors' scripts."""

from __future__ import annotations

from typing import Any

import pytest

from kinema import registry

NAMES = (
    *("uniformerv2", "zeroi2v", "videomae_v2", "vivit_frozen", "ia_red2", "tnt", "cvt"),
    "frozen_in_time",
)
UNCLIPPED = 1e9
SIZES = {"kinetics": 240_000, "something": 169_000, "ucf": 9_537, "imagenet": 1_281_167}
# Numbers that stand in scripts, configurations or READMEs of the authors: epochs of so many samples
# and how many of them rise to the peak, the whole batch (of samples, not of their views), its rate.
EPOCHS = [
    ("uniformerv2", "full", "kinetics", 55, 5, 256, 1e-5),
    ("uniformerv2", "l14", "kinetics", 40, 5, 512, 1e-5),
    ("uniformerv2", "l14_336", "kinetics", 40, 5, 256, 5e-6),
    ("uniformerv2", "l14_336_frozen", "kinetics", 50, 0, 512, 8e-4),
    ("uniformerv2", "something_b16", "something", 22, 5, 128, 4e-5),
    ("uniformerv2", "something_l14", "something", 22, 5, 128, 2e-5),
    ("zeroi2v", "full", "kinetics", 40, 2.5, 64, 3e-4),
    ("zeroi2v", "l14", "kinetics", 40, 2.5, 64, 3e-4),
    ("zeroi2v", "l14_long", "kinetics", 40, 2.5, 32, 3e-4),
    ("zeroi2v", "something_b16", "something", 50, 2.5, 64, 3e-4),
    ("zeroi2v", "something_l14", "something", 50, 2.5, 32, 3e-4),
    ("zeroi2v", "ucf_b16", "ucf", 40, 2.5, 64, 3e-4),
    ("tnt", "full", "imagenet", 300, 5, 1024, 1e-3),
    ("cvt", "full", "imagenet", 300, 5, 2048, 8 * 2.5e-4),
    ("cvt", "w24-384", "imagenet", 300, 5, 2048, 16 * 1.25e-4),
]
FIELDS = [
    ("uniformerv2", "full", {"weight_decay": 0.05, "clip_norm": 20.0, "frozen": ()}),
    ("uniformerv2", "something_b16", {"flip": 0.0}),
    ("zeroi2v", "full", {"weight_decay": 0.05, "label_smoothing": 0.0, "flip": 0.5}),
    ("zeroi2v", "something_l14", {"weight_decay": 0.05, "label_smoothing": 0.1, "flip": 0.0}),
    ("tnt", "full", {"weight_decay": 0.05, "mixup": 0.8, "cutmix": 1.0, "ema": 0.99996}),
    ("cvt", "full", {"weight_decay": 0.05, "mixup": 0.8, "cutmix": 1.0, "ema": 0.0}),
    ("cvt", "13-384", {"weight_decay": 0.05}),
    ("cvt", "21", {"weight_decay": 0.1}),
    ("cvt", "21-384", {"weight_decay": 0.1}),
    ("cvt", "w24-384", {"weight_decay": 0.1}),
    ("vivit_frozen", "full", {"batch_size": 64, "weight_decay": 0.0, "clip_norm": 1.0}),
    ("frozen_in_time", "full", {"learning_rate": 3e-5, "temperature": 0.05, "frames": (1, 4)}),
]
# VideoMAE V2's scripts: processes x batch of each, rate for 256 clips, epochs, of which rise.
PRETRAINING = [
    ("full", 64 * 32, 6e-4, 300, 30, 0.02),
    ("huge", 64 * 32, 1e-3, 300, 30, UNCLIPPED),
    ("large", 48 * 32, 1e-3, 300, 30, UNCLIPPED),
    ("base", 32 * 32, 1e-3, 200, 20, UNCLIPPED),
]
CLASSIFIERS = [
    ("full", 64 * 3, 1e-3, 30, 0.1, 0.9, 0.0),
    ("huge", 32 * 4, 1e-3, 40, 0.05, 0.8, 0.5),
    ("large", 32 * 6, 2e-3, 35, 0.05, 0.75, 0.0),
    ("base", 32 * 16, 7e-4, 90, 0.05, 0.75, 0.0),
]
CLIPS = 283_582  # of the paper's pre-training


def recipe_of(name: str, preset: str) -> Any:
    """The recipe of the stage that trains a published size with its classes or captions."""
    stages = registry.system_class(name).STAGES
    return stages["retriever" if name == "frozen_in_time" else "classifier"].recipes[preset]


@pytest.mark.parametrize("name", NAMES)
def test_every_preset_has_a_recipe(name: str) -> None:
    system = registry.system_class(name)
    published = [stage for stage in system.STAGES.values() if "full" in stage.recipes]
    assert published
    for stage in published:
        assert stage.recipes.keys() == system.PRESETS.keys()


@pytest.mark.parametrize(
    ("name", "preset", "data", "epochs", "rising", "batch", "rate"), EPOCHS, ids=str
)
def test_epochs_batches_and_rates_are_those_of_the_scripts(
    name: str, preset: str, data: str, epochs: float, rising: float, batch: int, rate: float
) -> None:
    recipe = recipe_of(name, preset)
    steps = SIZES[data] / batch
    assert recipe.steps == pytest.approx(epochs * steps, rel=0.005)
    assert recipe.warmup == pytest.approx(rising * steps, rel=0.01)
    assert recipe.decay == pytest.approx(1 - rising / epochs, abs=0.02)
    assert recipe.batch_size == batch
    assert recipe.learning_rate == pytest.approx(rate)


@pytest.mark.parametrize(("name", "preset", "fields"), FIELDS, ids=str)
def test_other_numbers_are_those_of_the_scripts(
    name: str, preset: str, fields: dict[str, Any]
) -> None:
    recipe = recipe_of(name, preset)
    assert {field: getattr(recipe, field) for field in fields} == fields


@pytest.mark.parametrize(
    ("preset", "batch", "rate", "epochs", "rising", "clip"), PRETRAINING, ids=str
)
def test_videomae_v2_is_pretrained_as_its_scripts_have_it(
    preset: str, batch: int, rate: float, epochs: int, rising: int, clip: float
) -> None:
    """Four views of each clip make the batch larger, and not the rate."""
    recipe = registry.system_class("videomae_v2").STAGES["pretraining"].recipes[preset]
    steps = CLIPS // batch
    assert (recipe.steps, recipe.warmup) == (epochs * steps, rising * steps)
    assert (recipe.batch_size, recipe.clip_norm) == (4 * batch, clip)
    assert recipe.learning_rate == pytest.approx(rate * batch / 256)
    assert (recipe.betas, recipe.weight_decay) == ((0.9, 0.95), 0.05)


@pytest.mark.parametrize(
    ("preset", "batch", "rate", "epochs", "weight_decay", "layer_decay", "dropout"),
    CLASSIFIERS,
    ids=str,
)
def test_videomae_v2_learns_classes_as_its_scripts_have_it(
    preset: str,
    batch: int,
    rate: float,
    epochs: int,
    weight_decay: float,
    layer_decay: float,
    dropout: float,
) -> None:
    """There are two views of each clip."""
    system = registry.system_class("videomae_v2")
    recipe, steps = recipe_of("videomae_v2", preset), SIZES["kinetics"] / batch
    assert recipe.steps == pytest.approx(epochs * steps, rel=0.005)
    assert recipe.warmup == pytest.approx(5 * steps, rel=0.01)
    assert recipe.decay == pytest.approx(1 - 5 / epochs, abs=0.01)
    assert recipe.batch_size == 2 * batch
    assert recipe.learning_rate == pytest.approx(rate * batch / 256)
    assert (recipe.weight_decay, recipe.layer_decay) == (weight_decay, layer_decay)
    assert system.PRESETS[preset]().network.dropout == dropout
