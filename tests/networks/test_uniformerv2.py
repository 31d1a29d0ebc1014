"""UniFormerV2: published tensors, the image tower that it starts as, what reads which frames."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from random_weights import stir
from torch import Tensor

from kinema.config import from_dict, to_dict
from kinema.errors import InputError
from kinema.networks import uniformerv2_config as sizes
from kinema.networks.clip import EPS, load_image_tower
from kinema.networks.uniformerv2 import FROZEN, UniFormerV2
from kinema.networks.uniformerv2_config import UniFormerV2Config, from_official
from kinema.nn.sites import Site, hooked
from kinema.noise import Noise
from kinema.parity.runner import relative_error
from kinema.weights import manifests
from kinema.weights.maps import uniformerv2 as maps

GLOBAL = UniFormerV2Config(
    image_size=16,
    patch_size=8,
    width=24,
    num_layers=3,
    num_heads=3,
    eps=EPS,
    num_classes=5,
    tube_frames=1,
    tube_stride=1,
    num_local=0,
    local_width=16,
    read_after=(1, 2),
    read_heads=2,
    read_hidden=30,
    frozen=False,
    drop_path=0.0,
    read_drop_path=0.0,
    dropout=0.0,
)
LOCAL = replace(GLOBAL, tube_frames=3, tube_stride=2, num_local=2)
FORMS = {"global": GLOBAL, "local": LOCAL, "frozen": replace(GLOBAL, frozen=True)}
CLIPS = Noise(0, (0, 1)).normal((2, 3, 6, 16, 16), "clips")
OFFICIAL = {
    "input_resolution": 16,
    "patch_size": 8,
    "width": 24,
    "layers": 3,
    "heads": 3,
    "output_dim": 7,
    "t_size": 6,
    "return_list": [1, 2],
    "n_layers": 2,
    "n_dim": 24,
    "n_head": 2,
    "mlp_factor": 1.25,
    "mlp_dropout": [0.0, 0.0],
    "cls_dropout": 0.0,
    "num_classes": 5,
}


def stirred(config: UniFormerV2Config) -> UniFormerV2:
    """A network with random weights, none of them near zero, in eval mode."""
    network = UniFormerV2(config)
    stir(network)
    return network.eval().requires_grad_(False)


def clip_tower(folder: Path) -> transformers.CLIPVisionModelWithProjection:
    """Transformers' image tower of these sizes with random weights, saved in a folder."""
    options = transformers.CLIPVisionConfig(
        image_size=16,
        patch_size=8,
        hidden_size=24,
        intermediate_size=96,
        num_hidden_layers=3,
        num_attention_heads=3,
        projection_dim=7,
        hidden_act="quick_gelu",
    )
    peer = transformers.CLIPVisionModelWithProjection(options).eval().requires_grad_(False)
    stir(peer)
    peer.save_pretrained(folder)
    return peer


def class_tokens(peer: Any, clips: Tensor) -> Tensor:
    """What the tower says of each frame, (B, T, D), before its last norm."""
    frames = clips.transpose(1, 2).flatten(0, 1)
    states = peer.vision_model(frames).last_hidden_state[:, 0]
    return states.unflatten(0, (len(clips), -1))


@pytest.mark.parametrize(
    ("size", "classes", "name"),
    [
        (sizes.b_16, 400, "k400-b16"),
        (sizes.b_16, 710, "k710-b16"),
        (sizes.l_14, 400, "k400-l14"),
        (sizes.l_14_336, 400, "k400-l14-336"),
        (sizes.l_14_336_frozen, 710, "k710-l14-336-frozen"),
        (sizes.b_16_local, 174, "ssv2-b16"),
        (sizes.l_14_local, 174, "ssv2-l14"),
    ],
)
def test_published_sizes_have_the_authors_tensors(
    size: Callable[[int], UniFormerV2Config], classes: int, name: str
) -> None:
    config = size(classes)
    network = UniFormerV2(config, device="meta", dtype=torch.bfloat16)
    manifest = manifests.read(f"14-uniformerv2-{name}")
    manifests.check(network, manifest, maps.OFFICIAL, beside={})
    count = sum(parameter.numel() for parameter in network.parameters())
    assert f"{count:,} " in str(size.__doc__)
    assert {(p.device.type, p.dtype) for p in network.parameters()} == {("meta", torch.bfloat16)}
    assert from_dict(UniFormerV2Config, to_dict(config)) == config
    around = replace(manifest, shapes={f"backbone.{k}": v for k, v in manifest.shapes.items()})
    manifests.check(network, around, maps.CHECKPOINT, beside={})
    assert maps.find(around.shapes) is maps.CHECKPOINT
    assert maps.find(manifest.shapes) is maps.OFFICIAL


def test_the_authors_arguments_are_read_or_refused() -> None:
    assert from_official({**OFFICIAL, "no_lmhra": True, "temporal_downsample": False}) == GLOBAL
    assert from_official(OFFICIAL) == LOCAL
    one = from_official({**OFFICIAL, "double_lmhra": False, "dw_reduction": 2, "kernel_size": 5})
    assert one == replace(LOCAL, num_local=1, local_width=12, tube_frames=5)
    assert from_official({**OFFICIAL, "return_list": [2, 1]}).read_after == (1, 2)
    for change, said in (
        ({"widht": 3}, "unknown argument of UniFormerV2 'widht'"),
        ({"n_dim": 48}, "n_dim 24, not 48"),
        ({"n_layers": 3}, "n_layers 2, not 3"),
        ({"return_list": [1, 3]}, "rising numbers below 3"),
        ({"mlp_dropout": [0.0, 0.5]}, "mlp_dropout"),
    ):
        with pytest.raises(InputError, match=said):
            from_official({**OFFICIAL, **change})
    with pytest.raises(InputError, match="lack heads"):
        from_official({name: value for name, value in OFFICIAL.items() if name != "heads"})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"num_local": 3}, "num_local must be 0, 1 or 2"),
        ({"read_after": (2, 1)}, "rising numbers below 3"),
        ({"read_heads": 5}, "not divisible by 5 heads"),
        ({"patch_size": 5}, "not divisible by patch_size 5"),
        ({"tube_stride": 0}, "tube_stride must be at least 1"),
    ],
)
def test_sizes_that_make_no_network_are_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        replace(GLOBAL, **change)


@pytest.mark.parametrize("shape", [(1, 3, 5, 16, 16), (1, 3, 6, 16, 24), (1, 1, 6, 16, 16)])
def test_clips_of_other_sizes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"frames a multiple of 2, not"):
        UniFormerV2(LOCAL, device="meta")(torch.zeros(shape))


@pytest.mark.parametrize("form", ["global", "local"])
def test_at_first_it_is_the_image_tower_and_averages_frames(form: str, tmp_path: Path) -> None:
    """Section 3.3: all that is new starts as zero; only every second frame is then in a tube."""
    peer = clip_tower(tmp_path)
    config = FORMS[form]
    network = UniFormerV2(config).eval().requires_grad_(False)
    load_image_tower(network, tmp_path)
    seen = CLIPS[:, :, :: config.tube_stride]
    half = 0.5 * class_tokens(peer, seen).mean(1)
    expected = torch.nn.functional.layer_norm(half, (24,), eps=EPS)
    assert relative_error(network.forward_features(CLIPS), expected) < 1e-5


def test_a_tower_of_another_size_is_named(tmp_path: Path) -> None:
    clip_tower(tmp_path)
    with pytest.raises(InputError, match="pos_embed"):
        load_image_tower(UniFormerV2(replace(GLOBAL, image_size=24)), tmp_path)
    with pytest.raises(InputError, match=r"blocks\.3\."):
        load_image_tower(UniFormerV2(replace(GLOBAL, num_layers=4)), tmp_path)


def test_a_file_of_something_else_is_no_clip(tmp_path: Path) -> None:
    path = tmp_path / "other.pt"
    torch.save({"weight": torch.zeros(2)}, path)
    with pytest.raises(InputError, match=r"other\.pt holds no CLIP model"):
        load_image_tower(UniFormerV2(GLOBAL), path)


def test_what_is_frozen_is_the_tower() -> None:
    names = [name for name, _ in UniFormerV2(FORMS["frozen"], device="meta").named_parameters()]
    trained = [name for name in names if not any(fnmatchcase(name, p) for p in FROZEN)]
    assert {name.partition(".")[0] for name in trained} == {
        *("video_token", "readers", "norm", "head"),
    }


@pytest.mark.parametrize("form", FORMS)
def test_rows_of_a_batch_do_not_see_one_another(form: str) -> None:
    network = stirred(FORMS[form])
    torch.testing.assert_close(network(CLIPS)[1:], network(CLIPS[1:]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_the_order_of_frames_matters(form: str) -> None:
    network = stirred(FORMS[form])
    assert relative_error(network(CLIPS.flip(2)), network(CLIPS)) > 1e-3


def test_without_places_and_local_aggregators_the_order_is_lost() -> None:
    network = stirred(GLOBAL)
    for reader in network.readers:
        reader.places.weight.zero_()
    torch.testing.assert_close(network(CLIPS.flip(2)), network(CLIPS), rtol=1e-4, atol=1e-4)


def test_a_local_aggregator_sees_the_frames_beside_its_own() -> None:
    network = stirred(replace(LOCAL, tube_frames=1, tube_stride=1))
    x = torch.zeros(1, 24, 6, 2, 2)
    moved = x.clone()
    moved[:, :, 2, 1, 0] = Noise(0, (0,)).normal((1, 24), "place")
    aggregator = network.blocks[0].local[0]
    changed = (aggregator(moved) != aggregator(x)).any(1)[0].nonzero().tolist()
    assert changed == [[1, 1, 0], [2, 1, 0], [3, 1, 0]]


def test_the_video_token_reads_all_frames_and_the_tower_one() -> None:
    reads: dict[str, tuple[int, ...]] = {}

    def look(site: Site, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> None:
        reads[f"{site.kind} {site.name}"] = (len(q), q.shape[2], k.shape[2])

    with hooked(look):
        stirred(GLOBAL)(CLIPS)
    assert reads["self blocks.0.attn"] == (2 * 6, 1 + 4, 1 + 4)
    assert reads["cross readers.1"] == (2, 1, 6 * (1 + 4))


def test_the_tower_does_not_see_the_places_of_the_readers() -> None:
    network = stirred(GLOBAL)
    seen: list[Tensor] = []
    network.blocks[2].register_forward_hook(lambda module, inputs, output: seen.append(output))
    network(CLIPS)
    for reader in network.readers:
        reader.places.weight.mul_(2)
    network(CLIPS)
    assert torch.equal(seen[0], seen[1])


def test_another_number_of_frames_is_read() -> None:
    network = stirred(GLOBAL)
    assert network(CLIPS[:, :, :1]).shape == network(CLIPS).shape


@pytest.mark.parametrize("form", FORMS)
def test_gradient_checkpointing_changes_nothing(form: str) -> None:
    """Neither gradients nor the statistics of norms, which a second run would count twice."""
    gradients, statistics = [], []
    for saving in (False, True):
        network = stirred(FORMS[form]).requires_grad_(True)
        network.gradient_checkpointing = saving
        network.train()(CLIPS).square().sum().backward()
        gradients.append([p.grad.clone() for p in network.parameters()])
        statistics.append([value.clone() for value in network.buffers()])
    for plain, again in zip(*gradients):
        assert torch.equal(plain, again)
        assert plain.any()
    for plain, again in zip(*statistics):
        assert torch.equal(plain, again)
