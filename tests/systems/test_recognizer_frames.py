"""Recognizers that read frames: what they learn from, their authors' files, clips, pictures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from kinema import registry
from kinema.data.clips import split_of
from kinema.errors import InputError
from kinema.noise import Noise
from kinema.systems import cvt, ia_red2, load, tnt
from kinema.systems.recognizer_files import RecognizerFiles, to_network
from kinema.systems.recognizer_frames import COLORS, DRAWN, colored, data
from kinema.systems.recognizer_training import LabeledClips, drawn_size
from kinema.weights.maps import cvt as cvt_map
from kinema.weights.maps import ia_red2 as ia_red2_map
from kinema.weights.maps import tnt as tnt_map

NAMES = ("tnt", "cvt", "ia_red2")


def nano(name: str) -> Any:
    system = registry.system_class(name)
    torch.manual_seed(0)
    model = system(system.PRESETS["nano"]())
    for index, parameter in enumerate(model.parts.parameters()):
        noise = Noise(0, (index,)).normal((1, *parameter.shape), "weights")[0]
        parameter.data.add_(0.1 * noise)
    return model


@pytest.mark.parametrize("name", NAMES)
def test_a_clip_is_the_mean_of_its_frames_and_a_picture_a_clip_of_one(name: str) -> None:
    model = nano(name)
    clips = Noise(0, (0, 1)).uniform((2, 3, 4, 32, 32), "clips") * 2 - 1
    with torch.no_grad():
        whole = model.logits(clips)
        single = torch.stack([model.logits(clips[:, :, i : i + 1]) for i in range(4)])
        torch.testing.assert_close(whole, single.mean(0))
        torch.testing.assert_close(whole, model.logits(clips.flip(2)))
    assert (single[0] - single[1]).abs().max() > 1e-4


def test_classes_of_drawn_clips_are_colors() -> None:
    model = nano("tnt")
    world = split_of("motions", "train", drawn_size(model))
    batch = LabeledClips(world, "color", COLORS)((0, 1, 2, 3))
    assert batch["clips"].shape == (4, 3, 5, 32, 32)
    assert [COLORS[i] for i in batch["classes"]] == [
        world.sample(index).labels["color"] for index in range(4)
    ]


def test_drawn_clips_are_mixed_where_the_recipe_says_so() -> None:
    model = nano("cvt")
    plain, _ = data(model, DRAWN, "motions")
    mixed, _ = data(model, replace(DRAWN, mixup=0.8), "motions")
    assert set(mixed((0, 1))) - set(plain((0, 1))) == {"others", "shares"}


def test_two_frames_of_a_drawn_clip_are_learned_from_and_all_are_held_out() -> None:
    model = nano("cvt")
    learned, unseen = data(model, DRAWN, "motions")
    whole = colored(model, "motions", "train")((7,))["clips"]
    pair, held_out = learned((7,))["clips"], unseen((7,))["clips"]
    assert (pair.shape[2], whole.shape[2], held_out.shape[2]) == (2, 5, 5)
    assert not torch.equal(held_out, whole), "another split"
    frames = [torch.equal(pair[:, :, 0], whole[:, :, i]) for i in range(5)]
    assert any(frames[:2]), "the first is of the first half"


@pytest.mark.parametrize("name", NAMES)
def test_a_model_of_other_classes_gets_a_head_for_colors(name: str) -> None:
    for stage in registry.system_class(name).STAGES.values():
        model = nano(name)
        model.reset_classifier(("one", "two"))
        stage.adapt(model, "motions")
        assert model.labels == COLORS
        head = model.network.head
        assert head.out_features == len(COLORS)
        stage.adapt(model, None)
        assert model.network.head is head, "the head of the same classes stays"


# -- files of their authors -----------------------------------------------------------------


def files(name: str, **changes: Any) -> RecognizerFiles:
    """The reader of a system, with its nano size as what is published."""
    module = {"tnt": tnt, "cvt": cvt, "ia_red2": ia_red2}[name]
    system: Any = registry.system_class(name)
    find = {"tnt": tnt_map.find, "cvt": cvt_map.find}.get(name)
    settings: dict[str, Any] = {
        "name": name,
        "parts": {role: part.build for role, part in system.PARTS.items()},
        "versions": {"small": system.PRESETS["nano"]},
        "find": to_network(find) if find else module.maps.find,
        "fresh": ("policy",) if name == "ia_red2" else (),
    }
    return RecognizerFiles(**{**settings, **changes})


def published(name: str, model: Any, folder: Path) -> Path:
    """The network of a model in a file by its authors' names."""
    keymap = {"tnt": tnt_map.OFFICIAL, "cvt": cvt_map.OFFICIAL}[name]
    tensors = keymap.to_theirs(model.network.state_dict())
    path = folder / "published.safetensors"
    save_file({key: value.contiguous() for key, value in tensors.items()}, path)
    return path


@pytest.mark.parametrize("name", ["tnt", "cvt"])
def test_a_file_of_the_authors_is_read_by_its_sizes(name: str, tmp_path: Path) -> None:
    model = nano(name)
    checkpoint = files(name).read(published(name, model, tmp_path), None, None)
    expected = model.parts.state_dict()
    assert checkpoint.tensors.keys() == expected.keys()
    for key, value in checkpoint.tensors.items():
        assert torch.equal(value.read(), expected[key]), key
    assert checkpoint.config is not None
    assert checkpoint.config["labels"] == list(COLORS)
    assert checkpoint.metadata == {"system": name, "dtype": "float32"}


def test_other_classes_than_those_of_the_version_are_numbered(tmp_path: Path) -> None:
    model = nano("cvt")
    model.reset_classifier([f"number {i}" for i in range(7)])
    checkpoint = files("cvt").read(published("cvt", model, tmp_path), "small", None)
    assert checkpoint.config is not None
    assert checkpoint.config["labels"][6] == "class 6"
    assert checkpoint.config["network"]["num_classes"] == 7


def test_versions_that_are_alike_have_to_be_named(tmp_path: Path) -> None:
    small = registry.system_class("cvt").PRESETS["nano"]
    path = published("cvt", nano("cvt"), tmp_path)
    both = files("cvt", versions={"a": small, "b": small, "c": cvt.tiny})
    with pytest.raises(InputError, match="may be a or b; name one, such as cvt:a@"):
        both.read(path, None, None)
    assert both.read(path, "b", None).config is not None
    with pytest.raises(InputError, match="holds a or b, not c"):
        both.read(path, "c", None)
    with pytest.raises(InputError, match="unknown published version of cvt 'd'"):
        both.read(path, "d", None)
    with pytest.raises(InputError, match="sizes of no published cvt"):
        files("cvt", versions={"c": cvt.tiny}).read(path, None, None)
    with pytest.raises(InputError, match="reads no texts"):
        both.read(path, "a", str(tmp_path))


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    for name in NAMES:
        with pytest.raises(InputError, match=f"holds no {name} model with a head"):
            files(name).read(tmp_path / "other.safetensors", None, None)


@pytest.mark.parametrize("whole", [True, False])
def test_interpreters_begin_anew_where_a_file_has_none(whole: bool, tmp_path: Path) -> None:
    model = nano("ia_red2")
    for agent in model.policy.agents:
        agent.qk.bias.data.zero_()  # scores around the threshold
    theirs = ia_red2_map.OFFICIAL.to_theirs(model.parts.state_dict())
    if not whole:
        theirs = {key: value for key, value in theirs.items() if not key.startswith("groups.")}
    path = tmp_path / "published.safetensors"
    save_file({key: value.contiguous() for key, value in theirs.items()}, path)
    checkpoint = files("ia_red2").read(path, None, None)
    found = {key: value.read() for key, value in checkpoint.tensors.items()}
    model.parts.load_state_dict(found)
    clips = Noise(0, (0,)).uniform((1, 3, 2, 32, 32), "clips")
    with torch.no_grad():
        kept = model.seen(clips, None)[1].kept
    assert bool(kept.all()) != whole, "random interpreters drop something, new ones nothing"


def test_a_published_size_is_loaded_by_name(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = tnt.TNTRecognizer(tnt.ti())
    path = published("tnt", model, tmp_path)
    loaded: Any = load(f"tnt:ti@{path}")
    assert loaded.config == model.config
    clips = Noise(0, (0,)).uniform((1, 3, 1, 224, 224), "clips")
    with torch.no_grad():
        assert torch.equal(loaded.logits(clips), model.logits(clips))
