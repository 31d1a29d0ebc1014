"""What the world `shapes` says about its clips: one canonical sentence and paraphrases of it.

Every sentence is lower case, without punctuation, and true. A paraphrase may leave out the size or
the background, as people do.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Protocol, TypeVar

from kinema.worlds.palette import BACKGROUNDS, COLORS
from kinema.worlds.world import Draws

CANONICAL = "a {size} {color} {shape} {moves} on {a_background}"
PARAPHRASES = (
    "a {size} {color} {shape} {moves} in front of {a_background}",
    "{size} {color} {shape} {moving} on {background}",
    "a video of a {size} {color} {shape} {moving} over {a_background}",
    "on {a_background} a {color} {shape} {moves}",
    "a {color} {shape} {moves}",
    "a {color} {shape} that {moves} on {background}",
    "the {size} {shape} is {color} and {moves} on {a_background}",
    "there is a {size} {color} {shape} {moving}",
)
PARAPHRASES_PER_SAMPLE = 3

# The first of each is what the canonical sentence says.
_SIZES = {
    "small": ("small", "little", "tiny"),
    "medium": ("medium", "midsize"),
    "large": ("large", "big", "huge"),
}
_SHAPES = {
    "circle": ("circle", "disc", "ball"),
    "square": ("square", "box"),
    "triangle": ("triangle",),
    "star": ("star",),
    "cross": ("cross", "plus"),
    "ring": ("ring", "hoop", "donut"),
}
_COLORS = {name: (name,) for name in COLORS} | {"purple": ("purple", "violet")}
_GROUNDS = {name: (name,) for name in BACKGROUNDS} | {"gray": ("gray", "grey")}
_GO = (
    ("moves", "moving"),
    ("goes", "going"),
    ("slides", "sliding"),
    ("travels", "traveling"),
    ("drifts", "drifting"),
)
_TURN = (("circles", "circling"), ("orbits", "orbiting"), ("goes around", "going around"))
_BOUNCE = (("bounces", "bouncing"), ("hops", "hopping"), ("jumps", "jumping"))
_SWING = (("swings", "swinging"), ("sways", "swaying"), ("moves", "moving"))
# Motion: its verbs (finite, gerund), and where to.
_MOTIONS = {
    "left": (_GO, ("left", "to the left", "leftward")),
    "right": (_GO, ("right", "to the right", "rightward")),
    "up": (_GO, ("up", "upward")),
    "down": (_GO, ("down", "downward")),
    "clockwise": (_TURN, ("clockwise",)),
    "counterclockwise": (_TURN, ("counterclockwise", "anticlockwise")),
    "bounce": (_BOUNCE, ("up and down",)),
    "swing": (_SWING, ("from side to side", "back and forth")),
}
_GRADIENT = "{top} to {bottom} gradient"

T = TypeVar("T")


class _Choose(Protocol):
    def __call__(self, options: tuple[T, ...]) -> T: ...


def canonical(labels: Mapping[str, str]) -> str:
    """The canonical sentence, such as "a small red circle moves left on a navy background".

    Args:
        labels: shape, color, size, motion, background and background_kind, as in a sample.
    """
    return _say(CANONICAL, labels, _first)


def captions(labels: Mapping[str, str], draws: Draws) -> tuple[str, ...]:
    """The canonical sentence, then paraphrases drawn at random."""
    templates = draws.pick(PARAPHRASES, PARAPHRASES_PER_SAMPLE)
    return canonical(labels), *(_say(template, labels, draws.choice) for template in templates)


def vocabulary() -> tuple[str, ...]:
    """Every word that a sentence can contain, sorted."""
    texts = [*(re.sub(r"{\w+}", "", t) for t in (CANONICAL, *PARAPHRASES, _GRADIENT))]
    texts += ["a an background"]
    for words in (_SIZES, _SHAPES, _COLORS, _GROUNDS):
        texts += [text for synonyms in words.values() for text in synonyms]
    for verbs, places in _MOTIONS.values():
        texts += [*places, *(form for verb in verbs for form in verb)]
    return tuple(sorted({word for text in texts for word in text.split()}))


def _first(options: tuple[T, ...]) -> T:
    return options[0]


def _say(template: str, labels: Mapping[str, str], choose: _Choose) -> str:
    verbs, places = _MOTIONS[labels["motion"]]
    moves, moving = choose(verbs)
    place = choose(places)
    if labels["background_kind"] == "gradient":
        top, bottom = labels["background"].split(" to ")
        ground = _GRADIENT.format(top=choose(_GROUNDS[top]), bottom=choose(_GROUNDS[bottom]))
        background = f"a {ground}"
    else:
        ground = background = choose(_GROUNDS[labels["background"]])
    sentence = template.format(
        size=choose(_SIZES[labels["size"]]),
        color=choose(_COLORS[labels["color"]]),
        shape=choose(_SHAPES[labels["shape"]]),
        moves=f"{moves} {place}",
        moving=f"{moving} {place}",
        background=background,
        a_background=f"a {ground} background",
    )
    return re.sub(r"\ba (?=[aeiou])", "an ", sentence)
