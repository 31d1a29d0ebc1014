"""The world `tabletop` as an environment of gymnasium, to act in; see `tabletop.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import gymnasium
import numpy as np
from gymnasium import spaces

from kinema.worlds.tabletop import State, Tabletop, Task, is_done, pictures

Observation = dict[str, Any]


class TabletopEnv(gymnasium.Env[Observation, np.ndarray]):
    """One table: the scene of seed s is that of sample s of its world.

    Observations: ``image`` and ``wrist`` (S, S, 3) uint8 RGB; ``arm`` (2,) float32, where the
    gripper is; ``gripper`` 1 if it is open, else 0. Actions (3,) in [-1, 1]: motion along x and y
    in full steps of the gripper, and above 0 to open it. The reward is 1 when the task is done,
    which ends the episode; after `num_frames` of the world it is cut off.

    Args:
        world: its scenes, and how many steps an episode may last.
    """

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012 (as gymnasium declares it)
    render_mode = "rgb_array"

    def __init__(self, world: Tabletop) -> None:
        self.world = world
        size = (world.height, world.width, 3)
        self.observation_space = spaces.Dict(
            {
                "image": spaces.Box(0, 255, size, np.uint8),
                "wrist": spaces.Box(0, 255, size, np.uint8),
                "arm": spaces.Box(0.0, 1.0, (2,), np.float32),
                "gripper": spaces.Discrete(2),
            }
        )
        self.action_space = spaces.Box(-1.0, 1.0, (3,), np.float32)
        self._index = -1

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begins an episode: the scene of `seed`, or the one after the last if it is None.

        Args:
            seed: index of the scene.
            options: ``{"instruction": text}`` sets the task; else the scene's own is kept.

        Raises:
            InputError: the instruction is none of this table's, or the seed is negative.
        """
        super().reset(seed=seed)
        self._index = self._index + 1 if seed is None else seed
        instruction = (options or {}).get("instruction")
        task = None if instruction is None else Task.parse(instruction)
        self.task, self._look, self._first = self.world.scene(self._index, task)
        self._state, self._steps = self._first, 0
        return self._observed(), {"instruction": str(self.task)}

    def step(self, action: np.ndarray) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """One control step: observation, reward, whether it is done, whether it is cut off."""
        x, y, opens = (float(value) for value in action)
        self._state = self._state.after((x, y), opens=opens > 0)
        self._steps += 1
        done = is_done(self.task, self._first, self._state)
        cut = not done and self._steps >= self.world.num_frames
        return self._observed(), float(done), done, cut, {"instruction": str(self.task)}

    def render(self) -> np.ndarray:
        """The table from above, (S, S, 3) uint8."""
        return pictures((self._state,), self._look)["image"][0]

    @property
    def state(self) -> State:
        """Where everything is: what an expert may know, and a policy may not."""
        return self._state

    def _observed(self) -> Observation:
        cameras = pictures((self._state,), self._look)
        return {
            **{name: frames[0] for name, frames in cameras.items()},
            "arm": np.array(self._state.gripper, np.float32),
            "gripper": np.int64(self._state.is_open),
        }


class Policy(Protocol):
    """What can be told what to do, and then says at every step how to move."""

    def reset(self, instruction: str) -> None:
        """Forgets what was seen; from now on this is to be done."""

    def act(self, observation: Observation) -> np.ndarray:
        """The next action, from what is seen now and was seen since `reset`."""


@dataclass(frozen=True, eq=False)
class Trial:
    """One episode of a policy.

    Attributes:
        instruction: what it was told.
        frames: (T + 1, S, S, 3) uint8, the table from above.
        success: whether it was done in time.
    """

    instruction: str
    frames: np.ndarray
    success: bool


def attempt(policy: Policy, env: TabletopEnv, seed: int, instruction: str | None) -> Trial:
    """Lets a policy act in an environment until it is done or time is over.

    Args:
        policy: who acts.
        env: where.
        seed: of the scene.
        instruction: what to do; what the scene asks for if None.
    """
    options = None if instruction is None else {"instruction": instruction}
    observation, info = env.reset(seed=seed, options=options)
    policy.reset(info["instruction"])
    frames, done, cut = [env.render()], False, False
    while not (done or cut):
        observation, _, done, cut, _ = env.step(policy.act(observation))
        frames.append(env.render())
    return Trial(info["instruction"], np.stack(frames), done)
