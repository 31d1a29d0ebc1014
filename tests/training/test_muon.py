"""Muon: matrices move in orthogonal steps, vectors as Adam moves them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from kinema.noise import Noise
from kinema.training.muon import Muon, orthogonalized

OPTIONS = {"lr": 0.1, "betas": (0.9, 0.99), "weight_decay": 0.0}


@pytest.mark.parametrize("shape", [(4, 12), (3, 40), (40, 3)])
def test_singular_values_come_near_one(shape: tuple[int, int]) -> None:
    x = Noise(0, (0,)).normal((1, *shape), "x")[0]
    y = orthogonalized(x)
    assert y.dtype == x.dtype
    values = torch.linalg.svdvals(y)
    assert float(values.min()) > 0.5
    assert float(values.max()) < 1.4
    u, _, v = torch.linalg.svd(x, full_matrices=False)
    assert float(nn.functional.cosine_similarity(y.flatten(), (u @ v).flatten(), 0)) > 0.95
    torch.testing.assert_close(orthogonalized(1000 * x), y, rtol=0.05, atol=0.05)


def test_vectors_move_as_adam_moves_them() -> None:
    ours, theirs = (nn.Parameter(torch.tensor([1.0, -2.0, 3.0])) for _ in range(2))
    muon = Muon([ours], **OPTIONS)
    adam = torch.optim.AdamW([theirs], **OPTIONS)
    for step in range(5):
        gradient = Noise(step, (0,)).normal((1, 3), "gradient")[0]
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        muon.step()
        adam.step()
    torch.testing.assert_close(ours, theirs)


def test_kernels_are_matrices_of_their_output_channels() -> None:
    kernel = nn.Parameter(torch.zeros(4, 2, 3, 3, 3))
    muon = Muon([kernel], **OPTIONS)
    kernel.grad = Noise(0, (0,)).normal((1, *kernel.shape), "gradient")[0]
    muon.step()
    moved = kernel.detach().flatten(1)
    scale = OPTIONS["lr"] * 0.2 * 54**0.5
    assert torch.linalg.svdvals(moved).tolist() == pytest.approx([scale] * 4, rel=0.4)
    assert float((moved * kernel.grad.flatten(1)).sum()) < 0, "uphill"


def test_decay_is_for_matrices() -> None:
    matrix, vector = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2))
    muon = Muon([matrix, vector], **{**OPTIONS, "weight_decay": 0.5})
    matrix.grad, vector.grad = torch.zeros(2, 2), torch.zeros(2)
    muon.step()
    assert matrix.flatten().tolist() == pytest.approx([0.95] * 4)
    assert vector.tolist() == [1.0, 1.0]


def test_what_has_no_gradient_stays() -> None:
    matrix = nn.Parameter(torch.ones(2, 2))
    Muon([matrix], **{**OPTIONS, "weight_decay": 0.5}).step()
    assert matrix.flatten().tolist() == [1.0] * 4
