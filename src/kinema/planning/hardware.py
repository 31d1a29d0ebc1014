"""Hardware, as far as a plan needs it: how much it holds, and how fast it does each kind of work.

Seconds of an operation are what it costs to start it, and the longer of computing and moving bytes
(the roofline of Williams et al., doi:10.1145/1498765.1498785). This machine is measured
(`calibration.py`); for graphics cards the makers' peaks are published, and how much of them is
reached is assumed, here, in the open.
"""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

from kinema.errors import unknown
from kinema.planning.operations import PRODUCTS, Kind, Operation

Rates = Mapping[tuple[str, str], tuple[tuple[float, float], ...]]
"""{(kind, type): ((size, rate), ...)}, sizes rising; see `Hardware`."""

# Shares of the published peaks. Products of large matrices come to 0.6 to 0.8 of them.
REACHED = {"matmul": 0.6, "convolution": 0.4, "images": 0.4, "attention": 0.45}
MOVED = 0.75
LAUNCH = 6e-6  # seconds until a kernel runs
CONTEXT = 600_000_000  # bytes of CUDA's context, kernels and cuBLAS's workspace


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """What a model runs on.

    Args:
        name: as the command line takes it.
        title: as people call it.
        device: its type of device in torch, ``cpu`` or ``cuda``.
        memory: bytes in all.
        reserved: bytes that are taken before there is a model.
        rates: of products in FLOP/s, of all else in bytes/s, for operations of some sizes (see
            `Operation.size`); between them they are interpolated in logarithms. Types are float32
            and bfloat16; others run as that of their width.
        overhead: seconds of an operation that does nothing.
        fresh: bytes/s at which new pages are made; None where memory is kept for the next tensor.
    """

    name: str
    title: str
    device: str
    memory: int
    reserved: int
    rates: Rates
    overhead: float
    fresh: float | None

    def rate(self, kind: Kind, dtype: str, size: float) -> float:
        """FLOP/s of a product, bytes/s of any other kind."""
        narrow = dtype in ("bfloat16", "float16")
        points = self.rates[kind, "bfloat16" if narrow else "float32"]
        sizes = [point[0] for point in points]
        above = bisect(sizes, size)
        if above in (0, len(points)):
            return points[min(above, len(points) - 1)][1]
        (s0, r0), (s1, r1) = points[above - 1], points[above]
        share = math.log(size / s0) / math.log(s1 / s0)
        return math.exp(math.log(r0) + share * math.log(r1 / r0))

    def seconds_of(self, done: Operation) -> float:
        """Of one operation."""
        rate = self.rate(done.kind, done.dtype, done.size)
        paging = done.fresh / self.fresh if self.fresh else 0.0
        if done.kind not in PRODUCTS:
            return self.overhead + done.bytes / rate + paging
        moving = done.bytes / self.rate("plain", done.dtype, done.bytes)
        return self.overhead + max(done.flops / rate, moving) + paging

    def seconds(self, operations: Mapping[Operation, float]) -> float:
        """Of operations, each as often as is told."""
        return sum(count * self.seconds_of(done) for done, count in operations.items())


def _card(
    name: str, title: str, *, gigabytes: int, bf16: float, fp32: float, bandwidth: float
) -> Hardware:
    """A graphics card.

    Args:
        gigabytes: as it is sold.
        bf16, fp32: published peaks in TFLOP/s: dense, sums in float32; without TF32, as torch
            multiplies unless it is told otherwise.
        bandwidth: published, in GB/s.
    """
    peaks = {"bfloat16": 1e12 * bf16, "float32": 1e12 * fp32}
    rates = {
        (kind, dtype): (
            (1.0, REACHED[kind] * peak if kind in REACHED else 1e9 * MOVED * bandwidth),
        )
        for kind in get_args(Kind)
        for dtype, peak in peaks.items()
    }
    return Hardware(
        name=name,
        title=title,
        device="cuda",
        memory=gigabytes * 10**9,
        reserved=CONTEXT,
        rates=rates,
        overhead=LAUNCH,
        fresh=None,
    )


# Sources: the makers' data sheets. The T4 has no bfloat16 of its own and computes it in float32.
CARDS = {
    card.name: card
    for card in (
        _card("h200", "H200 SXM", gigabytes=141, bf16=989.4, fp32=66.9, bandwidth=4800),
        _card("h100", "H100 SXM", gigabytes=80, bf16=989.4, fp32=66.9, bandwidth=3350),
        _card("a100-80", "A100 SXM 80 GB", gigabytes=80, bf16=312, fp32=19.5, bandwidth=2039),
        _card("a100-40", "A100 SXM 40 GB", gigabytes=40, bf16=312, fp32=19.5, bandwidth=1555),
        _card("l40s", "L40S", gigabytes=48, bf16=362, fp32=91.6, bandwidth=864),
        _card("rtx-4090", "RTX 4090", gigabytes=24, bf16=165.2, fp32=82.6, bandwidth=1008),
        _card("rtx-3090", "RTX 3090", gigabytes=24, bf16=71.2, fp32=35.6, bandwidth=936),
        _card("l4", "L4", gigabytes=24, bf16=121, fp32=30.3, bandwidth=300),
        _card("t4", "T4", gigabytes=16, bf16=8.1, fp32=8.1, bandwidth=320),
    )
}
HERE = "this"  # the machine that the plan is made on


def card(name: str) -> Hardware:
    """A graphics card by name.

    Raises:
        InputError: none of this name is known.
    """
    if name not in CARDS:
        raise unknown("hardware", name, (HERE, *CARDS))
    return CARDS[name]
