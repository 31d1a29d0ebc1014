"""Measures this machine's processor: how fast it does each kind of work, and what a process takes.

About ten seconds, once for a processor, a version of torch and a number of threads; the figures lie
in the user's cache folder.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kinema.errors import InputError
from kinema.files import parse_json, write_text
from kinema.planning.hardware import HERE, Hardware
from kinema.planning.meters import latency
from kinema.planning.operations import Kind

SCHEME = 2  # of the figures; rises when others are kept, or mean something else
REPEATS = 5
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
SIDES = ((128, 256, 256), (512, 1024, 1024), (1536, 2048, 2048))  # rows, in, out of products
CONVOLUTIONS = ((32, 4, 48), (128, 4, 32), (128, 12, 48))  # channels, frames, side
TOKENS = (256, 2048)  # of attention with HEADS heads
HEADS, HEAD_WIDTH = 8, 64
ELEMENTS = (2**14, 2**18, 2**21)  # of all that is done element by element
BEYOND_CACHES = 2**24
ROW = 512
LAYERS = 64  # of a network that is all overhead
Attention = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]
# What a process holds that makes clips, with networks of next to no weights.
PROCESS = """
import torch
import kinema.cli.clips
from kinema.planning.meters import resident_peak
from kinema.systems.ltx_video import LTXVideo
from kinema.systems.ltx_video_presets import nano
torch.nn.Embedding(8, 8, device="meta")  # as models are built before they are loaded
for dtype in (torch.float32, torch.bfloat16):
    LTXVideo(nano(), dtype=dtype).rehearse(nano().sampling)
print(resident_peak())
"""


def this_machine(*, anew: bool, attention: Attention) -> Hardware:
    """This machine, as it was measured with the number of threads that torch uses now.

    Args:
        anew: measure it though it was measured before.
        attention: of queries, keys and values (B, H, N, D) and a mask, as networks compute it.

    Raises:
        InputError: what was measured before cannot be read, or nothing can be kept.
    """
    path = _place()
    if anew or not path.exists():
        figures = {**_key(), **_measured(attention)}
        write_text(path, json.dumps(figures, indent=1) + "\n", overwrite=True)
    read = parse_json(path.read_text(encoding="utf-8"), str(path))
    try:
        if any(read[name] != value for name, value in _key().items()):
            raise ValueError("another machine")
        rates = {(kind, dtype): tuple(map(tuple, points)) for kind, dtype, points in read["rates"]}
        process, overhead, fresh = (float(read[name]) for name in ("process", "overhead", "fresh"))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} holds no figures of this machine: pass --recalibrate") from error
    threads = read["threads"]
    return Hardware(
        name=HERE,
        title=f"this machine ({read['cpu']}, {threads} thread{'s' * (threads > 1)})",
        device="cpu",
        memory=memory(),
        reserved=int(process),
        rates=rates,
        overhead=overhead,
        fresh=fresh,
    )


def memory() -> int:
    """Bytes of memory that a process here may use."""
    installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")  # of a container
    text = limit.read_text().strip() if limit.exists() else ""
    return min(installed, int(text)) if text.isdecimal() else installed


def _key() -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "scheme": SCHEME,
        "cpu": _cpu(),
        "torch": str(torch.__version__),
        "threads": torch.get_num_threads(),
    }


def _cpu() -> str:
    """The name of the processor."""
    told = Path("/proc/cpuinfo")
    if told.exists():
        for line in told.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _place() -> Path:
    """The file of the figures, in the user's cache folder."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    number = zlib.crc32(json.dumps(_key(), sort_keys=True).encode())
    return cache / "kinema" / f"calibration-{number:08x}.json"


@torch.inference_mode()
def _measured(attention: Attention) -> dict[str, Any]:
    """All figures, as JSON."""
    rates: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for kind, dtype, size, call in _works(attention):
        rates.setdefault((kind, dtype), []).append((size, size / latency(call, REPEATS)))
    child = subprocess.run(
        [sys.executable, "-c", PROCESS], capture_output=True, text=True, check=True
    )
    return {
        "process": int(child.stdout),
        "overhead": _overhead(),
        "fresh": _fresh(),
        "rates": [[kind, dtype, points] for (kind, dtype), points in rates.items()],
    }


def _works(attention: Attention) -> Iterator[tuple[Kind, str, float, Callable[[], object]]]:
    """What is measured: kind, type, size in FLOP or bytes, and the call that does it."""
    for name, dtype in DTYPES.items():
        for rows, width, out in SIDES:
            x, linear = torch.ones(rows, width, dtype=dtype), nn.Linear(width, out, dtype=dtype)
            flops = 2 * rows * width * out
            yield "matmul", name, flops, partial(linear, x)
        for channels, frames, side in CONVOLUTIONS:
            x = torch.ones(1, channels, frames + 2, side, side, dtype=dtype)
            conv = nn.Conv3d(channels, channels, 3, padding=(0, 1, 1), dtype=dtype)
            flops = 2 * 27 * channels**2 * frames * side**2
            yield "convolution", name, flops, partial(conv, x)
            images = torch.ones(frames, channels, side, side, dtype=dtype)
            images = images.contiguous(memory_format=torch.channels_last)
            flat = nn.Conv2d(channels, channels, 3, padding=1, dtype=dtype)
            yield "images", name, flops // 3, partial(flat, images)
        for count in TOKENS:
            q = torch.ones(1, HEADS, count, HEAD_WIDTH, dtype=dtype)
            flops = 4 * HEADS * count**2 * HEAD_WIDTH
            yield "attention", name, flops, partial(attention, q, q, q, None)
        for count in ELEMENTS:
            yield from _by_elements(name, torch.ones(count // ROW, ROW, dtype=dtype))
        x, y, z = (torch.ones(BEYOND_CACHES, dtype=dtype) for _ in range(3))
        moved = 3 * x.numel() * x.element_size()
        yield "plain", name, moved, partial(torch.mul, x, y, out=z)


def _by_elements(name: str, x: Tensor) -> Iterator[tuple[Kind, str, float, Callable[[], object]]]:
    y, pairs = x.clone(), x.view(-1, ROW // 2, 2).transpose(1, 2)
    calls: dict[Kind, Callable[[], Tensor]] = {
        "plain": lambda: x * y,
        "function": lambda: F.silu(x),
        "series": lambda: F.gelu(x, approximate="tanh"),
        "strided": pairs.contiguous,
    }
    for kind, call in calls.items():
        yield kind, name, (3 if kind == "plain" else 2) * x.numel() * x.element_size(), call


def _fresh() -> float:
    """Bytes/s at which new pages are made, over and above writing to them."""
    x = torch.ones(BEYOND_CACHES)
    new, old = (latency(call, REPEATS) for call in (lambda: torch.ones_like(x), lambda: x.fill_(1)))
    return x.numel() * x.element_size() / max(new - old, 1e-6)


def _overhead() -> float:
    """Seconds of an operation on hardly any numbers, with the module around it."""
    layers = [layer for _ in range(LAYERS) for layer in (nn.Linear(8, 8), nn.GELU())]
    network, x = nn.Sequential(*layers), torch.ones(8, 8)
    return latency(lambda: network(x), REPEATS) / len(layers)
