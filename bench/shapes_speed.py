"""How long a model of the world `shapes` takes for a clip, and how long the clip lasts.

    python bench/shapes_speed.py --model ltx_video:shapes

The model is loaded and has made one clip; then clips are made one at a time with the model's own
steps and guidance, sampling and decoding included. The exit status is 1 if the median clip takes
longer than it lasts.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from kinema.cli.machine import load_model
from kinema.files import write_text

PROMPT = "a small red circle moves left on a navy background"


def main() -> int:
    """Prints the median over the clips, its parts, and the duration of a clip; 1 if too slow."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, help="name:tag or name@file")
    parser.add_argument("--clips", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", default="auto", help="as for `kinema generate`")
    parser.add_argument("--json", type=Path, help="where to write the seconds; replaced")
    options = parser.parse_args()
    model = load_model(options.model, device="cpu", dtype=options.dtype, threads=options.threads)
    sampling = model.config.sampling
    model.generate(PROMPT, seed=0)
    whole, latents = [], []
    for seed in range(1, options.clips + 1):
        whole.append(seconds(lambda s: model.generate(PROMPT, seed=s), seed))
        latents.append(seconds(lambda s: model.generate(PROMPT, seed=s, output="latents"), seed))
    lasts = sampling.num_frames / sampling.fps
    print(
        f"{options.model}: {statistics.median(whole):.2f} s a clip, median of {options.clips} "
        f"({min(whole):.2f} to {max(whole):.2f}), {statistics.median(latents):.2f} s of it the "
        f"{sampling.steps} steps at guidance {sampling.guidance:g}; a clip lasts {lasts:.2f} s: "
        f"{lasts / statistics.median(whole):.2f} times real time"
    )
    if options.json:
        said = {"lasts": lasts, "seconds": whole, "latents": latents, "steps": sampling.steps}
        said |= {"threads": options.threads, "guidance": sampling.guidance}
        write_text(options.json, json.dumps(said, indent=1) + "\n", overwrite=True)
    return int(statistics.median(whole) >= lasts)


def seconds(make: Callable[[int], object], seed: int) -> float:
    """Time of one call."""
    begin = time.perf_counter()
    make(seed)
    return time.perf_counter() - begin


if __name__ == "__main__":
    sys.exit(main())
