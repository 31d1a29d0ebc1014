"""IA-RED^2: the time that dropped patches save, and what that costs in accuracy.

    python bench/ia_red2_speed.py --model ia_red2@runs/ia_red2-policy/model.safetensors \
        --host ia_red2@runs/ia_red2/model.safetensors --json runs/ia_red2_speed.json

The model runs with the patches that it keeps and with all of them, on the same held-out clips of
the world `motions` in turn; medians of processor seconds are compared. How many clips it tells
rightly with those that it keeps is compared with the host, the DeiT before there were interpreters.
The exit status says whether both bars are kept. That gathering gives what hiding gives is checked
in the same run.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor

import kinema
from kinema.data.batches import Source
from kinema.data.latents import in_batches
from kinema.files import write_text
from kinema.metrics.accuracy import hits
from kinema.systems.ia_red2 import IARED2
from kinema.systems.ia_red2_policy import up_to
from kinema.systems.ia_red2_training import POLICIES, policy_data

FASTER = 1.2  # times as fast as with all patches, at least
WORSE = 0.007  # of the clips that the host tells rightly may be lost, at most
CLOSE = 1e-4  # of the largest logit
AT_ONCE = 128  # clips
Logits = Callable[[Tensor], Tensor]


def loaded(name: str) -> IARED2:
    """The model that is named."""
    model = kinema.load(name)
    assert isinstance(model, IARED2), f"{name} is no ia_red2"
    return model


def told(logits: Logits, unseen: Source, count: int) -> float:
    """The share of the first clips of a source that is told rightly."""
    right = 0.0
    for samples in in_batches(range(count), AT_ONCE):
        batch = unseen(samples)
        right += float(hits(logits(batch["clips"]), batch["classes"], 1).sum())
    return right / count


def seconds(calls: dict[str, Logits], clips: Tensor, rounds: int) -> dict[str, float]:
    """Median processor seconds of each call, in turn; a first round is not counted."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(1 + rounds):
        for name, call in calls.items():
            begin = time.process_time()
            call(clips)
            taken[name].append(time.process_time() - begin)
    return {name: statistics.median(values[1:]) for name, values in taken.items()}


def kept_of(model: IARED2, clips: Tensor) -> float:
    """The share of the patches that a block computes; gathering is checked against hiding."""
    hidden, found = model.seen(clips, partial(up_to, len(model.policy.agents)))
    error = float((hidden - model.logits(clips)).abs().max() / hidden.abs().max())
    assert error < CLOSE, f"gathering differs from hiding by {error:.1e}"
    return float(model.policy.cost(found.kept).mean())


@torch.inference_mode()
def main(words: list[str]) -> int:
    """Prints the figures; the exit status says whether both bars are kept."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--model", required=True, help="ia_red2@FILE of the stage policy")
    parser.add_argument("--host", required=True, help="ia_red2@FILE of the stage classifier")
    parser.add_argument("--clips", type=int, default=1024, help="that are told, held out")
    parser.add_argument("--rounds", type=int, default=15, help=f"over {AT_ONCE} of them")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="where to write the figures; replaced")
    given = parser.parse_args(words)
    torch.set_num_threads(given.threads)
    model, host = loaded(given.model), loaded(given.host)
    _, unseen = policy_data(model, POLICIES["tiny"], "motions")
    clips = unseen(tuple(range(AT_ONCE)))["clips"]
    calls: dict[str, Logits] = {"all": model.whole_logits, "kept": model.logits}
    taken = seconds(calls, clips, given.rounds)
    top1 = {
        name: told(logits, unseen, given.clips)
        for name, logits in {**calls, "host": host.whole_logits}.items()
    }
    ratio, lost = taken["all"] / taken["kept"], top1["host"] - top1["kept"]
    bars = {"speed": ratio >= FASTER, "accuracy": lost <= WORSE}
    figures = {
        "clips": given.clips,
        "threads": given.threads,
        "top1": top1,
        "seconds": taken,
        "patches": kept_of(model, clips),
        "faster": ratio,
        "lost": lost,
        "bars": bars,
        "versions": {"kinema": version("kinema"), "torch": str(torch.__version__)},
    }
    print(
        f"{ratio:.2f} times as fast (bar {FASTER}), a block computes {figures['patches']:.3f} of "
        f"the patches; top1 of {given.clips} clips: host {top1['host']:.4f}, all {top1['all']:.4f},"
        f" kept {top1['kept']:.4f}, lost {lost:.4f} (bar {WORSE}): "
        f"{'kept' if all(bars.values()) else 'MISSED'}"
    )
    if given.json:
        write_text(given.json, json.dumps(figures, indent=1) + "\n", overwrite=True)
    return 0 if all(bars.values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
