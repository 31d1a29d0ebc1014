"""Configurations: JSON round trips, settings from the command line, errors that name the place."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinema.config import config, from_dict, override, to_dict, to_json
from kinema.errors import InputError


@config
class Words:
    """A configuration that may stand for the text."""

    vocabulary: tuple[str, ...]
    width: int


@config
class Folder:
    """Another."""

    folder: str
    width: int


@config
class Sizes:
    """Numbers, with a default and a rule of its own."""

    width: int
    depth: int = 4
    rate: float = 1e-3
    axes: tuple[float, int, str] = (1.0, 2, "x")

    def __post_init__(self) -> None:
        if self.width < 1:
            raise InputError(f"width must be at least 1, not {self.width}")


@config
class Model:
    """Everything that a configuration may hold."""

    a: Sizes
    blocks: tuple[Sizes, ...]
    text: Words | Folder
    mode: Literal["train", "sample"]
    limit: int | None
    seed: int | float
    causal: bool
    name: str


sizes = st.builds(
    Sizes,
    width=st.integers(1, 10**9),
    depth=st.integers(),
    rate=st.floats(allow_nan=False, allow_infinity=False),
    axes=st.tuples(st.floats(-1e300, 1e300), st.integers(), st.text()),
)
models = st.builds(
    Model,
    a=sizes,
    blocks=st.lists(sizes, max_size=3).map(tuple),
    text=st.builds(Words, vocabulary=st.lists(st.text()).map(tuple), width=st.integers())
    | st.builds(Folder, folder=st.text(), width=st.integers()),
    mode=st.sampled_from(["train", "sample"]),
    limit=st.none() | st.integers(),
    seed=st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    causal=st.booleans(),
    name=st.text(),
)
MODEL = Model(
    a=Sizes(width=8),
    blocks=(Sizes(width=1), Sizes(width=2)),
    text=Folder(folder="t5", width=16),
    mode="train",
    limit=None,
    seed=1,
    causal=True,
    name="one",
)


@given(models)
def test_equal_after_a_json_round_trip(model: Model) -> None:
    back = from_dict(Model, json.loads(to_json(model)))
    assert back == model
    assert repr(back) == repr(model)  # 1 and 1.0 are equal, but not the same


def test_a_configuration_is_frozen_and_keyword_only() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        MODEL.a.width = 9  # type: ignore[misc]
    with pytest.raises(TypeError):
        Sizes(8)  # type: ignore[misc]
    assert not hasattr(MODEL, "__dict__")


def test_a_configuration_holds_plain_values_only() -> None:
    @config
    class Loose:
        """What no JSON can hold."""

        items: Any

    assert to_dict(Loose(items=(1, ("a", None)))) == {"items": [1, ["a", None]]}
    with pytest.raises(TypeError, match="cannot hold list"):
        to_dict(Loose(items=[1]))


def test_whole_numbers_become_floats_where_floats_are_wanted() -> None:
    read = from_dict(Sizes, {"width": 3, "rate": 2, "axes": [3, 4, "y"]})
    assert read == Sizes(width=3, rate=2.0, axes=(3.0, 4, "y"))
    assert isinstance(read.rate, float)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"a": {"widht": 3}}, "unknown field of Model.a 'widht'; did you mean 'width'?"),
        ({"a": {}}, "Model.a lacks the field 'width'"),
        ({"a": 3}, "Model.a must be a mapping, not 3"),
        ({"a": {"width": 0}}, "width must be at least 1, not 0"),
        ({"a": {"width": True}}, "Model.a.width must be int, not True"),
        ({"a": {"width": 1.0}}, "Model.a.width must be int, not 1.0"),
        ({"a": {"width": 1, "rate": "1"}}, "Model.a.rate must be float, not '1'"),
        ({"a": {"width": 1, "rate": math.nan}}, "Model.a.rate must be a finite number"),
        ({"a": {"width": 1, "rate": -math.inf}}, "Model.a.rate must be a finite number"),
        ({"a": {"width": 1, "rate": 10**400}}, "Model.a.rate must be a finite number"),
        ({"a": {"width": 1, "axes": [1, 2]}}, "Model.a.axes must have 3 values, not 2"),
        ({"a": {"width": 1, "axes": "xyz"}}, "Model.a.axes must be a list, not 'xyz'"),
        ({"a": {"width": 1, "axes": [1, 2, 3]}}, "Model.a.axes[2] must be str, not 3"),
        ({"blocks": [{"width": 1}, {}]}, "Model.blocks[1] lacks the field 'width'"),
        ({"mode": "tarin"}, "unknown Model.mode 'tarin'; did you mean 'train'?"),
        ({"mode": None}, "unknown Model.mode 'None'; known: sample, train"),
        ({"limit": "many"}, "Model.limit must be int, not 'many'"),
        ({"seed": None}, "Model.seed must be int, not None"),
        ({"text": {"folder": "t5"}}, "Model.text lacks the field 'width'"),
        ({"text": {"folder": 5, "width": 4}}, "Model.text.folder must be str, not 5"),
        ({"text": {"vocabulary": 5, "width": 4}}, "Model.text.vocabulary must be a list, not 5"),
        ({"caussal": 1}, "unknown field of Model 'caussal'; did you mean 'causal'?"),
    ],
)
def test_errors_name_the_place_and_what_was_expected(change: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as raised:
        from_dict(Model, to_dict(MODEL) | change)
    assert str(raised.value) == said


def test_the_place_of_a_file_is_named() -> None:
    with pytest.raises(InputError, match=r"^config of x\.safetensors lacks the field 'width'"):
        from_dict(Sizes, {}, where="config of x.safetensors")


def test_settings_are_applied_in_order() -> None:
    changed = override(
        MODEL, ["a.width=3", " a.rate = 1e-4", "limit=7", "mode=sample", "causal=false", "limit=9"]
    )
    sizes = dataclasses.replace(MODEL.a, width=3, rate=1e-4)
    assert changed == dataclasses.replace(MODEL, a=sizes, limit=9, mode="sample", causal=False)
    assert override(changed, ["limit=null"]).limit is None
    assert override(MODEL, []) == MODEL


def test_a_setting_may_be_a_list() -> None:
    assert override(MODEL, ['a.axes=[5, 6, "y=z"]']).a.axes == (5.0, 6, "y=z")
    assert override(MODEL, ["blocks=[]"]).blocks == ()


def test_text_is_taken_as_it_stands() -> None:
    for text in ("two words", "12", "true", "null", "[1]", "a=b"):
        assert override(MODEL, [f"name={text}"]).name == text
        assert override(MODEL, [f"text.folder={text}"]).text == Folder(folder=text, width=16)


def test_a_group_may_hold_an_entry_of_its_own_name() -> None:
    @config
    class Outer:
        """Two levels that are named alike."""

        a: Folded

    assert override(Outer(a=Folded(a=1)), ["a.a=2"]) == Outer(a=Folded(a=2))


@config
class Folded:
    """One entry, named like what holds it."""

    a: int


# The annotations of a class inside a function are looked up in the module.
@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("a.widht=3", "unknown setting 'a.widht'; did you mean 'a.width'?"),
        ("limmit=3", "unknown setting 'limmit'; did you mean 'limit'?"),
        ("txt.folder=x", "unknown setting 'txt'; did you mean 'text'?"),
        ("a=", "Model.a must be a mapping, not ''"),
        ("=3", "unknown setting ''; known: a, blocks, causal, limit, mode, name, seed, text"),
        ("limit", "--set 'limit' is not of the form name=value"),
        ("a.width.x=3", "setting 'a.width' is a single value; it has no 'x'"),
        ("limit=few", "Model.limit must be int, not 'few'"),
        ("a.width=0", "width must be at least 1, not 0"),
        ("a.rate=NaN", "Model.a.rate must be a finite number"),
        ("a.rate=" + "9" * 5000, "Model.a.rate must be float, not '" + "9" * 5000 + "'"),
        ("a.rate=" + "[" * 9999, "Model.a.rate must be float, not '" + "[" * 9999 + "'"),
        ("mode=smaple", "unknown Model.mode 'smaple'; did you mean 'sample'?"),
    ],
)
def test_settings_that_do_not_fit_are_named(setting: str, said: str) -> None:
    with pytest.raises(InputError) as raised:
        override(MODEL, [setting])
    assert str(raised.value) == said
