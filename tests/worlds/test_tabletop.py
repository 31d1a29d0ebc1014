"""The world `tabletop`: physics, the expert, episodes, pictures, the environment."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from kinema.errors import InputError
from kinema.worlds import palette
from kinema.worlds.tabletop import (
    BLOCKS,
    FAR,
    GROUNDS,
    HANDS,
    NEAR,
    ROBOT,
    SPEED,
    TASKS,
    VOCABULARY,
    State,
    Tabletop,
    Task,
    expert,
    is_done,
    pictures,
)
from kinema.worlds.tabletop_drawing import BLOCK, GRIPPER
from kinema.worlds.tabletop_env import TabletopEnv, attempt

OPTIONS: dict[str, Any] = {"num_frames": 40, "height": 32, "width": 32, "fps": 8.0}
WORLD = Tabletop(seed=0, split="train", **OPTIONS)
EPISODES = [WORLD.episode(index) for index in range(200)]
OPEN = State((0.5, 0.5), True, {"red": (0.7, 0.5), "blue": (0.3, 0.3)}, "")


def close(state: State) -> State:
    return state.after((0.0, 0.0), opens=False)


# -- physics --------------------------------------------------------------------------------


def test_the_gripper_moves_at_its_speed_and_stays_on_the_table() -> None:
    moved = OPEN.after((1.0, -0.5), opens=True)
    assert moved.gripper == pytest.approx((0.5 + SPEED, 0.5 - SPEED / 2))
    assert OPEN.after((9.0, -0.5), opens=True) == moved
    state = OPEN
    for _ in range(40):
        state = state.after((-1.0, 1.0), opens=True)
    assert 0 < state.gripper[0] < GRIPPER < 1 - GRIPPER < state.gripper[1] < 1


def test_an_open_gripper_moves_nothing() -> None:
    state = OPEN
    for _ in range(10):
        state = state.after((1.0, 0.0), opens=True)
    assert state.blocks == OPEN.blocks


def test_a_closed_gripper_pushes_what_lies_ahead() -> None:
    state = close(OPEN)
    assert state.held == ""
    for _ in range(4):
        state = state.after((1.0, 0.0), opens=False)
    x, y = state.blocks["red"]
    assert x == pytest.approx(state.gripper[0] + BLOCK + GRIPPER)
    assert y == 0.5
    assert state.blocks["blue"] == (0.3, 0.3)
    back = state.after((-1.0, 0.0), opens=False)
    assert back.blocks == state.blocks
    for _ in range(30):
        state = state.after((1.0, 0.0), opens=False)
    assert state.blocks["red"][0] == 1 - BLOCK


def test_a_gripper_that_closes_over_a_block_holds_it_until_it_opens() -> None:
    above = replace(OPEN, gripper=(0.7 - 0.8 * NEAR, 0.5))
    held = close(above).after((0.0, 1.0), opens=False)
    assert held.held == "red"
    assert held.blocks["red"] == pytest.approx((0.7, 0.5 + SPEED))
    beside = close(replace(OPEN, gripper=(0.7 - 1.2 * NEAR, 0.5)))
    assert beside.held == ""
    let_go = held.after((0.0, 1.0), opens=True)
    assert let_go.held == ""
    assert let_go.blocks == held.blocks


@pytest.mark.parametrize(
    ("task", "state", "done"),
    [
        (Task("reach", "red", ""), replace(OPEN, gripper=(0.68, 0.5)), True),
        (Task("reach", "red", ""), replace(OPEN, gripper=(0.68, 0.5), is_open=False), False),
        (Task("reach", "blue", ""), replace(OPEN, gripper=(0.68, 0.5)), False),
        (Task("grip", "red", ""), replace(OPEN, held="red"), True),
        (Task("grip", "blue", ""), replace(OPEN, held="red"), False),
        (Task("push", "red", "up"), replace(OPEN, blocks={"red": (0.7, 0.5 - FAR)}), True),
        (Task("push", "red", "down"), replace(OPEN, blocks={"red": (0.7, 0.5 - FAR)}), False),
        (Task("push", "red", "up"), replace(OPEN, blocks={"red": (0.7, 0.4)}), False),
        (
            Task("push", "red", "up"),
            replace(OPEN, blocks={"red": (0.7, 0.5 - FAR)}, held="red"),
            False,
        ),
    ],
)
def test_when_a_task_is_done(task: Task, state: State, done: bool) -> None:
    assert is_done(task, OPEN, state) is done


# -- instructions ---------------------------------------------------------------------------


def test_every_task_is_said_and_understood() -> None:
    assert len(TASKS) == len(set(TASKS)) == 4 + 4 + 16
    for task in TASKS:
        assert Task.parse(str(task)) == task
        assert set(str(task).split()) <= set(VOCABULARY)
    assert Task.parse(" Push a RED block  left ") == Task("push", "red", "left")


@pytest.mark.parametrize("text", ["", "push the red block", "reach the red block left", "eat it"])
def test_what_nobody_can_do_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"^nobody can do .*colors: red, green"):
        Task.parse(text)


# -- episodes -------------------------------------------------------------------------------


def test_the_expert_always_succeeds_and_is_not_done_before() -> None:
    assert {episode.task for episode in EPISODES} == set(TASKS)
    for episode in EPISODES:
        assert episode.success
        assert len(episode.states) == len(episode.actions) + 1 > 1
        assert not is_done(episode.task, episode.states[0], episode.states[0])
        assert not any(
            is_done(episode.task, episode.states[0], state) for state in episode.states[:-1]
        )


def test_actions_are_what_the_expert_wants() -> None:
    for episode in EPISODES[:20]:
        assert episode.actions.dtype == np.float32
        assert np.abs(episode.actions).max() <= 1
        for state, action in zip(episode.states, episode.actions):
            motion, opens = expert(episode.task, state)
            assert action == pytest.approx([*motion, 1.0 if opens else -1.0], abs=1e-6)


def test_an_episode_depends_on_seed_and_index_alone() -> None:
    again = Tabletop(seed=0, split="train", **OPTIONS)
    assert again.episode(7).states == EPISODES[7].states
    assert np.array_equal(again.episode(7).actions, EPISODES[7].actions)
    assert again.episode(8).states != EPISODES[7].states
    assert Tabletop(seed=1, split="train", **OPTIONS).episode(7).states != EPISODES[7].states
    short = Tabletop(seed=0, split="train", **{**OPTIONS, "num_frames": 2}).episode(7)
    assert short.states == EPISODES[7].states[:3]
    assert not short.success


def test_an_episode_is_the_same_in_another_process_without_torch() -> None:
    code = (
        "import sys; from kinema.worlds.tabletop import Tabletop;"
        f"e = Tabletop(seed=0, split='train', **{OPTIONS!r}).episode(7);"
        "assert not {'torch', 'gymnasium'} & set(sys.modules);"
        "print(e.actions.tobytes().hex(), int(e.images(slice(3))['wrist'].sum()))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    actions, total = answer.stdout.split()
    assert bytes.fromhex(actions) == EPISODES[7].actions.tobytes()
    assert int(total) == EPISODES[7].images(slice(3))["wrist"].sum()


def test_blocks_lie_apart_and_the_target_is_among_them() -> None:
    counts = set()
    for episode in EPISODES:
        blocks = episode.states[0].blocks
        counts.add(len(blocks))
        assert episode.task.color in blocks
        assert set(blocks) <= set(BLOCKS)
        places = list(blocks.values())
        for i, one in enumerate(places):
            for other in places[:i]:
                assert max(abs(a - b) for a, b in zip(one, other)) > 2 * BLOCK
    assert counts == {2, 3}


def test_splits_have_grounds_and_hands_of_their_own() -> None:
    found = {}
    for split in ("train", "held_out", "video", "all"):
        looks = [Tabletop(seed=0, split=split, **OPTIONS).scene(i, None)[1] for i in range(60)]
        found[split] = {look.ground for look in looks}
        hands = HANDS if split == "video" else (ROBOT,)
        assert {look.hand for look in looks} == {palette.COLORS[name] for name in hands}
    assert found["train"] == {palette.BACKGROUNDS[name] for name in GROUNDS["train"]}
    assert not found["train"] & found["held_out"]
    assert found["video"] == found["all"] == found["train"] | found["held_out"]
    for name in (*HANDS, *BLOCKS, ROBOT):
        assert set(sum(GROUNDS.values(), ())) <= set(palette.flat_backgrounds(name)), name


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"split": "test"}, "no split of the world tabletop.*'test'|'test'"),
        ({"num_frames": 0}, "num_frames is 0"),
        ({"height": 15, "width": 15}, "16 pixels or more, not 15x15"),
        ({"width": 48}, "squares"),
    ],
)
def test_options_out_of_range_are_named(change: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Tabletop(**({"seed": 0, "split": "train"} | OPTIONS | change))
    with pytest.raises(InputError, match="sample -1 of the world tabletop"):
        WORLD.episode(-1)


# -- pictures -------------------------------------------------------------------------------


def test_both_cameras_show_what_is_there() -> None:
    look = WORLD.scene(0, None)[1]
    state = replace(OPEN, gripper=(0.3, 0.8))
    shown = pictures((state, close(state)), look)
    assert {name: (x.shape, x.dtype) for name, x in shown.items()} == dict.fromkeys(
        ("image", "wrist"), ((2, 32, 32, 3), np.dtype(np.uint8))
    )
    image, wrist = shown["image"], shown["wrist"]
    assert tuple(image[0, 0, 0]) == look.ground
    assert palette.nearest(image[0, 16, 22]) == "red"
    assert palette.nearest(image[0, 9, 9]) == "blue"
    # An open gripper is a ring in the middle of its camera, a closed one a disc.
    assert tuple(wrist[0, 16, 16]) == look.ground
    assert tuple(wrist[1, 16, 16]) == look.hand
    assert (wrist[0] == look.hand).all(-1).sum() > 10
    # The wrist camera stays with the gripper, the other with the table.
    moved = pictures((state.after((-1.0, 0.0), opens=True),), look)
    assert np.array_equal(moved["wrist"][0, 12:21, 12:21], wrist[0, 12:21, 12:21])
    assert np.array_equal(moved["image"][0, :20], image[0, :20])
    assert not np.array_equal(moved["image"][0], image[0])


def test_pictures_at_twice_the_size_show_the_same() -> None:
    look = replace(WORLD.scene(0, None)[1], side=64)
    large = pictures((OPEN,), look)["image"][0].reshape(32, 2, 32, 2, 3).mean((1, 3))
    small = pictures((OPEN,), replace(look, side=32))["image"][0]
    assert np.abs(large - small).mean() < 1.5


def test_a_sample_is_the_episode_as_a_clip() -> None:
    sample, episode = WORLD.sample(3), EPISODES[3]
    count = len(episode.states)
    assert sample.clip.frames.shape == (40, 32, 32, 3)
    assert np.array_equal(sample.clip.frames[:count], episode.images(slice(None))["image"])
    assert (sample.clip.frames[count:] == sample.clip.frames[count - 1]).all()
    assert sample.captions == (str(episode.task),)
    assert sample.labels["success"] == "yes"
    assert sample.tracks.xy[0, 0] / 32 == pytest.approx(episode.states[0].gripper, abs=1e-6)
    assert sample.boxes.xyxy.shape == (40, len(sample.graph.objects), 4)


SAMPLES = [Tabletop(seed=2, split="all", **OPTIONS).sample(index) for index in range(12)]


def test_the_graph_tells_who_is_there_and_when_it_is_done() -> None:
    for index, sample in enumerate(SAMPLES):
        episode = Tabletop(seed=2, split="all", **OPTIONS).episode(index)
        hand, *blocks = sample.graph.objects
        assert (hand.shape, hand.color) == ("gripper", "white")
        assert [block.color for block in blocks] == list(episode.states[0].blocks)
        moved = [
            color
            for color, place in episode.states[0].blocks.items()
            if episode.states[-1].blocks[color] != place
        ]
        assert [block.color for block in blocks if block.motions == ("move",)] == moved
        (relation,) = sample.graph.relations
        assert relation.name == episode.task.verb
        assert sample.graph.objects[relation.object].color == episode.task.color
        (event,) = sample.graph.events
        assert event.seconds * 8 == pytest.approx(len(episode.actions))
        assert str(episode.task) in sample.detailed
        assert all(f"{thing.color}" in sample.detailed for thing in sample.graph.objects)


def test_masks_boxes_and_tracks_are_what_is_drawn() -> None:
    hidden, wrong, count = 0, 0, 0
    for sample in SAMPLES:
        masks, frames, visible = sample.masks.x, sample.clip.frames, sample.tracks.visible
        assert (masks.sum(axis=1) <= 1).all()
        assert visible[:, 0].all()
        for number, thing in enumerate(sample.graph.objects):
            assert palette.nearest(np.median(frames[0][masks[0, number]], axis=0)) == thing.color
        for number in range(1, len(sample.graph.objects)):
            for t, (x, y) in enumerate(sample.tracks.xy[:, number]):
                wrong += masks[t, number, int(y), int(x)] != visible[t, number]
                hidden += not visible[t, number]
                count += 1
        y, x = np.nonzero(masks[0, 0])
        seen = x.min(), y.min(), x.max() + 1, y.max() + 1
        np.testing.assert_allclose(sample.boxes.xyxy[0, 0], seen, atol=1)
    assert hidden > 20
    assert wrong < 0.05 * count  # the center of its pixel may lie under an edge that it does not


def test_flow_is_how_far_things_move() -> None:
    moved = 0
    for sample in SAMPLES:
        steps = np.diff(sample.tracks.xy, axis=0)
        for number in range(len(sample.graph.objects)):
            for t, mask in enumerate(sample.masks.x[:-1, number]):
                assert np.abs(sample.flow[t][mask] - steps[t, number]).max(initial=0) < 1e-5
                moved += bool(mask.any() and np.abs(steps[t, number]).max() > 0.5)
        assert not sample.flow[~sample.masks.x[:-1].any(axis=1)].any()
    assert moved > 100


# -- the environment ------------------------------------------------------------------------


class Expert:
    """Knows where everything is."""

    def __init__(self, env: TabletopEnv) -> None:
        self.env = env

    def reset(self, instruction: str) -> None:
        self.task = Task.parse(instruction)

    def act(self, observation: dict[str, Any]) -> np.ndarray:
        motion, opens = expert(self.task, self.env.state)
        return np.array([*motion, 1.0 if opens else -1.0], np.float32)


def test_gymnasium_finds_no_fault() -> None:
    check_env(TabletopEnv(WORLD), skip_render_check=True)


def test_the_scene_of_a_seed_is_that_of_the_world() -> None:
    env = TabletopEnv(WORLD)
    observation, info = env.reset(seed=5)
    assert info["instruction"] == str(EPISODES[5].task)
    assert env.state == EPISODES[5].states[0]
    images = EPISODES[5].images(slice(1))
    assert np.array_equal(observation["image"], images["image"][0])
    assert np.array_equal(observation["wrist"], images["wrist"][0])
    assert np.array_equal(env.render(), observation["image"])
    assert observation["arm"] == pytest.approx(EPISODES[5].states[0].gripper)
    assert observation["gripper"] == 1
    env.reset()
    assert env.state == EPISODES[6].states[0]
    _, info = env.reset(seed=5, options={"instruction": "grip the green block"})
    assert info["instruction"] == "grip the green block"
    assert "green" in env.state.blocks
    with pytest.raises(InputError, match="nobody can do 'sing'"):
        env.reset(seed=5, options={"instruction": "sing"})


def test_an_expert_succeeds_in_it_whatever_it_is_told() -> None:
    env = TabletopEnv(WORLD)
    for seed, task in enumerate(TASKS):
        trial = attempt(Expert(env), env, seed, str(task))
        assert trial.success, task
        assert trial.instruction == str(task)
        assert 2 <= len(trial.frames) <= 40
    told_by_scene = attempt(Expert(env), env, 9, None)
    assert told_by_scene.instruction == str(EPISODES[9].task)


def test_who_does_nothing_is_cut_off() -> None:
    class Idle:
        def reset(self, instruction: str) -> None: ...

        def act(self, observation: dict[str, Any]) -> np.ndarray:
            return np.zeros(3, np.float32)

    trial = attempt(Idle(), TabletopEnv(WORLD), 0, None)
    assert not trial.success
    assert len(trial.frames) == 41
