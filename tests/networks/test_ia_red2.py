"""IA-RED^2: what is kept, that the rest is not computed, that hiding it gives the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from random_weights import stir
from torch import Tensor, nn

from kinema.errors import InputError
from kinema.networks.deit import DeiT, DeiTConfig, deit_b, deit_s
from kinema.networks.ia_red2 import (
    ROWS,
    Interpreters,
    InterpretersConfig,
    check_fit,
    deit_s_interpreters,
    from_official,
    thresholded,
)
from kinema.nn.sites import Site, hooked
from kinema.noise import Noise
from kinema.parity.case import read_case
from kinema.weights.keymap import compare
from kinema.weights.manifests import shapes_of
from kinema.weights.maps import deit as deit_map
from kinema.weights.maps import vit
from kinema.weights.maps.ia_red2 import OFFICIAL, find

CASE = Path(__file__).parents[1] / "cases" / "29-iared2" / "forward"
SMALL = DeiTConfig(image_size=32, patch_size=8, width=12, num_layers=3, num_heads=3, num_classes=5)
GROUPS = InterpretersConfig(width=12, num_heads=2, groups=(1, 1, 1))
PICTURES = Noise(0, (0, 1, 2)).normal((3, 3, 32, 32), "pictures")


def stirred() -> tuple[DeiT, Interpreters]:
    """Both parts with random weights, in eval mode; scores are around the threshold."""
    host, policy = DeiT(SMALL).eval(), Interpreters(GROUPS).eval()
    stir(host)
    stir(policy)
    for agent in policy.agents:
        agent.qk.bias.data.mul_(0.05)
    return host.requires_grad_(False), policy.requires_grad_(False)


def greedy(group: int, scores: Tensor, there: Tensor) -> Tensor:
    return thresholded(scores, there)


@pytest.mark.parametrize("size", [deit_s, deit_b])
def test_transformers_have_the_parameters_that_they_say(
    size: Callable[[int], DeiTConfig],
) -> None:
    host = DeiT(size(1000), device="meta", dtype=torch.bfloat16)
    count = sum(parameter.numel() for parameter in host.parameters())
    assert f"{count:,} parameters for 1000 classes" in str(size.__doc__)


def test_interpreters_have_the_parameters_that_they_say() -> None:
    policy = Interpreters(deit_s_interpreters(), device="meta")
    counts = [sum(p.numel() for p in agent.parameters()) for agent in policy.agents]
    assert counts == [443_520] * 3
    check_fit(deit_s(1000), deit_s_interpreters())


def test_key_maps_take_a_file_with_blocks_twice_and_one_of_the_host_alone() -> None:
    case = read_case(CASE)
    host, interpreters = from_official(case.config)
    parts = nn.ModuleDict({"network": DeiT(host), "policy": Interpreters(interpreters)})
    whole = {key: tuple(value.shape) for key, value in case.weights().items()}
    assert any("block_list" in key for key in whole)
    assert not compare(OFFICIAL.to_ours(whole), shapes_of(parts))
    assert not compare(OFFICIAL.to_theirs(shapes_of(parts)), case.manifest)
    alone = {key: shape for key, shape in case.manifest.items() if not key.startswith("groups.")}
    assert not compare(deit_map.OFFICIAL.to_ours(alone), shapes_of(parts["network"]))
    assert not compare(deit_map.OFFICIAL.to_theirs(shapes_of(parts["network"])), alone)
    ours = {f"network.{key}": shape for key, shape in shapes_of(parts["network"]).items()}
    for names in (alone, vit.CLASSIFIER.to_theirs(alone)):
        assert not compare(find(names).to_ours(names), ours)


def test_the_authors_arguments_are_read_or_refused() -> None:
    official = {
        "vit": {
            "img_size": 32,
            "patch_size": 8,
            "embed_dim": 12,
            "depth": 3,
            "num_heads": 3,
            "num_classes": 5,
            "qkv_bias": True,
        },
        "groups": [1, 1, 1],
        "depth_agent": -1,
        "thresholds_arg": [3, 5, 8],
    }
    assert from_official(official) == (SMALL, replace(GROUPS, num_heads=6))
    with pytest.raises(InputError, match="must have 3 blocks together"):
        from_official({**official, "groups": [1, 1]})
    with pytest.raises(InputError, match="DeiT has qkv_bias=True"):
        from_official({**official, "vit": {**official["vit"], "qkv_bias": False}})
    with pytest.raises(InputError, match="unknown argument of IA-RED2 'groupz'"):
        from_official({**official, "groupz": []})


@pytest.mark.parametrize("groups", [(), (2, 0, 1)])
def test_empty_groups_are_refused(groups: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="every group needs a block"):
        replace(GROUPS, groups=groups)


def test_interpreters_of_another_width_are_refused() -> None:
    with pytest.raises(InputError, match="of width 24 in a 12 wide DeiT"):
        check_fit(SMALL, replace(GROUPS, width=24))


@pytest.mark.parametrize("shape", [(1, 3, 32, 24), (1, 1, 32, 32), (3, 32, 32)])
def test_pictures_of_other_sizes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"DeiT reads pictures \(B, 3, 32, 32\), not"):
        DeiT(SMALL, device="meta")(torch.zeros(shape))


def test_gathering_gives_what_hiding_gives() -> None:
    host, policy = stirred()
    gathered = policy.reduce(host, PICTURES)
    hidden = policy.masked(host, PICTURES, greedy)
    counts = gathered.kept[..., 1:].sum(-1)
    assert 0 < counts[-1].min() < counts[-1].max() < counts[0].max() < 16, "a poor example"
    assert torch.equal(gathered.kept, hidden.kept)
    torch.testing.assert_close(gathered.scores, hidden.scores)
    torch.testing.assert_close(gathered.features, hidden.features)


def test_rows_are_computed_with_those_that_keep_about_as_many() -> None:
    host, policy = stirred()
    pictures = Noise(1, tuple(range(3 * ROWS))).normal((3 * ROWS, 3, 32, 32), "pictures")
    lengths: list[int] = []

    def look(site: Site, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> None:
        lengths.append(q.shape[2])

    with hooked(look):
        gathered = policy.reduce(host, pictures)
    hidden = policy.masked(host, pictures, greedy)
    torch.testing.assert_close(gathered.features, hidden.features)
    assert torch.equal(gathered.kept, hidden.kept)
    counts = hidden.kept.sum(-1).sort(dim=1).values
    expected = [part.max().item() for group in counts for part in group.split(ROWS)]
    assert lengths == expected
    assert len(set(lengths)) > 3


def test_what_is_dropped_is_not_computed_and_does_not_return() -> None:
    host, policy = stirred()
    lengths: list[list[int]] = []

    def look(site: Site, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> None:
        lengths.append([q.shape[2], k.shape[2]])

    with hooked(look):
        found = policy.reduce(host, PICTURES)
    longest = found.kept.sum(-1).amax(1).tolist()
    assert lengths == [[n, n] for n in longest]
    assert longest[-1] < 17
    assert not (found.kept[1:] & ~found.kept[:-1]).any()
    assert found.kept[:, :, 0].all()
    assert not found.scores[1:][~found.kept[:-1]].any()


def test_a_row_is_reduced_as_it_is_alone() -> None:
    host, policy = stirred()
    together = policy.reduce(host, PICTURES)
    for row in range(3):
        alone = policy.reduce(host, PICTURES[row : row + 1])
        assert torch.equal(alone.kept[:, 0], together.kept[:, row])
        torch.testing.assert_close(alone.features[0], together.features[row])


def test_untrained_interpreters_drop_nothing() -> None:
    host, policy = DeiT(SMALL).eval(), Interpreters(GROUPS)
    found = policy.reduce(host, PICTURES)
    assert found.kept.all()
    assert (found.scores - 0.7).abs().max() < 0.05
    torch.testing.assert_close(found.features, host.forward_features(PICTURES))
    assert policy.cost(found.kept).tolist() == [1, 1, 1]


def test_a_picture_of_which_nothing_is_kept_still_has_features() -> None:
    host, policy = stirred()
    for agent in policy.agents:
        agent.qk.weight.zero_()
        agent.qk.bias.zero_()  # scores of 0.5 are not above the threshold
    found = policy.reduce(host, PICTURES)
    assert found.kept.sum(-1).tolist() == [[1] * 3] * 3
    assert policy.cost(found.kept).tolist() == [0, 0, 0]
    assert found.features.isfinite().all()


def test_the_cost_is_the_share_of_patches_that_a_block_computes() -> None:
    policy = Interpreters(replace(GROUPS, groups=(2, 1, 3)))
    kept = torch.zeros(3, 1, 5, dtype=torch.bool)
    kept[:, :, 0] = True
    kept[0, 0, 1:] = True  # all four patches, half of them, one
    kept[1, 0, 1:3] = True
    kept[2, 0, 1] = True
    assert policy.cost(kept).item() == pytest.approx((2 * 1 + 1 * 0.5 + 3 * 0.25) / 6)


def test_scores_teach_the_interpreter_and_not_the_host() -> None:
    host, policy = stirred()
    host.requires_grad_(True)
    policy.requires_grad_(True)
    policy.masked(host, PICTURES, greedy).scores.sum().backward()
    assert all(p.grad is None for p in host.parameters())
    assert all(agent.qk.weight.grad.any() for agent in policy.agents)


def test_gradient_checkpointing_changes_nothing() -> None:
    host, policy = stirred()
    host.requires_grad_(True)
    gradients = []
    for saving in (False, True):
        host.gradient_checkpointing = saving
        host.zero_grad()
        policy.masked(host.train(), PICTURES, greedy).features.square().sum().backward()
        gradients.append([p.grad.clone() for p in host.trunk.parameters()])
    for plain, again in zip(*gradients):
        assert torch.equal(plain, again)
        assert plain.any()
