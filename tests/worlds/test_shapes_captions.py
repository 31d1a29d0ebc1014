"""What the world `shapes` says: canonical and long sentences hold what the graph holds."""

from __future__ import annotations

import itertools

import pytest

from kinema.worlds import backgrounds, palette
from kinema.worlds.motions import PATHS
from kinema.worlds.shapes import ATTRIBUTES, VOCABULARY
from kinema.worlds.shapes_captions import canonical, captions
from kinema.worlds.shapes_details import after, detailed
from kinema.worlds.views import NAMES
from kinema.worlds.world import Draws, Event, Object, Phase, Relation, SceneGraph

SOLO = (*PATHS, "grow", "shrink", "spin", "stop", "fall")
PLACE = "upper left"


def thing(words: str, *motions: str, pace: str = "", direction: str = "") -> Object:
    size, color, shape = words.split()
    phases = tuple(Phase(motion=m, pace=pace, direction=direction) for m in motions)
    return Object(shape=shape, color=color, size=size, place=PLACE, phases=phases)


def graph(*objects: Object, relation: str = "", camera: str = "static", **rest) -> SceneGraph:
    between = (Relation(name=relation, subject=0, object=1),) if relation else ()
    ground = {"background_kind": "flat", "background": "navy"}
    return SceneGraph(
        **{
            "kind": "one",
            "objects": objects,
            "relations": between,
            "events": (),
            "depth_order": tuple(range(len(objects))),
            "camera": camera,
            **ground,
            **rest,
        }
    )


RED, BLUE, GREEN = "small red circle", "medium blue star", "medium green cross"


@pytest.mark.parametrize(
    ("scene", "caption"),
    [
        (
            graph(thing(RED, "left")),
            "a small red circle moves left on a navy background",
        ),
        (
            graph(
                thing("large orange star", "counterclockwise"),
                background_kind="gradient",
                background="olive to cream",
            ),
            "a large orange star circles counterclockwise on an olive to cream gradient background",
        ),
        (
            graph(
                thing(BLUE, "left", "bounce"),
                background_kind="stripes",
                background="navy and teal",
            ),
            "a medium blue star moves left then bounces up and down on navy and teal stripes",
        ),
        (
            graph(thing(RED, "stop"), background_kind="checker", background="olive and teal"),
            "a small red circle moves and stops and moves again on an olive and teal checkerboard",
        ),
        (
            graph(thing(RED, "fall"), background_kind="dots", background="teal and black"),
            "a small red circle falls and bounces on teal and black dots",
        ),
        (
            graph(thing(RED, "grow"), thing(BLUE, "spin"), thing(GREEN, "up")),
            "a small red circle grows and a medium blue star spins and a medium green cross moves "
            "up on a navy background",
        ),
        (
            graph(thing(RED, "clockwise"), thing(BLUE, "rest"), relation="orbits"),
            "a small red circle orbits a medium blue star clockwise on a navy background",
        ),
        (
            graph(thing(RED, "collide"), thing(BLUE, "collide"), relation="collides with"),
            "a small red circle collides with a medium blue star on a navy background",
        ),
        (
            graph(thing(RED, "left"), thing(BLUE, "rest"), relation="passes behind"),
            "a small red circle moves left behind a medium blue star on a navy background",
        ),
        (
            graph(thing(RED, "swing"), thing(BLUE, "rest"), relation="passes in front of"),
            "a small red circle swings from side to side in front of a medium blue star on a navy "
            "background",
        ),
        (
            graph(thing(RED, "shrink"), camera="pan left"),
            "a small red circle shrinks on a navy background while the camera pans left",
        ),
        (
            graph(thing(RED, "shrink"), camera="zoom in"),
            "a small red circle shrinks on a navy background while the camera zooms in",
        ),
    ],
)
def test_canonical(scene, caption):
    assert canonical(scene) == caption
    assert captions(scene, Draws("test", 0, 0))[0] == caption


def test_canonical_sentences_tell_all_labels_apart():
    grounds = [("navy", "flat"), ("navy to teal", "gradient"), ("teal to navy", "gradient")]
    grounds += [("navy and teal", kind) for kind in backgrounds.PATTERNS]
    said = {
        canonical(
            graph(thing(f"{size} red {shape}", motion), background=b, background_kind=k, camera=c)
        )
        for shape in ATTRIBUTES["shape"]
        for size in ATTRIBUTES["size"]
        for motion in SOLO
        for (b, k), c in itertools.product(grounds, NAMES)
    }
    assert len(said) == 6 * 3 * 13 * 6 * 7


@pytest.mark.parametrize(
    ("scene", "sentence"),
    [
        (
            graph(thing(RED, "left", pace="slow")),
            "on a navy background a small red circle starts at the upper left and moves left "
            "slowly and the camera stands still",
        ),
        (
            graph(
                thing(RED, "left", "spin", pace="quick", direction="clockwise"),
                events=(Event(name="phase", seconds=1.04, objects=(0,)),),
                camera="zoom out",
            ),
            "on a navy background a small red circle starts at the upper left and moves left "
            "quickly then after about one second spins clockwise quickly while the camera zooms "
            "out",
        ),
        (
            graph(
                thing(RED, "stop", pace="steady", direction="right"),
                events=(
                    Event(name="stop", seconds=0.7, objects=(0,)),
                    Event(name="go", seconds=1.3, objects=(0,)),
                ),
            ),
            "on a navy background a small red circle starts at the upper left and moves right "
            "steadily and the circle stops after about half a second and the circle moves again "
            "after about one and a half seconds and the camera stands still",
        ),
        (
            graph(
                thing(RED, "fall"),
                events=tuple(
                    Event(name="impact", seconds=at, objects=(0,)) for at in (0.1, 0.9, 1.1, 2.6)
                ),
            ),
            "on a navy background a small red circle starts at the upper left and falls and "
            "bounces and the circle hits the edge of the frame at once and again after about one "
            "second and again after about two and a half seconds and the camera stands still",
        ),
        (
            graph(
                thing(RED, "collide"),
                thing(BLUE, "collide"),
                relation="collides with",
                events=(
                    Event(name="collision", seconds=1.0, objects=(0, 1)),
                    Event(name="impact", seconds=2.0, objects=(1,)),
                ),
            ),
            "on a navy background a small red circle starts at the upper left and a medium blue "
            "star starts at the upper left and they collide after about one second and the star "
            "hits the edge of the frame after about two seconds and the camera stands still",
        ),
        (
            graph(thing(RED, "clockwise", pace="slow"), thing(BLUE, "rest"), relation="orbits"),
            "on a navy background a small red circle starts at the upper left and circles "
            "clockwise slowly around a medium blue star that rests at the upper left and the "
            "camera stands still",
        ),
        (
            graph(thing(RED, "up", pace="slow"), thing(BLUE, "rest"), relation="passes behind"),
            "on a navy background a small red circle starts at the upper left and moves up slowly "
            "and passes behind a medium blue star that rests at the upper left and the camera "
            "stands still",
        ),
    ],
)
def test_detailed(scene, sentence):
    assert detailed(scene) == sentence


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.2, "at once"),
        (0.3, "after about half a second"),
        (1.2, "after about one second"),
        (1.3, "after about one and a half seconds"),
        (10.0, "after about ten seconds"),
        (10.4, "after more than ten seconds"),
    ],
)
def test_times_in_words(seconds, said):
    assert after(seconds) == said


def random_graph(index: int) -> SceneGraph:
    """Any objects over any ground, so that every word is met soon."""
    draws = Draws("test", 1, index)
    kind = draws.choice(backgrounds.KINDS)
    names = draws.pick(tuple(palette.BACKGROUNDS), 1 if kind == "flat" else 2)
    ground = {"background_kind": kind, "background": joined(kind, names)}
    one, two = (
        " ".join(draws.choice(ATTRIBUTES[name]) for name in ("size", "color", "shape"))
        for _ in range(2)
    )
    details = {
        "pace": draws.choice(("slow", "steady", "quick")),
        "direction": draws.choice(("left", "right", "clockwise", "counterclockwise")),
    }
    event = draws.choice(("stop", "go", "impact", "collision"))
    ground["events"] = (Event(name=event, seconds=draws.uniform(0, 12), objects=(0,)),)
    ground["camera"] = draws.choice(NAMES)
    kind = draws.choice(("one", "story", "orbits", "collides with", "passes behind", "in front"))
    if kind == "one":
        return graph(thing(one, draws.choice(SOLO), **details), **ground)
    if kind == "story":
        ground["events"] = (Event(name="phase", seconds=1.0, objects=(0,)),)
        return graph(thing(one, "left", "spin", **details), **ground)
    if kind == "collides with":
        return graph(thing(one, "collide"), thing(two, "collide"), relation=kind, **ground)
    moves = draws.choice(("clockwise", "counterclockwise"))
    relation = "passes in front of" if kind == "in front" else kind
    return graph(thing(one, moves, **details), thing(two, "rest"), relation=relation, **ground)


def joined(kind: str, names: tuple[str, ...]) -> str:
    return backgrounds.Background(kind=kind, names=names, period=1.0, offset=(0, 0)).label


def test_vocabulary_is_all_words_and_no_others():
    said = {"outside", "frame"}  # where an object may start under a camera that zooms
    said |= {word for row in ("top", "bottom", "center", "right", "lower") for word in row.split()}
    for index in range(3000):
        scene = random_graph(index)
        for text in (*captions(scene, Draws("test", 2, index)), detailed(scene)):
            assert text == text.lower().strip()
            assert "  " not in text
            said |= set(text.split())
    assert said == set(VOCABULARY)
    assert tuple(sorted(VOCABULARY)) == VOCABULARY


def test_paraphrases_differ_and_keep_shape_and_motion():
    """Words of the first object's shape, color and relation are in every sentence."""
    for index in range(200):
        scene = random_graph(index)
        found = captions(scene, Draws("test", 3, index))
        assert len(found) == 4
        color = scene.objects[0].color
        assert all(color in text or color == "purple" for text in found)
        if scene.relations and scene.relations[0].name.startswith("passes"):
            word = scene.relations[0].name.rpartition("passes ")[2]
            assert all(f" {word} " in text for text in found)
