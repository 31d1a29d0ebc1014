"""How well the codec of a model keeps clips of the world `shapes`: PSNR by the kind of ground.

    python bench/shapes_codec.py --model ltx_video:shapes

Encodes held-out clips of the world's second level without noise, decodes them as the decoder is
told to for clean latents, and prints the mean PSNR over the clips of each kind of ground, in all
pixels. Exits with 1 where a bar is missed.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from shapes_bars import SIZE, Verdict, at_least, conclude

from kinema.cli.machine import load_model
from kinema.data.batches import WorldClips
from kinema.noise import Noise
from kinema.systems.ltx_video import LTXVideo
from kinema.systems.ltx_video_recipes import CODEC
from kinema.training.reconstruction import psnr
from kinema.training.vae_gan import VAEGAN
from kinema.worlds import load

SEED = 516
BATCH = 8
PATTERNED = ("stripes", "checker", "dots")
BARS = {"flat": 30.0, "gradient": 30.0, "patterned": 27.0}  # dB at least


def main(arguments: Sequence[str]) -> int:
    """Prints a line for each kind of ground, and one for all patterns; 1 if a bar is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, help="name:tag or name@file")
    parser.add_argument("--count", type=int, default=256, help="of clips")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--json", type=Path, help="where to write the figures; replaced")
    options = parser.parse_args(arguments)
    model = load_model(options.model, device="cpu", dtype="float32", threads=options.threads)
    found = measured(model, options.count)
    table = {kind: summary(kind, values) for kind, values in sorted(found.items())}
    table["patterned"] = summary("patterned", (x for kind in PATTERNED for x in found[kind]))
    figures = {"model": options.model, "clips": options.count, "grounds": table}
    return conclude(figures, verdicts(table), options.json)


@torch.inference_mode()
def measured(model: LTXVideo, count: int) -> dict[str, list[float]]:
    """PSNR in dB of clips by their ground."""
    source = WorldClips(load("shapes:level=2", seed=SEED, split="held_out", **SIZE))
    objective = VAEGAN(model.codec, CODEC["shapes"].loss).eval()
    found: dict[str, list[float]] = {}
    for start in range(0, count, BATCH):
        samples = tuple(range(start, min(start + BATCH, count)))
        batch = source(samples)
        latents = model.codec.encode(batch["clips"])
        clean = torch.zeros(len(samples))
        decoded = objective.decode_noised(latents, clean, Noise(0, samples)).clamp(-1, 1)
        for labels, value in zip(batch["labels"], psnr(decoded, batch["clips"]).tolist()):
            found.setdefault(labels["background_kind"], []).append(value)
    return found


def summary(kind: str, values: Iterable[float]) -> dict[str, float]:
    """Prints and gives mean, standard error and number."""
    listed = list(values)
    mean, error = statistics.fmean(listed), statistics.stdev(listed) / len(listed) ** 0.5
    print(f"{kind:10} {mean:6.2f} dB +- {error:.2f}, {len(listed)} clips")
    return {"psnr": mean, "standard_error": error, "clips": len(listed)}


def verdicts(table: Mapping[str, Mapping[str, float]]) -> dict[str, Verdict]:
    """Of each bar."""
    return {f"dB of {kind}": at_least(table[kind]["psnr"], bar) for kind, bar in BARS.items()}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
