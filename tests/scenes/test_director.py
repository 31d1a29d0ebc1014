"""The director that goes by rules: what it reads, where it puts things, how it passes obstacles."""

from __future__ import annotations

import pytest
import torch

from kinema.errors import InputError
from kinema.scenes.composition import LOOK
from kinema.scenes.director import (
    EXAMPLE,
    PLACES,
    VOCABULARY,
    Concept,
    Concepts,
    Ends,
    RuleDirector,
    depth_at,
    direct,
)
from kinema.scenes.plan import Box, PlannedCamera
from kinema.scenes.splatting import Rendering

DIRECTOR = RuleDirector(frames=6)
WALK = Concept("person", "red", "walks", "left", "right")


def floor() -> Rendering:
    """An empty floor: the inverse of depth grows evenly from the horizon down."""
    rows = (torch.arange(LOOK) + 0.5) / LOOK
    depth = (1 / (rows - 0.3).clamp(min=0.01))[:, None].expand(LOOK, LOOK)
    return Rendering(torch.zeros(3, LOOK, LOOK), depth, torch.ones(LOOK, LOOK))


def test_a_prompt_is_taken_apart() -> None:
    concepts = DIRECTOR.decompose(
        "A red person  walks from left to right and the blue child waves at the back in a yard,"
        " the camera comes closer."
    )
    assert concepts.scene == "yard"
    assert concepts.objects == (WALK, Concept("child", "blue", "waves", "back", "back"))
    assert concepts.camera == PlannedCamera(path="dolly", degrees=30.0, frames=6)
    still = DIRECTOR.decompose("a green child stands in a hall")
    assert still.camera.path == "static"
    assert still.objects[0].start == still.objects[0].goal == "middle"


@pytest.mark.parametrize(
    "prompt",
    [
        "a dragon flies over a castle",
        "a red person walks",
        "a red person walks in a room, the camera explodes",
        "a red person sings in a room",
        "a red person walks from left to right and a cat in a room",
        "in a room",
    ],
)
def test_what_it_does_not_understand_it_says(prompt: str) -> None:
    with pytest.raises(InputError, match=f"does not understand .* write like '{EXAMPLE}'"):
        DIRECTOR.decompose(prompt)


def test_every_word_it_reads_is_in_the_vocabulary() -> None:
    for word in EXAMPLE.replace(",", " ,").split():
        assert word in VOCABULARY
    assert len(set(VOCABULARY)) == len(VOCABULARY)


def test_sizes_go_by_depth_and_kind() -> None:
    look = floor()
    ends = DIRECTOR.place(Concept("person", "red", "runs", "back", "front"), look)
    near, far = (depth_at(look, PLACES[place]) for place in ("front", "back"))
    height = {name: box[3] - box[1] for name, box in vars(ends).items() if "box" in name}
    assert height["end_box"] / height["start_box"] == pytest.approx(far / near)
    assert height["start_box"] == pytest.approx(ends.scale_hint)
    child = DIRECTOR.place(Concept("child", "red", "runs", "back", "front"), look)
    assert child.scale_hint < ends.scale_hint


def feet(boxes: tuple[Box, ...]) -> list[tuple[float, float]]:
    return [((left + right) / 2, bottom) for left, _, right, bottom in boxes]


def test_a_way_is_straight_on_an_empty_floor_and_passes_what_stands_on_it() -> None:
    look = floor()
    ends = DIRECTOR.place(WALK, look)
    free = DIRECTOR.way(WALK, look, ends)
    (x0, y0), (x1, _) = PLACES["left"], PLACES["right"]
    for i, (x, y) in enumerate(feet(free), 1):
        assert x == pytest.approx(x0 + i / 4 * (x1 - x0))
        assert y == pytest.approx(y0)
    # A box in the middle: nearer than the floor behind it.
    depth = look.depth.clone()
    top, bottom = int(0.6 * LOOK), int(0.78 * LOOK)
    depth[top:bottom, int(0.4 * LOOK) : int(0.6 * LOOK)] = 1 / (0.78 - 0.3)
    blocked = Rendering(look.color, depth, look.opacity)
    passed = DIRECTOR.way(WALK, blocked, ends)
    assert passed[0] == free[0]
    assert passed[2] == free[2]
    (x, y) = feet(passed)[1]
    assert x == pytest.approx(0.5)
    assert 0.76 < y < 0.85
    # It is nearer to the camera there, and larger.
    assert passed[1][3] - passed[1][1] > free[1][3] - free[1][1]


def test_who_stays_has_no_way() -> None:
    stay = Concept("person", "red", "waves", "left", "left")
    assert DIRECTOR.way(stay, floor(), DIRECTOR.place(stay, floor())) == ()


def test_any_director_fits_who_takes_the_three_turns() -> None:
    class Stubborn:
        """Always the same film, whatever is asked; later turns know what earlier ones said."""

        def decompose(self, prompt: str) -> Concepts:
            camera = PlannedCamera(path="static", degrees=0.0, frames=2)
            return Concepts("hall", (Concept("child", "blue", prompt, "", ""),), camera)

        def place(self, concept: Concept, look: Rendering) -> Ends:
            assert look.color.shape == (3, LOOK, LOOK)
            return Ends(0.2, (0.1, 0.5, 0.2, 0.7), (0.7, 0.5, 0.8, 0.7))

        def way(self, concept: Concept, look: Rendering, ends: Ends) -> tuple[Box, ...]:
            return (ends.start_box, ends.end_box)

    plan = direct(Stubborn(), "jumps")
    assert plan.scene == "hall"
    assert plan.objects[0].motion == "jumps"
    assert plan.objects[0].boxes == ((0.1, 0.5, 0.2, 0.7), (0.7, 0.5, 0.8, 0.7))
    with pytest.raises(InputError, match="unknown motion"):
        direct(Stubborn(), "dissolves")
