"""C3D: published names, the prepared input, the pools; its numbers are a recorded case."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kinema.errors import InputError
from kinema.networks.c3d import C3D, C3DConfig, c3d_ucf101
from kinema.noise import Noise
from kinema.weights import manifests
from kinema.weights.files import load_tensors
from kinema.weights.maps.c3d import OFFICIAL, middle, open_published

NOISE = Noise(0, (0, 1))
SMALL = C3DConfig(widths=(4, 4, 8, 8, 8), hidden=16, num_classes=5, num_frames=16, size=112)


@pytest.fixture(scope="module")
def network() -> C3D:
    made = C3D(SMALL)
    for index, parameter in enumerate(made.parameters()):
        drawn = Noise(0, (index,)).normal((1, *parameter.shape), "weights")[0]
        parameter.data = drawn * (2 / parameter[0].numel()) ** 0.5
    made.mean += 100 * Noise(0, (0,)).uniform((1, *made.mean.shape), "mean")[0]
    return made.requires_grad_(False)


def test_published_sizes_and_names() -> None:
    network = C3D(c3d_ucf101(), device="meta")
    assert sum(p.numel() for p in network.parameters()) == 78_409_573
    beside = {"mean": (3, 16, 112, 112)}
    manifests.check(network, manifests.read("00-c3d-ucf101"), OFFICIAL, beside=beside)


def test_the_input_is_blue_first_levels_less_the_mean_clip(network: C3D) -> None:
    x = torch.stack([torch.full((16, 5, 9), value) for value in (-1.0, 0.0, 1.0)])[None]
    levels = network.prepare(x) + network.mean
    assert levels.shape == (1, 3, 16, 112, 112)
    for channel, level in enumerate((256.0, 128.0, 0.0)):
        assert torch.allclose(levels[:, channel], torch.tensor(level), atol=1e-3)


def test_frames_are_stretched_with_aligned_corners(network: C3D) -> None:
    x = 2 * NOISE.uniform((2, 3, 16, 5, 9), "clip") - 1
    levels = (network.prepare(x) + network.mean).numpy()
    column = np.interp(np.linspace(0, 4, 112), np.arange(5), x[1, 2, 7, :, 0].numpy())
    np.testing.assert_allclose(levels[1, 0, 7, :, 0], 128 * column + 128, atol=1e-3)
    row = np.interp(np.linspace(0, 8, 112), np.arange(9), x[0, 1, 3, -1].numpy())
    np.testing.assert_allclose(levels[0, 1, 3, -1], 128 * row + 128, atol=1e-3)


def test_the_last_pool_covers_the_border_without_padding_in_front(network: C3D) -> None:
    places = C3DConfig(widths=(1, 1, 1, 1, 1), hidden=1, num_classes=1, num_frames=16, size=112)
    assert places.places == c3d_ucf101().places == 16
    seen: list[torch.Tensor] = []
    last = network.conv5b.register_forward_hook(lambda _, inputs, out: seen.append(out.relu()))
    wide = network.fc6.register_forward_pre_hook(lambda _, inputs: seen.append(*inputs))
    network(2 * NOISE.uniform((2, 3, 16, 8, 8), "clip") - 1)
    last.remove()
    wide.remove()
    before, pooled = seen[0], seen[1].view(2, 8, 1, 4, 4)
    assert before.shape == (2, 8, 2, 7, 7)
    for i in range(4):
        for j in range(4):
            window = before[..., 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
            assert torch.equal(pooled[:, :, 0, i, j], window.amax((2, 3, 4)))


def test_features_and_logits(network: C3D) -> None:
    x = 2 * NOISE.uniform((2, 3, 16, 8, 8), "clip") - 1
    features = network.embed(x)
    assert features.shape == (2, 16)
    assert features.min() == 0
    assert torch.equal(network(x), network.fc8(features))
    assert torch.allclose(network(x[1:]), network(x)[1:], rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("shape", [(2, 3, 15, 8, 8), (2, 1, 16, 8, 8), (3, 16, 8, 8)])
def test_other_shapes_are_refused(network: C3D, shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"C3D takes clips \(B, 3, 16, H, W\)"):
        network(torch.zeros(shape))


# Both files as TGANv2 publishes them.


def write(folder, network: C3D, mean: np.ndarray) -> tuple[str, str]:
    theirs = OFFICIAL.to_theirs(dict(network.state_dict()))
    theirs.pop("mean")
    paths = str(folder / "conv3d_deepnetA_ucf.npz"), str(folder / "mean2.npz")
    np.savez(paths[0], **{name: value.numpy() for name, value in theirs.items()})
    np.savez(paths[1], mean=mean)
    return paths


def test_both_files_are_read(tmp_path, network: C3D) -> None:
    mean = np.arange(3 * 16 * 128 * 171, dtype=np.float32).reshape(3, 16, 128, 171)
    weights, mean_file = write(tmp_path, network, mean)
    loaded = C3D(SMALL)
    load_tensors(loaded, open_published(weights, mean_file), OFFICIAL, where=weights)
    for name, value in network.state_dict().items():
        if name != "mean":
            assert torch.equal(loaded.state_dict()[name], value)
    assert torch.equal(loaded.mean, torch.from_numpy(mean[:, :, 8:120, 8:120]))
    assert torch.equal(loaded.mean, middle(torch.from_numpy(mean)))


@pytest.mark.parametrize("mean", [np.zeros((3, 16, 112, 171)), np.zeros((1, 3, 16, 128, 171))])
def test_a_mean_clip_of_another_shape_is_refused(tmp_path, network: C3D, mean: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"mean2\.npz must hold an array 'mean' \(3, 16, H, W\)"):
        open_published(*write(tmp_path, network, mean))
