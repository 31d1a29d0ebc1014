from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kinema.errors import InputError
from kinema.weights.keymap import (
    Drop,
    KeyMap,
    Lazy,
    Merge,
    Permute,
    Prefix,
    Rename,
    Split,
    Squeeze,
    compare,
    lazy,
)

EVERY_RULE = KeyMap(
    Drop("vae.*", "the VAE's part"),
    Prefix("model."),
    Rename("layers.{i}.*", "blocks.{i}.*"),
    Rename("*.{j}.norm.gamma", "*.{j}.norm.weight"),
    Split("blocks.{i}.qkv.*", ("blocks.{i}.to_q.*", "blocks.{i}.to_k.*", "blocks.{i}.to_v.*"), 0),
    Merge(("blocks.{i}.gate.*", "blocks.{i}.up.*"), "blocks.{i}.ff.*", 0),
    Permute("blocks.{i}.conv.kernel", (4, 3, 0, 1, 2)),
    Rename("*.conv.kernel", "*.conv.weight"),
    Squeeze("blocks.{i}.mix.weight"),
)


def theirs(num_layers: int, width: int) -> dict[str, torch.Tensor]:
    shapes: dict[str, tuple[int, ...]] = {"model.scale": (), "model.empty": (0, 3)}
    for i in range(num_layers):
        shapes |= {
            f"model.layers.{i}.qkv.weight": (3 * width, width),
            f"model.layers.{i}.qkv.bias": (3 * width,),
            f"model.layers.{i}.norm.gamma": (width,),
            f"model.layers.{i}.gate.weight": (2 * width, width),
            f"model.layers.{i}.up.weight": (2 * width, width),
            f"model.layers.{i}.conv.kernel": (3, 2, 1, width, 2 * width),
            f"model.layers.{i}.mix.weight": (2 * width, width, 1, 1),
        }
    return {key: torch.randn(shape) for key, shape in shapes.items()}


@settings(max_examples=30, deadline=None)
@given(num_layers=st.integers(0, 12), width=st.integers(1, 5), seed=st.integers(0, 999))
def test_round_trip_is_the_identity_on_tensors_and_on_shapes(num_layers, width, seed):
    torch.manual_seed(seed)
    official = theirs(num_layers, width)
    ours = EVERY_RULE.to_ours(official)
    back = EVERY_RULE.to_theirs(ours)
    assert set(back) == set(official)
    assert all(torch.equal(back[key], official[key]) for key in official)
    shapes = {key: tuple(value.shape) for key, value in official.items()}
    assert EVERY_RULE.to_ours(shapes) == {key: tuple(v.shape) for key, v in ours.items()}
    assert EVERY_RULE.to_theirs(EVERY_RULE.to_ours(shapes)) == shapes


NAMES = st.lists(st.text("ab.01", min_size=1, max_size=6), min_size=1, max_size=8, unique=True).map(
    lambda names: {name: (index,) for index, name in enumerate(names)}
)
PATTERNS = st.sampled_from(["a.*", "*.b", "a.{i}.*", "*", "b.*", "{i}.*", "a*b", "*.{i}"])


@settings(max_examples=300, deadline=None)
@given(names=NAMES, source=PATTERNS, data=st.data())
def test_a_rename_that_is_accepted_can_be_undone(names, source, data):
    holes = [hole for hole in ("{i}", "*") if hole in source]
    literal = data.draw(st.sampled_from(["b.", "a.", "c", "0."]))
    target = literal + ".".join(data.draw(st.permutations(holes)))
    keymap = KeyMap(Rename(source, target))
    try:
        ours = keymap.to_ours(names)
    except InputError:
        return  # two names would become one, or the way back could not tell them apart
    assert keymap.to_theirs(ours) == names


def test_values_go_where_the_rules_say():
    torch.manual_seed(0)
    official = theirs(2, 3)
    ours = EVERY_RULE.to_ours({**official, "vae.conv.weight": torch.zeros(1)})
    assert torch.equal(ours["blocks.1.to_k.weight"], official["model.layers.1.qkv.weight"][3:6])
    gate, up = official["model.layers.0.gate.weight"], official["model.layers.0.up.weight"]
    assert torch.equal(ours["blocks.0.ff.weight"], torch.cat([gate, up]))
    kernel = official["model.layers.0.conv.kernel"]
    assert ours["blocks.0.conv.weight"].shape == (6, 3, 3, 2, 1)
    assert ours["blocks.0.conv.weight"][5, 2, 1, 0, 0] == kernel[1, 0, 0, 2, 5]
    mix = official["model.layers.1.mix.weight"]
    assert torch.equal(ours["blocks.1.mix.weight"], mix.reshape(6, 3))
    assert "vae.conv.weight" not in ours
    assert "conv.weight" not in ours


def test_nothing_is_read_before_it_is_asked_for():
    reads: list[str] = []

    def read(key: str, value: torch.Tensor) -> torch.Tensor:
        reads.append(key)
        return value

    official = theirs(1, 2)
    held = {k: Lazy(tuple(v.shape), lambda k=k, v=v: read(k, v)) for k, v in official.items()}
    ours = EVERY_RULE.lazy_to_ours(held)
    assert reads == []
    ours["blocks.0.to_v.bias"].read()
    assert reads == ["model.layers.0.qkv.bias"]


def test_a_shape_reads_as_a_tensor_without_memory():
    value = lazy({"a": (10**6, 10**6)})["a"].read()
    assert value.is_meta
    assert value.shape == (10**6, 10**6)


@pytest.mark.parametrize(
    ("keymap", "shapes", "named"),
    [
        (KeyMap(Prefix("vae.")), {"vae.a": (1,), "b": (1,)}, "b without the prefix 'vae.'"),
        (KeyMap(Rename("a", "b")), {"a": (1,), "b": (1,)}, "b is named as b"),
        (KeyMap(Rename("a.{i}", "c"), Rename("x", "y")), {"a.1": (1,), "a.2": (1,)}, None),
        (KeyMap(Split("qkv", ("q", "k", "v"), 0)), {"qkv": (4, 4)}, "qkv (4, 4) cannot be split"),
        (KeyMap(Split("qkv", ("q", "k"), 1)), {"qkv": (4,)}, "qkv (4) cannot be split"),
        (KeyMap(Merge(("a", "b"), "c", 0)), {"a": (1,)}, "c needs 2 tensors"),
        (KeyMap(Merge(("a", "b"), "c", 0)), {"a": (1,), "b": (2,)}, "c needs 2 tensors"),
        (KeyMap(Permute("a", (1, 0))), {"a": (1, 2, 3)}, "a (1, 2, 3) must have 2 axes"),
        (KeyMap(Squeeze("a")), {"a": (4, 4, 3, 3)}, "a (4, 4, 3, 3) is no 1x1 convolution"),
        (KeyMap(Squeeze("a")), {"a": (4, 4)}, "a (4, 4) is no 1x1 convolution"),
    ],
)
def test_what_does_not_fit_a_rule_is_named(keymap, shapes, named):
    if named is None:  # the two sides of a rule must hold the same placeholders: our mistake
        with pytest.raises(AssertionError):
            keymap.to_ours(shapes)
        return
    with pytest.raises(InputError) as error:
        keymap.to_ours(shapes)
    assert named in str(error.value)


def test_what_is_no_linear_layer_of_ours_is_not_made_a_convolution():
    with pytest.raises(InputError, match=r"a \(4, 4, 1\) is no linear layer"):
        KeyMap(Squeeze("a")).to_theirs({"a": (4, 4, 1)})


def test_colliding_names_are_refused():
    keymap = KeyMap(Merge(("a.*", "b.*"), "c.*", 0))
    with pytest.raises(InputError, match=r"c\.x"):
        keymap.to_ours({"a.x": (1,), "b.x": (1,), "c.x": (2,)})


def test_comparison_counts_and_names_the_first():
    found = {"a": (1,), "b": (2, 3), "x1": (), "x2": (), "x3": (), "x4": (), "x5": ()}
    text = compare(found, {"a": (1,), "b": (3, 2), "c": (4,)})
    assert text == (
        "1 missing: c; 5 unexpected: x1, x2, x3 and 2 more; "
        "1 of another shape: b is (2, 3) instead of (3, 2)"
    )
    assert compare({"a": (1,)}, {"a": [1]}) == ""
