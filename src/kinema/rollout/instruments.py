"""What changes in a long clip, measured window by window: `metrics.drift` in bounded memory.

Of each frame a few numbers are kept, and 64 features. Letters: T frames, n frames of a window.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from kinema.metrics import drift
from kinema.metrics.extractors import FRAME_EMBEDDER, random_frames


class Instruments:
    """The drift instruments of a clip that is shown window by window.

    Args:
        num_frames: T, of the whole clip.

    Attributes:
        name: what identity and repetition rest on.
    """

    def __init__(self, num_frames: int) -> None:
        self._embedder = random_frames({}, "cpu")
        self.name = self._embedder.name
        self._last: Tensor | None = None
        self._count = 0
        # Whole from the beginning: small tensors that stay between the large ones of each window
        # would keep the memory of those from being given back.
        self._looks = torch.zeros(num_frames, 5, dtype=torch.float64)  # color, contrast, sharpness
        self._features = torch.zeros(num_frames, FRAME_EMBEDDER.widths[-1])
        self._steps = torch.zeros(num_frames, dtype=torch.float64)  # from the frame before; first 0

    def add(self, frames: np.ndarray) -> None:
        """Takes the next frames, (n, H, W, 3) uint8."""
        levels = rearrange(torch.from_numpy(frames), "n h w c -> n c h w")
        self._features[self._count : self._count + len(frames)] = self._embedder.run(levels)
        for level in levels.split(1):  # a window of float64 would be eight times as large
            x = level.double() / 255
            looks = (x.mean((2, 3))[0], drift.contrast(x), drift.sharpness(x))
            self._looks[self._count] = torch.cat(looks)
            if self._last is not None:
                self._steps[self._count] = (x - self._last).abs().mean()
            self._last = x
            self._count += 1

    def curves(self) -> Tensor:
        """As `drift.curves` of the whole clip, (6, T)."""
        assert self._count == len(self._looks), f"{self._count} of {len(self._looks)} frames"
        # The seams rest on steps alone: frames of one pixel that change as much have the same.
        pixels = self._steps.cumsum(0)[:, None, None, None]
        return torch.stack(
            [
                drift.color(self._looks[:, :3, None, None]),
                self._looks[:, 3],
                self._looks[:, 4],
                drift.identity(self._features),
                drift.repetition(self._features),
                drift.seams(pixels),
            ]
        )

    def seams(self, starts: Sequence[int]) -> list[float]:
        """Each change to a frame of `starts` over the median change of the whole clip.

        Args:
            starts: numbers of the first frames of windows, from 1.
        """
        median = self._steps[1:].median().clamp(min=drift.STILL)
        return [float(self._steps[start] / median) for start in starts]


def summary(curves: Tensor) -> Mapping[str, float]:
    """One number of each instrument, by name; see `drift.summary`."""
    return dict(zip(drift.INSTRUMENTS, drift.summary(curves).tolist()))
