"""The steps of a sampler: where it is, what may act on it, who hears of it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

from torch import Tensor


@dataclass(frozen=True)
class Step:
    """Where a sampler is: step `index` (from 0) of `total`, from `sigma` to `sigma_next`."""

    index: int
    total: int
    sigma: float
    sigma_next: float


class StepHook(Protocol):
    """Sees the state before each prediction and after each step; returns what takes its place."""

    def before(self, x: Tensor, step: Step) -> Tensor:
        """The state that is predicted from."""
        ...

    def after(self, x: Tensor, x_next: Tensor, step: Step) -> Tensor:
        """The state that the next step starts from."""
        ...

    def time(self, time: Tensor, step: Step) -> Tensor:
        """The time that the network is told: (B,), or (B, N) one per token."""
        ...


class Report(NamedTuple):
    """What is told after a step: the new state, and the clean state predicted in it."""

    step: Step
    x: Tensor
    x0: Tensor


Callback = Callable[[Report], None]
_watchers: ContextVar[tuple[Callback, ...]] = ContextVar("watchers", default=())


@contextlib.contextmanager
def watching(callback: Callback) -> Iterator[None]:
    """Inside the block, calls back after each step of whatever samples, in this thread.

    An exception that the callback raises ends the sampling.
    """
    token = _watchers.set((*_watchers.get(), callback))
    try:
        yield
    finally:
        _watchers.reset(token)


@contextlib.contextmanager
def counted(*, before: int, total: int) -> Iterator[None]:
    """Inside the block, steps are told as a part of a sampling that is done in several.

    Args:
        before: steps of the parts that come before.
        total: steps of all parts.
    """
    watchers = _watchers.get()

    def told_as_part(report: Report) -> None:
        step = replace(report.step, index=before + report.step.index, total=total)
        for callback in watchers:
            callback(report._replace(step=step))

    token = _watchers.set((told_as_part,))
    try:
        yield
    finally:
        _watchers.reset(token)


def told(report: Report) -> None:
    """Tells those who are watching that a step is done."""
    for callback in _watchers.get():
        callback(report)
