"""3x3x3 convolutions without gradients on the CPU, as 3x3 convolutions of frames.

Four frames of the result need 12 products of a frame with a plane of the kernel, three for each. By
Winograd's minimal filtering F(4, 3) along time they need 6, of sums of frames with sums of planes.

Source: Fast Algorithms for Convolutional Neural Networks (arXiv:1509.09308), section 4.3: its
transforms, here of one dimension.

Letters: B batch, C channels, T frames, H height, W width, N tiles.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kinema.planning.stand_in import computing_device

TILE = 4  # frames of the result that six products make
CHANNELS = 32  # with fewer, sums of frames take longer than the products that they save
PIXELS = 256  # of one sum of frames; with fewer, sums of planes do
FRAMES = 2**21  # values of one sum of frames, so that all six stay in the cache
WEIGHTS = 2**18  # values of one plane at a time: their sums are memory that is taken anew


def convolved(conv: nn.Conv3d, x: Tensor, repeated: tuple[int, int]) -> Tensor:
    """What a 3x3x3 convolution without padding in time makes of a clip.

    In float32 on the CPU, where no gradient is taken, it rounds otherwise than torch's convolution:
    by about 1e-5 of the largest value.

    Args:
        conv: the convolution.
        x: (B, C, T, H, W).
        repeated: how often the first frame is put in front of x, and the last behind it.

    Returns:
        (B, C', T - 2 + those that are repeated, H, W), less of each that has a stride.
    """
    (batch, channels, length, height, width), filters = x.shape, conv.out_channels
    exact = x.dtype is torch.float32 and not torch.is_autocast_enabled("cpu")
    ours = exact and computing_device(x) == "cpu" and conv.stride == (1, 1, 1)
    if torch.is_grad_enabled() or not ours or min(channels, filters) < CHANNELS:
        return conv(_padded(x, -repeated[0], length + repeated[1]))
    size = batch, filters, length + sum(repeated) - 2, height, width
    out = torch.empty(size, device=x.device, memory_format=torch.channels_last_3d)
    padding = 1
    if conv.padding_mode != "zeros":
        x, padding = F.pad(x, (1, 1, 1, 1, 0, 0), conv.padding_mode), 0
    x = x.contiguous(memory_format=torch.channels_last_3d)
    assert conv.bias is not None
    some = max(CHANNELS, WEIGHTS // channels)
    parts = zip(conv.weight.split(some), conv.bias.split(some), out.split(some, dim=1))
    for weight, bias, part in parts:
        _fill(part, x, _Filters(weight.movedim(2, 0).contiguous(), bias, padding), repeated[0])
    return out


class _Filters(NamedTuple):
    """Some filters of a convolution.

    Attributes:
        planes: (3, C', C, 3, 3).
        bias: (C',).
        padding: zeros at each edge of a frame.
    """

    planes: Tensor
    bias: Tensor
    padding: int

    def product(self, x: Tensor, plane: Tensor, *, biased: bool) -> Tensor:
        """Frames (B, C, N, H, W) by a plane (C', C, 3, 3) or a sum of planes."""
        bias, images = self.bias if biased else None, x.transpose(1, 2).flatten(0, 1)
        made = F.conv2d(images, plane, bias, padding=self.padding)
        return made.unflatten(0, (x.shape[0], x.shape[2])).transpose(1, 2)


def _fill(out: Tensor, x: Tensor, filters: _Filters, shift: int) -> None:
    """Makes the channels of the result that these filters give.

    Args:
        out: (B, C', T, H, W), what is made.
        x: the clip; before it there are as many frames as `shift` says.
        filters: of these channels.
        shift: how often the first frame is repeated.
    """
    frames, pixels = out.shape[2], out[:, 0, 0].numel()
    tiled = frames - frames % TILE if frames // TILE * pixels >= PIXELS else 0
    if tiled:
        sums, step = _plane_sums(*filters.planes), TILE * max(1, FRAMES // x[:, :, 0].numel())
        for first in range(0, tiled, step):
            end = min(first + step, tiled)
            seen = _padded(x, first - shift, end + 2 - shift)
            _tiles([out[:, :, first + i : end : TILE] for i in range(TILE)], seen, filters, sums)
    if tiled < frames:
        seen, left = _padded(x, tiled - shift, frames + 2 - shift), frames - tiled
        made = [
            filters.product(seen[:, :, i : i + left], plane, biased=i == 0)
            for i, plane in enumerate(filters.planes)
        ]
        torch.add(made[0].add_(made[1]), made[2], out=out[:, :, tiled:])


def _padded(x: Tensor, start: int, end: int) -> Tensor:
    """Frames from `start` to `end`; those before the first and behind the last repeat these."""
    before, behind = max(0, -start), max(0, end - x.shape[2])
    inside = x[:, :, start + before : end - behind]
    if not before + behind:
        return inside
    return torch.cat((*[x[:, :, :1]] * before, inside, *[x[:, :, -1:]] * behind), dim=2)


def _tiles(out: Sequence[Tensor], x: Tensor, filters: _Filters, sums: Sequence[Tensor]) -> None:
    """Makes the first, second, third and fourth frames of tiles.

    Args:
        out: four times (B, C', N, H, W), what is made.
        x: (B, C, 4 N + 2, H, W).
        filters: of these channels.
        sums: of their planes.
    """
    end = x.shape[2] - 5
    added = _frame_sums([x[:, :, i : i + end : TILE] for i in range(6)])
    # The second product is part of all four frames, and brings the bias.
    m = [filters.product(d, g, biased=i == 1) for i, (d, g) in enumerate(zip(added, sums))]
    even, odd = m[1] + m[2], m[1].sub_(m[2])
    wide, far = m[3] + m[4], m[3].sub_(m[4])
    torch.add(m[0].add_(even), wide, out=out[0])  # A^T m
    torch.add(odd, far, alpha=2, out=out[1])
    torch.add(even, wide, alpha=4, out=out[2])
    torch.add(m[5].add_(odd), far, alpha=8, out=out[3])


def _frame_sums(d: Sequence[Tensor]) -> Iterator[Tensor]:
    """Every fourth frame, from the first to the sixth of a tile -> its six sums (B^T d)."""
    yield torch.add(d[4], d[2], alpha=-5).add_(d[0], alpha=4)
    even, odd = torch.add(d[4], d[2], alpha=-4), torch.add(d[3], d[1], alpha=-4)
    yield even + odd
    yield even.sub_(odd)
    even, odd = d[4] - d[2], d[3] - d[1]
    yield torch.add(even, odd, alpha=2)
    yield even.sub_(odd, alpha=2)
    yield torch.add(d[5], d[3], alpha=-5).add_(d[1], alpha=4)


def _plane_sums(first: Tensor, middle: Tensor, last: Tensor) -> tuple[Tensor, ...]:
    """The planes (C', C, 3, 3) of a kernel -> their six sums (G g)."""
    near, far = first + last, torch.add(first, last, alpha=4)
    return (
        first / 4,
        (near + middle).div_(-6),
        near.sub_(middle).div_(-6),
        torch.add(far, middle, alpha=2).div_(24),
        far.sub_(middle, alpha=2).div_(24),
        last,
    )
