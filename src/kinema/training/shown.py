"""A second loss for networks of tokens: from the middle of the network, what does a token show?

REPA (arXiv 2410.06940) draws the middle of a diffusion transformer near features of the clean
picture, and it learns in far fewer steps. A world knows more than features: what each part of its
clips shows, by name, and where in it objects are. The head is thrown away after training.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from kinema.worlds.shown import CHANNELS, LARGEST, NAMES

SELDOM = -3.0  # the logit that training begins with: most names are not for most tokens


class Shown(nn.Module):
    """Linear, SiLU, Linear: from tokens to what they show.

    Args:
        width: D, of the tokens.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        last = nn.Linear(width, CHANNELS)
        nn.init.constant_(last.bias, SELDOM)
        self.layers = nn.Sequential(nn.Linear(width, width), nn.SiLU(), last)

    def forward(self, tokens: Tensor, shown: Tensor) -> Tensor:
        """The cross-entropy in nats, the mean over tokens: the sum over names, and the mean over
        the pieces that objects cover.

        Args:
            tokens: (B, N, D), in the order frame, row, column; those after the clip's own take no
                part.
            shown: (B, `CHANNELS`, t, h, w) uint8, see `kinema.worlds.shown`.
        """
        wanted = rearrange(shown, "b c t h w -> b (t h w) c").float() / LARGEST
        said = self.layers(tokens[:, : wanted.shape[1]]).float()
        errors = F.binary_cross_entropy_with_logits(said, wanted, reduction="none").mean((0, 1))
        return errors[: len(NAMES)].sum() + errors[len(NAMES) :].mean()


@contextmanager
def heard(module: nn.Module) -> Iterator[list[Tensor]]:
    """Within it, every output of a module is appended to the list."""
    outputs: list[Tensor] = []
    handle = module.register_forward_hook(lambda own, given, output: outputs.append(output))
    try:
        yield outputs
    finally:
        handle.remove()
