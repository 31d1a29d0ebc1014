"""How scores answer to planted damage: blur, noise, frames held, frames shuffled, drift of color.

    python bench/score_corruptions.py docs/metrics

Two draws of the world `shapes`, 16 clips each of 16 x 48 x 48. The second is damaged more and more
and scored: beside the first (fvd-tiny, fvd-rand, stream), or beside itself undamaged (psnr, ssim,
tof).
Writes FOLDER/corruptions.png, one panel for each score, and FOLDER/corruptions.json.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import torch
from torch import Tensor

from kinema import worlds
from kinema.metrics import corruptions, measures
from kinema.metrics.definitions import DEFINITIONS
from kinema.noise import Noise

CLIPS, FRAMES, SIDE = 16, 16, 48
LEVELS = (0.0, 1 / 3, 2 / 3, 1.0)
NOISE = Noise(0, tuple(range(CLIPS)))
RAMP = torch.linspace(0, 1, FRAMES)
# Of clips (N, F, 3, H, W) in [0, 1], at a strength in (0, 1].
DAMAGE: dict[str, Callable[[Tensor, float], Tensor]] = {
    "blur": lambda x, s: corruptions.blurred(x, 2 * s),
    "noise": lambda x, s: corruptions.noisy(x, 0.2 * s, NOISE),
    "frames held": lambda x, s: corruptions.stuttering(x, 0.9 * s, NOISE),
    "frames shuffled": lambda x, s: corruptions.shuffled(x, int(FRAMES * s), NOISE),
    "drift of color": lambda x, s: corruptions.tinted(x, 0.3 * s * RAMP),
}
SETS = ("fvd-tiny", "fvd-rand", "stream")
PAIRS = ("psnr", "ssim", "tof")


def clips(seed: int) -> Tensor:
    """Clips (N, F, 3, H, W) uint8."""
    world = worlds.load(
        "shapes", seed=seed, split="all", num_frames=FRAMES, height=SIDE, width=SIDE, fps=8
    )
    drawn = [torch.from_numpy(world.sample(i).clip.frames) for i in range(CLIPS)]
    return torch.stack(drawn).movedim(-1, 2)


def answers(
    real: Tensor, clean: Tensor, sets: Sequence[str], pairs: Sequence[str]
) -> dict[str, dict[str, list[float]]]:
    """{score: {damage: its values over the levels}}, of scores of sets and of pairs."""
    made: dict[str, measures.Measure] = {
        name: DEFINITIONS[name].measure({}, "cpu") for name in (*sets, *pairs)
    }
    statistics = {
        name: DEFINITIONS[name].formula.statistic(features(made[name], real), Noise(0, (0,)))
        for name in sets
    }

    def scored(x: Tensor) -> dict[str, float]:
        values: dict[str, float] = {}
        for name in sets:
            formula = DEFINITIONS[name].formula
            numbers = statistics[name](features(made[name], x)).tolist()
            labels = (f"{name}.{label}" if label else name for label in formula.labels)
            values |= dict(zip(labels, numbers))
        for name in pairs:
            per_clip = [made[name].run(a, b) for a, b in zip(clean, x)]
            values[name] = float(torch.stack(per_clip).mean())
        return values

    undamaged = scored(clean)
    found: dict[str, dict[str, list[float]]] = {
        score: {damage: [value] for damage in DAMAGE} for score, value in undamaged.items()
    }
    for damage, change in DAMAGE.items():
        for level in LEVELS[1:]:
            x = change(clean.float() / 255, level).clamp(0, 1)
            for score, value in scored((x * 255).round().to(torch.uint8)).items():
                found[score][damage].append(value)
        print(damage, flush=True)
    return found


def features(measure: measures.Measure, x: Tensor) -> Tensor:
    """(N, ...) of each clip."""
    return torch.stack([measure.run(clip) for clip in x])


def draw(found: dict[str, dict[str, list[float]]], path: Path) -> None:
    """A panel for each score."""
    figure, panels = plt.subplots(2, -(-len(found) // 2), figsize=(14, 6), squeeze=False)
    for axes, (score, by_damage) in zip(panels.flat, found.items()):
        for damage, values in by_damage.items():
            axes.plot(LEVELS, values, "o-", ms=3, lw=1.2, label=damage)
        axes.set(title=score, xlabel="strength of the damage")
        axes.grid(alpha=0.3)
    panels.flat[0].legend(fontsize=7)
    for axes in list(panels.flat)[len(found) :]:
        axes.axis("off")
    figure.tight_layout()
    figure.savefig(path, dpi=100)


def main() -> None:
    """Numbers and picture."""
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    found = answers(clips(0), clips(1), SETS, PAIRS)
    (folder / "corruptions.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    draw(found, folder / "corruptions.png")
    for score, by_damage in found.items():
        for damage, values in by_damage.items():
            print(f"{score:10} {damage:16} " + "  ".join(f"{value:8.4g}" for value in values))


if __name__ == "__main__":
    main()
