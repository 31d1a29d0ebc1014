"""What there is on the table of the world `tabletop`, what happens, and how it is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kinema.worlds import palette
from kinema.worlds.world import Event, Object, Phase, Relation, SceneGraph, place_name

if TYPE_CHECKING:
    from kinema.worlds.tabletop import Episode, State

COLORS = {rgb: name for name, rgb in palette.COLORS.items()}
GROUNDS = {rgb: name for name, rgb in palette.BACKGROUNDS.items()}


def table_graph(episode: Episode, shown: tuple[State, ...], fps: float) -> SceneGraph:
    """The gripper, which is object 0, and the blocks.

    Args:
        episode: what is done.
        shown: the states of the frames of a clip.
        fps: of the clip.
    """
    first, last, task = shown[0], shown[-1], episode.task
    moves = Phase(motion=task.verb, pace="", direction=task.direction)
    hand = Object(
        shape="gripper",
        color=COLORS[episode.look.hand],
        size="",
        place=place_name(first.gripper),
        phases=(moves,),
    )
    blocks = [
        Object(
            shape="block",
            color=color,
            size="",
            place=place_name(place),
            phases=(_rests_or_moves(place == last.blocks[color]),),
        )
        for color, place in first.blocks.items()
    ]
    target = 1 + list(first.blocks).index(task.color)
    done = Event(name="done", seconds=len(episode.actions) / fps, objects=(0, target))
    return SceneGraph(
        kind="table",
        objects=(hand, *blocks),
        relations=(Relation(name=task.verb, subject=0, object=target),),
        events=(done,) if episode.success else (),
        depth_order=(0, *range(len(blocks), 0, -1)),
        background_kind="flat",
        background=GROUNDS[episode.look.ground],
        camera="static",
    )


def told(graph: SceneGraph, episode: Episode) -> str:
    """A long sentence about an episode."""
    hand, *blocks = graph.objects
    others = " and ".join(f"a {block.color} block at the {block.place}" for block in blocks)
    return (
        f"on a {graph.background} table with {others} a {hand.color} gripper that starts at the "
        f"{hand.place} is to {episode.task} and {'does' if episode.success else 'does not yet'}"
    )


def _rests_or_moves(rests: bool) -> Phase:
    return Phase(motion="rest" if rests else "move", pace="", direction="")
