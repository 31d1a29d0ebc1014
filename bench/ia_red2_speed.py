"""IA-RED^2: the time that dropped patches save, beside the same transformer with all of them.

    python bench/ia_red2_speed.py --model ia_red2@runs/ia_red2/model.safetensors

Both take the same held-out clips of the world `motions` in turn; medians of processor seconds are
compared, together with how many clips they tell rightly. That gathering gives what hiding gives is
checked in the same run.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

import kinema
from kinema.metrics.accuracy import hits
from kinema.systems.ia_red2_policy import up_to
from kinema.systems.ia_red2_training import POLICIES, policy_data

BAR = 1.2  # times as fast, at least
CLOSE = 1e-4  # of the largest logit


def seconds(run: Callable[[], Tensor]) -> tuple[float, Tensor]:
    """Processor seconds of a call, and what it gave."""
    begin = time.process_time()
    found = run()
    return time.process_time() - begin, found


@torch.inference_mode()
def main() -> None:
    """Prints a line of figures."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--model", required=True, help="ia_red2@FILE")
    parser.add_argument("--clips", type=int, default=128, help="held-out clips")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    model: Any = kinema.load(given.model)
    batch = policy_data(model, POLICIES["tiny"], "motions")[1](tuple(range(given.clips)))
    clips, classes = batch["clips"], batch["classes"]
    whole, fewer = partial(model.whole_logits, clips), partial(model.logits, clips)
    hidden, found = model.seen(clips, partial(up_to, len(model.policy.agents)))
    error = (hidden - fewer()).abs().max() / hidden.abs().max()
    assert error < CLOSE, f"gathering differs from hiding by {error:.1e}"
    times: dict[str, list[float]] = {"all": [], "kept": []}
    for _ in range(given.rounds):
        for name, run in (("all", whole), ("kept", fewer)):
            taken, logits = seconds(run)
            times[name].append(taken)
    middle = {name: statistics.median(taken) for name, taken in times.items()}
    ratio = middle["all"] / middle["kept"]
    right = {"all": hits(whole(), classes, 1).mean(), "kept": hits(logits, classes, 1).mean()}
    print(
        f"{given.clips} clips, {given.threads} threads: all {middle['all']:.3f} s, "
        f"top1 {right['all']:.3f}; kept {middle['kept']:.3f} s, top1 {right['kept']:.3f}; "
        f"a block computes {model.policy.cost(found.kept).mean():.3f} of the patches; "
        f"{ratio:.2f} times as fast (bar {BAR}): {'yes' if ratio >= BAR else 'no'}; "
        f"gathering against hiding {error:.1e}"
    )


if __name__ == "__main__":
    main()
