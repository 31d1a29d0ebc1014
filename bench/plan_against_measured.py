"""`kinema plan` against measurement on this machine: peak memory and seconds, setting by setting.

python bench/plan_against_measured.py [NAME ...] [--threads N] [--json FILE]

Every setting is planned, then run in a process of its own, whose resident memory at its peak and
whose second run are measured. None was used to calibrate. The status is 1 if one of them is
further off than is allowed. Cuts of the published model have the published codec, a few blocks of
the transformer, and the word encoder in the place of T5; their weights are constants, which take as
long as any others.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import kinema.cli.clips  # noqa: F401 - a process of `kinema generate` has it too
from kinema.files import write_text
from kinema.nn.attention import attention
from kinema.noise import Noise
from kinema.planning.calibration import this_machine
from kinema.planning.meters import resident_peak
from kinema.planning.plan import of_generation
from kinema.planning.rehearsal import Rehearsal
from kinema.planning.stand_in import standing_for
from kinema.systems.ltx_video import LTXVideo
from kinema.systems.ltx_video_config import LTXVideoConfig
from kinema.systems.ltx_video_presets import PRESETS, WORDS

WEIGHT = 1e-3
BARS = {"memory": 0.15, "seconds": 0.30}  # relative errors that are allowed


@dataclass(frozen=True)
class Setting:
    """What is made: a clip, or where `layers` is 0, one decoding of its latents.

    Args:
        base: preset whose networks are taken.
        layers: of the transformer; None for all.
        dtype: of the weights.
        size: frames, height, width.
        steps: of the sampler.
    """

    base: str
    layers: int | None
    dtype: str
    size: tuple[int, int, int]
    steps: int = 2

    def config(self) -> LTXVideoConfig:
        """The configuration of the model."""
        config = PRESETS[self.base]()
        frames, height, width = self.size
        sampling = replace(
            config.sampling, num_frames=frames, height=height, width=width, steps=self.steps
        )
        if self.layers is None:
            return replace(config, sampling=sampling)
        sizes = {"caption_channels": WORDS.width, "num_layers": max(1, self.layers)}
        return replace(
            config,
            text=WORDS,
            transformer=replace(config.transformer, **sizes),
            sampling=replace(sampling, perturbed_blocks=(0,)),
        )

    def model(self, device: str) -> LTXVideo:
        """The model; without a transformer that is used, it holds the codec alone."""
        model = LTXVideo(self.config(), device="meta", dtype=getattr(torch, self.dtype))
        if self.layers == 0:
            del model.parts["transformer"], model.parts["text"]
        if device != "meta":
            model.parts.to_empty(device=device)
            with torch.no_grad():
                for tensor in (*model.parts.parameters(), *model.parts.buffers()):
                    tensor.fill_(WEIGHT)
        return model

    def run(self, model: LTXVideo) -> None:
        """Makes the clip, or decodes."""
        sampling = model.config.sampling
        if self.layers != 0:
            model.rehearse(sampling)
            return
        latents = torch.zeros(1, *model.latent_shape(sampling), device=model.device)
        model.decode(latents.to(model.dtype), noise=Noise(0, (0,)), sampling=sampling)


SETTINGS = {
    "shapes, bfloat16": Setting("shapes", None, "bfloat16", (25, 96, 96), steps=8),
    "shapes, larger, float32": Setting("shapes", None, "float32", (49, 192, 192), steps=4),
    "4 blocks of full, float32": Setting("full", 4, "float32", (25, 256, 384)),
    "2 blocks of full, bfloat16, longer": Setting("full", 2, "bfloat16", (49, 320, 512)),
    "codec 0.9.0, bfloat16": Setting("full", 0, "bfloat16", (17, 256, 256)),
    "codec 0.9.5, float32": Setting("0.9.5-2b", 0, "float32", (33, 192, 256)),
}


def planned(setting: Setting) -> dict[str, float]:
    """Bytes and seconds, as the plan says them."""
    model, here = setting.model("meta"), this_machine(anew=False, attention=attention)
    networks = dict(model.parts.items())
    with standing_for(here.device), Rehearsal(networks) as rehearsal:
        setting.run(model)
    plan = of_generation(networks, rehearsal, setting.steps)
    return {"memory": plan.peak(here), "seconds": plan.seconds(here), "process": here.reserved}


def measured(name: str, threads: int) -> dict[str, float]:
    """Bytes and seconds, as they are in a process that does nothing else."""
    command = [sys.executable, __file__, "--child", name, f"--threads={threads}"]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(answer.stdout)


def measure(setting: Setting) -> dict[str, float]:
    """What the child does."""
    model = setting.model("cpu")
    for _ in range(2):  # the first run chooses and compiles kernels
        begin = time.perf_counter()
        setting.run(model)
        seconds = time.perf_counter() - begin
    return {"memory": resident_peak(), "seconds": seconds}


def line(name: str, row: dict[str, Any]) -> str:
    """A setting as a line of a Markdown table."""
    plan, run = row["planned"], row["measured"]
    cells = (
        name,
        f"{plan['memory'] / 1e9:.2f}",
        f"{run['memory'] / 1e9:.2f}",
        f"{row['errors']['memory']:+.1%}",
        f"{plan['seconds']:.2f}",
        f"{run['seconds']:.2f}",
        f"{row['errors']['seconds']:+.1%}",
    )
    return "| " + " | ".join(cells) + " |"


def main() -> int:
    """One line for each setting, and the status: 0 if all are within what is allowed, else 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(SETTINGS), metavar="NAME")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if given.child:
        print(json.dumps(measure(SETTINGS[given.child])))
        return 0
    print("| setting | planned GB | measured GB | error | planned s | measured s | error |")
    print("|---" * 7 + "|")
    rows: dict[str, dict[str, Any]] = {}
    for name in given.names:
        plan, run = planned(SETTINGS[name]), measured(name, given.threads)
        errors = {what: plan[what] / run[what] - 1 for what in BARS}
        within = all(abs(errors[what]) <= bar for what, bar in BARS.items())
        rows[name] = {"planned": plan, "measured": run, "errors": errors, "kept": within}
        print(line(name, rows[name]), flush=True)
    kept = [row["kept"] for row in rows.values()]
    bars = " and ".join(f"{bar:.0%} of {what}" for what, bar in BARS.items())
    print(f"{sum(kept)} of {len(rows)} within {bars}")
    if given.json:
        versions = {"kinema": version("kinema"), "torch": str(torch.__version__)}
        found = {"threads": given.threads, "settings": rows, "bars": BARS, "versions": versions}
        write_text(given.json, json.dumps(found, indent=1) + "\n", overwrite=True)
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
