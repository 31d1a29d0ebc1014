"""GR-1: Unleashing Large-Scale Video Generative Pre-training for Visual Robot Manipulation.

Wu et al. 2023 (arXiv 2312.13139). Authors' code: github.com/bytedance/GR-1 (Apache-2.0), evaluation
only; what is verified, inferred and different is in the card. A policy reads an instruction and
what it has seen, and says what to do and what it will see.

Letters: B batch, E width of the language.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from kinema.card import Card
from kinema.clip import Clip
from kinema.conditions.encoders import build_text
from kinema.networks.gr1 import Felt, GR1Transformer, Seen
from kinema.networks.vit import ViT
from kinema.prediction import Prediction
from kinema.sample import Table, Text
from kinema.systems.gr1_config import PRESETS, GR1Config
from kinema.systems.gr1_episodes import result, trial
from kinema.systems.gr1_observations import CAMERAS, Memory, observed
from kinema.systems.gr1_training import STAGES
from kinema.systems.model import Model, Part
from kinema.systems.system import Job
from kinema.training.objective import Batch
from kinema.worlds.tabletop import TASKS, Task

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
        "the robot is the world tabletop's, not CALVIN's: its arm has 2 numbers, the others are 0",
    ),
    dead={
        "*.policy.transformer.wte.weight": "a table of words that the trunk does not read",
        "*.films.policy.*_state.*": "films have no states",
        "*.films.policy.*_hand_*": "films have one camera",
        "*.films.policy.action_queries.*": "films have no actions",
        "*.films.policy.pred_*": "films have no actions",
    },
)


class GR1(Model):
    """The policy: `reset` tells it what to do, `act` says how to move."""

    CARD = CARD
    CONFIG = GR1Config
    PRESETS = PRESETS
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

    def foresee(self, batch: Batch) -> Prediction:
        """Frames to come, from the instruction and one camera."""
        image, real = (batch[name].to(self.device) for name in ("image", "real"))
        language, look = self.language(batch["instruction"]), self.image(image)
        seen = Seen(language=language, image=look, wrist=None, felt=None, real=real)
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
        return self.policy(seen, ("action", *CAMERAS))

    @torch.inference_mode()
    def reset(self, instruction: str) -> None:
        """Forgets what was seen; from now on this is to be done.

        Raises:
            InputError: the instruction is too long for the text encoder.
        """
        self.memory = Memory(self.language([instruction]), self.config.policy.max_steps)

    @torch.inference_mode()
    def act(self, observation: Mapping[str, Any]) -> np.ndarray:
        """The next action, from the latest steps since `reset`.

        Args:
            observation: what `kinema.worlds.tabletop_env.TabletopEnv` lets see, of any size.

        Returns:
            (3,) float32: motion along x and y in [-1, 1], 1 to open the gripper, -1 to close it.
        """
        cameras, state = observed(observation, self.config.policy)
        self.memory.add(self.image(cameras.to(self.device)), state)
        action = self.policy(self.memory.seen(), ("action",)).value[0, -1].float().cpu()
        x, y = action[:2].clamp(-1, 1).tolist()
        return np.array([x, y, 1.0 if action[-1] > 0 else -1.0], np.float32)

    def unknown_words(self, text: str) -> list[str]:
        """None: every word of a task counts. Raises InputError if the text is no task."""
        Task.parse(text)
        return []

    def run_evaluate(self, inputs: Mapping[str, Any], seed: int) -> dict[str, Clip | Table]:
        """{"instruction": Text} -> the episode in the scene of the seed, and how it ended."""
        made = trial(self, seed, str(Task.parse(inputs["instruction"].text)))
        episode = Clip(made.frames, self.config.rollout.fps)
        return {"episode": episode, "result": result(made, seed)}

    def example(self, job: str, folder: Path) -> dict[str, Any]:
        """An instruction."""
        return {"instruction": Text(str(TASKS[-1]))}


SYSTEM = GR1
