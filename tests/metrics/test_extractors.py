"""Extractors load files in the authors' layout, and see what their networks see."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from kinema.config import to_json
from kinema.errors import InputError
from kinema.metrics import extractors, vit_extractors
from kinema.metrics.fvd_preprocessing import VARIANTS
from kinema.metrics.measures import Measure, framewise
from kinema.networks import dinov2, i3d, inception_2015, lpips
from kinema.networks.clip_convnet import ClipConvNet, ClipConvNetConfig
from kinema.noise import Noise
from kinema.weights import files
from kinema.weights.maps import i3d as i3d_map
from kinema.worlds import load

CLIP = (Noise(0, (0,)).uniform((1, 10, 3, 40, 48), "clip")[0] * 255).to(torch.uint8)


def saved(path: Path, tensors: dict[str, Tensor]) -> Path:
    torch.save(tensors, path)
    return path


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> tuple[i3d.I3D, Path]:
    """An I3D with random weights, and its file with the names of the port."""
    network = i3d.I3D(i3d.i3d_kinetics_400())
    extractors.randomize(network, seed=3)
    theirs = i3d_map.OFFICIAL.to_theirs(dict(network.state_dict()))
    assert "logits.conv3d.weight" in theirs
    path = tmp_path_factory.mktemp("i3d") / "i3d_pretrained_400.pt"
    return network.eval(), saved(path, theirs)


@pytest.mark.parametrize("variant", VARIANTS)
def test_i3d_reads_the_port_and_prepares_in_three_ways(port, variant):
    network, path = port
    measure = extractors.i3d_logits(variant, {"i3d": path}, "cpu")
    found = measure.run(CLIP[:9])
    prepared = VARIANTS[variant]((CLIP[:9].float() / 255).transpose(0, 1)[None], 224)
    with torch.no_grad():
        torch.testing.assert_close(found, network(prepared)[0])
    assert measure.preprocessing == f"{variant}, 224x224"


def test_inception_takes_every_frame(tmp_path):
    network = inception_2015.Inception2015(inception_2015.inception_2015()).eval()
    path = saved(tmp_path / "inception.pth", dict(network.state_dict()))
    features = extractors.inception_features({"inception": path}, "cpu")
    logits = extractors.inception_logits({"inception": path}, "cpu")
    assert features.run(CLIP[:2]).shape == (2, 2048)
    assert logits.run(CLIP[:2]).shape == (2, 1008)
    assert features.weights == logits.weights
    assert features.key != logits.key


@pytest.fixture(params=extractors.LPIPS)
def lpips_files(
    request: pytest.FixtureRequest, tmp_path: Path
) -> tuple[str, lpips.LPIPS, dict[str, Path]]:
    """The name of a trunk, LPIPS on it with random weights, and its files by role."""
    config, *roles = extractors.LPIPS[request.param]
    network = lpips.LPIPS(config()).eval()
    with torch.no_grad():
        for head in network.heads:
            head.weight.abs_()
    trunk = {f"{name}": x for name, x in network.trunk.state_dict().items()}
    trunk["classifier.6.bias"] = torch.zeros(1000)
    heads = {f"lin{i}.model.1.weight": head.weight for i, head in enumerate(network.heads)}
    given = {role: saved(tmp_path / f"{role}.pth", x) for role, x in zip(roles, (trunk, heads))}
    return request.param, network, given


def test_lpips_reads_trunk_and_heads_from_two_files(lpips_files):
    trunk, network, given = lpips_files
    distance = extractors.lpips_measure(trunk, given, "cpu")
    assert distance.name.endswith(trunk)
    assert distance.run(CLIP, CLIP).item() == 0
    darker = (CLIP * 0.5).to(torch.uint8)
    expected = network(CLIP.float() / 127.5 - 1, darker.float() / 127.5 - 1).mean()
    assert distance.run(CLIP, darker).item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("lpips_files", ["AlexNet"], indirect=True)
def test_tlp_compares_changes_from_frame_to_frame(lpips_files):
    changes = extractors.tlp_measure(lpips_files[2], "cpu")
    assert changes.run(CLIP, CLIP).item() == 0
    assert changes.run(CLIP, CLIP[:1].expand_as(CLIP)).item() > 0


def test_dinov2_of_any_size_is_known_by_its_width(tmp_path):
    network = dinov2.DINOv2(dinov2.vit_s_14()).eval()
    path = saved(tmp_path / "dinov2_vits14_pretrain.pth", dict(network.state_dict()))
    measure = vit_extractors.dinov2_frames({"dinov2": path}, "cpu")
    assert measure.name == "DINOv2 ViT-s/14"
    assert measure.run(CLIP[:2]).shape == (2, 384)
    other = saved(tmp_path / "other.pth", {"norm.weight": torch.zeros(7)})
    with pytest.raises(InputError, match=r"other\.pth holds no DINOv2"):
        vit_extractors.dinov2_frames({"dinov2": other}, "cpu")


def test_the_tiny_network_is_read_with_its_configuration(tmp_path):
    config = ClipConvNetConfig(size=16, widths=(8, 16), num_classes=3)
    network = ClipConvNet(config).eval()
    path = tmp_path / "tiny.safetensors"
    said = {"config": to_json(config)}
    files.save(path, dict(network.state_dict()), said, overwrite=False)
    measure = extractors.tiny({"tiny": path}, "cpu")
    clip = (CLIP.float() / 127.5 - 1).transpose(0, 1)[None]
    with torch.no_grad():
        torch.testing.assert_close(measure.run(CLIP), network.features(clip)[0])
        assert network(clip).shape == (1, 3)
    assert json.loads(said["config"])["widths"] == [8, 16]
    bare = tmp_path / "bare.safetensors"
    files.save(bare, dict(network.state_dict()), {}, overwrite=False)
    with pytest.raises(InputError, match=r"bare\.safetensors holds no configuration"):
        extractors.tiny({"tiny": bare}, "cpu")


def test_the_tiny_network_that_ships_tells_grounds_apart():
    measure = extractors.tiny({}, "cpu")
    world = load("shapes", seed=5, split="train", num_frames=17, height=64, width=64, fps=12.0)
    samples = [world.sample(index) for index in range(24)]
    clips = [torch.from_numpy(sample.clip.frames.copy()).permute(0, 3, 1, 2) for sample in samples]
    features = torch.stack([measure.run(clip) for clip in clips])
    gaps = torch.cdist(features, features).fill_diagonal_(math.inf)
    grounds = [sample.labels["background_kind"] for sample in samples]
    nearest = [grounds[int(row.argmin())] == own for row, own in zip(gaps, grounds)]
    assert sum(nearest) >= 22  # of 24; half by chance
    assert measure.name == "ClipConvNet features (a stand-in)"


def test_effnet_sees_more_damage_in_more_noise():
    measure = extractors.effnet({}, "cpu")
    clean = measure.run(CLIP[:2])
    assert clean.shape == (2, 1280)
    noise = 40 * Noise(0, (0,)).normal((1, *CLIP[:2].shape), "noise")[0]
    gaps = [
        (measure.run((CLIP[:2] + s * noise).clamp(0, 255).to(torch.uint8)) - clean).norm().item()
        for s in (0.25, 1.0)
    ]
    assert 0 < gaps[0] < gaps[1]


def test_frames_are_taken_in_parts_that_do_not_depend_on_the_clip():
    seen: list[int] = []

    def network(x: Tensor) -> Tensor:
        seen.append(len(x))
        return x.mean((2, 3))

    run = framewise(network, "cpu")
    assert run(CLIP.repeat(4, 1, 1, 1)).shape == (40, 3)
    assert seen == [16, 16, 8]
    assert Measure("a", "b", "c", 1, run).key == ("a", "b", "c")
