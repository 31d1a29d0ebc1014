"""ControlNet: the published network, its outputs, and that it starts as if it were not there."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from kinema.condition import Conditions, Grid, Tokens
from kinema.config import from_dict, to_dict
from kinema.errors import InputError
from kinema.networks.controlnet import (
    ControlledUNet,
    ControlNet,
    ControlNetConfig,
    control_sd_1_5,
)
from kinema.networks.video_unet import VideoUNet, VideoUNetConfig
from kinema.noise import Noise
from kinema.weights import manifests
from kinema.weights.fill import fill_one

SMALL = ControlNetConfig(
    unet=VideoUNetConfig(
        in_channels=4,
        out_channels=4,
        channels=(8, 16),
        blocks_per_level=1,
        attention=(True, False),
        num_heads=(2, 2),
        context_channels=6,
        projection="conv",
        num_groups=4,
    ),
    control_channels=3,
    embedder_channels=(4, 6),
)
NOISE = Noise(0, (0, 1))
X, TIME = NOISE.normal((2, 4, 3, 4, 6), "x"), torch.tensor([3.0, 700.0])
MAP, TEXT = NOISE.uniform((2, 3, 3, 8, 12), "control"), NOISE.normal((2, 5, 6), "text")

# Mean, root mean square and one value of each residual of diffusers' ControlNetModel (0.42.1), of
# the sizes of `SMALL`, filled by `fill_one` with seed 0.
RECORDED = (
    (-0.044261694, 0.967350483, 0.098868065),
    (-0.121056728, 2.365163326, 1.097724915),
    (0.183125034, 1.761344075, -1.079605341),
    (-0.012873692, 1.747498751, -6.292706490),
    (-0.096869200, 2.387550116, -6.167790413),
)


def given(control: Tensor = MAP) -> Conditions:
    """The conditions of a call."""
    return Conditions({"crossattn": Tokens(x=TEXT), "control": Grid(x=control)})


def filled(network: ControlNet | ControlledUNet) -> None:
    """Fills all weights by their names."""
    values = {
        name: torch.from_numpy(fill_one(name, tuple(value.shape), 0))
        for name, value in network.state_dict().items()
    }
    network.load_state_dict(values)


def test_it_is_the_published_network() -> None:
    network = ControlNet(control_sd_1_5(), device="meta", dtype=torch.bfloat16)
    assert sum(p.numel() for p in network.parameters()) == 361_279_120
    assert {(p.device.type, p.dtype) for p in network.parameters()} == {("meta", torch.bfloat16)}
    ours = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    copied = {name: shape for name, shape in ours.items() if not name.startswith("controlnet_")}
    unet = manifests.read("60-base-sd15-unet").shapes
    way_down = ("conv_in.", "time_embedding.", "down_blocks.", "mid_block.")
    assert copied == {name: s for name, s in unet.items() if name.startswith(way_down)}
    residuals = {name for name in ours if name.startswith("controlnet_down_blocks.")}
    assert len(residuals) == 2 * 12
    assert ours["controlnet_mid_block.weight"] == (1280, 1280, 1, 1)
    assert ours["controlnet_cond_embedding.blocks.5.weight"] == (256, 96, 3, 3)
    assert ours["controlnet_cond_embedding.conv_out.weight"] == (320, 256, 3, 3)
    assert from_dict(ControlNetConfig, to_dict(control_sd_1_5())) == control_sd_1_5()


def test_residuals_are_those_of_the_published_network() -> None:
    network = ControlNet(SMALL).eval()
    filled(network)
    with torch.no_grad():
        skips = network(X, TIME, given()).skips
    found = [(y.mean(), y.square().mean().sqrt(), y[4, -1, -1, -1]) for y in skips]
    torch.testing.assert_close(torch.tensor(found), torch.tensor(RECORDED), rtol=1e-4, atol=1e-5)


def test_it_starts_as_if_it_were_not_there() -> None:
    network = ControlledUNet(SMALL).eval()
    filled(network)
    alone = VideoUNet(SMALL.unet).eval()
    own = {n: v for n, v in network.state_dict().items() if not n.startswith("residual_in.")}
    alone.load_state_dict(own)
    with torch.no_grad():
        expected = alone(X, TIME, given())
        assert not torch.allclose(network(X, TIME, given()), expected)
        network.residual_in.reset_parameters()
        assert torch.equal(network(X, TIME, given()), expected)


def test_the_map_reaches_its_own_frame_only() -> None:
    network = ControlledUNet(SMALL).eval()
    filled(network)
    changed = MAP.clone()
    changed[1, :, 2] = 1 - changed[1, :, 2]
    with torch.no_grad():
        moved = (network(X, TIME, given(changed)) - network(X, TIME, given())).abs()
    assert (moved.amax((1, 3, 4)) > 1e-3).tolist() == [[False] * 3, [False, False, True]]


def test_checkpointing_is_set_in_the_branch_too() -> None:
    network = ControlledUNet(SMALL)
    assert network.residual_in.gradient_checkpointing is False
    network.gradient_checkpointing = True
    assert network.gradient_checkpointing
    assert network.residual_in.gradient_checkpointing is True


def test_a_map_of_another_size_is_refused() -> None:
    with pytest.raises(InputError, match=r"must have \(3, 8, 12\) .* not \(3, 4, 6\)"):
        ControlledUNet(SMALL)(X, TIME, given(MAP[..., ::2, ::2]))
    with pytest.raises(InputError, match="one width at least"):
        replace(SMALL, embedder_channels=())
