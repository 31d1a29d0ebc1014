"""Gradient checkpointing: what is run again, when, and that nothing else changes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from kinema.nn.checkpointing import Checkpointed


class Scale(nn.Module):
    """Counts how often it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(1.5))
        self.runs = 0

    def forward(self, x: Tensor, shift: float) -> Tensor:
        self.runs += 1
        return (x * self.weight).sin() + shift


class Tower(Checkpointed):
    """Three blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Scale() for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        return self.through(self.blocks, x, 0.25)


class Pair(Checkpointed):
    """A block of its own and, below a module that knows nothing of it, a tower."""

    def __init__(self) -> None:
        super().__init__()
        self.first = Scale()
        self.rest = nn.Sequential(Tower())

    def forward(self, x: Tensor) -> Tensor:
        return self.rest(self.run_block(self.first, x, 0.5))


def runs(network: nn.Module) -> list[int]:
    return [module.runs for module in network.modules() if isinstance(module, Scale)]


def gradients(network: nn.Module) -> list[Tensor]:
    network(torch.linspace(-1, 1, 7)).sum().backward()
    return [parameter.grad for parameter in network.parameters() if parameter.grad is not None]


def test_blocks_are_run_again_in_the_backward_pass_with_equal_gradients() -> None:
    plain, saving = Pair(), Pair()
    saving.gradient_checkpointing = True
    expected, found = gradients(plain), gradients(saving)
    assert len(found) == 4
    assert all(map(torch.equal, found, expected))
    assert runs(plain) == [1] * 4
    assert runs(saving) == [2] * 4


def test_blocks_run_in_order_with_their_context() -> None:
    x = torch.linspace(-1, 1, 7)
    expected = x
    for _ in range(3):
        expected = (1.5 * expected).sin() + 0.25
    torch.testing.assert_close(Tower()(x), expected)


def test_outside_of_training_nothing_runs_twice() -> None:
    network = Pair().eval()
    network.gradient_checkpointing = True
    gradients(network)
    assert runs(network) == [1] * 4


@pytest.mark.parametrize("on", [True, False])
def test_it_is_set_in_all_modules_inside(on: bool) -> None:
    network = Pair()
    inner = network.rest[0]
    assert isinstance(inner, Tower)
    assert not network.gradient_checkpointing
    inner.gradient_checkpointing = not on
    assert not network.gradient_checkpointing  # not the other way round
    network.gradient_checkpointing = on
    assert network.gradient_checkpointing is inner.gradient_checkpointing is on
