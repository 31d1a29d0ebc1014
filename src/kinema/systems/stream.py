"""STREAM: Spatio-TempoRal Evaluation and Analysis Metric for Video Generative Models.

arXiv 2403.09669, Kim et al., ICLR 2024. Authors' code: github.com/pro2nit/STREAM (MIT). The scores
themselves are in `kinema.metrics.stream`; clips are read by `stream_reading.py`.

Letters: N clips, F frames, H height, W width, D features of a frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from kinema import worlds
from kinema.card import Card
from kinema.metrics.stream import Variant, signals, stream
from kinema.networks.random_conv import RandomConv, RandomConvConfig
from kinema.sample import Folder, Table
from kinema.systems.stream_reading import embed_clips, read_features
from kinema.systems.system import Job, System

CARD = Card(
    name="stream",
    number=18,
    title="STREAM: Spatio-TempoRal Evaluation and Analysis Metric for Video Generative Models",
    arxiv="2403.09669",
    year=2024,
    kind="metric",
    job="two folders of clips become scores of motion, fidelity and diversity;"
    " `kinema score stream` gives them with intervals and passports",
    code="github.com/pro2nit/STREAM",
    code_license="MIT",
    weights_license="none",
    claim="STREAM-T answers to damage in time alone, STREAM-F to damage in space alone",
    applies=("parity", "run", "claim"),
    verified=(
        "by recorded cases: skewness, mean signal, T, F and D on given features",
        "T, F and D under six corruptions, at 16 and 64 frames",
    ),
    inferred=("that k = 5 and 50 bins, which the code fixes, are the paper's",),
    deviations=(
        "frames are embedded by random convolutions, a stand-in for SwAV and DINOv2; the score"
        " stream-dinov2 of `kinema score` takes DINOv2, of the middle square of a frame",
        "the variant moment, the standardized third moment, stands beside the published one",
    ),
)

EMBEDDER = RandomConvConfig(size=64, widths=(16, 32, 32, 64), seed=0)


class Stream(System):
    """The scores of clips that a model made, against real ones.

    A folder holds clips, all of one length and size: video files or the authors' layout, uint8
    (F, H, W, 3) in .npy files. Or it holds one file of features (N, F, D) that were made elsewhere:
    `features.npy`, or `features.npz` with a single array.

    `kinema score stream` also takes folders of pictures and clips of several lengths and sizes, and
    writes intervals and passports.

    Args:
        k: which neighbor bounds the balls of F and D.
        variant: of the skewness; see `kinema.metrics.stream.signals`.
    """

    CARD = CARD
    JOBS: ClassVar = {"score": Job(takes={"real": Folder, "fake": Folder}, gives={"scores": Table})}

    def __init__(self, *, k: int = 5, variant: Variant = "code") -> None:
        self.k, self.variant = k, variant
        self.embedder = RandomConv(EMBEDDER)

    def run_score(self, inputs: Mapping[str, Any], seed: int) -> dict[str, Table]:
        """T, F and D, with what they depend on. Nothing is drawn: every seed gives the same.

        Raises:
            InputError: a folder holds too few clips or broken ones, or clips of unequal length or
                size; clips have fewer than 4 frames; one folder holds clips, the other features.
        """
        folders = [inputs[side].path for side in ("real", "fake")]
        sets, embedder = read_features(folders, fewest=self.k + 1), "given features"
        if sets is None:
            sets = embed_clips(folders, self.embedder, fewest=self.k + 1)
            embedder = self.embedder.name
        real, fake = (signals(features, variant=self.variant) for features in sets)
        scores = stream(real, fake, k=self.k)
        row: dict[str, str | int | float] = {
            "T": scores.temporal,
            "F": scores.fidelity,
            "D": scores.diversity,
            "N_real": len(sets[0]),
            "N_fake": len(sets[1]),
            "frames": sets[0].shape[1],
            "embedder": embedder,
            "k": self.k,
            "variant": self.variant,
        }
        return {"scores": Table(columns=tuple(row), rows=(tuple(row.values()),))}

    def example(self, job: str, folder: Path) -> dict[str, Any]:
        """Two draws of the world `shapes`, in the authors' layout."""
        for seed, side in enumerate(("real", "fake")):
            world = worlds.load(
                "shapes", seed=seed, split="all", num_frames=8, height=32, width=32, fps=8
            )
            (folder / side).mkdir(parents=True, exist_ok=True)
            for i in range(2 * self.k):
                np.save(folder / side / f"vid_{i:05d}.npy", world.sample(i).clip.frames)
        return {side: Folder(folder / side) for side in ("real", "fake")}


SYSTEM = Stream
