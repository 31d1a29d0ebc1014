"""World `tabletop`, the first room: a gripper and colored blocks, seen from above.

The table is the unit square, x to the right and y down. The gripper moves over it and is open or
closed. Open, it hovers above the blocks. Closed, it is down on the table: it holds the block it was
closed over, else it pushes the blocks in its way. Instructions name what to do: "reach the blue
block", "grip the green block", "push the red block left".

An episode is what a scripted expert does from the start of a scene until it is done. Its hand
trembles, so that the states around its path are seen too; recorded is what it wants to do.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import product
from typing import Literal, get_args

import numpy as np

from kinema.clip import Clip
from kinema.errors import InputError, unknown
from kinema.sample import Boxes, Tracks
from kinema.worlds import palette, tabletop_drawing
from kinema.worlds.tabletop_drawing import BLOCK, GRIPPER, Look
from kinema.worlds.tabletop_graph import table_graph, told
from kinema.worlds.world import Draws, WorldSample

Split = Literal["train", "held_out", "video", "all"]
Verb = Literal["reach", "grip", "push"]
Point = tuple[float, float]

BLOCKS = ("red", "green", "blue", "yellow")
DIRECTIONS: dict[str, Point] = {
    "left": (-1.0, 0.0),
    "right": (1.0, 0.0),
    "up": (0.0, -1.0),
    "down": (0.0, 1.0),
}
# Robots are white; the hands of the films are not, and no robot has been before the last grounds.
GROUNDS = {"train": ("navy", "teal", "gray"), "held_out": ("black", "olive", "maroon")}
HANDS = ("pink", "cyan", "orange")
ROBOT = "white"
VOCABULARY = ("the", "block", *get_args(Verb), *BLOCKS, *DIRECTIONS)

SPEED = 0.05  # of the gripper, in sides of the table per control step along each axis
TREMOR = 0.25  # of that speed
NEAR = 0.05  # from a block's center, along each axis: there it is reached, or held when closed
FAR = 0.15  # a block that has gone this far was pushed
ALIGNED = 0.03  # across the way of a push
RUN_UP = BLOCK + GRIPPER + 0.03  # from a block's center, where a push begins
APART = RUN_UP + NEAR + 0.03  # between blocks, so that nothing lies where a push begins
MARGIN = 0.04  # between the gripper and the edge of the table
SMALLEST_SIDE = 16


@dataclass(frozen=True)
class Task:
    """What an instruction asks for; `direction` is "" unless the verb is push."""

    verb: Verb
    color: str
    direction: str

    def __str__(self) -> str:
        return f"{self.verb} the {self.color} block {self.direction}".rstrip()

    @classmethod
    def parse(cls, instruction: str) -> Task:
        """The task of an instruction; case and articles do not matter.

        Raises:
            InputError: it is none of this table's.
        """
        words = tuple(word for word in instruction.lower().split() if word not in ("the", "a"))
        for task in TASKS:
            if words == tuple(str(task).replace("the ", "").split()):
                return task
        raise InputError(
            f"nobody can do {instruction[:60]!r} on this table; "
            f"ask for 'reach the COLOR block', 'grip the COLOR block' or 'push the COLOR block "
            f"DIRECTION' (colors: {', '.join(BLOCKS)}; directions: {', '.join(DIRECTIONS)})"
        )


TASKS = tuple(
    [Task("reach", color, "") for color in BLOCKS]
    + [Task("grip", color, "") for color in BLOCKS]
    + [Task("push", color, direction) for color, direction in product(BLOCKS, DIRECTIONS)]
)


@dataclass(frozen=True)
class State:
    """Where everything is.

    Attributes:
        gripper: its center (x, y).
        is_open: whether the gripper is open.
        blocks: {color: center}.
        held: the color of the block that is held, or "".
    """

    gripper: Point
    is_open: bool
    blocks: dict[str, Point]
    held: str

    def after(self, motion: Point, *, opens: bool) -> State:
        """One control step: the gripper opens or closes where it is, then it moves.

        Args:
            motion: in steps of `SPEED` along x and y; what exceeds [-1, 1] is clipped.
            opens: whether the gripper is open from now on.
        """
        held = "" if opens else self.held
        if self.is_open and not opens:
            held = next((color for color in self.blocks if self.off(color) < NEAR), "")
        x, y = (
            min(max(place + SPEED * min(max(step, -1.0), 1.0), MARGIN), 1 - MARGIN)
            for place, step in zip(self.gripper, motion)
        )
        moved = (x - self.gripper[0], y - self.gripper[1])
        blocks = dict(self.blocks)
        if held:
            blocks[held] = (blocks[held][0] + moved[0], blocks[held][1] + moved[1])
        elif not opens:
            blocks = {color: pushed(place, (x, y), moved) for color, place in blocks.items()}
        return State((x, y), opens, blocks, held)

    def off(self, color: str) -> float:
        """How far the gripper is from a block's center, along the axis where it is farther."""
        return max(abs(a - b) for a, b in zip(self.gripper, self.blocks[color]))


def pushed(block: Point, gripper: Point, moved: Point) -> Point:
    """Where a block is after a closed gripper has moved by `moved` to `gripper`.

    It is moved along the longer axis of the motion if it lies ahead, as far as it is in the way.
    """
    axis = 0 if abs(moved[0]) > abs(moved[1]) else 1
    sign = math.copysign(1.0, moved[axis])
    ahead = sign * (block[axis] - gripper[axis] + moved[axis])
    reach = BLOCK + GRIPPER
    touches = all(abs(a - b) < reach for a, b in zip(block, gripper))
    if not (any(moved) and touches and ahead > 0):
        return block
    place = min(max(gripper[axis] + sign * reach, BLOCK), 1 - BLOCK)
    return (place, block[1]) if axis == 0 else (block[0], place)


def is_done(task: Task, first: State, now: State) -> bool:
    """Whether a task is fulfilled, seen from how the scene began."""
    if task.verb == "reach":
        return now.is_open and now.off(task.color) < NEAR
    if task.verb == "grip":
        return now.held == task.color
    way = DIRECTIONS[task.direction]
    gone = zip(now.blocks[task.color], first.blocks[task.color], way)
    return not now.held and sum((a - b) * w for a, b, w in gone) >= FAR


def expert(task: Task, now: State) -> tuple[Point, bool]:
    """What the expert does: a motion in steps of `SPEED`, and whether the gripper is open."""
    block = now.blocks[task.color]
    if task.verb != "push":
        closes = task.verb == "grip" and now.off(task.color) < 0.6 * NEAR
        return ((0.0, 0.0), False) if closes else (towards(now.gripper, block), True)
    way = DIRECTIONS[task.direction]
    along = sum((b - g) * w for b, g, w in zip(block, now.gripper, way))
    across = sum((b - g) * (1 - abs(w)) for b, g, w in zip(block, now.gripper, way))
    if abs(across) < ALIGNED and BLOCK + GRIPPER - 0.02 < along < APART and not now.held:
        return ((0.0, 0.0), False) if now.is_open else (way, False)
    start = tuple(b - RUN_UP * w for b, w in zip(block, way))
    return towards(now.gripper, start), True


def towards(place: Point, goal: tuple[float, ...]) -> Point:
    """The motion from one place to another, no faster than the gripper is."""
    x, y = ((b - a) / SPEED for a, b in zip(place, goal))
    longest = max(abs(x), abs(y), 1.0)
    return x / longest, y / longest


@dataclass(frozen=True, kw_only=True)
class Episode:
    """What the expert did, step by step.

    Attributes:
        task: what it was told.
        look: colors and size of the pictures.
        states: T + 1 of them; the last is how it ended.
        actions: (T, 3) float32: motion along x and y in steps of `SPEED`, and 1 for an open
            gripper, -1 for a closed one. What it wanted: its hand trembled.
        success: whether the task was done at the end.
    """

    task: Task
    look: Look
    states: tuple[State, ...]
    actions: np.ndarray
    success: bool

    def images(self, steps: slice) -> dict[str, np.ndarray]:
        """Pictures of some states: image from above, wrist around the gripper."""
        return pictures(self.states[steps], self.look)


def pictures(states: tuple[State, ...], look: Look) -> dict[str, np.ndarray]:
    """What both cameras see: {"image", "wrist"}, each (T, side, side, 3) uint8."""
    grippers = np.array([state.gripper for state in states])
    draw = partial(
        tabletop_drawing.draw,
        grippers=grippers,
        opened=np.array([state.is_open for state in states]),
        blocks={c: np.array([s.blocks[c] for s in states]) for c in states[0].blocks},
        look=look,
    )
    middle = np.full_like(grippers, 0.5)
    return {
        "image": draw(centers=middle, span=1.0),
        "wrist": draw(centers=grippers, span=tabletop_drawing.WRIST),
    }


class Tabletop:
    """The world `tabletop`.

    Args:
        seed: tables of different seeds draw different scenes.
        split: `train` and `held_out` have robots on different grounds, `all` both; `video` has
            hands of other colors on all grounds.
        num_frames: the longest episode, in control steps, 1 or more.
        height, width: of every picture in pixels, equal, 16 or more.
        fps: control steps per second.

    Raises:
        InputError: an option is out of range, or there is no such split.
    """

    name = "tabletop"

    def __init__(
        self, *, seed: int, split: Split, num_frames: int, height: int, width: int, fps: float
    ) -> None:
        if split not in get_args(Split):
            raise unknown("split of the world tabletop", split, get_args(Split))
        if num_frames < 1:
            raise InputError(f"num_frames is {num_frames}; an episode needs at least 1 step")
        if height != width or height < SMALLEST_SIDE:
            raise InputError(
                f"pictures of the table are squares of {SMALLEST_SIDE} pixels or more, "
                f"not {height}x{width}"
            )
        self.seed, self.split, self.num_frames = seed, split, num_frames
        self.height, self.width, self.fps = height, width, fps

    @property
    def options(self) -> dict[str, str | int | float]:
        """The options it was made with."""
        names = ("seed", "split", "num_frames", "height", "width", "fps")
        return {name: getattr(self, name) for name in names}

    @cached_property
    def grounds(self) -> tuple[str, ...]:
        """The colors of the table in this split."""
        return GROUNDS.get(self.split) or GROUNDS["train"] + GROUNDS["held_out"]

    def scene(self, index: int, task: Task | None) -> tuple[Task, Look, State]:
        """How an episode begins; the task is drawn if it is None.

        Raises:
            InputError: the index is negative.
        """
        if index < 0:
            raise InputError(f"sample {index} of the world tabletop does not exist; count from 0")
        draws = Draws(self.name, self.seed, index)
        drawn = draws.choice(TASKS)
        task = task or drawn
        hand = draws.choice(HANDS) if self.split == "video" else ROBOT
        look = Look(
            ground=palette.BACKGROUNDS[draws.choice(self.grounds)],
            hand=palette.COLORS[hand],
            side=self.height,
        )
        others = tuple(color for color in BLOCKS if color != task.color)
        colors = (task.color, *draws.pick(others, draws.choice((1, 2))))
        blocks = dict(zip(colors, self._places(draws)))
        state = State(next(iter(blocks.values())), True, blocks, "")
        while state.off(task.color) < FAR:
            state = replace(state, gripper=(draws.uniform(0.08, 0.92), draws.uniform(0.08, 0.92)))
        return task, look, state

    def episode(self, index: int) -> Episode:
        """What the expert does in the scene of this index."""
        task, look, state = self.scene(index, None)
        draws = Draws(f"{self.name}/tremor", self.seed, index)
        states = [state]
        actions: list[tuple[float, float, float]] = []
        while not (done := is_done(task, states[0], state)) and len(actions) < self.num_frames:
            motion, opens = expert(task, state)
            actions.append((*motion, 1.0 if opens else -1.0))
            x, y = (step + draws.uniform(-TREMOR, TREMOR) for step in motion)
            state = state.after((x, y), opens=opens)
            states.append(state)
        return Episode(
            task=task,
            look=look,
            states=tuple(states),
            actions=np.array(actions, np.float32).reshape(-1, 3),
            success=done,
        )

    def sample(self, index: int) -> WorldSample:
        """The episode of this index as a clip; object 0 is the gripper, the others are blocks.

        A short episode shows its end until the clip is over.
        """
        episode = self.episode(index)
        last = len(episode.states) - 1
        shown = tuple(episode.states[min(step, last)] for step in range(self.num_frames))
        frames = pictures(shown, episode.look)["image"]
        assert (frames[0] != frames[0, 0, 0]).any(), "a frame shows nothing"
        places = {c: np.array([state.blocks[c] for state in shown]) for c in shown[0].blocks}
        grippers = np.array([state.gripper for state in shown])
        opened = np.array([state.is_open for state in shown])
        side = self.width
        centers = (np.stack([grippers, *places.values()], axis=1) * side).astype(np.float32)
        radii = np.array([GRIPPER, *(BLOCK for _ in places)], np.float32)[:, None] * side
        draw_masks = partial(tabletop_drawing.masks, grippers, opened, places, side)
        graph = table_graph(episode, shown, self.fps)
        return WorldSample(
            clip=Clip(frames, self.fps),
            captions=(str(episode.task),),
            detailed=told(graph, episode),
            labels={
                "verb": episode.task.verb,
                "color": episode.task.color,
                "direction": episode.task.direction,
                "success": "yes" if episode.success else "no",
            },
            graph=graph,
            tracks=Tracks(centers, tabletop_drawing.seen_centers(grippers, opened, places)),
            boxes=Boxes(np.concatenate([centers - radii, centers + radii], -1).clip(0, side)),
            draw_masks=draw_masks,
            draw_flow=lambda: tabletop_drawing.flow(draw_masks(), centers),
        )

    def _places(self, draws: Draws) -> Iterator[Point]:
        """Places for blocks, none near another."""
        taken: list[Point] = []
        while True:
            place = (draws.uniform(0.25, 0.75), draws.uniform(0.25, 0.75))
            if all(max(abs(a - b) for a, b in zip(place, other)) >= APART for other in taken):
                taken.append(place)
                yield place
