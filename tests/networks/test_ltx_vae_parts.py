"""LTX-Video's VAE on clips in parts and in tiles: equal results, bounded memory, blended edges."""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from kinema.errors import InputError
from kinema.networks.ltx_vae import LTXVAE
from kinema.networks.ltx_vae_blocks import NoiseSource
from kinema.networks.ltx_vae_config import BlockConfig, LTXVAEConfig
from kinema.networks.ltx_vae_parts import Convolved, Grouped
from kinema.nn.conv import CausalConv3d
from kinema.nn.tiles import Place, Tiling, blended, joined, places
from kinema.systems.ltx_video_presets import nano

Beside = Callable[[], dict[str, Any]]
OLD = tuple(
    BlockConfig(kind=kind, multiplier=2 if kind == "res_x_y" else 1)
    for kind in ("res_x", "compress_all", "res_x_y", "compress_time", "res_x_y", "compress_space")
)
UP = BlockConfig(kind="compress_all", multiplier=2, residual=True)
NOISY = BlockConfig(kind="res_x", num_layers=2, inject_noise=True)
BASE = LTXVAEConfig(
    in_channels=3,
    latent_channels=4,
    patch_size=2,
    encoder_base_channels=8,
    decoder_base_channels=4,
    encoder_blocks=OLD,
    decoder_blocks=OLD[::-1],
    timestep_conditioning=False,
    causal_decoder=False,
    spatial_padding_mode="zeros",
)
VERSIONS = {
    "0.9.0": BASE,
    "0.9.1": dataclasses.replace(
        BASE,
        decoder_blocks=(BlockConfig(kind="res_x", num_layers=3), UP, NOISY, UP, NOISY),
        timestep_conditioning=True,
    ),
    "0.9.5": dataclasses.replace(nano().codec, spatial_padding_mode="replicate"),
    "causal decoder": dataclasses.replace(BASE, causal_decoder=True),
}


@pytest.fixture(scope="module", params=VERSIONS)
def codec(request: pytest.FixtureRequest) -> LTXVAE:
    """Weights that are nowhere zero, statistics that are not 0 and 1."""
    torch.manual_seed(0)
    made = LTXVAE(VERSIONS[request.param]).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
        made.mean_of_means.normal_()
        made.std_of_means.uniform_(0.5, 2)
    return made


@pytest.fixture(autouse=True)
def whole_again(request: pytest.FixtureRequest) -> Iterator[None]:
    """No gradients, and no tiling outside of the test that sets it."""
    with torch.no_grad():
        yield
    if "codec" in request.fixturenames:
        request.getfixturevalue("codec").tiling = None


def latents_for(codec: LTXVAE, length: int, height: int, width: int) -> tuple[Tensor, Beside]:
    """Latents of two clips, and what the decoder takes beside them: a time, noise maps."""
    torch.manual_seed(length)
    z = torch.randn(2, codec.channels, length, height, width)

    def beside() -> dict[str, Any]:
        own: dict[str, Any] = {}
        if codec.config.timestep_conditioning:
            own["time"] = torch.tensor([0.05, 0.3])
        if codec.decoder.num_noise_maps:
            generator = torch.Generator().manual_seed(1)
            own["noise"] = lambda size: torch.randn(size, generator=generator)
        return own

    return z, beside


# -- parts -----------------------------------------------------------------------------------


@pytest.mark.parametrize("frames", [1, 3, 8, 1000])
@pytest.mark.parametrize("length", [1, 2, 5])
def test_parts_are_coded_as_the_whole(codec: LTXVAE, frames: int, length: int) -> None:
    z, beside = latents_for(codec, length, 2, 3)
    whole = codec.decode(z, **beside())
    moments = codec.moments(whole)
    codec.tiling = Tiling(frames=frames, side=0)
    torch.testing.assert_close(codec.decode(z, **beside()), whole, rtol=0, atol=1e-5)
    torch.testing.assert_close(codec.moments(whole), moments, rtol=0, atol=1e-5)
    assert whole.std() > 0.1


def test_maps_may_be_listed(codec: LTXVAE) -> None:
    z, beside = latents_for(codec, 2, 2, 3)
    told = beside()
    if "noise" not in told:
        with pytest.raises(InputError, match="takes 0 noise maps, not 1"):
            codec.decode(z, **told, noise=[torch.zeros(2, 3)])
        return
    maps: list[Tensor] = []
    source = told["noise"]

    def noted(size: tuple[int, int]) -> Tensor:
        maps.append(source(size))
        return maps[-1]

    whole = codec.decode(z, time=told["time"], noise=noted)
    codec.tiling = Tiling(frames=4, side=0)
    torch.testing.assert_close(codec.decode(z, time=told["time"], noise=maps), whole)
    with pytest.raises(InputError, match="noise maps, not 1"):
        codec.decode(z, time=told["time"], noise=maps[:1])


def test_frames_come_as_they_are_decoded(codec: LTXVAE) -> None:
    z, beside = latents_for(codec, 9, 2, 3)
    whole = codec.decode(z, **beside())
    told = {"time": None, "noise": None, **beside()}
    parts = list(codec.decode_in_parts(z, **told, frames=4))
    assert len(parts) > 4
    assert max(part.shape[2] for part in parts) <= 8
    torch.testing.assert_close(torch.cat(parts, 2), whole, rtol=0, atol=1e-5)
    with pytest.raises(InputError, match="latents must be"):
        codec.decode_in_parts(z[0], **told, frames=4)


def test_single_frames_and_several_clips(codec: LTXVAE) -> None:
    z, beside = latents_for(codec, 3, 3, 2)
    codec.tiling = Tiling(frames=2, side=0)
    both = codec.decode(z, **beside())
    told = beside()
    if "time" in told:
        told["time"] = told["time"][1:]
    torch.testing.assert_close(codec.decode(z[1:], **told), both[1:], rtol=1e-4, atol=1e-5)


def test_no_more_than_a_few_frames_are_held() -> None:
    """The parts in memory while a long clip goes through many convolutions in turn."""
    convs = [
        CausalConv3d(2, 2, stride=(1, 1, 1), causal=False, padding_mode="zeros") for _ in range(12)
    ]
    alive: list[int] = []

    class Watched(Grouped):
        """Counts the frames of its parts that are still somewhere."""

        def __init__(self, parts: Iterator[Tensor]) -> None:
            super().__init__(parts, values=4 * 2 * 6 * 6, multiple=1)
            self.made: list[weakref.ref[Tensor]] = []

        def __next__(self) -> Tensor:
            part = super().__next__()
            self.made.append(weakref.ref(part))
            alive.append(sum(ref() is not None for ref in self.made))
            return part

    x = torch.randn(1, 2, 100, 6, 6)
    parts: Iterator[Tensor] = Watched(iter(x.split(10, 2)))
    whole = x
    with torch.no_grad():
        for conv in convs:
            parts, whole = Convolved(conv, parts), conv(whole)
        made = torch.cat(list(parts), 2)
    assert len(alive) == 25
    assert max(alive) == 1, "an iterator that waits holds on to a part"
    torch.testing.assert_close(made, whole)


@pytest.mark.parametrize(
    ("values", "multiple", "lengths"),
    [(12, 1, [3, 3, 3, 2]), (12, 2, [2] * 5 + [1]), (1, 4, [4, 4, 3]), (999, 1, [11])],
)
def test_parts_are_regrouped(values: int, multiple: int, lengths: list[int]) -> None:
    x = torch.arange(44.0).view(1, 1, 11, 2, 2)
    parts = list(Grouped(iter(x.split([1, 7, 2, 1], 2)), values=values, multiple=multiple))
    assert [part.shape[2] for part in parts] == lengths
    assert torch.equal(torch.cat(parts, 2), x)


# -- tiles -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "side"),
    [((7, 9), 4), ((4, 4), 4), ((16, 5), 4), ((3, 20), 8), ((5, 6), 0), ((1, 5), 0)],
)
def test_tiles_cover_everything_and_blend_to_the_whole(size: tuple[int, int], side: int) -> None:
    x = torch.randn(1, 2, 3, *size)
    found = list(places(*size, side))
    assert len({(place.height, place.width) for place in found}) == 1
    whole = blended(((place, place.of(x)) for place in found), size)
    torch.testing.assert_close(whole, x)


def test_a_tile_counts_less_towards_its_edge() -> None:
    left, right = places(8, 14, 8)
    assert (left, right) == (Place(0, 0, 8, 8), Place(0, 6, 8, 8))
    tiles = ((left, torch.zeros(1, 1, 1, 8, 8)), (right, torch.ones(1, 1, 1, 8, 8)))
    row = blended(tiles, (8, 14))[0, 0, 0, 3]
    assert row[:6].tolist() == [0.0] * 6
    assert row[6:8].tolist() == [0.25, 0.75]
    assert row[8:].tolist() == [1.0] * 6


def test_where_one_tile_lies_it_is_coded_alone(codec: LTXVAE) -> None:
    z, beside = latents_for(codec, 2, 5, 7)  # tiles at rows 0 and 1, at columns 0 and 3
    stride = codec.stride[1]
    codec.tiling = Tiling(frames=4, side=4 * stride)
    tiled = codec.decode(z, **beside())
    moments = codec.moments(tiled)
    codec.tiling = None
    assert tiled.shape == codec.decode(z, **beside()).shape
    alone = beside()
    if "noise" in alone:
        alone["noise"] = cropped(alone["noise"], 5, 7)
    corner = codec.decode(z[..., :4, :4], **alone)[..., :stride, : 3 * stride]
    torch.testing.assert_close(tiled[..., :stride, : 3 * stride], corner, rtol=0, atol=1e-5)
    inside = codec.moments(tiled[..., : 4 * stride, : 4 * stride])[..., :1, :3]
    torch.testing.assert_close(moments[..., :1, :3], inside, rtol=0, atol=1e-5)


def cropped(noise: NoiseSource, height: int, width: int) -> NoiseSource:
    """The upper left of maps that are drawn for so many latents, for tiles of 4."""
    return lambda size: noise((size[0] * height // 4, size[1] * width // 4))[: size[0], : size[1]]


def test_tiles_as_large_as_the_frame_change_nothing(codec: LTXVAE) -> None:
    z, beside = latents_for(codec, 2, 4, 7)
    whole = codec.decode(z, **beside())
    codec.tiling = Tiling(frames=4, side=8 * codec.stride[1])
    torch.testing.assert_close(codec.decode(z, **beside()), whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("frames", "side", "said"),
    [(0, 0, "1 frame or more"), (8, -1, "0 or more pixels"), (8, 3, "a multiple of"), (8, 0.0, "")],
)
def test_tiles_that_do_not_fit_are_named(codec: LTXVAE, frames: int, side: int, said: str) -> None:
    stride = codec.stride[1]
    if not said:
        assert Tiling(frames=frames, side=0).latents(stride) == 0
        with pytest.raises(InputError, match=f"multiple of {stride} pixels from {4 * stride} on"):
            Tiling(frames=frames, side=3 * stride).latents(stride)
        return
    with pytest.raises(InputError, match=said):
        Tiling(frames=frames, side=side).latents(stride)


def test_parts_must_add_up() -> None:
    with pytest.raises(AssertionError, match="3 frames of 4"):
        joined([torch.zeros(1, 1, 3, 2, 2)], 4)
