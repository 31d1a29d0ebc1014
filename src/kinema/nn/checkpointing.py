"""Gradient checkpointing: blocks that are run again in the backward pass.

Source: Training Deep Nets with Sublinear Memory Cost (arXiv:1604.06174).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from kinema.nn.dropping import drawn_from, noise_in_use


class Checkpointed(nn.Module):
    """A module of blocks, or of modules of blocks, that saves memory in training when it is told.

    A subclass runs its blocks by `through` or, one at a time, by `run_block`.
    """

    def __init__(self) -> None:
        super().__init__()
        self._checkpointing = False

    @property
    def gradient_checkpointing(self) -> bool:
        """Whether blocks are run again instead of keeping what they computed; False at first.

        Setting it sets that of all modules inside too.
        """
        return self._checkpointing

    @gradient_checkpointing.setter
    def gradient_checkpointing(self, on: bool) -> None:
        for module in self.modules():
            if isinstance(module, Checkpointed):
                module._checkpointing = on

    def run_block(self, block: nn.Module, *inputs: Any) -> Tensor:
        """What a block returns for these inputs."""
        if not (self._checkpointing and self.training):
            return block(*inputs)
        noise = noise_in_use()

        def again(*inputs: Any) -> Tensor:
            with drawn_from(noise):  # the backward pass lies outside of the caller's block
                return block(*inputs)

        return checkpoint(again, *inputs, use_reentrant=False)

    def through(self, blocks: Iterable[nn.Module], x: Tensor, *context: Any) -> Tensor:
        """x through blocks that are called (x, *context), one after another."""
        for block in blocks:
            x = self.run_block(block, x, *context)
        return x
