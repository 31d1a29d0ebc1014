"""GR-1 as a policy: what it remembers, what it returns, what it refuses."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kinema.clip import Clip
from kinema.config import override
from kinema.data.clips import to_clip
from kinema.errors import InputError
from kinema.noise import Noise
from kinema.sample import Table, Text
from kinema.systems.gr1 import GR1
from kinema.systems.gr1_config import POLICY, VIDEO, full, nano, tiny
from kinema.systems.gr1_episodes import table
from kinema.systems.gr1_observations import images, pixels
from kinema.systems.gr1_training import Windows
from kinema.worlds.tabletop_env import TabletopEnv


@pytest.fixture(scope="module")
def model() -> GR1:
    torch.manual_seed(0)
    return GR1(nano())


@pytest.fixture(scope="module")
def observations(model: GR1) -> list[dict[str, Any]]:
    """Six steps of an environment in which somebody moves."""
    env = TabletopEnv(table(model, "train", 0))
    found = [env.reset(seed=0)[0]]
    actions = [np.array([0.5, 1.0 - step / 2, 1.0], np.float32) for step in range(5)]
    return found + [env.step(action)[0] for action in actions]


def play(model: GR1, observations: list[dict[str, Any]]) -> list[np.ndarray]:
    model.reset("push the red block left")
    return [model.act(observation) for observation in observations]


def test_actions_are_those_of_the_robot(model: GR1, observations: list[dict[str, Any]]) -> None:
    actions = play(model, observations)
    for action in actions:
        assert action.dtype == np.float32
        assert action.shape == (3,)
        assert np.abs(action).max() <= 1
        assert action[2] in (-1.0, 1.0)
    assert not np.array_equal(actions[0], actions[1])
    assert all(map(np.array_equal, actions, play(model, observations)))


def test_it_remembers_its_window_and_no_more(
    model: GR1, observations: list[dict[str, Any]]
) -> None:
    steps = model.config.policy.max_steps
    whole, late = play(model, observations), play(model, observations[-steps:])
    assert np.allclose(whole[-1], late[-1], atol=1e-6)
    assert not np.allclose(whole[-2], late[-2], atol=1e-6)  # it knew one step more
    # Nothing is left of an episode before.
    play(model, observations[::-1])
    assert np.allclose(play(model, observations[:1])[0], whole[0], atol=1e-6)


def test_acting_equals_what_is_trained(model: GR1) -> None:
    """Step by step, with nothing behind, it says what it says of whole windows."""
    world = table(model, "train", 0)
    windows = Windows(model.config.policy, world, episodes=50)
    batch = windows(tuple(range(6)))
    with torch.no_grad():
        said = model.imitate(batch).value
    places = Noise(0, tuple(range(6))).uniform((6, 2), "window").tolist()
    for row, (which, at) in enumerate(places):
        episode = world.episode(int(which * 50))
        count = len(episode.actions)
        start = int(at * (max(count - model.config.policy.max_steps, 0) + 1))
        seen = episode.images(slice(start, start + 3))
        model.reset(str(episode.task))
        for step in range(min(3, count)):
            state = episode.states[start + step]
            action = model.act(
                {
                    "image": seen["image"][step],
                    "wrist": seen["wrist"][step],
                    "arm": np.array(state.gripper, np.float32),
                    "gripper": int(state.is_open),
                }
            )
            expected = said[row, step, :2].clamp(-1, 1).numpy()
            assert action[:2] == pytest.approx(expected, abs=1e-5)
        assert batch["instruction"][row] == str(episode.task)


def test_the_end_of_a_short_episode_is_padded() -> None:
    config = nano()
    model = GR1(replace(config, policy=replace(config.policy, max_steps=9)))
    world = table(model, "train", 0)
    batch = Windows(model.config.policy, world, episodes=200)(tuple(range(60)))
    counts = batch["real"].sum(1)
    assert counts.min() < counts.max() == config.rollout.steps < 9
    assert set(counts.tolist()) <= {len(world.episode(index).actions) for index in range(200)}
    row = int(counts.argmin())
    steps = int(counts[row])
    assert batch["real"][row, :steps].all()
    assert batch["image"][row, :steps].flatten(1).any(1).all()
    for name in ("image", "wrist", "motion", "arm", "gripper", "opens"):
        assert not batch[name][row, steps:].any(), name
    assert set(batch["opens"].unique().tolist()) == {0.0, 1.0}
    assert batch["gripper"][:, 0].sum(-1).eq(1).all()


def test_an_arm_with_more_numbers_is_padded() -> None:
    config = nano()
    wide = GR1(replace(config, policy=replace(config.policy, arm_width=6)))
    batch = Windows(wide.config.policy, table(wide, "train", 0), episodes=4)((0, 1))
    assert batch["arm"].shape[-1] == batch["motion"].shape[-1] == 6
    assert not batch["arm"][..., 2:].any()
    result = wide.run({"instruction": Text("reach the blue block")}, 0)
    assert isinstance(result["episode"], Clip)


def test_images_of_another_size_are_resized(observations: list[dict[str, Any]]) -> None:
    small = observations[0]["image"]
    large = small.repeat(4, 0).repeat(4, 1)
    assert images(large, 32).shape == (3, 32, 32)
    assert (images(large, 32) - images(small, 32)).abs().mean() < 0.1
    shown = to_clip(pixels(images(small, 32)[None]), 8.0).frames[0]
    assert np.array_equal(shown, small)


def test_the_main_job(model: GR1, tmp_path: Path) -> None:
    made = model.run(model.example("evaluate", tmp_path), 3)
    assert list(made) == list(model.JOBS["evaluate"].gives)
    result, episode = made["result"], made["episode"]
    assert isinstance(result, Table)
    assert isinstance(episode, Clip)
    assert result.columns == ("instruction", "seed", "success", "steps")
    ((instruction, seed, success, steps),) = result.rows
    assert (seed, steps) == (3, episode.num_frames - 1)
    assert success in (0, 1)
    assert steps <= model.config.rollout.steps
    again = model.run({"instruction": Text(str(instruction).upper())}, 3)
    assert again["result"] == result
    with pytest.raises(InputError, match="nobody can do 'dance'"):
        model.run({"instruction": Text("dance")}, 3)


def test_without_gymnasium_the_mend_is_named(model: GR1, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "kinema.worlds.tabletop_env")
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    with pytest.raises(InputError, match=r"pip install kinema\[worlds\]"):
        model.run({"instruction": Text("reach the red block")}, 0)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        (
            "text.width=32",
            "width of text and language_width of policy must be equal, not 32 and 64",
        ),
        ("image.width=32", "width of image and feature_width"),
        ("policy.image_size=64", "image_size of image of policy must be equal, not 32 and 64"),
    ],
)
def test_networks_that_do_not_fit_are_named(setting: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        override(tiny(), [setting])


def test_data_that_do_not_fit_are_named(model: GR1) -> None:
    stage, recipe = model.STAGES["video"], VIDEO["nano"]
    with pytest.raises(InputError, match="unknown world 'shapes'"):
        stage.read(model, recipe, "shapes")
    with pytest.raises(InputError, match="a frame 4 steps ahead lies outside a window of 4"):
        stage.read(model, replace(recipe, ahead=4), None)


def test_published_encoders_stay_frozen() -> None:
    model = GR1(full(), device="meta")
    for name, recipes in (("video", VIDEO), ("policy", POLICY)):
        objective = model.STAGES[name].objective(model, recipes["full"])
        trained = objective.trained(name)
        assert sum(p.numel() for p in trained.values()) == 45_988_039
    with pytest.raises(InputError, match=r"is not there; pass --set text\.folder=PATH"):
        model.language(["reach the red block"])
