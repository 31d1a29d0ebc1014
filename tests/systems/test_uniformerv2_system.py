"""UniFormerV2 as a system: published files, CLIP as a beginning, what the frozen form trains."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
import torch
import transformers
from published_files import write_without_values
from safetensors.torch import save_file

from kinema.config import from_dict
from kinema.errors import InputError
from kinema.networks.clip import CLIP, CLIPConfig, TextTowerConfig, vit_b_16
from kinema.networks.uniformerv2 import FROZEN, UniFormerV2
from kinema.networks.vit import ViTConfig
from kinema.noise import Noise
from kinema.parity.runner import relative_error
from kinema.systems.recognizer import numbered
from kinema.systems.recognizer_files import to_network
from kinema.systems.recognizer_from_clip import FromCLIP
from kinema.systems.uniformerv2 import SYSTEM
from kinema.systems.uniformerv2_presets import (
    RECIPES,
    VERSIONS,
    UniFormerV2ModelConfig,
    nano,
)
from kinema.weights import manifests
from kinema.weights.files import save
from kinema.weights.maps import clip as clip_maps
from kinema.weights.maps import uniformerv2 as maps


def small() -> UniFormerV2ModelConfig:
    """What `nano` is, with more classes."""
    base = nano()
    labels = tuple(f"class {i}" for i in range(14))
    return replace(base, labels=labels, network=replace(base.network, num_classes=14))


def smaller() -> UniFormerV2ModelConfig:
    """The same without local aggregators."""
    base = small()
    return replace(base, network=replace(base.network, num_local=0, tube_frames=1, tube_stride=1))


FILES = FromCLIP(
    name="uniformerv2",
    parts={"network": UniFormerV2},
    versions={"small": small, "smaller": smaller},
    find=to_network(maps.find),
    fresh=(),
)


@pytest.fixture
def clip(tmp_path: Path) -> tuple[CLIP, Path]:
    """A CLIP model with an image tower of the size of `nano`, and a file of it."""
    network = nano().network
    image = ViTConfig(
        image_size=network.image_size,
        patch_size=network.patch_size,
        width=network.width,
        num_layers=network.num_layers,
        num_heads=network.num_heads,
        eps=network.eps,
    )
    text = TextTowerConfig(vocabulary=9, max_tokens=4, width=8, num_layers=1, num_heads=1)
    model = CLIP(CLIPConfig(image=image, text=text, embed_width=5)).eval()
    path = tmp_path / "clip.safetensors"
    state = clip_maps.OFFICIAL.to_theirs(model.state_dict())
    save_file({name: value.contiguous() for name, value in state.items()}, path)
    return model, path


@pytest.mark.parametrize("name", VERSIONS)
def test_versions_say_how_many_parameters_they_have(name: str) -> None:
    network = SYSTEM(VERSIONS[name](), device="meta").network
    count = sum(parameter.numel() for parameter in network.parameters())
    assert f"{count:,} parameters" in str(VERSIONS[name].__doc__)


@pytest.mark.parametrize(
    ("manifest", "version", "classes"),
    [
        ("k400-b16", "full", 400),
        ("k710-b16", "full", 710),
        ("k400-l14", "l14", 400),
        ("k400-l14-336", "l14_336", 400),
        ("k710-l14-336-frozen", "l14_336_frozen", 710),
        ("ssv2-b16", "something_b16", 174),
        ("ssv2-l14", "something_l14", 174),
    ],
)
def test_published_files_are_told_by_their_sizes(
    manifest: str, version: str, classes: int, tmp_path: Path
) -> None:
    shapes = manifests.read(f"14-uniformerv2-{manifest}").shapes
    theirs = {f"backbone.{name}": shape for name, shape in shapes.items()}
    path = tmp_path / "published.safetensors"
    write_without_values(path, theirs, None)
    assert SYSTEM.PUBLISHED is not None
    checkpoint = SYSTEM.PUBLISHED.read(path, None, None)
    config = from_dict(UniFormerV2ModelConfig, checkpoint.config)
    expected = VERSIONS[version]()
    network = replace(expected.network, num_classes=classes)
    assert config == replace(expected, labels=numbered(classes), network=network)
    found = {name: value.shape for name, value in checkpoint.tensors.items()}
    assert found == manifests.shapes_of(SYSTEM(config, device="meta").parts)


def test_a_file_of_the_authors_gives_their_weights_pickled_or_not(tmp_path: Path) -> None:
    model = SYSTEM(small())
    path = tmp_path / "authors.safetensors"
    state = maps.CHECKPOINT.to_theirs(dict(model.network.state_dict()))
    save(path, state, {}, overwrite=False)
    checkpoint = FILES.read(path, None, None)
    torch.save({"epoch": 55, "model_state": state, "cfg": "a: 1"}, tmp_path / "authors.pyth")
    pickled = FILES.read(tmp_path / "authors.pyth", None, None)
    assert checkpoint.metadata == pickled.metadata == {"system": "uniformerv2", "dtype": "float32"}
    for name, value in model.parts.state_dict().items():
        assert torch.equal(checkpoint.tensors[name].read(), value), name
        assert torch.equal(pickled.tensors[name].read(), value), name
    with pytest.raises(InputError, match="holds small, not smaller"):
        FILES.read(path, "smaller", None)


def test_a_clip_file_is_a_beginning(clip: tuple[CLIP, Path]) -> None:
    model, path = clip
    with pytest.raises(InputError, match=r"may be small or smaller.*uniformerv2:small@"):
        FILES.read(path, None, None)
    checkpoint = FILES.read(path, "small", None)
    read = {name: value.read() for name, value in checkpoint.tensors.items()}
    assert {f"network.{n}" for n in UniFormerV2(small().network).state_dict()} == set(read)
    kernel = read["network.patch_embed.proj.weight"]
    assert torch.equal(kernel[:, :, 1], model.image.patch_embed.proj.weight)
    assert not kernel[:, :, ::2].any()
    assert torch.equal(read["network.blocks.1.mlp.fc2.bias"], model.image.blocks[1].mlp.fc2.bias)
    assert not read["network.readers.0.to_out.weight"].any()


@pytest.mark.parametrize(
    ("version", "text", "said"),
    [
        ("tiny", None, "unknown published version of uniformerv2 'tiny'"),
        ("small", "folder", "reads no texts"),
    ],
)
def test_what_does_not_fit_a_clip_file_is_named(
    clip: tuple[CLIP, Path], version: str, text: str | None, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        FILES.read(clip[1], version, text)


def test_a_clip_of_no_published_size_is_refused(clip: tuple[CLIP, Path]) -> None:
    with pytest.raises(InputError, match="has the sizes of no published uniformerv2"):
        SYSTEM.from_pretrained(clip[1])


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="holds no uniformerv2 model"):
        SYSTEM.from_pretrained(tmp_path / "other.safetensors")


def test_clip_of_the_published_size_begins_the_published_models() -> None:
    """By shapes alone: the tower of ViT-B/16 is that of both B/16."""
    shapes = manifests.read("00-clip-vit-b-16-transformers").shapes
    tower = vit_b_16().image
    for name in ("full", "something_b16"):
        network = VERSIONS[name]().network
        assert (network.width, network.num_layers) == (tower.width, tower.num_layers)
        table = shapes["vision_model.embeddings.position_embedding.weight"]
        assert table == (1 + network.num_patches, network.width)


def test_the_frozen_recipe_trains_what_clip_does_not_have() -> None:
    config = nano()
    config = replace(config, network=replace(config.network, frozen=True, num_local=0))
    model = SYSTEM(config)
    recipe = replace(RECIPES["nano"], frozen=RECIPES["l14_336_frozen"].frozen)
    objective = SYSTEM.STAGES["classifier"].objective(model, recipe)
    trained = set(objective.trained("classifier"))
    names = {f"networks.network.{name}" for name, _ in model.network.named_parameters()}
    assert names - trained == {
        name
        for name in names
        if any(fnmatchcase(name.removeprefix("networks.network."), p) for p in FROZEN)
    }
    assert trained


@pytest.mark.slow
def test_the_published_model_begins_as_transformers_clip(tmp_path: Path) -> None:
    """ViT-B/16: features are the mean of the class tokens, before CLIP's last norm."""
    options = transformers.CLIPVisionConfig(
        patch_size=16,
        hidden_size=768,
        intermediate_size=3072,
        num_hidden_layers=12,
        num_attention_heads=12,
    )
    peer = transformers.CLIPVisionModelWithProjection(options).eval().requires_grad_(False)
    peer.save_pretrained(tmp_path)
    model = SYSTEM.from_pretrained(tmp_path, preset="full")
    clips = Noise(0, (0,)).normal((1, 3, 2, 224, 224), "clips")
    tokens = peer.vision_model(clips[0].transpose(0, 1)).last_hidden_state[:, 0]
    with torch.no_grad():
        features = model.network.forward_features(clips)
    expected = torch.nn.functional.layer_norm(0.5 * tokens.mean(0, keepdim=True), (768,), eps=1e-5)
    assert relative_error(features, expected) < 1e-4
