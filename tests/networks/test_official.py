"""Arguments of the authors' constructors: what is read, what is refused and how it is named."""

from __future__ import annotations

from typing import Any

import pytest

from kinema.errors import InputError
from kinema.networks.official import check_arguments

GIVEN = {"width": 8, "depth": 2, "act": "relu"}


def check(official: dict[str, Any]) -> None:
    fixed = {"act": ("relu", "gelu"), "bias": (True,)}
    check_arguments(
        "the net", official, needed=("width", "depth"), optional=("dropout",), fixed=fixed
    )


@pytest.mark.parametrize("more", [{}, {"dropout": 0.1}, {"act": "gelu"}, {"bias": True}])
def test_arguments_of_our_network_are_accepted(more: dict[str, Any]) -> None:
    check(GIVEN | more)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"dept": 3}, "unknown argument of the net 'dept'; did you mean 'depth'?"),
        ({"act": "tanh"}, "the net has act='relu', not 'tanh'"),
        ({"bias": False}, "the net has bias=True, not False"),
        ({"bias": None}, "the net has bias=True, not None"),
    ],
)
def test_arguments_of_another_network_are_named(change: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as error:
        check(GIVEN | change)
    assert str(error.value) == said


def test_all_missing_arguments_are_named() -> None:
    with pytest.raises(InputError, match=r"the arguments of the net lack width, depth$"):
        check({"act": "relu"})
