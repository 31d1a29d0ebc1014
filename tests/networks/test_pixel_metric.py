"""Latents in the metric of pixels: the same clips, and steps as long as in the pixels."""

import importlib.util
from pathlib import Path

import pytest
import torch

from kinema.networks.ltx_vae import LTXVAE
from kinema.noise import Noise
from kinema.systems.ltx_video import LTXVideo
from kinema.systems.ltx_video_presets import nano

SCRIPT = Path(__file__).parents[2] / "bench" / "pixel_metric.py"
CLIP = Noise(0, (0,)).normal((1, 3, 9, 32, 32), "clip").tanh()


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("pixel_metric", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def model() -> LTXVideo:
    torch.manual_seed(0)
    made = LTXVideo(nano())
    made.parts.requires_grad_(False)
    made.codec.mean_of_means.copy_(Noise(1, (0,)).normal((1, 8), "mean")[0])
    made.codec.std_of_means.copy_(1 + Noise(2, (0,)).uniform((1, 8), "std")[0])
    return made


def decoded(codec: LTXVAE, z: torch.Tensor) -> torch.Tensor:
    return codec.decode(z, time=torch.zeros(1))


def test_another_basis_decodes_the_same(model, bench):
    codec, root = model.codec, bench.square_root(bench.one_clip(model, CLIP, 0)[0])
    z = codec.encode(CLIP)
    before = decoded(codec, z)
    bench.change_basis(codec, root)
    torch.testing.assert_close(codec.encode(CLIP), torch.einsum("dc,bcthw->bdthw", root, z))
    torch.testing.assert_close(decoded(codec, codec.encode(CLIP)), before)


def test_the_metric_is_the_change_of_pixels(model, bench):
    codec, z = model.codec, model.codec.encode(CLIP)
    metric = torch.stack([bench.one_clip(model, CLIP, index)[0] for index in range(200)]).mean(0)
    step = 1e-3 * Noise(3, tuple(range(50))).normal((50, *z.shape[1:]), "step")
    time = torch.full((50,), model.config.sampling.decode_time)
    moved = codec.decode(z + step, time=time) - codec.decode(z.expand_as(step), time=time)
    expected = torch.einsum("bcthw,cd,bdthw->", step, metric, step)
    assert float(moved.square().sum()) == pytest.approx(float(expected), rel=0.15)


def test_the_root_is_symmetric(bench):
    x = Noise(4, (0,)).normal((1, 5, 9), "x")[0]
    root = bench.square_root(x @ x.mT)
    torch.testing.assert_close(root @ root, x @ x.mT)
    torch.testing.assert_close(root, root.mT)
