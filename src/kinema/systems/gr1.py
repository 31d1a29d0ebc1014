"""GR-1: Unleashing Large-Scale Video Generative Pre-training for Visual Robot Manipulation.

Wu et al. 2023 (arXiv 2312.13139). Authors' code: github.com/bytedance/GR-1 (Apache-2.0), evaluation
only. A policy that reads an instruction and what it has seen, and that also says what it will see.

Letters: B batch, L steps, S side of an image, A numbers of the arm.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from kinema.card import Card
from kinema.clip import Clip
from kinema.conditions.encoders import build_text
from kinema.errors import InputError
from kinema.networks.gr1 import Felt, GR1Transformer, Seen, Target
from kinema.networks.vit import ImageFeatures, ViT
from kinema.prediction import Prediction
from kinema.sample import Table, Text
from kinema.systems.gr1_config import GR1Config, full, nano, tiny
from kinema.systems.gr1_observations import felt, images
from kinema.systems.gr1_training import STAGES, table
from kinema.systems.model import Model, Part
from kinema.systems.system import Job
from kinema.training.objective import Batch
from kinema.worlds.tabletop import TASKS, Task

if TYPE_CHECKING:
    from kinema.worlds.tabletop_env import Observation, Trial

CARD = Card(
    name="gr1",
    number=25,
    title="Unleashing Large-Scale Video Generative Pre-training for Visual Robot Manipulation",
    arxiv="2312.13139",
    year=2023,
    kind="policy",
    job="an instruction becomes an episode of a robot",
    code="github.com/bytedance/GR-1",
    code_license="Apache-2.0",
    weights_license="Apache-2.0",
    claim="a policy that learns to predict frames, first from films of others, needs fewer demos",
    applies=("full", "weights", "parity", "tiny", "run", "claim"),
    verified=(
        "policy and image encoder, by one recorded case: actions, frames, five stages between",
        "parameter names and shapes of the published snapshot",
    ),
    inferred=("numbers of the full recipes that the paper's text does not give",),
    deviations=(
        "no dropout and no random shifts of images in training",
        "tiny and nano read text with a small word encoder and train it and the image encoder with "
        "the policy; CLIP and MAE are frozen in full",
        "the robot is that of the world tabletop, not CALVIN's: of the numbers of an arm it has "
        "two, and the others are 0",
    ),
    dead={"*.policy.transformer.wte.weight": "a table of words that the trunk does not read"},
)
FRAMES: tuple[Target, ...] = ("image", "wrist")
SCENES = 2  # the seed of the table that a policy is tried on; 0 and 1 are trained and held out


class GR1(Model):
    """The policy: `reset` tells it what to do, `act` says how to move."""

    CARD = CARD
    CONFIG = GR1Config
    PRESETS: ClassVar = {preset.__name__: preset for preset in (full, tiny, nano)}
    STAGES = STAGES
    JOBS: ClassVar = {
        "evaluate": Job(takes={"instruction": Text}, gives={"episode": Clip, "result": Table})
    }
    config: GR1Config
    text = Part(build_text)
    image = Part(ViT)
    policy = Part(GR1Transformer)

    def language(self, instructions: Sequence[str]) -> Tensor:
        """Sentences as vectors (B, E)."""
        return self.text(self.text.ids(instructions).to(self.device)).x[:, 0]

    # -- training ----------------------------------------------------------------------------

    def foresee(self, batch: Batch) -> Prediction:
        """Frames to come, from the instruction and one camera."""
        seen = Seen(
            language=self.language(batch["instruction"]),
            image=self.image(batch["image"].to(self.device)),
            wrist=None,
            felt=None,
            real=batch["real"].to(self.device),
        )
        return self.policy(seen, ("image",))

    def imitate(self, batch: Batch) -> Prediction:
        """Actions and frames of both cameras."""
        given = {n: x.to(self.device) for n, x in batch.items() if isinstance(x, Tensor)}
        seen = Seen(
            language=self.language(batch["instruction"]),
            image=self.image(given["image"]),
            wrist=self.image(given["wrist"]),
            felt=Felt(arm=given["arm"], gripper=given["gripper"]),
            real=given["real"],
        )
        return self.policy(seen, ("action", *FRAMES))

    # -- acting ------------------------------------------------------------------------------

    @torch.inference_mode()
    def reset(self, instruction: str) -> None:
        """Forgets what was seen; from now on this is to be done.

        Raises:
            InputError: the instruction is too long for the text encoder.
        """
        self._language = self.language([instruction])
        self._steps: deque[tuple[ImageFeatures, dict[str, Tensor]]] = deque(
            maxlen=self.config.policy.max_steps
        )

    @torch.inference_mode()
    def act(self, observation: Observation) -> np.ndarray:
        """The next action, from the latest steps since `reset`.

        Args:
            observation: ``image`` and ``wrist`` (H, W, 3) uint8, ``arm`` (2,) and ``gripper``, 1
                if it is open.

        Returns:
            (3,) float32: motion along x and y in [-1, 1], 1 to open the gripper, -1 to close it.
        """
        sizes = self.config.policy
        cameras = torch.stack([images(observation[name], sizes.image_size) for name in FRAMES])
        arm = torch.as_tensor(observation["arm"], dtype=torch.float32)
        state = felt(arm, torch.tensor(int(observation["gripper"])), sizes.arm_width)
        self._steps.append((self.image(cameras.to(self.device)), state))
        summary = torch.stack([look.summary for look, _ in self._steps], 1)  # (cameras, L, F)
        patches = torch.stack([look.patches for look, _ in self._steps], 1)
        image, wrist = (ImageFeatures(summary[i : i + 1], patches[i : i + 1]) for i in range(2))
        states = {n: torch.stack([was[n] for _, was in self._steps])[None] for n in state}
        seen = Seen(
            language=self._language,
            image=image,
            wrist=wrist,
            felt=Felt(**{name: x.to(self.device) for name, x in states.items()}),
            real=torch.ones(1, len(self._steps), dtype=torch.bool, device=self.device),
        )
        action = self.policy(seen, ("action",)).value[0, -1].float().cpu()
        x, y = action[:2].clamp(-1, 1).tolist()
        return np.array([x, y, 1.0 if action[-1] > 0 else -1.0], np.float32)

    def attempt(self, seed: int, instruction: str | None) -> Trial:
        """One episode in the scene of a seed; None does what the scene asks for.

        Raises:
            InputError: gymnasium is not installed.
        """
        try:
            from kinema.worlds.tabletop_env import TabletopEnv, attempt
        except ImportError as error:
            raise InputError("to act needs gymnasium: pip install kinema[worlds]") from error
        return attempt(self, TabletopEnv(table(self, "train", SCENES)), seed, instruction)

    def unknown_words(self, text: str) -> list[str]:
        """None: every word of a task counts. Raises InputError if the text is no task."""
        Task.parse(text)
        return []

    def run_evaluate(self, inputs: Mapping[str, Any], seed: int) -> dict[str, Clip | Table]:
        """{"instruction": Text} -> the episode in the scene of the seed, and how it ended."""
        instruction = str(Task.parse(inputs["instruction"].text))
        trial = self.attempt(seed, instruction)
        steps = len(trial.frames) - 1
        columns = ("instruction", "seed", "success", "steps")
        result = Table(columns, ((instruction, seed, int(trial.success), steps),))
        return {"episode": Clip(trial.frames, self.config.rollout.fps), "result": result}

    def example(self, job: str, folder: Path) -> dict[str, Any]:
        """An instruction."""
        return {"instruction": Text(str(TASKS[-1]))}


SYSTEM = GR1
