"""SIGINT and SIGTERM in the middle: what was saved is said, nothing half-written stays."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from pathlib import Path

import pytest

PROMPT = "a small red circle moves left"
ENDLESS = 10_000_000
BOTH = pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["INT", "TERM"]
)


def files(folder: str) -> list[str]:
    return sorted(p.name for p in Path(folder).rglob("*") if p.is_file())


@BOTH
def test_while_a_clip_is_sampled(process, model, number, status):
    started = process(
        "generate", "a sparkly circle", "--model", model, "-o", "out/a.mp4", "--steps", ENDLESS
    )
    assert started.popen.stderr.readline().startswith("not in this model's vocabulary")
    sampling = time.monotonic() + 1
    answer = started.stop(number, when=lambda: time.monotonic() > sampling)
    assert answer.status == status
    assert answer.err == "kinema: stopped; nothing was written\n"
    assert files("out") == []


def test_between_many_clips_keeps_those_that_are_done(process, kinema, model):
    lines = [{"prompt": PROMPT}, {"prompt": PROMPT, "seed": 1}, {"prompt": PROMPT, "seed": 2}]
    Path("p.jsonl").write_text("\n".join(map(json.dumps, lines)))
    arguments = ("generate", "--prompts", "p.jsonl", "--model", model, "-o", "out", "--steps", 300)
    started = process(*arguments)
    name = started.popen.stdout.readline().strip()
    answer = started.stop(signal.SIGINT, when=lambda: True)
    assert answer.status == 130
    assert "of 3 clips are in out; the same command goes on" in answer.err
    assert name.startswith("out/0000-")
    done = int(answer.err.split()[2])
    assert len(files("out")) == 2 * done
    assert done < 3
    assert f"{done} of 3 clips in out are finished already" in kinema(*arguments).err
    assert len(files("out")) == 7


def test_training_saves_and_goes_on(process, kinema):
    options = (
        "--set",
        "recipe.report_every=1000000",
        "--set",
        "recipe.save_every=1000",
    )
    arguments = (
        "train",
        "ltx_video",
        "--preset",
        "nano",
        "--stage",
        "codec",
        "-o",
        "run",
        *options,
    )
    log = Path("run/log.jsonl")
    started = process(*arguments, "--set", f"recipe.steps={ENDLESS}")
    answer = started.stop(
        signal.SIGTERM, when=lambda: log.exists() and log.read_text().count("\n") > 2
    )
    assert answer.status == 130  # a run that was saved ends alike, whoever stopped it
    step = int(answer.err.split("stopped at step ")[1].split(";")[0])
    assert answer.err.endswith(
        f"kinema: stopped at step {step}; saved in run; the same command goes on\n"
    )
    assert not Path("run/model.safetensors").exists()
    answer = kinema(*arguments, "--set", f"recipe.steps={step + 1}")
    assert answer.status == 0, answer.err
    assert answer.err.startswith(f"going on from step {step} of {step + 1} in run\n")


def test_encoding_goes_on(process, kinema, model):
    arguments = ("encode", "shapes", "--model", model, "-o", "out", "--held-out", 1, "--batch", 8)
    started = process(*arguments, "--count", 100_000)
    first = Path("out/train/shard-00000.safetensors")
    answer = started.stop(signal.SIGTERM, when=first.exists)
    assert answer.status == 143
    # The file may be there a moment before it is counted.
    assert re.search(r"(clips|shards) are in out.*; the same command goes on", answer.err)
    before = first.stat().st_mtime_ns
    assert not [name for name in os.listdir("out/train") if "partial" in name]
    assert kinema(*arguments, "--count", 256).status == 0
    assert first.stat().st_mtime_ns == before
