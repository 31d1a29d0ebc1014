"""STREAM from given features to scores, beside the PyPI package `v-stream` in the same run.

    python -m venv peer && peer/bin/pip install --no-deps v-stream
    PYTHONPATH=$(echo peer/lib/python*/site-packages) python bench/stream_speed.py

The package is its authors' code; it is not installed with ours, because its requirements would be.
`prdc` and `tqdm`, which it calls, are. Both take the same features (N, F, D) in memory, in turn,
three times; the medians of processor seconds on one thread count. T, F and D must be equal to the
last of six digits, skewness to 1e-12 of its range.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import types
from collections.abc import Callable
from importlib.metadata import version

import torch
from torch import Tensor

from kinema.metrics.stream import Scores, Signals, signals, stream
from kinema.noise import Noise

BAR = 0.5  # of their time, at most


def features(count: int, frames: int, width: int, seed: int) -> Tensor:
    """Walks of normal steps around a normal mean, (N, F, D) float32: power falls with frequency."""
    rows = []
    for i in range(count):
        noise = Noise(seed, (i,))
        steps = noise.normal((1, frames, width), "steps")[0]
        rows.append(noise.normal((1, 1, width), "mean")[0] + 0.3 * steps.cumsum(0))
    return torch.stack(rows)


def ours(real: Tensor, fake: Tensor) -> tuple[Signals, Scores]:
    """The real signals and the scores."""
    known = signals(real, variant="code")
    return known, stream(known, signals(fake, variant="code"), k=5)


def theirs(real: Tensor, fake: Tensor) -> tuple[Signals, Scores]:
    """The same by the package: its loop over clips, without reading or embedding."""
    # Its reader of clips, which is not called, imports this name from a package not used here.
    torchvision = types.ModuleType("torchvision")
    torchvision.transforms = types.ModuleType("torchvision.transforms")
    sys.modules.setdefault("torchvision", torchvision)
    from stream.stream import STREAM

    peer = STREAM(num_frame=real.shape[1], num_embed=real.shape[2])
    sets = []
    for clips in (real, fake):
        skews, means = zip(*(peer._calculate_skewness(clip) for clip in clips))
        sets.append(Signals(skew=torch.stack(skews), mean=torch.stack(means)))
    a, b = sets
    spatial = peer.stream_S(a.mean, b.mean)
    scores = Scores(
        temporal=float(peer.stream_T(a.skew, b.skew)),
        fidelity=spatial["stream_F"],
        diversity=spatial["stream_D"],
    )
    return a, scores


def timed(run: Callable[[Tensor, Tensor], tuple[Signals, Scores]], *sets: Tensor) -> tuple:
    """Seconds, and what was computed."""
    start = time.process_time()
    found = run(*sets)
    return time.process_time() - start, *found


def main() -> int:
    """Prints both times and what they computed; the exit status says whether the bar is kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=2048)
    parser.add_argument("--frames", type=int, default=64)
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    real, fake = (features(given.clips, given.frames, given.width, seed) for seed in (0, 1))
    seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
    for _ in range(given.runs):
        taken, skew, found = timed(ours, real, fake)
        seconds["ours"].append(taken)
        taken, peer_skew, peer = timed(theirs, real, fake)
        seconds["theirs"].append(taken)
    ratio = statistics.median(seconds["ours"]) / statistics.median(seconds["theirs"])
    apart = (skew.skew - peer_skew.skew).abs().max() / peer_skew.skew.abs().max()
    print(f"N = {given.clips}, F = {given.frames}, D = {given.width}, one thread")
    print(f"v-stream {version('v-stream')}: {statistics.median(seconds['theirs']):.2f} s  {peer}")
    print(f"ours: {statistics.median(seconds['ours']):.2f} s  {found}")
    print(f"ratio {ratio:.2f} (bar {BAR}); skewness differs by {float(apart):.1e} of its range")
    equal = all(
        round(getattr(found, name), 6) == round(getattr(peer, name), 6)
        for name in ("temporal", "fidelity", "diversity")
    )
    print("scores are equal to six digits" if equal else "SCORES DIFFER")
    return 0 if ratio <= BAR and equal and apart < 1e-12 else 1


if __name__ == "__main__":
    sys.exit(main())
