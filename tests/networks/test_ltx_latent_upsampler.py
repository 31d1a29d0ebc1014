"""LTX-Video's latent upsamplers against the authors' recorded numbers, names and counts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from kinema.errors import InputError
from kinema.networks.ltx_latent_upsampler import (
    LatentUpsampler,
    LatentUpsamplerConfig,
    from_official,
    spatial_0_9_7,
    temporal_0_9_7,
)
from kinema.parity.case import read_case
from kinema.weights.manifests import read, shapes_of

CASE = Path(__file__).parents[1] / "cases" / "05-ltx-video" / "latent-upsampler"
TOLERANCE = 1e-5


@torch.no_grad()
def test_recorded_case() -> None:
    case = read_case(CASE)
    network = LatentUpsampler(from_official(case.config))
    network.load_state_dict(case.weights(), strict=True)
    got: dict[str, Tensor] = {}
    for name, module in (("res0", network.res_blocks[0]), ("upsampler", network.upsampler)):
        module.register_forward_hook(
            lambda _m, _i, out, key=f"stage.{name}": got.update({key: out})
        )
    got["out.out"] = network(case.inputs["latent"])
    for name, expected in case.expected.items():
        error = (got[name] - expected).abs().max() / expected.abs().max()
        assert got[name].shape == expected.shape, name
        assert error <= TOLERANCE, f"{name}: {error:.1e}"


@pytest.mark.parametrize(
    ("preset", "manifest", "count"),
    [
        (spatial_0_9_7, "05-ltx-spatial-upscaler", 126_250_624),
        (temporal_0_9_7, "05-ltx-temporal-upscaler", 130_968_192),
    ],
)
def test_published_sizes(
    preset: Callable[[], LatentUpsamplerConfig], manifest: str, count: int
) -> None:
    network = LatentUpsampler(preset(), device="meta")
    assert sum(p.numel() for p in network.parameters()) == count
    assert shapes_of(network) == read(manifest).shapes


@torch.no_grad()
@pytest.mark.parametrize(
    ("space", "time", "shape"),
    [
        (True, False, (2, 4, 3, 8, 10)),
        (False, True, (2, 4, 5, 4, 5)),
        (True, True, (2, 4, 5, 8, 10)),
    ],
)
def test_what_is_doubled(space: bool, time: bool, shape: tuple[int, ...]) -> None:
    arguments = {"in_channels": 4, "mid_channels": 32, "num_blocks_per_stage": 1}
    axes = {"spatial_upsample": space, "temporal_upsample": time}
    network = LatentUpsampler(from_official(arguments | axes))
    x = torch.randn(2, 4, 3, 4, 5)
    y = network(x)
    assert y.shape == shape
    torch.testing.assert_close(network(x[1:]), y[1:])


@torch.no_grad()
def test_a_step_in_time_drops_the_first_of_the_shuffled_frames() -> None:
    config = LatentUpsamplerConfig(
        in_channels=4, mid_channels=32, num_blocks_per_stage=0, upsample="time"
    )
    network = LatentUpsampler(config)
    steps: list[Tensor] = []
    network.upsampler.register_forward_hook(lambda _m, _i, out: steps.append(out))
    y = network(torch.randn(1, 4, 3, 4, 5))
    torch.testing.assert_close(network.final_conv(steps[0][:, :, 1:]), y)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"upsample": True}, "upsample"),
        ({"dims": 2}, "dims"),
        ({"spatial_upsample": False}, "must be true"),
        ({"mid_channels": 48}, "multiple of 32"),
        ({"mid_channels": "32"}, "mid_channels"),
    ],
)
def test_arguments_that_are_not_built_are_named(change: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        from_official(change)
