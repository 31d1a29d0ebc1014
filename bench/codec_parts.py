"""Memory and time of LTX-Video's codec on whole clips, in parts and in tiles, side by side.

    python bench/codec_parts.py --frames 97 --size 256x256
    python bench/codec_parts.py --job encode --world shapes --frames 25 --size 192x192 --side 64

Each way decodes or encodes the same clip in a process of its own, which says how much memory that
took beyond the model and the clip, and how many seconds of one processor. Ways take turns; figures
are medians. Noise stands for the clip, unless a world draws it: time and memory do not hang on it.
How far tiles are from the whole does; of noise it is more than of anything to be seen. Needs Linux.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from kinema.cli.machine import load_model
from kinema.cli.terminal import parse_size
from kinema.data.clips import ClipSize, split_of
from kinema.networks.ltx_vae import LTXVAE
from kinema.nn.tiles import Tiling
from kinema.noise import Noise
from kinema.worlds import WORLDS


def main() -> None:
    """Prints a line for each way: memory and time, as they are and as shares of the whole's."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="ltx_video:shapes", help="name:tag or name@file")
    parser.add_argument("--frames", type=int, default=97, help="of the clip")
    parser.add_argument("--size", default="256x256", help="height x width of the clip")
    parser.add_argument("--world", choices=WORLDS, help="that draws the clip; noise if left out")
    parser.add_argument("--parts", type=int, default=8, help="frames in the works at a time")
    parser.add_argument("--side", type=int, default=128, help="of the tiles, in pixels")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--job", choices=("encode", "decode"), default="decode")
    parser.add_argument("--way", help="do this one way in this process, and tell in JSON")
    parser.add_argument("--out", type=Path, help="where that way writes what it made")
    options = parser.parse_args()
    if options.way:
        print(json.dumps(once(options)))
        return
    compare(options)


def ways(options: argparse.Namespace) -> dict[str, Tiling | None]:
    """By name, the whole first."""
    return {
        "whole": None,
        "parts": Tiling(frames=options.parts, side=0),
        "tiles": Tiling(frames=options.parts, side=options.side),
    }


def compare(options: argparse.Namespace) -> None:
    """Runs every way in children, in turns."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in ways(options)}
    with tempfile.TemporaryDirectory() as folder:
        made = {name: Path(folder) / f"{name}.pt" for name in found}
        for _ in range(options.rounds):
            for name, runs in found.items():
                command = [sys.executable, __file__, *sys.argv[1:]]
                command += ["--way", name, "--out", str(made[name])]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                runs.append(json.loads(done.stdout))
        whole = torch.load(made["whole"])
        for name, runs in found.items():
            memory, seconds = (statistics.median(r[key] for r in runs) for key in ("mb", "seconds"))
            if name == "whole":
                most, longest = memory, seconds
            apart = (torch.load(made[name]) - whole).abs()
            print(
                f"{options.job} {name:6} {memory:8.0f} MB {memory / most:5.2f}  "
                f"{seconds:7.2f} s {seconds / longest:5.2f}  "
                f"largest difference {float(apart.max()):.1e}, mean {float(apart.mean()):.1e}"
            )


@torch.inference_mode()
def once(options: argparse.Namespace) -> dict[str, float]:
    """One way in this process: MB at the peak beyond what was there before, seconds."""
    torch.set_num_threads(1)
    model = load_model(options.model, device="cpu", dtype="float32", threads=1)
    codec: LTXVAE = model.codec
    job = prepared(codec, options)
    codec.tiling = ways(options)[options.way]
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # what was freed is given back
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before, begin = told("VmRSS"), time.process_time()
    made = job()
    seconds = time.process_time() - begin
    most = told("VmHWM") - before
    torch.save(made, options.out)
    return {"mb": most, "seconds": seconds}


def prepared(codec: LTXVAE, options: argparse.Namespace) -> Callable[[], Tensor]:
    """The job on its input."""
    height, width = parse_size(options.size)
    noise = Noise(0, (0,))
    if options.world:
        size = ClipSize(num_frames=options.frames, height=height, width=width, fps=12.0)
        drawn = split_of(options.world, "held_out", size).sample(0).clip
        clip = torch.from_numpy(drawn.to_float())[None]
    else:
        clip = noise.normal((1, 3, options.frames, height, width), "clip").clamp(-1, 1)
    if options.job == "encode":
        return lambda: codec.encode(clip)
    if options.world:
        latents = codec.encode(clip)
    else:
        latents = noise.normal((1, *codec.latent_shape(options.frames, height, width)), "latents")
    timed = codec.config.timestep_conditioning
    return lambda: codec.decode(latents, time=torch.tensor([0.05]) if timed else None)


def told(name: str) -> float:
    """What the system tells of this process, in MB: VmRSS in memory now, VmHWM the most so far."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(f"{name}:"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
