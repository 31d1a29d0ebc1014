"""Heat maps: what a network looked at, drawn over what it saw."""

from __future__ import annotations

import numpy as np
from PIL import Image

DARK = 0.35  # of what was not looked at
TINT = 0.5  # of the color over what was


def heat_map(frame: np.ndarray, values: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """A frame under colors from black over red and yellow to white; what is not shown is dark.

    Args:
        frame: (H, W, 3) uint8 RGB.
        values: (h, w) floats in [0, 1], one of each patch: the color.
        shown: (h, w) bool; the others are grey and dark, so that both can be told in any colors.

    Returns:
        (H, W, 3) uint8.
    """
    height, width, _ = frame.shape
    assert values.shape == shown.shape, "one value of each patch"
    smooth = Image.fromarray(values.astype(np.float32)).resize(
        (width, height), Image.Resampling.BILINEAR
    )
    heat = np.asarray(smooth)[..., None]
    colors = 255 * np.clip(3 * heat - np.arange(3), 0, 1)
    rows, columns = (
        np.arange(length) * count // length for length, count in zip(frame.shape, shown.shape)
    )
    grey = DARK * frame.mean(-1, keepdims=True)
    seen = shown[rows][:, columns, None]
    drawn = np.where(seen, (1 - TINT) * frame + TINT * colors, grey)
    return np.rint(drawn).astype(np.uint8)
