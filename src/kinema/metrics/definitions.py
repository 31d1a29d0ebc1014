"""The scores by name: what each takes of the clips, and the formula over it.

Letters: N clips, T frames, D features, S numbers of a score.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from kinema.errors import InputError, unknown
from kinema.metrics import drift, extractors, measures, similarity, vit_extractors
from kinema.metrics.feature_stats import FeatureStats
from kinema.metrics.frechet import Reference
from kinema.metrics.fvd_preprocessing import VARIANTS
from kinema.metrics.inception_score import SPLITS, inception_score
from kinema.metrics.kernel import SUBSET_SIZE, SUBSETS, draw_subsets, kernel_distance
from kinema.metrics.measures import TWO, Device, Files, Measure
from kinema.metrics.prdc import prdc
from kinema.metrics.stream import Variant, signals, stream
from kinema.noise import Noise

K = 5  # which neighbor bounds a ball, in PRDC and STREAM
# Of generated clips -> the numbers of a score (S,).
Statistic = Callable[[Tensor], Tensor]
# Of what real clips give, None where a score needs none, and what draws -> the statistic.
Comparing = Callable[[Any, Noise], Statistic]
Of = Literal["sets", "pairs", "generated"]
Builder = Callable[[Files, Device], Measure]


@dataclass(frozen=True, kw_only=True)
class Formula:
    """How features of clips become a score.

    Attributes:
        variant: in words, where papers have several.
        statistic: over features (N, D) or (N, T, D); `mean` over values (N,).
        fewest: clips of a set; the interval leaves some out.
        labels: of the numbers, where they are several.
    """

    variant: str
    statistic: Comparing
    fewest: int
    labels: tuple[str, ...] = ("",)


@dataclass(frozen=True)
class Definition:
    """One score.

    Attributes:
        of: two sets of clips, generated clips beside the real ones of their names, or generated
            clips alone.
        measure: makes what is taken of each clip, from files of weights and a device.
        formula: over that.
    """

    of: Of
    measure: Builder
    formula: Formula


def mean(real: None, noise: Noise) -> Statistic:
    """The mean over clips."""
    return lambda values: values.double().mean(0, keepdim=True)


def drift_scores(real: None, noise: Noise) -> Statistic:
    """The instruments of `drift`, over curves (N, 6, T)."""
    return lambda curves: drift.summary(curves).mean(0)


def over_clips(real: None, noise: Noise, *, function: Callable[[Tensor], Tensor]) -> Statistic:
    """The mean over clips of a number that each one's features of frames (T, D) give."""

    def score(features: Tensor) -> Tensor:
        if features.shape[1] < TWO:
            raise InputError("consistency is that of two frames or more; pass --frames 2")
        return torch.stack([function(clip) for clip in features]).mean(0, keepdim=True)

    return score


def frechet(real: Tensor, noise: Noise, *, unbiased: bool) -> Statistic:
    """The Frechet distance; every frame is a sample where there are features of frames."""
    reference = Reference(_stats(real), unbiased=unbiased)
    return lambda generated: _one(reference.distance(_stats(generated)))


def kernel(real: Tensor, noise: Noise) -> Statistic:
    """The kernel distance over up to 100 subsets of up to 1000 samples."""
    rows = real.flatten(0, -2)

    def distance(generated: Tensor) -> Tensor:
        others = generated.flatten(0, -2)
        # Subsets that are the whole sets are all equal.
        whole = len(rows) == len(others) <= SUBSET_SIZE
        count = 1 if whole else SUBSETS
        subsets = draw_subsets(len(rows), len(others), count=count, size=SUBSET_SIZE, noise=noise)
        return _one(kernel_distance(rows, others, subsets)[0])

    return distance


def neighbors(real: Tensor, noise: Noise) -> Statistic:
    """Precision, recall, density and coverage."""

    def shares(generated: Tensor) -> Tensor:
        found = prdc(real, generated, k=K)
        return torch.tensor(
            [found.precision, found.recall, found.density, found.coverage], dtype=torch.float64
        )

    return shares


def stream_scores(real: Tensor, noise: Noise, *, variant: Variant) -> Statistic:
    """STREAM-T, F and D, over features of frames (N, T, D)."""
    known = signals(real, variant=variant)

    def scores(generated: Tensor) -> Tensor:
        found = stream(known, signals(generated, variant=variant), k=K)
        return torch.tensor([found.temporal, found.fidelity, found.diversity], dtype=torch.float64)

    return scores


def inception(real: None, noise: Noise) -> Statistic:
    """Mean and deviation over ten splits, in the order of the clips; over logits."""

    def score(logits: Tensor) -> Tensor:
        found = inception_score(logits.flatten(0, -2), splits=SPLITS, order=None)
        return torch.tensor(found, dtype=torch.float64)

    return score


def _stats(features: Tensor) -> FeatureStats:
    return FeatureStats.of(features.flatten(0, -2))


def _one(value: float) -> Tensor:
    return torch.tensor([value], dtype=torch.float64)


FRECHET = Formula(
    variant="covariance over N - 1", statistic=partial(frechet, unbiased=True), fewest=3
)
FRECHET_BIASED = Formula(
    variant="covariance over N", statistic=partial(frechet, unbiased=False), fewest=3
)
KERNEL = Formula(
    variant=f"MMD^2, cubic kernel, {SUBSETS} subsets of at most {SUBSET_SIZE}, not multiplied",
    statistic=kernel,
    fewest=3,
)
PRDC = Formula(
    variant=f"k = {K}",
    statistic=neighbors,
    fewest=K + 2,
    labels=("precision", "recall", "density", "coverage"),
)
STREAM, STREAM_MOMENT = (
    Formula(
        variant=f"{variant}, k = {K}",
        statistic=partial(stream_scores, variant=variant),
        fewest=K + 2,
        labels=("T", "F", "D"),
    )
    for variant in get_args(Variant)
)
INCEPTION = Formula(
    variant=f"{SPLITS} splits in the order of the clips",
    statistic=inception,
    fewest=SPLITS + 2,
    labels=("", "deviation"),
)
OVER_FRAMES = Formula(variant="mean over frames, then over clips", statistic=mean, fewest=2)
OVER_CHANGES = Formula(
    variant="mean over pairs of frames, then over clips", statistic=mean, fewest=2
)
DRIFT = Formula(
    variant="last tenth less the first, of repetition the last tenth, of seams the highest",
    statistic=drift_scores,
    fewest=2,
    labels=drift.INSTRUMENTS,
)
CONSISTENCY, CONSISTENCY_PAIRS, CONSISTENCY_SUBJECT = (
    Formula(variant=words, statistic=partial(over_clips, function=function), fewest=2)
    for words, function in (
        ("mean cosine of consecutive frames", similarity.consecutive_consistency),
        ("mean cosine of all pairs of frames", similarity.pairwise_consistency),
        ("half of the cosines to the first frame and the last", similarity.subject_consistency),
    )
)
CAPTIONS = Formula(variant="mean cosine of frames and caption", statistic=mean, fewest=2)
I3D = {name: partial(extractors.i3d_logits, name) for name in VARIANTS}

DEFINITIONS = {
    "fvd-tensorflow": Definition("sets", I3D["tensorflow"], FRECHET),
    "fvd-styleganv": Definition("sets", I3D["styleganv"], FRECHET_BIASED),
    "fvd-videogpt": Definition("sets", I3D["videogpt"], FRECHET),
    "kvd": Definition("sets", I3D["tensorflow"], KERNEL),
    "prdc": Definition("sets", I3D["tensorflow"], PRDC),
    "fvd-rand": Definition("sets", extractors.random_i3d, FRECHET),
    "kvd-rand": Definition("sets", extractors.random_i3d, KERNEL),
    "prdc-rand": Definition("sets", extractors.random_i3d, PRDC),
    "fvd-tiny": Definition("sets", extractors.tiny, FRECHET),
    "fid": Definition("sets", extractors.inception_features, FRECHET),
    "kid": Definition("sets", extractors.inception_features, KERNEL),
    "fid-effnet": Definition("sets", extractors.effnet, FRECHET),
    "kid-effnet": Definition("sets", extractors.effnet, KERNEL),
    "stream": Definition("sets", extractors.random_frames, STREAM),
    "stream-moment": Definition("sets", extractors.random_frames, STREAM_MOMENT),
    "is": Definition("generated", extractors.inception_logits, INCEPTION),
    "is-video": Definition("generated", extractors.c3d_logits, INCEPTION),
    "cd-fvd": Definition("sets", vit_extractors.videomae_features, FRECHET),
    "stream-dinov2": Definition("sets", vit_extractors.dinov2_frames, STREAM),
    "fid-dinov2": Definition("sets", vit_extractors.dinov2_frames, FRECHET),
    "clipsim": Definition("generated", vit_extractors.clip_similarity, CAPTIONS),
    "frame-consistency": Definition("generated", vit_extractors.clip_frames, CONSISTENCY),
    "frame-consistency-pairs": Definition(
        "generated", vit_extractors.clip_frames, CONSISTENCY_PAIRS
    ),
    "background-consistency": Definition(
        "generated", vit_extractors.clip_frames, CONSISTENCY_SUBJECT
    ),
    "subject-consistency-dinov2": Definition(
        "generated", vit_extractors.dinov2_frames, CONSISTENCY_SUBJECT
    ),
    "psnr": Definition("pairs", measures.psnr_measure, OVER_FRAMES),
    "ssim": Definition("pairs", measures.ssim_measure, OVER_FRAMES),
    "lpips": Definition("pairs", partial(extractors.lpips_measure, "AlexNet"), OVER_FRAMES),
    "lpips-vgg": Definition("pairs", partial(extractors.lpips_measure, "VGG16"), OVER_FRAMES),
    "tof": Definition("pairs", measures.tof_measure, OVER_CHANGES),
    "tlp": Definition("pairs", extractors.tlp_measure, OVER_CHANGES),
    "warping-error": Definition("generated", measures.warping_measure, OVER_CHANGES),
    "warping-error-source": Definition("pairs", measures.source_warping_measure, OVER_CHANGES),
    "drift": Definition("generated", extractors.drift_measure, DRIFT),
    "dynamic-degree": Definition("generated", measures.dynamic_degree_measure, OVER_CHANGES),
}


def find(names: Sequence[str]) -> dict[str, Definition]:
    """The definitions of names, in their order.

    Raises:
        InputError: there is no score of a name.
    """
    for name in names:
        if name not in DEFINITIONS:
            raise unknown("score", name, DEFINITIONS)
    return {name: DEFINITIONS[name] for name in names}
