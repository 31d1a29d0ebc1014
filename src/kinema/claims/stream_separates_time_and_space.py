"""STREAM (arXiv 2403.09669): one score answers to time, one to space; a Frechet distance cannot.

Real and fake clips are two draws of the world `shapes`, seen through the same random embedder of
frames. The fakes are damaged in time alone (some of their frames in random order) or in space alone
(the same picture of noise on all frames of a clip), more and more. The response of a score to a
damage is its mean change over the strengths.

`leak` is the larger share of a response that goes to the damage which a score is not meant for:
STREAM-T may answer to time only, STREAM-F to space only. A metric of one number must judge both by
it, and so has 0.5 at least, when it answers to both alike. The baseline cannot be below that; the
question is how near STREAM's two scores come to 0.

The Frechet distance (unbiased covariances) is over simple features of clips: the mean over time of
the features of the frames, which sees space, and of the size of their changes from frame to frame,
which sees time. A first version, with random filters over three frames and means of what passes
them, hardly saw time: its leak was 0.998 in two seeds of a run that was not finished. It was given
up for one that is harder to beat; the margin stayed.

Letters: N clips, F frames, D features of a frame. About 15 seconds on one thread.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from kinema.claims.claim import Arm, Claim, Cost, Experiment, Measured, arms_of
from kinema.metrics import corruptions
from kinema.metrics.feature_stats import FeatureStats
from kinema.metrics.frechet import frechet_distance
from kinema.metrics.stream import signals, stream
from kinema.networks.random_conv import RandomConv, RandomConvConfig
from kinema.noise import Noise
from kinema.planning.meters import flops
from kinema.worlds.shapes import Shapes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from kinema.claims.record import Record

CLAIM = Claim(
    name="stream_separates_time_and_space",
    system="stream",
    primary=True,
    statement="STREAM-T answers to damage in time alone and STREAM-F to damage in space alone, "
    "which the one number of a Frechet distance cannot do",
    measure="leak",
    better="lower",
    margin=0.25,
    tested="stream",
    baseline="frechet",
    tolerance=0.01,
    budget=5.0,
)
TIME, SPACE = "time", "space"
LOUDEST = 1.0  # deviation of the added picture at strength 1; pixels lie in [-1, 1]
K = 5
AT_ONCE = 128  # frames that are embedded together
EMBEDDER = RandomConvConfig(size=64, widths=(16, 32, 32, 32), seed=0)


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much is drawn: clips of each set, their frames and side, and the strengths of damage."""

    clips: int
    frames: int
    side: int
    strengths: tuple[float, ...]


FULL = Scale(clips=128, frames=16, side=32, strengths=(0.25, 0.5, 0.75, 1.0))


@functools.lru_cache(maxsize=2)  # the two sets of a seed, for one arm after the other
def clips(seed: int, scale: Scale) -> Tensor:
    """Clips (N, F, 3, H, W) in [-1, 1] of a draw of the world."""
    frames, side = scale.frames, scale.side
    world = Shapes(seed=seed, split="all", num_frames=frames, height=side, width=side, fps=8.0)
    drawn = [torch.from_numpy(world.sample(i).clip.to_float()) for i in range(scale.clips)]
    return torch.stack(drawn).transpose(1, 2)


@torch.inference_mode()
def embedded(x: Tensor) -> Tensor:
    """Features (N, F, D) of the frames of clips (N, F, 3, H, W)."""
    frames = x.flatten(0, 1).split(AT_ONCE)
    return torch.cat([embedder()(part) for part in frames]).unflatten(0, x.shape[:2])


@functools.cache
def embedder() -> RandomConv:
    """The network that sees frames."""
    return RandomConv(EMBEDDER)


def damaged(x: Tensor, kind: str, strength: float, noise: Noise) -> Tensor:
    """Clips (N, F, 3, H, W) with a damage of a strength in [0, 1]."""
    if kind == TIME:
        return corruptions.shuffled(x, round(strength * x.shape[1]), noise)
    return corruptions.offset(x, strength * LOUDEST, noise).clamp(-1, 1)


def clip_features(x: Tensor) -> Tensor:
    """Features (N, 2 D) of clips: of their frames (N, F, D), and of how much these change."""
    return torch.cat([x.mean(1), x.diff(dim=1).abs().mean(1)], 1)


def stream_scores(real: Tensor, fake: Tensor) -> Measured:
    """STREAM-T and STREAM-F of features (N, F, D)."""
    scores = stream(signals(real, variant="code"), signals(fake, variant="code"), k=K)
    return {"T": scores.temporal, "F": scores.fidelity}


def frechet_scores(real: Tensor, fake: Tensor) -> Measured:
    """The Frechet distance of features (N, F, D)."""
    sides = (FeatureStats.of(clip_features(side)) for side in (real, fake))
    return {"frechet": frechet_distance(*sides, unbiased=True)}


def run(name: str, scale: Scale, seed: int) -> Measured:
    """All scores of an arm at all strengths, the responses, and the leak."""
    score = {"stream": stream_scores, "frechet": frechet_scores}[name]
    real, fake = clips(2 * seed, scale), clips(2 * seed + 1, scale)
    features, noise = embedded(real), Noise(seed, tuple(range(len(fake))))
    whole = score(features, embedded(fake))
    measured = {f"{key}/{kind}/0": v for key, v in whole.items() for kind in (TIME, SPACE)}
    changes: dict[tuple[str, str], list[float]] = {}
    for kind in (TIME, SPACE):
        for strength in scale.strengths:
            scores = score(features, embedded(damaged(fake, kind, strength, noise)))
            measured |= {f"{key}/{kind}/{strength:g}": v for key, v in scores.items()}
            for key, value in scores.items():
                changes.setdefault((key, kind), []).append(abs(value - whole[key]))
    response = {place: sum(values) / len(values) for place, values in changes.items()}
    measured |= {f"response {key}/{kind}": value for (key, kind), value in response.items()}
    return {**measured, "leak": leak(response)}


def leak(response: dict[tuple[str, str], float]) -> float:
    """The larger share of a response that goes to the other damage; see the top of the file.

    A score that answers to nothing has 1: it separates nothing either.
    """

    def share(score: str, own: str, other: str) -> float:
        whole = response[score, own] + response[score, other]
        return response[score, other] / whole if whole else 1.0

    judges = ("T", "F") if ("T", TIME) in response else ("frechet", "frechet")
    return max(share(judges[0], TIME, SPACE), share(judges[1], SPACE, TIME))


def cost(name: str, scale: Scale) -> Cost:
    """Of the embedder on one clip; what follows it has no weights and no products."""
    frames = torch.zeros(scale.frames, 3, scale.side, scale.side)
    weights = sum(weight.numel() for weight in embedder().buffers())
    return Cost(parameters=weights, flops=flops(embedder(), frames))


def arms(scale: Scale) -> tuple[Arm, ...]:
    """STREAM and the Frechet distance, both over the same embedder of frames."""
    return arms_of(("stream", "frechet"), run, cost, scale)


def draw(record: Record, figure: Figure) -> None:
    """Three lines against the strength of each damage, as shares of their largest change."""
    first = {name: arm.measured for name, arm in record.arms.items()}
    lines = (
        ("STREAM-T", "stream", "T"),
        ("STREAM-F", "stream", "F"),
        ("Frechet", "frechet", "frechet"),
    )
    for place, kind in enumerate((TIME, SPACE), start=1):
        axes = figure.add_subplot(1, 2, place)
        for label, arm, key in lines:
            strengths, means = curve(first[arm], key, kind)
            largest = max(largest_change(first[arm], key), 1e-12)
            axes.plot(strengths, [abs(m - means[0]) / largest for m in means], "o-", label=label)
        axes.set_xlabel(f"damage in {kind}")
        axes.set_ylabel("change, of the largest")
        axes.set_ylim(-0.05, 1.05)
    axes.legend()


def curve(measured: tuple[Measured, ...], key: str, kind: str) -> tuple[list[float], list[float]]:
    """Strengths, and the means of a score over the seeds."""
    prefix = f"{key}/{kind}/"
    names = [name for name in measured[0] if name.startswith(prefix)]
    means = [sum(values[name] for values in measured) / len(measured) for name in names]
    return [float(name.removeprefix(prefix)) for name in names], means


def largest_change(measured: tuple[Measured, ...], key: str) -> float:
    """The largest change of a score under either damage."""
    both = (curve(measured, key, kind)[1] for kind in (TIME, SPACE))
    return max(abs(mean - means[0]) for means in both for mean in means)


EXPERIMENT = Experiment(claim=CLAIM, arms=arms(FULL), draw=draw)
