"""Muon: momentum whose matrices are orthogonalized before they are applied (Keller Jordan, 2024).

On the codec of the shapes model the loss fell far faster per step than with AdamW in short trials
(docs/lab-book.md says how they were made). torch.optim.Muon takes matrices
only; kernels of convolutions are matrices here too, (out channels, in channels x kernel). Several
processes orthogonalize the whole matrix, each for itself, and keep their shares.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from kinema.training.distributed import share, whole

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic iteration
ITERATIONS = 5
EPS = 1e-8


def orthogonalized(x: Tensor) -> Tensor:
    """The matrix near x (R, C) with singular values near 1, by Newton-Schulz steps in bfloat16."""
    a, b, c = COEFFICIENTS
    y = (x / (x.norm() + 1e-7)).bfloat16()
    tall = y.shape[0] > y.shape[1]
    y = y.T if tall else y
    for _ in range(ITERATIONS):
        gram = y @ y.T
        y = a * y + (b * gram + c * gram @ gram) @ y
    return (y.T if tall else y).to(x.dtype)


class Muon(torch.optim.Optimizer):
    """Muon with decoupled weight decay on tensors of two or more dimensions, Adam on the others.

    Updates of matrices are scaled by 0.2 sqrt(max(R, C)), so that one learning rate fits both
    (arXiv 2502.16982, section 2.2).

    Args:
        parameters: what to train.
        lr: learning rate.
        betas: Adam's; the second is not used by matrices, whose momentum is 0.95 with Nesterov's
            rule.
        weight_decay: on matrices.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        *,
        lr: float,
        betas: tuple[float, float],
        weight_decay: float,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                update = self._matrix if parameter.ndim > 1 else self._vector
                update(parameter, parameter.grad, self.state[parameter], group)

    @staticmethod
    def _matrix(
        parameter: Tensor, gradient: Tensor, state: dict[str, Tensor], group: dict[str, Any]
    ) -> None:
        momentum = state.setdefault("momentum", torch.zeros_like(parameter))
        momentum.lerp_(gradient, 0.05)
        direction = gradient.lerp(momentum, 0.95).flatten(1)
        scale = 0.2 * max(direction.shape) ** 0.5
        update = share(orthogonalized(whole(direction)).view(parameter.shape), parameter)
        parameter.mul_(1 - group["lr"] * group["weight_decay"]).add_(
            update, alpha=-group["lr"] * scale
        )

    @staticmethod
    def _vector(
        parameter: Tensor, gradient: Tensor, state: dict[str, Tensor], group: dict[str, Any]
    ) -> None:
        beta1, beta2 = group["betas"]
        mean = state.setdefault("mean", torch.zeros_like(parameter))
        square = state.setdefault("square", torch.zeros_like(parameter))
        count = state.setdefault("count", torch.zeros((), dtype=torch.float32))
        count += 1
        mean.lerp_(gradient, 1 - beta1)
        square.lerp_(gradient.square(), 1 - beta2)
        n = float(count)
        denominator = (square / (1 - beta2**n)).sqrt_().add_(EPS)
        parameter.addcdiv_(mean / (1 - beta1**n), denominator, value=-group["lr"])
