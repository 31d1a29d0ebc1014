"""Plans: their files, and what is said of those that cannot be filmed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kinema.config import from_dict, to_dict
from kinema.errors import InputError
from kinema.scenes.plan import Placed, Plan, box_on

OBJECT = {
    "name": "person",
    "appearance": "red",
    "motion": "walks",
    "scale_hint": 0.33,
    "start_box": [0.2, 0.3, 0.4, 0.7],
    "end_box": [0.6, 0.3, 0.8, 0.7],
}
CAMERA = {"path": "orbit", "degrees": 30, "frames": 4}
PLAN = {"scene": "room", "objects": [OBJECT], "camera": CAMERA}
WAY = tuple((float(i), 0.0, 0.1) for i in range(4))


def test_a_plan_is_equal_after_its_file(tmp_path: Path) -> None:
    plan = from_dict(Plan, PLAN)
    placed = plan.with_places({0: Placed(height=1.234567, locations=WAY)})
    assert plan.objects[0].placed is None
    for i, one in enumerate((plan, placed)):
        path = tmp_path / f"{i}.json"
        one.write(path)
        assert Plan.given(str(path)) == one
    with pytest.raises(InputError, match="exists"):
        plan.write(tmp_path / "0.json")
    with pytest.raises(InputError, match=r"end the name in \.json"):
        plan.write(tmp_path / "plan.yaml")


def test_places_stay_where_nothing_new_is_found() -> None:
    two = from_dict(Plan, {**PLAN, "objects": [OBJECT, OBJECT]})
    first = two.with_places({0: Placed(height=1.0, locations=WAY)})
    both = first.with_places({1: Placed(height=2.0, locations=WAY)})
    assert [item.placed and item.placed.height for item in both.objects] == [1.0, 2.0]


def changed(**fields: Any) -> Callable[[dict[str, Any]], None]:
    return lambda plan: plan["objects"][0].update(fields)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda plan: plan.update(scene="rome"), "unknown scene 'rome'; did you mean 'room'"),
        (lambda plan: plan.pop("camera"), "lacks the field 'camera'"),
        (lambda plan: plan.update(title="x"), "unknown field of plan 'title'"),
        (lambda plan: plan.update(objects=[]), "1 to 8 objects, not 0"),
        (lambda plan: plan["camera"].update(degrees=400), r"must lie in -360\.\.360"),
        (lambda plan: plan["camera"].update(path="fly"), "unknown plan.camera.path 'fly'"),
        (lambda plan: plan["camera"].update(frames=0), r"frames must lie in 1\.\.256"),
        (lambda plan: plan["camera"].update(frames=1e400), "frames must be int"),
        (changed(name="persn"), "did you mean 'person'"),
        (changed(motion="flies"), "unknown motion of an object"),
        (changed(appearance=7), r"objects\[0\].appearance must be str"),
        (changed(scale_hint=1.5), r"scale_hint must lie in \(0, 1\]"),
        (changed(start_box=[0.4, 0.3, 0.2, 0.7]), "left < right"),
        (changed(boxes=[[0.1, 0.1, 0.2, 1.2]]), "0..1"),
        (changed(end_box=[0.1, 0.1, 0.2]), "must have 4 values, not 3"),
        (changed(placed={"height": 1.0, "locations": [[0, 0, 0]]}), "placed in 1 frames of 4"),
        (changed(placed={"height": -1.0, "locations": []}), "height must lie in"),
        (changed(placed={"height": 1.0, "locations": [[0, 0, 1e9]] * 4}), "within 1000 meters"),
    ],
)
def test_what_no_plan_can_say_is_one_line(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], said: str
) -> None:
    content = json.loads(json.dumps(PLAN))
    change(content)
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=said) as error:
        Plan.given(str(path))
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "\udcff", "null", "3"])
def test_files_that_are_no_plans_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "plan.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(InputError, match=r"plan\.json"):
        Plan.given(str(path))
    with pytest.raises(InputError, match="cannot read the plan"):
        Plan.given(str(tmp_path / "none.json"))


def test_a_box_stands_on_its_foot_and_ends_at_the_border() -> None:
    assert box_on((0.5, 0.8), 0.5) == pytest.approx((0.4, 0.3, 0.6, 0.8))
    assert box_on((0.05, 0.3), 0.5) == pytest.approx((0.0, 0.0, 0.15, 0.3))
    assert to_dict(from_dict(Plan, PLAN))["objects"][0]["boxes"] == []
