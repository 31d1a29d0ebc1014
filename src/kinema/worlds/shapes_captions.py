"""What the world `shapes` says about its clips: one canonical sentence and paraphrases of it.

Every sentence is lower case, without punctuation, and true. A paraphrase may leave out sizes or the
background, as people do.
"""

from __future__ import annotations

import re
from typing import Protocol, TypeVar

from kinema.worlds.backgrounds import names_in
from kinema.worlds.palette import BACKGROUNDS, COLORS
from kinema.worlds.views import DIRECTIONS
from kinema.worlds.world import Draws, SceneGraph

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
CANONICAL_OF_SEVERAL = "{clauses} on {a_background}"
PARAPHRASES_OF_SEVERAL = (
    "{clauses} over {a_background}",
    "{participles} on {background}",
    "a video of {participles} over {a_background}",
    "on {a_background} {clauses}",
    "{brief}",
    "{brief} on {background}",
    "there is {participles}",
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
_GROW = (("grows", "growing"), ("gets bigger", "getting bigger"), ("expands", "expanding"))
_SHRINK = (("shrinks", "shrinking"), ("gets smaller", "getting smaller"))
_SPIN = (("spins", "spinning"), ("rotates", "rotating"), ("turns", "turning"))
_STOP = (  # not "goes on": a background follows
    ("moves and stops and moves again", "moving and stopping and moving again"),
    ("goes and pauses and goes again", "going and pausing and going again"),
    ("slides and halts and slides again", "sliding and halting and sliding again"),
)
_FALL = (
    ("falls and bounces", "falling and bouncing"),
    ("drops and bounces", "dropping and bouncing"),
    ("falls and hops", "falling and hopping"),
)
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
    "grow": (_GROW, ("",)),
    "shrink": (_SHRINK, ("",)),
    "spin": (_SPIN, ("", "on the spot")),
    "stop": (_STOP, ("",)),
    "fall": (_FALL, ("",)),
}
# Relation: how it is said (finite, gerund); an orbit also says which way around.
_RELATIONS = {
    "orbits": (
        ("orbits", "orbiting"),
        ("circles around", "circling around"),
        ("goes around", "going around"),
    ),
    "collides with": (
        ("collides with", "colliding with"),
        ("hits", "hitting"),
        ("bumps into", "bumping into"),
    ),
    "passes behind": (("behind", "behind"),),
    "passes in front of": (("in front of", "in front of"),),
}
_THEN = ("then", "and then")
_PLAIN = {"flat": "{0}", "gradient": "{0} to {1} gradient"}
_PATTERNS = {  # what may be said of a ground after "on"; the first also where it is said in short
    "stripes": ("{0} and {1} stripes", "a {0} and {1} striped background"),
    "checker": ("a {0} and {1} checkerboard", "a {0} and {1} checkered background"),
    "dots": ("{0} and {1} dots", "a {0} and {1} dotted background"),
}
_CAMERAS = {
    "pan": ("while the camera pans {0}", "as the camera moves {0}"),
    "zoom": ("while the camera zooms {0}", "as the camera zooms {0}"),
}

T = TypeVar("T")


class _Choose(Protocol):
    def __call__(self, options: tuple[T, ...]) -> T: ...


def first(options: tuple[T, ...]) -> T:
    """The choice of a canonical sentence."""
    return options[0]


def canonical(graph: SceneGraph) -> str:
    """The canonical sentence, such as "a small red circle moves left on a navy background"."""
    template = CANONICAL if len(graph.objects) == 1 else CANONICAL_OF_SEVERAL
    return _say(template, graph, first)


def captions(graph: SceneGraph, draws: Draws) -> tuple[str, ...]:
    """The canonical sentence, then paraphrases drawn at random."""
    templates = PARAPHRASES if len(graph.objects) == 1 else PARAPHRASES_OF_SEVERAL
    chosen = draws.pick(templates, PARAPHRASES_PER_SAMPLE)
    return canonical(graph), *(_say(template, graph, draws.choice) for template in chosen)


def _say(template: str, graph: SceneGraph, choose: _Choose) -> str:
    values = {}
    if len(graph.objects) == 1:
        values = dict(zip(("moves", "moving"), does(graph.objects[0].motions, choose)))
    values["a_background"], values["background"] = ground(graph, choose)
    sizes = [choose(_SIZES[thing.size]) for thing in graph.objects]
    colors = [choose(_COLORS[thing.color]) for thing in graph.objects]
    shapes = [choose(_SHAPES[thing.shape]) for thing in graph.objects]
    if len(graph.objects) == 1:
        values |= {"size": sizes[0], "color": colors[0], "shape": shapes[0]}
    else:
        full = [f"a {' '.join(words)}" for words in zip(sizes, colors, shapes)]
        short = [f"a {' '.join(words)}" for words in zip(colors, shapes)]
        links = _links(graph, choose)
        values["clauses"], values["participles"] = (link.format(*full) for link in links)
        values["brief"] = links[0].format(*short)
    said = [template.format(**values), *camera(graph.camera, choose)]
    return with_articles(" ".join(said))


def _links(graph: SceneGraph, choose: _Choose) -> tuple[str, str]:
    """What several objects do, with {} for their names: finite, and as participles."""
    if not graph.relations:
        forms = zip(*(does(thing.motions, choose) for thing in graph.objects))
        all_finite, all_participles = ("{} " + " and {} ".join(form) for form in forms)
        return all_finite, all_participles
    relation = graph.relations[0].name
    first, second = choose(_RELATIONS[relation])
    if relation == "collides with":
        return f"{{}} {first} {{}}", f"{{}} {second} {{}}"
    finite, participle = does(graph.objects[0].motions, choose)
    if relation == "orbits":
        _, _, way = finite.rpartition(" ")  # clockwise, or a word for the other way
        return f"{{}} {first} {{}} {way}", f"{{}} {second} {{}} {way}"
    return f"{{}} {finite} {first} {{}}", f"{{}} {participle} {second} {{}}"


def does(motions: tuple[str, ...], choose: _Choose) -> tuple[str, str]:
    """Motions one after the other: "moves left then spins", "moving left then spinning"."""
    forms = [_does(motion, choose) for motion in motions]
    if len(forms) == 1:
        return forms[0]
    joint = f" {choose(_THEN)} "
    finite, participles = zip(*forms)
    return joint.join(finite), joint.join(participles)


def _does(motion: str, choose: _Choose) -> tuple[str, str]:
    verbs, places = _MOTIONS[motion]
    finite, participle = choose(verbs)
    place = choose(places)
    return f"{finite} {place}".rstrip(), f"{participle} {place}".rstrip()


def ground(graph: SceneGraph, choose: _Choose) -> tuple[str, str]:
    """The background as it is said after "on": "a navy background", and in short: "navy"."""
    names = names_in(graph.background, graph.background_kind)
    colors = [choose(_GROUNDS[name]) for name in names]
    if graph.background_kind in _PATTERNS:
        forms = _PATTERNS[graph.background_kind]
        return choose(forms).format(*colors), forms[0].format(*colors)
    said = _PLAIN[graph.background_kind].format(*colors)
    return f"a {said} background", said if len(colors) == 1 else f"a {said}"


def camera(name: str, choose: _Choose) -> tuple[str, ...]:
    """What is said of a camera that moves."""
    how, _, where = name.partition(" ")
    return (choose(_CAMERAS[how]).format(where),) if how in _CAMERAS else ()


def with_articles(text: str) -> str:
    """The same with "an" for "a" before vowels."""
    return re.sub(r"\ba (?=[aeiou])", "an ", text)


def vocabulary(others: tuple[str, ...]) -> tuple[str, ...]:
    """Every word that a caption, or one of some other texts, can contain, sorted."""
    texts = [
        *others,
        CANONICAL,
        *PARAPHRASES,
        CANONICAL_OF_SEVERAL,
        *PARAPHRASES_OF_SEVERAL,
        *_THEN,
    ]
    texts += [*_PLAIN.values(), *(form for forms in _PATTERNS.values() for form in forms)]
    texts += [form for forms in _CAMERAS.values() for form in forms]
    texts += [*DIRECTIONS, "in out a an background"]
    for words in (_SIZES, _SHAPES, _COLORS, _GROUNDS):
        texts += [text for synonyms in words.values() for text in synonyms]
    for verbs, places in _MOTIONS.values():
        texts += [*places, *(form for verb in verbs for form in verb)]
    texts += [form for verbs in _RELATIONS.values() for verb in verbs for form in verb]
    return tuple(sorted({word for text in texts for word in re.sub(r"{\w+}", "", text).split()}))
