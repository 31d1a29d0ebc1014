"""IA-RED^2: Interpretability-Aware Redundancy Reduction for Vision Transformers (arXiv 2106.12620).

Authors' code: the project's page gives none; an interpretation model of theirs stands in
github.com/joon-stack/ltrp (no license). A DeiT drops the patches that it does not need, group by
group, and so says what it looked at. A clip is read frame by frame. What is verified is in the
card.

Letters: B clips, T frames, S side of a frame, D features, K classes, G groups.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from kinema.card import Card
from kinema.clip import Clip
from kinema.data.views import ClipFile
from kinema.media.heat import heat_map
from kinema.networks.deit import DeiT
from kinema.networks.ia_red2 import Choice, Interpreters, Reduced
from kinema.sample import Table
from kinema.systems.ia_red2_config import PRESETS, VERSIONS, IARED2Config
from kinema.systems.ia_red2_policy import up_to
from kinema.systems.ia_red2_training import STAGES
from kinema.systems.model import Part
from kinema.systems.recognizer import FrameRecognizer
from kinema.systems.recognizer_files import RecognizerFiles
from kinema.systems.system import Job
from kinema.weights.export import Exportable
from kinema.weights.maps import ia_red2 as maps

CARD = Card(
    name="ia_red2",
    number=29,
    title="IA-RED^2: Interpretability-Aware Redundancy Reduction for Vision Transformers",
    arxiv="2106.12620",
    year=2021,
    kind="recognizer",
    job="a picture or a clip, read frame by frame, gets a class from the patches that matter",
    code="github.com/joon-stack/ltrp",
    code_license="none given",
    weights_license="none published",
    claim="patches that an interpreter drops by reward cost less accuracy than others as many",
    applies=("full", "weights", "parity", "tiny", "run", "claim"),
    verified=(
        "by a recorded case: scores before each group, logits",
        "gathering the kept tokens gives what hiding the others gives",
        "counts of parameters of DeiT-S and of its interpreters",
    ),
    inferred=(
        "reward, baseline and curriculum, as recalled from the paper; no trainer is published",
        "penalties 3, 5 and 8 of the groups, from numbers in the interpretation model",
        "with several groups the reward's cost is the share of patches in the mean over blocks",
        "steps, batches and rates of the policy stage",
    ),
    deviations=(
        "a clip is read frame by frame; the paper's host for clips is TimeSformer",
        "scores begin at 0.7, so that nothing is dropped at first",
        "the class token is no choice, and choices count as a mean over patches",
        "a last phase trains all together",
        "in tiny and nano a right answer counts with its probability",
        "no drop path, RandAugment, color jitter and erasing; rates fall in a line",
        "tiny and nano learn the color of what has corners, since frames tell no motion",
    ),
)
AT_ONCE = 32  # frames
COLORED = 1  # the group whose scores are shown, as in the authors' demonstration


class IARED2(FrameRecognizer):
    """The system: `classify` tells what a clip shows, `explain` which patches it needed.

    From a file of DeiT it begins with interpreters that drop nothing.
    """

    CARD = CARD
    CONFIG = IARED2Config
    PRESETS = PRESETS
    STAGES = STAGES
    PUBLISHED = RecognizerFiles(
        name=CARD.name,
        parts={"network": DeiT, "policy": Interpreters},
        versions=VERSIONS,
        find=maps.find,
        fresh=("policy",),
    ).published()
    JOBS: ClassVar = {
        **FrameRecognizer.JOBS,
        "explain": Job(takes={"clip": ClipFile}, gives={"heat": Clip, "kept": Table}),
    }
    config: IARED2Config
    network = Part(DeiT)
    policy = Part(Interpreters)

    def forward_features(self, clips: Tensor) -> Tensor:
        """What the head reads (B, D), of clips (B, 3, T, S, S) in [-1, 1], of kept patches."""
        found = self.policy.reduce(self.network, self.frames(clips))
        return found.features.unflatten(0, (-1, clips.shape[2])).mean(1)

    def frames(self, clips: Tensor) -> Tensor:
        """Clips (B, 3, T, S, S) in [-1, 1] -> their frames (B T, 3, S, S), normalized."""
        return self._normalized(clips).transpose(1, 2).flatten(0, 1)

    def whole_logits(self, clips: Tensor) -> Tensor:
        """Logits (B, K) of clips (B, 3, T, S, S) in [-1, 1] from all patches."""
        return self.forward_head(super().forward_features(clips))

    def seen(self, clips: Tensor, choose: Choice | None) -> tuple[Tensor, Reduced]:
        """Logits (B, K) of clips (B, 3, T, S, S) in [-1, 1], and what was kept of their frames.

        Args:
            clips: see above.
            choose: the policy, under which dropped patches are hidden; None drops them as trained.
        """
        reduce = (
            self.policy.reduce if choose is None else partial(self.policy.masked, choose=choose)
        )
        found = reduce(self.network, self.frames(clips))
        features = found.features.unflatten(0, (-1, clips.shape[2])).mean(1)
        return self.forward_head(features), found

    @torch.inference_mode()
    def explained(self, clip: Clip) -> tuple[Clip, np.ndarray]:
        """The middle square of a clip under its heat maps, and the share that is kept (G, T).

        The color is the score before the second group; grey is what the last group did not get.
        """
        side = min(clip.size) // 2 * 2  # video files have even sides
        square = clip.covering(side, side)
        size = self.config.views.size
        x = torch.from_numpy(square.resized(size, size).to_float())
        found = [self.seen(part[None], None)[1] for part in x.split(AT_ONCE, dim=1)]
        scores = torch.cat([part.scores for part in found], dim=1)[..., 1:].float().cpu().numpy()
        kept = torch.cat([part.kept for part in found], dim=1)[..., 1:].cpu().numpy()
        grid = (-1, size // self.config.network.patch_size)
        shown = [
            heat_map(frame, values.reshape(grid), there.reshape(grid))
            for frame, values, there in zip(
                square.frames, scores[min(COLORED, len(scores) - 1)], kept[-1]
            )
        ]
        return replace(square, frames=np.stack(shown)), kept.mean(-1)

    def exportable(self) -> Exportable:
        """The policy as it is trained: how many patches are gathered depends on the picture."""
        return replace(super().exportable(), module=HidingLogits(self))

    def run_explain(self, inputs: Mapping[str, Any], seed: int) -> dict[str, Clip | Table]:
        """Draws what was looked at, and tells how much of each frame went through each group."""
        heat, kept = self.explained(Clip.read(inputs["clip"].path))
        columns = ("frame", *(f"group {group}" for group in range(1, len(kept) + 1)))
        rows = tuple(
            (number, *(round(float(share), 4) for share in shares))
            for number, shares in enumerate(kept.T)
        )
        return {"heat": heat, "kept": Table(columns, rows)}


class HidingLogits(nn.Module):
    """The networks as one module that hides dropped patches and computes them all the same."""

    def __init__(self, model: IARED2) -> None:
        super().__init__()
        self.parts, self.model = model.parts, model

    def forward(self, clips: Tensor) -> Tensor:
        """Clips (B, 3, T, S, S) in [-1, 1] -> logits (B, K)."""
        every_group = len(self.model.policy.agents)
        return self.model.seen(clips, partial(up_to, every_group))[0]


SYSTEM = IARED2
