"""What happens to clips before I3D sees them: three ways, under which FVD has three values.

FVD: Unterthiner et al. 2018, arXiv 1812.01717. Verified by a recorded case: `styleganv` and
`videogpt`. `tensorflow` is inferred from the authors' code and tested beside a resizer of its own.

All take clips (B, 3, T, H, W) in [0, 1], as that code does, and give (B, 3, T, size, size) in
[-1, 1]. The published size is 224.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor

from kinema.metrics.resizing import RESIZERS, Resizer, bilinear

Preprocessing = Callable[[Tensor, int], Tensor]


def tensorflow(clips: Tensor, size: int) -> Tensor:
    """The authors' own: frames stretched to a square on TensorFlow 1's grid.

    Source: ``preprocess`` of google-research/frechet_video_distance (Apache-2.0).
    """
    return 2 * _frames(clips, size, size, RESIZERS["tf1-bilinear"]) - 1


def styleganv(clips: Tensor, size: int) -> Tensor:
    """That of StyleGAN-V (arXiv 2112.14683): half-pixel centers, the middle square.

    As JunyaoHu/common_metrics_on_video_quality has it. StyleGAN-V itself resizes inside its
    TorchScript file, whose code was not seen; its clips are square, where both must agree.
    """
    return 2 * (middle_square(clips, size) - 0.5)


def videogpt(clips: Tensor, size: int) -> Tensor:
    """That of VideoGPT (arXiv 2104.10157): as `styleganv`, of colors cut down to 8 bits."""
    levels = (255 * clips).floor()
    return 2 * (middle_square(levels / 255, size) - 0.5)


def middle_square(clips: Tensor, size: int) -> Tensor:
    """The shorter side becomes `size`, bilinear; of the longer one, its middle is kept."""
    height, width = clips.shape[-2:]
    scale = size / min(height, width)
    # As they compute it: for some heights the quotient rounds to a line more, of a square too.
    wide = height < width
    height, width = (size, math.ceil(width * scale)) if wide else (math.ceil(height * scale), size)
    clips = _frames(clips, height, width, bilinear)
    top, left = (height - size) // 2, (width - size) // 2
    return clips[..., top : top + size, left : left + size]


def _frames(clips: Tensor, height: int, width: int, resizer: Resizer) -> Tensor:
    frames = resizer(clips.transpose(1, 2).flatten(0, 1), height, width)
    return frames.unflatten(0, (clips.shape[0], -1)).transpose(1, 2)


VARIANTS: dict[str, Preprocessing] = {
    "tensorflow": tensorflow,
    "styleganv": styleganv,
    "videogpt": videogpt,
}
