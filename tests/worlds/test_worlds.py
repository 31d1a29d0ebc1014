"""Worlds by reference: a name, or a name with options."""

from __future__ import annotations

import pytest

from kinema.errors import InputError
from kinema.worlds import load
from kinema.worlds.world import Draws, place_name

SIZE = {"seed": 0, "split": "all", "num_frames": 25, "height": 32, "width": 48, "fps": 12.0}


def test_a_reference_sets_options():
    world = load("shapes:level=2,camera=pan,occlusion=1", **SIZE)
    assert world.options == {**SIZE, "level": 2, "camera": "pan", "occlusion": True}
    assert load("shapes", **SIZE).options == load("shapes:level=1,occlusion=false", **SIZE).options
    sizeless = {name: value for name, value in SIZE.items() if name != "fps"}
    assert load("shapes:fps=8", **sizeless).options["fps"] == 8.0


def test_a_reference_is_the_same_as_its_options():
    one = load("shapes:level=2,camera=zoom", **SIZE).sample(3)
    two = load("shapes", **load("shapes:level=2,camera=zoom", **SIZE).options).sample(3)
    assert (one.clip.frames == two.clip.frames).all()
    assert one.graph == two.graph


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("shape:level=2", "unknown world 'shape'; did you mean 'shapes'"),
        ("shapes:levle=2", "unknown option of the world shapes 'levle'; did you mean 'level'"),
        ("tabletop:camera=pan", "unknown option of the world tabletop 'camera'"),
        ("shapes:level=3", "level is 3"),
        ("shapes:level=two", "level=two of the world shapes is not a value of type int"),
        ("shapes:level=2,camera=pans", "did you mean 'pan'"),
        ("shapes:level=2,occlusion=often", "occlusion=often of the world shapes is not 0 or 1"),
        ("shapes:level", "'level' in shapes:level is not a new option=value"),
        ("shapes:level=1,level=2", "is not a new option=value"),
        ("shapes:", "'' in shapes: is not a new option=value"),
        ("shapes:seed=3", "seed is set elsewhere; leave it out of shapes:seed=3"),
        ("shapes:camera=pan", "level 1 has a static camera"),
        ("shapes:occlusion=1", "level 1 has a static camera"),
    ],
)
def test_bad_references_are_named(reference, said):
    with pytest.raises(InputError, match=said) as caught:
        load(reference, **SIZE)
    assert "\n" not in str(caught.value)


def test_draws_are_as_likely_as_their_shares():
    draws = Draws("test", 0, 0)
    found = [draws.weighted({"often": 3.0, "never": 0.0, "rarely": 1.0}) for _ in range(4000)]
    assert set(found) == {"often", "rarely"}
    assert 0.22 < found.count("rarely") / 4000 < 0.28


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ((0.0, 0.0), "upper left"),
        ((0.5, 0.1), "top"),
        ((0.99, 0.5), "right"),
        ((0.4, 0.6), "center"),
        ((0.7, 0.7), "lower right"),
        ((-0.01, 0.5), "outside"),
        ((0.5, 1.0), "outside"),
    ],
)
def test_places_are_named(place, name):
    assert place_name(place) == name
