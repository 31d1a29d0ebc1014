"""Where a module makes its tensors, and of which type: torch's factory arguments."""

from __future__ import annotations

from typing import TypedDict

import torch


class Factory(TypedDict, total=False):
    """What every module takes, as ``**factory: Unpack[Factory]``, and hands on to all it makes.

    What is left out is torch's default.
    """

    device: torch.device | str | None
    dtype: torch.dtype | None
