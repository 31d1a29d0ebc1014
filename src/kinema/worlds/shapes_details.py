"""The long sentence about a clip of the world `shapes`: places, pace, times, order and camera.

It is lower case, without punctuation, and true; times are rounded to half a second.
"""

from __future__ import annotations

from collections.abc import Iterator

from kinema.worlds import shapes_captions as captions
from kinema.worlds.world import PLACES, Object, Phase, SceneGraph

_PACES = {"slow": " slowly", "steady": " steadily", "quick": " quickly", "": ""}
_DOES = {  # where it is not what the brief caption says
    "spin": "spins {direction}",
    "stop": "moves {direction}",
    "grow": "grows to almost twice its size",
    "shrink": "shrinks to almost half its size",
}
_HAPPENS = {
    "stop": "the {who} stops {when}",
    "go": "the {who} moves again {when}",
    "impact": "the {who} hits the edge of the frame {when}",
    "collision": "they collide {when}",
}
_RESTS = "{what} that rests {where}"
_STARTS = "{what} starts {where}"
_NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_OUTSIDE = "outside the frame"
_STILL = "the camera stands still"
_LINKS = "on and then around passes at the a an"


def detailed(graph: SceneGraph) -> str:
    """The long sentence about a clip, such as "on a navy background a small red circle starts at
    the top and moves left slowly and the camera stands still".
    """
    over, _ = captions.ground(graph, captions.first)
    parts = [f"on {over} {_told(graph)}", *_events(graph)]
    moves = captions.camera(graph.camera, captions.first)
    ends = f" {moves[0]}" if moves else f" and {_STILL}"
    return captions.with_articles(" and ".join(parts) + ends)


def after(seconds: float) -> str:
    """A time in words: "after about one and a half seconds"."""
    halves = round(2 * seconds)
    if halves < 2:
        return "after about half a second" if halves else "at once"
    if halves > 2 * len(_NUMBERS):
        return f"after more than {_NUMBERS[-1]} seconds"
    number = _NUMBERS[halves // 2 - 1]
    if halves == 2:
        return f"after about {number} second"
    return f"after about {number}{' and a half' if halves % 2 else ''} seconds"


def words() -> tuple[str, ...]:
    """Texts with every word of a sentence that brief captions may lack; gaps are in braces."""
    times = [after(halves / 2) for halves in range(2 * len(_NUMBERS) + 2)]
    places = [place for row in PLACES for place in row]
    texts = [*_PACES.values(), *_DOES.values(), *_HAPPENS.values(), *times, *places]
    return (*texts, _RESTS, _STARTS, _OUTSIDE, _STILL, _LINKS)


def _events(graph: SceneGraph) -> Iterator[str]:
    """What happens at a moment: each event once, with the times at which it happens."""
    times: dict[tuple[str, int], list[str]] = {}
    for event in graph.events:
        if event.name in _HAPPENS:
            told = times.setdefault((event.name, event.objects[0]), [])
            told += [when] if (when := after(event.seconds)) not in told else []
    for (name, number), told in times.items():
        yield _HAPPENS[name].format(who=graph.objects[number].shape, when=" and again ".join(told))


def _told(graph: SceneGraph) -> str:
    """What the objects do, but for what happens at a moment."""
    first = graph.objects[0]
    name = graph.relations[0].name if graph.relations else ""
    if name in ("", "collides with"):
        return " and ".join(_alone(thing, graph) for thing in graph.objects)
    other = graph.objects[1]
    rests = _RESTS.format(what=_called(other), where=_where(other))
    return f"{_alone(first, graph)} {'around' if name == 'orbits' else f'and {name}'} {rests}"


def _alone(thing: Object, graph: SceneGraph) -> str:
    """Where an object starts and what it does; of one that collides that is told as an event."""
    said = _STARTS.format(what=_called(thing), where=_where(thing))
    does = [_does(phase) for phase in thing.phases if phase.motion != "collide"]
    if len(does) == 2:
        (turn,) = (event.seconds for event in graph.events if event.name == "phase")
        does = [f"{does[0]} then {after(turn)} {does[1]}"]
    return " and ".join([said, *does])


def _does(phase: Phase) -> str:
    if phase.motion in _DOES:
        said = _DOES[phase.motion].format(direction=phase.direction)
    else:
        said, _ = captions.does((phase.motion,), captions.first)
    return said + _PACES[phase.pace]


def _called(thing: Object) -> str:
    return f"a {thing.size} {thing.color} {thing.shape}"


def _where(thing: Object) -> str:
    return _OUTSIDE if thing.place == "outside" else f"at the {thing.place}"
