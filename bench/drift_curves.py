"""Curves of the drift instruments over the clips of a folder: the mean and each clip.

python bench/drift_curves.py FOLDER drift.png --frames 128
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import torch

from kinema.metrics.clip_sets import View, find_clips, read_view
from kinema.metrics.drift import INSTRUMENTS
from kinema.metrics.extractors import drift_measure


def main() -> None:
    """One panel for each instrument."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--frames", type=int, default=128)
    given = parser.parse_args()
    view = View(num_frames=given.frames, fps=None, size=None)
    measure = drift_measure({}, "cpu")
    curves = torch.stack(
        [measure.run(read_view(path, view).frames) for path in find_clips(given.folder)]
    )
    figure, panels = plt.subplots(2, 3, figsize=(12, 6))
    for axes, name, lines in zip(panels.flat, INSTRUMENTS, curves.unbind(1)):
        axes.plot(lines.T, color="0.8", lw=0.7)
        axes.plot(lines.mean(0), lw=1.5)
        axes.set(title=name, xlabel="frame")
        axes.grid(alpha=0.3)
    figure.suptitle(measure.name)
    figure.tight_layout()
    figure.savefig(given.picture, dpi=100)


if __name__ == "__main__":
    main()
