"""The policy of IA-RED^2: interpreters learn by reward which patches may go.

Paper, code and license: see `ia_red2.py`. The authors' trainer is not published; what is recalled
of the paper and what is ours is in the card.

Letters: B clips, T frames, N tokens of a frame, K classes, G groups.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from kinema.config import config
from kinema.errors import InputError
from kinema.metrics.accuracy import hits
from kinema.networks.deit import DeiT
from kinema.networks.ia_red2 import Choice, Interpreters, Reduced, thresholded, with_class_token
from kinema.noise import Noise
from kinema.training.objective import Batch, Logs, Objective
from kinema.training.recipe import Recipe, check_cutting

HOST = "host"
LEAST = 1e-6  # chance of a choice, in its logarithm
See = Callable[[Tensor, Choice | None], tuple[Tensor, Reduced]]


@config
class PolicyRecipe(Recipe):
    """How interpreters are trained, and their transformer with them.

    Args:
        penalties: tau, the reward of a wrong answer is -tau; one for each group.
        answer: what a right answer counts: 1, as published, or the probability that the network
            gives it, so that small batches always tell something.
        host_rate: learning rate of the transformer, as a share of that of the interpreters.
        flip: share of the clips that are mirrored, of those that are read from files.
        crop_area: least and largest share of a frame that is cut out, of the same clips.
    """

    penalties: tuple[float, ...]
    answer: Literal["right", "probability"]
    host_rate: float
    flip: float
    crop_area: tuple[float, float]

    def __post_init__(self) -> None:
        Recipe.__post_init__(self)
        if not self.penalties or min(self.penalties) < 0:
            raise InputError(f"penalties must be 0 or more, one a group, not {self.penalties}")
        if not 0 < self.host_rate <= 1:
            raise InputError(f"host_rate must be in (0, 1], not {self.host_rate}")
        check_cutting(self.flip, self.crop_area)


class PolicyObjective(Objective):
    """A player for each interpreter, rewarded; and the transformer, by cross-entropy.

    The curriculum has a phase for each group and a last one. In a phase the interpreter of its
    group learns, then the transformer gets used to what it drops; later groups see what that one
    leaves. In the last phase all decide, and all learn together.

    Args:
        network: the transformer.
        policy: its interpreters.
        see: ``(clips, choose) -> logits (B, K), what was kept``; gathers where `choose` is None.
        logits: ``(clips) -> (B, K)`` with all patches.
        recipe: the numbers.

    Raises:
        InputError: there is not one penalty for each group.
    """

    equal_calls = True

    def __init__(
        self,
        network: DeiT,
        policy: Interpreters,
        *,
        see: See,
        logits: Callable[[Tensor], Tensor],
        recipe: PolicyRecipe,
    ) -> None:
        super().__init__()
        self.network, self.policy = network, policy
        self.see, self.logits, self.recipe = see, logits, recipe
        self.groups = len(policy.agents)
        if len(recipe.penalties) != self.groups:
            raise InputError(
                f"there are {len(recipe.penalties)} penalties for {self.groups} groups"
            )
        self.players = {HOST: ("network.*",)} | {
            f"interpreter {group}": (f"policy.agents.{group}.*",) for group in range(self.groups)
        }
        self.rates = {f"network.{name}": recipe.host_rate for name, _ in network.named_parameters()}
        """{name of a parameter: factor of its learning rate}; 1 where there is none."""

    def phase(self, step: int) -> tuple[int, bool]:
        """The phase of a step, and whether it is in its second half."""
        halves = 2 * (self.groups + 1)
        half = min(step * halves // self.recipe.steps, halves - 1)
        return half // 2, bool(half % 2)

    def turns(self, step: int) -> tuple[str, ...]:
        """An interpreter, then the transformer; in the last phase all."""
        phase, late = self.phase(step)
        if phase == self.groups:
            return tuple(self.players)
        return (HOST,) if late else (f"interpreter {phase}",)

    def loss(self, player: str, batch: Batch, step: int, noise: Noise) -> tuple[Tensor, Logs]:
        """The loss of one player.

        Source: section 3 of the paper, as recalled: REINFORCE with what the thresholded policy
        earns as its baseline.
        """
        clips = batch["clips"]
        decide = partial(up_to, self.phase(step)[0])
        if player == HOST:
            logits, found = self.see(clips, decide)
            classes = batch["classes"].to(logits.device)
            loss = F.cross_entropy(logits.float(), classes)
            right = hits(logits.detach(), classes, 1).mean()
            cost = self.policy.cost(found.kept).mean()
            return loss, {"loss": loss.detach(), "top1": right, "cost": cost}
        group = int(player.rpartition(" ")[2])
        logits, found = self.see(clips, drawn(group, decide, noise))
        with torch.no_grad():
            earned = self.reward(group, batch, logits, found)
            usual = self.reward(group, batch, *self.see(clips, decide))
        loss = -((earned - usual) * chosen(group, found, len(clips))).mean()
        return loss, {"loss": loss.detach(), "reward": earned.mean(), "usual": usual.mean()}

    def reward(self, group: int, batch: Batch, logits: Tensor, found: Reduced) -> Tensor:
        """R (B,): 1 - cost^2 for a right answer, -tau for a wrong one.

        The paper's cost is the share of patches that are kept; with several groups it is here the
        share that a block computes, in the mean over all blocks.
        """
        classes = batch["classes"].to(logits.device)
        if self.recipe.answer == "right":
            right = hits(logits, classes, 1)
        else:
            right = logits.float().softmax(1).gather(1, classes[:, None])[:, 0]
        cost = self.policy.cost(found.kept).unflatten(0, (len(logits), -1)).mean(1)
        return right * (1 - cost**2) - (1 - right) * self.recipe.penalties[group]

    def held_out(self, batch: Batch, noise: Noise) -> Logs:
        """What is told with the patches that are kept, how many these are, and with all."""
        logits, found = self.see(batch["clips"], None)
        classes = batch["classes"].to(logits.device)
        whole = self.logits(batch["clips"])
        return {
            "loss": F.cross_entropy(logits.float(), classes),
            "trivial": torch.tensor(math.log(logits.shape[1]), device=logits.device),
            "top1": hits(logits, classes, 1).mean(),
            "top1/all patches": hits(whole, classes, 1).mean(),
            "cost": self.policy.cost(found.kept).mean(),
        }


def up_to(deepest: int, group: int, scores: Tensor, there: Tensor) -> Tensor:
    """The thresholded policy, of which groups behind the deepest one take what that has left."""
    return thresholded(scores, there) if group <= deepest else there


def drawn(group: int, decide: Choice, noise: Noise) -> Choice:
    """A policy in which one group draws what it keeps, and the others decide as told."""

    def choose(at: int, scores: Tensor, there: Tensor) -> Tensor:
        if at != group:
            return decide(at, scores, there)
        rows = len(scores) // len(noise)
        shape = (len(noise), rows, scores.shape[1])
        lots = noise.uniform(shape, f"group {group}").flatten(0, 1).to(scores.device)
        return with_class_token(there & (lots < scores))

    return choose


def chosen(group: int, found: Reduced, clips: int) -> Tensor:
    """Logarithm (B,) of the chance of what a group kept and dropped, as a mean over patches.

    The class token and patches that were gone before are no choices.
    """
    chance = found.scores[group][:, 1:].clamp(LEAST, 1 - LEAST)
    kept = found.kept[group][:, 1:]
    logs = torch.where(kept, chance.log(), (-chance).log1p())
    if group:
        logs = logs * found.kept[group - 1][:, 1:]
    return logs.mean(1).unflatten(0, (clips, -1)).mean(1)
