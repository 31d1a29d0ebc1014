"""ZeroI2V as a system: the job `merge`, what is trained in which stage, published files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from published_files import write_without_values

from kinema.config import from_dict
from kinema.errors import InputError
from kinema.noise import Noise
from kinema.systems.recognizer import numbered
from kinema.systems.zeroi2v import SYSTEM, ZeroI2VRecognizer
from kinema.systems.zeroi2v_presets import (
    IMAGE,
    MERGED,
    RECIPES,
    VERSIONS,
    ZeroI2VModelConfig,
    nano,
)
from kinema.systems.zeroi2v_training import data
from kinema.weights import manifests

CLIPS = Noise(0, (0, 1)).uniform((2, 3, 5, 32, 32), "clips") * 2 - 1


@torch.no_grad()
def stirred() -> ZeroI2VRecognizer:
    """A nano model whose adapters do something."""
    model = SYSTEM(nano())
    for index, (name, parameter) in enumerate(model.network.named_parameters()):
        if ".adapters." in name:
            parameter += 0.1 * Noise(0, (index,)).normal((1, *parameter.shape), "weights")[0]
    return model


@pytest.mark.parametrize("name", VERSIONS)
def test_versions_say_how_many_parameters_they_have(name: str) -> None:
    for version, said in (
        (VERSIONS[name], "{:,} parameters"),
        (MERGED[f"{name}_merged"], "merged {:,}"),
    ):
        network = SYSTEM(version(), device="meta").network
        count = sum(parameter.numel() for parameter in network.parameters())
        assert said.format(count) in str(VERSIONS[name].__doc__)


@pytest.mark.parametrize(
    ("manifest", "versions", "classes"),
    [
        ("b16-8f", ["full"], 400),
        ("b16-8f", ["full"], 51),
        ("b16-16f", ["something_b16"], 174),
        ("l14-8f", ["l14"], 400),
        ("l14-32f", ["l14_long", "something_l14"], 400),
    ],
)
def test_published_files_are_told_by_their_sizes(
    manifest: str, versions: list[str], classes: int, tmp_path: Path
) -> None:
    """Both L/14 with 32 frames have the same tensors: one must be named."""
    path = tmp_path / "published.safetensors"
    assert SYSTEM.PUBLISHED is not None
    for form, ending in (("train", ""), ("merged", "_merged")):
        shapes = manifests.read(f"32-zeroi2v-{manifest}-{form}").shapes
        theirs = {f"backbone.{name}": shape for name, shape in shapes.items()}
        width = theirs["backbone.class_embedding"][0]
        theirs |= {"cls_head.fc_cls.weight": (classes, width), "cls_head.fc_cls.bias": (classes,)}
        write_without_values(path, theirs, None)
        names = [f"{version}{ending}" for version in versions]
        if len(names) > 1:
            with pytest.raises(InputError, match=f"may be {' or '.join(names)}; name one"):
                SYSTEM.PUBLISHED.read(path, None, None)
        named = None if len(names) == 1 else names[-1]
        checkpoint = SYSTEM.PUBLISHED.read(path, named, None)
        config = from_dict(ZeroI2VModelConfig, checkpoint.config)
        expected = {**VERSIONS, **MERGED}[names[-1]]()
        network = replace(expected.network, num_classes=classes)
        assert config == replace(expected, labels=numbered(classes), network=network)


def test_a_merged_model_gives_the_same_and_is_a_model(tmp_path: Path) -> None:
    model = stirred()
    path = tmp_path / "merged.safetensors"
    model.run({}, 0, "merge")["model"].write(path)
    merged = SYSTEM.from_pretrained(path)
    assert merged.config.network.adapters is None
    with torch.no_grad():
        before, after = model.logits(CLIPS), merged.logits(CLIPS)
    torch.testing.assert_close(after, before, rtol=1e-5, atol=1e-5)
    assert not any(".adapters." in name for name in merged.parts.state_dict())
    assert any(".adapters." in name for name in model.parts.state_dict())
    with pytest.raises(InputError, match="merged already"):
        merged.run({}, 0, "merge")


def test_the_recipes_leave_the_tower_as_it_is() -> None:
    model = stirred()
    stage = SYSTEM.STAGES["classifier"]
    for preset in ("full", "something_b16", "tiny"):
        recipe = replace(RECIPES["nano"], frozen=RECIPES[preset].frozen)
        trained = {
            name.removeprefix("networks.network.")
            for name in stage.objective(model, recipe).trained("classifier")
        }
        names = {name for name, _ in model.network.named_parameters()}
        assert trained == {name for name in names if ".adapters." in name} | {
            *("temporal_embed", "norm.weight", "norm.bias", "head.weight", "head.bias"),
        }
    image = replace(IMAGE.nano(batch_size=4), frozen=IMAGE.frozen)
    left = names - {
        name.removeprefix("networks.network.")
        for name in SYSTEM.STAGES["image"].objective(model, image).trained("classifier")
    }
    assert left == {name for name in names if ".adapters." in name} | {"temporal_embed"}


def test_clips_of_the_first_stage_stand_still() -> None:
    for source in data(SYSTEM(nano()), IMAGE, "motions"):
        batch = source((0, 1))
        clips = batch["clips"]
        assert torch.equal(clips, clips[:, :, :1].expand_as(clips))
        assert not torch.equal(clips[0], clips[1])
        assert torch.equal(source((1,))["classes"], batch["classes"][1:])


def test_the_second_stage_takes_the_tower_of_the_first(tmp_path: Path) -> None:
    """With other classes the head is new, all else is the same."""
    first = stirred()
    first.reset_classifier(("square", "star"))
    first.save_pretrained(tmp_path / "image.safetensors")
    model = SYSTEM(nano())
    model.start_from(SYSTEM.from_pretrained(tmp_path / "image.safetensors"), ("network",))
    theirs, ours = first.network.state_dict(), model.network.state_dict()
    same = {name for name in ours if torch.equal(ours[name], theirs.get(name, ours[name][:0]))}
    assert set(ours) - same == {"head.weight", "head.bias"}
