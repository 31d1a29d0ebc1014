"""Dropout and drop path: keyed, off where nothing is trained, the same under checkpointing."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from kinema.errors import InputError
from kinema.nn.checkpointing import Checkpointed
from kinema.nn.dropping import Dropout, DropPath, drawn_from, linear_rates
from kinema.noise import Noise

NOISE = Noise(0, tuple(range(200)))


@pytest.mark.parametrize("kind", [Dropout, DropPath])
def test_it_is_the_identity_outside_of_training(kind):
    x = torch.ones(200, 3, 4)
    module = kind(0.5, "a")
    assert torch.equal(module(x), x)  # no noise
    with drawn_from(NOISE):
        assert torch.equal(module.eval()(x), x)
        assert torch.equal(kind(0.0, "a")(x), x)


def test_a_share_is_dropped_and_the_mean_stays():
    x = torch.ones(200, 30, 4)
    with drawn_from(NOISE):
        values, rows = Dropout(0.25, "a")(x), DropPath(0.25, "b")(x)
    assert set(values.unique().tolist()) == {0.0, float(torch.tensor(1 / 0.75))}
    assert abs(float(values.mean()) - 1) < 0.01
    assert all(len(row.unique()) == 1 for row in rows)
    assert abs(float((rows[:, 0, 0] == 0).float().mean()) - 0.25) < 0.1


def test_rows_depend_on_sample_and_name_alone():
    x = torch.ones(6, 5)
    with drawn_from(Noise(0, (7, 8, 9))):
        whole, other = Dropout(0.5, "a")(x), Dropout(0.5, "b")(x)
    with drawn_from(Noise(0, (8,))):
        alone = Dropout(0.5, "a")(x[:2])
    assert torch.equal(alone, whole[2:4])
    assert not torch.equal(whole, other)


def test_rows_that_are_no_multiple_of_the_samples_are_an_error():
    with drawn_from(Noise(0, (0, 1))), pytest.raises(AssertionError, match="5 rows of 2 samples"):
        Dropout(0.5, "a")(torch.ones(5, 2))


class Net(Checkpointed):
    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Linear(4, 4), Dropout(0.5, "block"))

    def forward(self, x: Tensor) -> Tensor:
        return self.run_block(self.block, x)


def test_gradient_checkpointing_drops_the_same():
    torch.manual_seed(0)
    net, x = Net(), torch.ones(3, 4)
    found = []
    for net.gradient_checkpointing in (False, True):
        net.zero_grad()
        with drawn_from(Noise(0, (0, 1, 2))):
            loss = net(x).square().sum()
        loss.backward()
        found.append([p.grad.clone() for p in net.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*found))


def test_rates_rise_evenly():
    assert linear_rates(0.3, 4) == pytest.approx([0, 0.1, 0.2, 0.3])
    assert linear_rates(0.3, 1) == [0]


def test_a_rate_out_of_range_is_named():
    with pytest.raises(InputError, match=r"blocks\.0"):
        DropPath(1.0, "blocks.0")
