"""The device that the meta device stands for, for code that goes another way on some devices."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

from torch import Tensor

META = "meta"
_DEVICE = ContextVar("device", default=META)


@contextlib.contextmanager
def standing_for(device: str) -> Iterator[None]:
    """Inside the block the meta device stands for this type of device, as ``cpu`` or ``cuda``."""
    before = _DEVICE.set(device)
    try:
        yield
    finally:
        _DEVICE.reset(before)


def computing_device(x: Tensor) -> str:
    """The type of device that computes with x; for the meta device, of the one it stands for."""
    device = x.device.type
    return _DEVICE.get() if device == META else device
