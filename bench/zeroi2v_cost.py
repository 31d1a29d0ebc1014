"""What ZeroI2V costs beyond CLIP's image tower, on one CPU thread: operations, seconds, parameters.

    python bench/zeroi2v_cost.py --json runs/zeroi2v_cost.json

The tower sees the frames of a clip one by one; ZeroI2V sees the clip, with adapters and with these
merged. All have the sizes of ViT-B/16 at fewer layers and pixels. They run in turn; medians of
processor seconds. The exit status says whether the bars are kept: merged, the features are those
with adapters to 1e-5 of the largest, the operations no more than those of the tower, the seconds
not a twentieth more.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kinema.files import write_text
from kinema.networks.clip import CLIPConfig, ImageTower, vit_b_16
from kinema.networks.zeroi2v import ZeroI2V
from kinema.networks.zeroi2v_config import ZeroI2VConfig, b_16
from kinema.nn.frames import to_frames
from kinema.noise import Noise
from kinema.planning.meters import flops

SMALLER = {"image_size": 112, "num_layers": 3}
CLOSE = 1e-5  # merged features to those with adapters, of the largest
BAR = 1.05  # times the tower's seconds, at most
TOWER, MERGED, ADAPTED = "image tower", "merged", "with adapters"
Calls = Mapping[str, tuple[nn.Module, Callable[[], Tensor]]]


def image_tower() -> ImageTower:
    """CLIP's at the smaller size, with random weights."""
    published = vit_b_16()
    image = replace(published.image, **SMALLER)
    tower = ImageTower(CLIPConfig(image=image, text=published.text, embed_width=1))
    tower.init_tokens()
    return tower


def adapted(config: ZeroI2VConfig) -> ZeroI2V:
    """ZeroI2V with adapters that do something, which at first they do not."""
    network = ZeroI2V(config)
    for name, parameter in network.named_parameters():
        if ".adapters." in name:
            nn.init.normal_(parameter, std=0.02)
    return network


def calls() -> Calls:
    """Each network, and the call that gives the features (T, D) of the frames of one clip."""
    config = replace(b_16(1, 8), **SMALLER)
    shape = (1, 3, config.num_frames, config.image_size, config.image_size)
    clip = Noise(0, (0,)).normal(shape, "clip")
    tower, before, after = image_tower(), adapted(config), ZeroI2V(config)
    after.load_state_dict(before.state_dict())
    after.merge_adapters()
    return {
        TOWER: (tower, partial(tower.eval(), to_frames(clip))),
        MERGED: (after, partial(after.eval().frame_features, clip)),
        ADAPTED: (before, partial(before.eval().frame_features, clip)),
    }


def medians(found: Calls, rounds: int) -> dict[str, float]:
    """Processor seconds of each call; a first round is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in found}
    for _ in range(1 + rounds):
        for name, (_, call) in found.items():
            begin = time.process_time()
            call()
            seconds[name].append(time.process_time() - begin)
    return {name: statistics.median(taken[1:]) for name, taken in seconds.items()}


@torch.inference_mode()
def main(words: list[str]) -> int:
    """Prints a line for each network; the exit status says whether the bars are kept."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path, help="where to write the figures; replaced")
    given = parser.parse_args(words)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    found = calls()
    seconds = medians(found, given.rounds)
    networks: dict[str, dict[str, Any]] = {
        name: {
            "parameters": sum(parameter.numel() for parameter in network.parameters()),
            "flops": flops(call),
            "seconds": round(seconds[name], 4),
            "ratio": round(seconds[name] / seconds[TOWER], 3),
        }
        for name, (network, call) in found.items()
    }
    for name, figures in networks.items():
        print(
            f"{name}: {figures['parameters']:,} parameters, {figures['flops'] / 1e9:.4f} GFLOP, "
            f"{1e3 * figures['seconds']:.0f} ms, ratio {figures['ratio']:.3f}"
        )
    before, after = found[ADAPTED][1](), found[MERGED][1]()
    apart = float((after - before).abs().max() / before.abs().max())
    bars = {
        "merging": apart < CLOSE,
        "operations": networks[MERGED]["flops"] <= networks[TOWER]["flops"],
        "seconds": networks[MERGED]["ratio"] <= BAR,
    }
    print(f"merging changes features by {apart:.1e} of the largest at most (bar {CLOSE:.0e})")
    print(f"bars kept: {', '.join(f'{name} {kept}' for name, kept in bars.items())}")
    if given.json:
        record = {"networks": networks, "merging": apart, "bars": bars}
        record["versions"] = {"kinema": version("kinema"), "torch": str(torch.__version__)}
        write_text(given.json, json.dumps(record, indent=1) + "\n", overwrite=True)
    return 0 if all(bars.values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
