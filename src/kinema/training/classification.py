"""Classification of clips: cross-entropy with smoothed and mixed targets.

Sources: label smoothing (arXiv:1512.00567, section 7); learning rates that fall with depth as in
BEiT (arXiv:2106.08254) and VideoMAE V2 (arXiv:2303.16727).

Letters: B batch, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kinema.config import config
from kinema.errors import InputError
from kinema.metrics.accuracy import hits
from kinema.nn.dropping import drawn_from
from kinema.noise import Noise
from kinema.training.objective import Batch, Logs, Objective
from kinema.training.recipe import Recipe, check_cutting

PLAYER = "classifier"
TOP = 5


@config
class ClassifierRecipe(Recipe):
    """How a recognizer is trained.

    Args:
        label_smoothing: share of the target that all classes get alike, in [0, 1).
        mixup, cutmix: alpha of the Beta distribution of the share of a clip; 0 is off.
        layer_decay: factor of the learning rate from each block to the one before it; 1 is off.
        frozen: patterns of the names of parameters in the network that stay as they are.
        flip: share of the clips that are mirrored, of those that are read from files.
        crop_area: least and largest share of a frame that is cut out, of the same clips.

    Raises:
        InputError: a number is out of its range.
    """

    label_smoothing: float
    mixup: float
    cutmix: float
    layer_decay: float
    frozen: tuple[str, ...]
    flip: float
    crop_area: tuple[float, float]

    def __post_init__(self) -> None:
        Recipe.__post_init__(self)
        check_cutting(self.flip, self.crop_area)
        for name in ("label_smoothing", "mixup", "cutmix"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} must be in [0, 1], not {getattr(self, name)}")
        if not 0 < self.layer_decay <= 1:
            raise InputError(f"layer_decay must be in (0, 1], not {self.layer_decay}")


class Classification(Objective):
    """One player, ``classifier``, which owns the networks given but for what is frozen.

    A batch has ``clips`` and ``classes`` (B,) int64; mixed ones have ``others`` (B,) and the
    ``shares`` (B,) of the first classes too (`kinema.data.mixing`).

    Args:
        networks: {role: network}, in the order in which clips pass them; ``network`` is the one
            that has the head.
        logits: ``(clips) -> (B, K)``.
        recipe: smoothing, what is frozen, how rates fall with depth.

    Raises:
        InputError: a pattern of what is frozen fits no parameter, or nothing is left to train.
    """

    equal_calls = True

    def __init__(
        self,
        networks: Mapping[str, nn.Module],
        *,
        logits: Callable[[Tensor], Tensor],
        recipe: ClassifierRecipe,
    ) -> None:
        super().__init__()
        self.networks = nn.ModuleDict(dict(networks))
        self.logits, self.smoothing = logits, recipe.label_smoothing
        network = self.networks["network"]
        stay = frozen(network, recipe.frozen)
        own = [name for name, _ in network.named_parameters() if name not in stay]
        others = [f"networks.{role}.*" for role in networks if role != "network"]
        if not own:
            raise InputError(f"frozen={list(recipe.frozen)} leaves nothing to train")
        self.players = {PLAYER: (*(f"networks.network.{name}" for name in own), *others)}
        rates = depth_rates(self.networks, recipe.layer_decay)
        self.rates = {f"networks.{name}": factor for name, factor in rates.items()}

    def loss(self, player: str, batch: Batch, step: int, noise: Noise) -> tuple[Tensor, Logs]:
        """The loss of one batch, and how many clips are told rightly, by their first class."""
        with drawn_from(noise):
            logits = self.logits(batch["clips"]).float()
        loss = self._cross_entropy(logits, batch)
        right = hits(logits.detach(), batch["classes"].to(logits.device), 1)
        return loss, {"loss": loss.detach(), "top1": right.mean()}

    def held_out(self, batch: Batch, noise: Noise) -> Logs:
        """The loss, that of a guess (log K), and how often the right class is among the first."""
        logits = self.logits(batch["clips"]).float()
        classes, count = batch["classes"].to(logits.device), logits.shape[1]
        return {
            "loss": F.cross_entropy(logits, classes),
            "trivial": torch.tensor(math.log(count), device=logits.device),
            "top1": hits(logits, classes, 1).mean(),
            "top5": hits(logits, classes, TOP).mean(),
        }

    def _cross_entropy(self, logits: Tensor, batch: Batch) -> Tensor:
        def toward(classes: Tensor) -> Tensor:
            return F.cross_entropy(
                logits,
                classes.to(logits.device),
                reduction="none",
                label_smoothing=self.smoothing,
            )

        loss = toward(batch["classes"])
        if "others" in batch:
            share = batch["shares"].to(logits.device)
            loss = share * loss + (1 - share) * toward(batch["others"])
        return loss.mean()


def frozen(network: nn.Module, patterns: tuple[str, ...]) -> set[str]:
    """The names of parameters that fit one of the patterns.

    Raises:
        InputError: a pattern fits none.
    """
    names = [name for name, _ in network.named_parameters()]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise InputError(f"frozen: no parameter of the network fits {pattern!r}")
    return {name for name in names if any(fnmatchcase(name, p) for p in patterns)}


def depth_rates(networks: nn.ModuleDict, decay: float) -> dict[str, float]:
    """Factors of the learning rate: 1 of the head, times `decay` for each block before it.

    Blocks are those of all lists called ``blocks``, as they are defined. Other parameters count
    with the last block that is defined before them, as embeddings where there is none, and behind
    the last block with the head. A network lists in ``BEHIND_BLOCKS`` those of its own parameters
    that count with the head, since these are always defined first. Empty if `decay` is 1.

    Args:
        networks: in the order in which clips pass them.
        decay: in (0, 1].
    """
    if decay == 1:
        return {}
    blocks, behind = list[str](), set[str]()
    for name, module in networks.named_modules():
        behind |= {f"{name}.{own}" for own in getattr(module, "BEHIND_BLOCKS", ())}
        if isinstance(module, nn.ModuleList) and name.endswith(".blocks"):
            blocks += [f"{name}.{number}." for number in range(len(module))]
    assert blocks, "blocks from first to last"
    depths, depth, head = dict[str, int](), 0, len(blocks) + 1
    for name, _ in networks.named_parameters():
        inside = next((i for i, block in enumerate(blocks, 1) if name.startswith(block)), 0)
        depth = inside or (head if depth == len(blocks) else depth)
        depths[name] = head if name in behind else depth
    return {name: decay ** (head - depth) for name, depth in depths.items()}
