"""CvT: published tensors, transformers' class, sizes that it never saw, its two quirks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import transformers
from random_weights import stir
from torch import Tensor, nn

from kinema.config import from_dict, to_dict
from kinema.errors import InputError
from kinema.networks.clip import quick_gelu
from kinema.networks.cvt import CvT
from kinema.networks.cvt_config import CvTConfig, cvt_13, cvt_21, cvt_w24, from_official, stage
from kinema.nn.dropping import drawn_from
from kinema.nn.sites import Site, hooked
from kinema.noise import Noise
from kinema.parity.runner import relative_error
from kinema.weights import manifests
from kinema.weights.files import load_tensors
from kinema.weights.keymap import lazy
from kinema.weights.maps import cvt as maps

SMALL = CvTConfig(
    # transformers takes drop rates by the number of a stage, so each has more blocks than that.
    stages=(stage(0, 8, 1, 1, 0.0), stage(1, 12, 2, 2, 0.0), stage(2, 18, 3, 3, 0.0)),
    class_token=True,
    num_classes=5,
)
PICTURES = Noise(0, (0, 1)).normal((2, 3, 40, 56), "pictures")


def spec(**changes: Any) -> dict[str, Any]:
    """The authors' arguments for `SMALL`."""
    lists: dict[str, Any] = {
        "INIT": "trunc_norm",
        "NUM_STAGES": 3,
        "PATCH_SIZE": [7, 3, 3],
        "PATCH_STRIDE": [4, 2, 2],
        "PATCH_PADDING": [2, 1, 1],
        "DIM_EMBED": [8, 12, 18],
        "NUM_HEADS": [1, 2, 3],
        "DEPTH": [1, 2, 3],
        "MLP_RATIO": [4.0] * 3,
        "ATTN_DROP_RATE": [0.0] * 3,
        "DROP_RATE": [0.0] * 3,
        "DROP_PATH_RATE": [0.0] * 3,
        "QKV_BIAS": [True] * 3,
        "CLS_TOKEN": [False, False, True],
        "QKV_PROJ_METHOD": ["dw_bn"] * 3,
        "KERNEL_QKV": [3] * 3,
        "PADDING_KV": [1] * 3,
        "STRIDE_KV": [2] * 3,
        "PADDING_Q": [1] * 3,
        "STRIDE_Q": [1] * 3,
    }
    return {"spec": {**lists, **changes}, "num_classes": 5, "act_layer": "QuickGELU"}


def stirred(config: CvTConfig = SMALL) -> CvT:
    """A network in eval mode with random weights and statistics."""
    network = CvT(config).eval()
    stir(network)
    for index, (name, values) in enumerate(network.named_buffers()):
        if values.is_floating_point():
            drawn = Noise(1, (index,)).normal((1, *values.shape), "statistics")[0]
            values.copy_(0.5 + drawn.abs() if name.endswith("var") else 0.3 * drawn)
    return network


def peer_of(config: CvTConfig) -> transformers.CvtForImageClassification:
    """Transformers' model of these sizes."""
    options = transformers.CvtConfig(
        embed_dim=[s.width for s in config.stages],
        num_heads=[s.num_heads for s in config.stages],
        depth=[s.num_layers for s in config.stages],
        drop_path_rate=[0.0] * 3,
        num_labels=config.num_classes,
    )
    return transformers.CvtForImageClassification(options).eval()


class QuickGELU(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return quick_gelu(x)


@pytest.mark.parametrize(
    ("size", "name"), [(cvt_13, "cvt-13"), (cvt_21, "cvt-21"), (cvt_w24, "cvt-w24")]
)
def test_published_sizes_have_the_authors_tensors(
    size: Callable[[int], CvTConfig], name: str
) -> None:
    config = size(1000)
    network = CvT(config, device="meta", dtype=torch.bfloat16)
    manifest = manifests.read(f"61-{name}")
    manifests.check(network, manifest, maps.OFFICIAL, beside={})
    assert maps.find(manifest.shapes) is maps.OFFICIAL
    count = sum(parameter.numel() for parameter in network.parameters())
    assert f"{count:,} parameters for 1000 classes" in str(size.__doc__)
    assert any(note.startswith(f"{count} of the values") for note in manifest.notes)
    assert {(p.device.type, p.dtype) for p in network.parameters()} == {("meta", torch.bfloat16)}
    assert from_dict(CvTConfig, to_dict(config)) == config


def test_features_and_logits_are_those_of_transformers() -> None:
    """With the authors' activation; with that of transformers' class they are others."""
    peer, network = peer_of(SMALL), CvT(SMALL)
    source = stirred()
    peer.load_state_dict(maps.TRANSFORMERS.to_theirs(source.state_dict()), strict=True)
    assert maps.find(peer.state_dict()) is maps.TRANSFORMERS
    load_tensors(network, lazy(peer.state_dict()), maps.TRANSFORMERS, where="the peer")
    network.eval()
    with torch.no_grad():
        exact = peer(PICTURES).logits
        for module in peer.modules():
            if isinstance(getattr(module, "activation", None), nn.GELU):
                module.activation = QuickGELU()
        states = peer.cvt(PICTURES)
        # Of a batch of several the authors squeeze the class token; transformers keeps its axis.
        features = peer.layernorm(states.cls_token_value).mean(1)
        assert relative_error(network.forward_features(PICTURES), features) < 1e-5
        assert relative_error(network.pyramid(PICTURES)[-1], states.last_hidden_state) < 1e-5
        assert relative_error(network(PICTURES), peer(PICTURES).logits) < 1e-5
        assert relative_error(network(PICTURES), exact) > 1e-4


def test_the_authors_arguments_are_read() -> None:
    assert from_official(spec()) == SMALL
    mean = from_official(spec(CLS_TOKEN=[False] * 3))
    assert mean == replace(SMALL, class_token=False)
    dropping = from_official(spec(DROP_PATH_RATE=[0.0, 0.0, 0.1]))
    assert [s.drop_path for s in dropping.stages] == [0.0, 0.0, 0.1]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"QKV_PROJ_METHOD": ["avg"] * 3}, "QKV_PROJ_METHOD"),
        ({"CLS_TOKEN": [True] * 3}, "CLS_TOKEN"),
        ({"DEPTH": [1, 2]}, "DEPTH of CvT has 2 values for 3 stages"),
        ({"NUM_STAGES": "3"}, "a number NUM_STAGES"),
        ({"POS_EMBED": [True] * 3}, "unknown argument of spec of CvT 'POS_EMBED'"),
    ],
)
def test_arguments_of_other_networks_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        from_official(spec(**changes))


@pytest.mark.parametrize("field", ["kernel", "stride", "num_layers", "kv_stride"])
def test_sizes_of_nothing_are_refused(field: str) -> None:
    with pytest.raises(InputError, match=f"{field} must be at least 1"):
        replace(SMALL.stages[0], **{field: 0})


def test_networks_without_stages_or_even_heads_are_refused() -> None:
    with pytest.raises(InputError, match="at least one stage"):
        replace(SMALL, stages=())
    with pytest.raises(InputError, match="not divisible by 5 heads"):
        replace(SMALL.stages[0], num_heads=5)


@pytest.mark.parametrize("shape", [(1, 3, 15, 64), (1, 1, 64, 64), (3, 64, 64)])
def test_what_is_no_picture_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"of at least 16 pixels, not"):
        CvT(SMALL, device="meta")(torch.zeros(shape))


@pytest.mark.parametrize(
    ("size", "maps_of"),
    [((64, 64), [(16, 16), (8, 8), (4, 4)]), ((37, 50), [(9, 12), (5, 6), (3, 3)])],
)
def test_pictures_of_any_size_are_read(
    size: tuple[int, int], maps_of: list[tuple[int, int]]
) -> None:
    pyramid = stirred().pyramid(torch.zeros(1, 3, *size))
    assert [tuple(x.shape[2:]) for x in pyramid] == maps_of
    assert [x.shape[1] for x in pyramid] == [8, 12, 18]


def test_without_a_class_token_features_are_the_mean_of_normed_tokens() -> None:
    network = stirred(replace(SMALL, class_token=False))
    tokens = network.pyramid(PICTURES)[-1].flatten(2).transpose(1, 2)
    torch.testing.assert_close(network.forward_features(PICTURES), network.norm(tokens).mean(1))


def test_keys_are_a_quarter_of_the_queries() -> None:
    seen: dict[str, list[int]] = {}

    def look(site: Site, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> None:
        seen[site.name] = [q.shape[1], q.shape[2], k.shape[2]]

    with hooked(look):
        stirred()(torch.zeros(1, 3, 64, 64))
    assert seen["stages.0.blocks.0.attn"] == [1, 256, 64]
    assert seen["stages.2.blocks.2.attn"] == [3, 1 + 16, 1 + 4]


def test_nothing_tells_a_place_but_its_surroundings() -> None:
    """A picture that repeats itself looks alike at every place that sees no border."""
    tile = Noise(0, (0,)).normal((1, 3, 8, 8), "tile")
    x = stirred().stages[0].patch_embed(tile.tile(8, 8))
    torch.testing.assert_close(x[..., 2:4, 2:4], x[..., 10:12, 6:8])


def test_rows_of_a_batch_do_not_see_one_another_in_eval_mode() -> None:
    network = stirred()
    torch.testing.assert_close(network(PICTURES)[1:], network(PICTURES[1:]))


def test_paths_are_dropped_in_the_stages_that_say_so() -> None:
    network = stirred(replace(SMALL, stages=(*SMALL.stages[:2], stage(2, 18, 3, 3, 0.9))))
    with drawn_from(Noise(0, (0, 1))):
        kept = network(PICTURES)
        for part in (network.stages[0], network.stages[1]):
            part.train()
        for norm in network.modules():  # statistics of the batch are another matter
            if isinstance(norm, nn.BatchNorm2d):
                norm.eval()
        assert torch.equal(network(PICTURES), kept)
        for block in network.stages[2].blocks:
            block.drop_attn.train()
        assert not torch.allclose(network(PICTURES), kept)


def test_gradient_checkpointing_changes_nothing() -> None:
    network = stirred()
    kept = {name: value.clone() for name, value in network.state_dict().items()}
    gradients = []
    for saving in (False, True):
        network.load_state_dict(kept)
        network.gradient_checkpointing = saving
        network.zero_grad()
        network.train()(PICTURES).square().sum().backward()
        gradients.append({name: p.grad for name, p in network.named_parameters()})
    for name, plain in gradients[0].items():
        again = gradients[1][name]
        assert (plain is None) == (again is None) == name.endswith("attn.proj_k.bias")
        assert plain is None or torch.equal(plain, again)
