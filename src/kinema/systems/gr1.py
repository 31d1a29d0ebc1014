"""GR-1: Unleashing Large-Scale Video Generative Pre-training for Visual Robot Manipulation.

Wu et al. 2023 (arXiv 2312.13139). Authors' code: github.com/bytedance/GR-1 (Apache-2.0), evaluation
only. A policy that reads an instruction and what it has seen, and that also says what it will see.

Letters: B batch, L steps, S side of an image, A numbers of the arm.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from kinema.card import Card
from kinema.clip import Clip
from kinema.conditions.clip_text import CLIPText, CLIPTextConfig
from kinema.errors import InputError
from kinema.media.pixels import resize
from kinema.networks.gr1 import Felt, GR1Transformer, Seen, Target
from kinema.networks.vit import ImageFeatures, ViT
from kinema.networks.word_encoder import WordEncoder
from kinema.prediction import Prediction
from kinema.sample import Table, Text
from kinema.systems.gr1_config import GR1Config, full, nano, tiny
from kinema.systems.gr1_training import STAGES, table
from kinema.systems.model import Job, Model
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
    dead={
        "*.policy.transformer.wte.weight": "a table of words that the trunk does not read",
        "watching.policy.embed_*_state.*": "films have no states",
        "watching.policy.embed_state.*": "films have no states",
        "watching.policy.embed_hand_*": "films have one camera",
        "watching.policy.action_queries.weight": "films have no actions",
        "watching.policy.obs_hand_queries.weight": "films have one camera",
        "watching.policy.pred_*": "films have no actions",
    },
)
# Of the images that MAE and the published policy were trained on.
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
FRAMES: tuple[Target, ...] = ("image", "wrist")
SCENES = 2  # the seed of the table that a policy is tried on; 0 and 1 are trained and held out


def build_text(text: Any, **factory: Any) -> WordEncoder | CLIPText:
    """The text encoder that a configuration asks for."""
    if isinstance(text, CLIPTextConfig):
        return CLIPText(text, dtype=factory["dtype"])
    return WordEncoder(text, **factory)


class GR1(Model):
    """The policy: `reset` tells it what to do, `act` says how to move."""

    CARD = CARD
    CONFIG = GR1Config
    PRESETS: ClassVar = {preset.__name__: preset for preset in (full, tiny, nano)}
    STAGES = STAGES
    PARTS: ClassVar = {"text": build_text, "image": ViT, "policy": GR1Transformer}
    JOBS: ClassVar = {
        "evaluate": Job(takes={"instruction": Text}, gives={"episode": Clip, "result": Table})
    }
    config: GR1Config

    @property
    def policy(self) -> GR1Transformer:
        """The network that acts and foresees."""
        return cast(GR1Transformer, self.parts["policy"])

    # -- what the networks are given ---------------------------------------------------------

    def images(self, frames: np.ndarray) -> Tensor:
        """Frames (..., H, W, 3) uint8 -> (..., 3, S, S), resized and normalized as MAE's."""
        side = self.config.policy.image_size
        if frames.shape[-3:-1] != (side, side):
            flat = [resize(frame, side, side) for frame in frames.reshape(-1, *frames.shape[-3:])]
            frames = np.stack(flat).reshape(*frames.shape[:-3], side, side, 3)
        x = torch.from_numpy(np.ascontiguousarray(frames)).float() / 255
        return ((x - torch.tensor(MEAN)) / torch.tensor(DEVIATION)).movedim(-1, -3)

    def clip(self, images: Tensor) -> Clip:
        """Normalized images (L, 3, S, S) as frames."""
        x = images.movedim(-3, -1) * torch.tensor(DEVIATION) + torch.tensor(MEAN)
        return Clip.from_float((2 * x - 1).movedim(-1, 0).numpy(), self.config.rollout.fps)

    def wide(self, arm: Tensor) -> Tensor:
        """The robot's numbers of the arm (..., 2) -> (..., A), behind them zeros."""
        return F.pad(arm, (0, self.config.policy.arm_width - arm.shape[-1]))

    def felt(self, arm: Tensor, is_open: Tensor) -> dict[str, Tensor]:
        """States: arm (..., 2) -> (..., A), whether it is open (...) -> one-hot (..., 2)."""
        return {"arm": self.wide(arm), "gripper": F.one_hot(is_open.long(), 2).float()}

    def language(self, instructions: Sequence[str]) -> Tensor:
        """Sentences as vectors (B, E)."""
        text = self.parts["text"]
        return text(cast(Any, text).ids(instructions).to(self.device)).x[:, 0]

    # -- training ----------------------------------------------------------------------------

    def foresee(self, batch: Batch) -> Prediction:
        """Frames to come, from the instruction and one camera."""
        seen = Seen(
            language=self.language(batch["instruction"]),
            image=self.parts["image"](batch["image"].to(self.device)),
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
            image=self.parts["image"](given["image"]),
            wrist=self.parts["image"](given["wrist"]),
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
        cameras = torch.stack([self.images(observation[name]) for name in FRAMES])
        arm = torch.as_tensor(observation["arm"], dtype=torch.float32)
        felt = self.felt(arm, torch.tensor(int(observation["gripper"])))
        self._steps.append((self.parts["image"](cameras.to(self.device)), felt))
        summary = torch.stack([look.summary for look, _ in self._steps], 1)  # (cameras, L, F)
        patches = torch.stack([look.patches for look, _ in self._steps], 1)
        image, wrist = (ImageFeatures(summary[i : i + 1], patches[i : i + 1]) for i in range(2))
        states = {n: torch.stack([felt[n] for _, felt in self._steps])[None] for n in felt}
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
