"""The space-time ViT: published sizes, groups of patches, fewer frames, what zeros do to time."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from kinema.config import from_dict, to_dict
from kinema.errors import InputError
from kinema.networks.space_time_vit import (
    SpaceTimeViT,
    SpaceTimeViTConfig,
    base_patch16_224,
    fit_frames,
    from_official,
)
from kinema.networks.vit import ViT, ViTConfig
from kinema.nn.sites import Site, hooked
from kinema.noise import Noise
from kinema.weights import manifests
from kinema.weights.maps.frozen_in_time import VIDEO

SMALL = SpaceTimeViTConfig(
    image_size=16,
    patch_size=8,
    width=12,
    num_layers=2,
    num_heads=3,
    num_frames=4,
    time_init="rand",
)
CLIPS = Noise(0, (0, 1)).normal((2, 3, 4, 16, 16), "clips")
OFFICIAL = {
    "img_size": 16,
    "patch_size": 8,
    "embed_dim": 12,
    "depth": 2,
    "num_heads": 3,
    "num_frames": 4,
    "time_init": "rand",
    "num_classes": 0,
}


def stirred(config: SpaceTimeViTConfig = SMALL) -> SpaceTimeViT:
    """A network with random weights, none of them zero."""
    network = SpaceTimeViT(config)
    for index, parameter in enumerate(network.parameters()):
        drawn = Noise(0, (index,)).normal((1, *parameter.shape), "weights")[0]
        parameter.data = 0.3 * drawn + (1 if parameter.ndim == 1 else 0)
    return network.requires_grad_(False)


NETWORK = stirred()


@pytest.mark.parametrize("frames", [4, 8])
def test_published_sizes_have_the_authors_tensors(frames: int) -> None:
    network = SpaceTimeViT(base_patch16_224(frames), device="meta", dtype=torch.bfloat16)
    manifest = manifests.read(f"51-frozenintime-video-{frames}f")
    manifests.check(network, manifest, VIDEO, beside={})
    assert {(p.device.type, p.dtype) for p in network.parameters()} == {("meta", torch.bfloat16)}


def test_the_authors_arguments_are_read_or_refused() -> None:
    assert from_official(OFFICIAL) == SMALL
    assert from_dict(SpaceTimeViTConfig, to_dict(SMALL)) == SMALL
    with pytest.raises(InputError, match="has num_classes=0, not 400"):
        from_official({**OFFICIAL, "num_classes": 400})
    with pytest.raises(InputError, match="lack depth"):
        from_official({name: OFFICIAL[name] for name in OFFICIAL if name != "depth"})
    with pytest.raises(InputError, match="unknown argument of the space-time ViT 'drop_rate'"):
        from_official({**OFFICIAL, "drop_rate": 0.1})
    with pytest.raises(InputError, match="time_init"):
        from_official({**OFFICIAL, "time_init": "ones"})


@pytest.mark.parametrize("field", ["patch_size", "num_heads"])
def test_sizes_that_do_not_divide_are_refused(field: str) -> None:
    with pytest.raises(InputError, match="not divisible by"):
        replace(SMALL, **{field: 5})


@pytest.mark.parametrize("shape", [(1, 3, 5, 16, 16), (1, 3, 0, 16, 16), (1, 3, 4, 16, 24)])
def test_clips_of_other_sizes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="reads 1 to 4 frames of 16x16 pixels"):
        NETWORK(torch.zeros(shape))


def test_rows_of_a_batch_do_not_see_one_another() -> None:
    torch.testing.assert_close(NETWORK(CLIPS)[1:], NETWORK(CLIPS[1:]))


def test_patches_attend_to_their_place_and_to_their_frame() -> None:
    """Which tokens each query reads, from the gradient of its output in the values."""
    reads: dict[str, Tensor] = {}

    def look(site: Site, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> None:
        reads[site.name] = torch.tensor([len(q), q.shape[2], k.shape[2]])

    with hooked(look):
        NETWORK(CLIPS)
    # 2 clips of 4 frames of 4 patches; the class token is a key of every group.
    assert reads["blocks.0.timeattn"].tolist() == [2 * 4, 4, 1 + 4]
    assert reads["blocks.0.attn"].tolist() == [2 * 4, 4, 1 + 4]
    assert reads["blocks.1.attn.cls"].tolist() == [2, 1, 1 + 16]

    x = torch.zeros(1, 17, 12)
    moved = x.clone()
    moved[0, 1 + 2 * 4 + 3] = Noise(0, (0,)).normal((1, 12), "token")[0]  # frame 2, place 3
    for name, heard in (("timeattn", {4, 8, 12, 16}), ("attn", {9, 10, 11, 12})):
        module = NETWORK.blocks[0].get_submodule(name)
        changed = (module(moved, 4) != module(x, 4)).any(-1)[0].nonzero().flatten().tolist()
        assert set(changed) == {0} | heard, name


def test_the_residual_around_space_starts_from_the_input() -> None:
    """With the attention over space silenced, what time has found is gone."""
    network = stirred()
    for block in network.blocks:
        block.attn.proj.weight.zero_()
        block.attn.proj.bias.zero_()
    quiet = network(CLIPS)
    for block in network.blocks:
        block.timeattn.proj.weight.mul_(10)
    assert torch.equal(network(CLIPS), quiet)


def test_the_order_of_frames_is_known_by_their_positions_alone() -> None:
    still = stirred()
    still.temporal_embed.zero_()
    backwards = CLIPS.flip(2)
    torch.testing.assert_close(still(backwards), still(CLIPS))
    assert not torch.allclose(NETWORK(backwards), NETWORK(CLIPS), atol=1e-2)


def test_fewer_frames_use_the_first_positions() -> None:
    short = stirred(replace(SMALL, num_frames=2))
    state = NETWORK.state_dict()
    state["temporal_embed"] = state["temporal_embed"][:, :2]
    short.load_state_dict(state)
    torch.testing.assert_close(short(CLIPS[:, :, :2]), NETWORK(CLIPS[:, :, :2]))


def test_with_zeros_a_picture_is_seen_as_by_an_image_vit() -> None:
    config = replace(SMALL, time_init="zeros")
    network = SpaceTimeViT(config)
    image = ViT(ViTConfig(image_size=16, patch_size=8, width=12, num_layers=2, num_heads=3))
    state = {name: NETWORK.state_dict()[name] for name in image.state_dict()}
    image.load_state_dict(state)
    left = network.load_state_dict(state, strict=False)
    assert {name.split(".")[2] for name in left.missing_keys if "." in name} == {
        "timeattn",
        "norm3",
    }
    torch.testing.assert_close(network(CLIPS[:, :, :1]), image(CLIPS[:, :, 0]).summary)


def test_with_zeros_queries_and_keys_of_time_never_move() -> None:
    """The gradient of each has the other as a factor; the values move."""
    network = SpaceTimeViT(replace(SMALL, time_init="zeros"))
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    for _ in range(4):
        optimizer.zero_grad()
        network(CLIPS).square().sum().backward()
        optimizer.step()
    for block in network.blocks:
        queries_and_keys, values = block.timeattn.qkv.weight.split([24, 12])
        assert not queries_and_keys.any()
        assert values.all()


def test_gradient_checkpointing_changes_nothing() -> None:
    network = stirred().requires_grad_(True)
    gradients = []
    for saving in (False, True):
        network.gradient_checkpointing = saving
        network.zero_grad()
        network.train()(CLIPS).square().sum().backward()
        gradients.append([p.grad.clone() for p in network.parameters()])
    for plain, again in zip(*gradients):
        assert torch.equal(plain, again)


def test_positions_are_cut_or_grow() -> None:
    table = torch.tensor([[[1.0, 2.0], [3.0, 6.0]]])
    assert fit_frames(table, 1, "bilinear").tolist() == [[[1, 2]]]
    assert torch.equal(fit_frames(table, 2, "interp"), table)
    assert fit_frames(table, 4, "zeros").tolist() == [[[1, 2], [3, 6], [0, 0], [0, 0]]]
    assert fit_frames(table, 4, "interp").tolist() == [[[1, 2], [1, 2], [3, 6], [3, 6]]]
    assert fit_frames(table, 4, "bilinear").tolist() == [[[1, 2], [1.5, 3], [2.5, 5], [3, 6]]]
