"""`kinema train`, `encode` and `draw`: from nothing to a model that generates."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from kinema.cli.main import main
from kinema.data.latents import LatentCache
from kinema.systems.ltx_video import LTXVideo
from kinema.weights.digest import digest

NANO = ("train", "ltx_video", "--preset", "nano")
CODEC = (*NANO, "--stage", "codec", "--output", "codec")
GENERATOR = (*NANO, "--stage", "generator", "--output", "generator", "--data", "latents")
STEPS = ("--set", "recipe.steps=5", "--set", "recipe.report_every=5")
START = ("--start-from", "codec/model.safetensors")


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of the codec stage."""
    folder = tmp_path_factory.mktemp("runs") / "codec"
    assert main([*CODEC, *STEPS, "--output", str(folder)]) == 0
    return folder


@pytest.fixture
def codec(trained, in_a_fresh_folder) -> Path:
    """The model of that run, in a copy of its folder that the test may change."""
    shutil.copytree(trained, "codec")
    return Path("codec/model.safetensors")


def test_from_nothing_to_a_clip(kinema, codec):
    encoding = ("encode", "shapes", "--model", codec, "--output", "latents")
    assert kinema(*encoding, "--count", 6, "--held-out", 4, "--batch", 4).status == 0
    answer = kinema(*GENERATOR, *START, "--json")
    assert answer.status == 0, answer.err
    assert answer.json["steps"] == 8
    assert answer.json["held_out/loss"] > 0
    made = answer.json["model"]
    trained, before = LTXVideo.from_pretrained(made), LTXVideo.from_pretrained(codec)
    assert digest(trained.parts["codec"]) == digest(before.parts["codec"])
    assert digest(trained.parts["transformer"]) != digest(before.parts["transformer"])
    assert kinema("generate", "a red circle", "--model", made, "-o", "a.mp4").status == 0
    tuned = ("train", f"ltx_video@{made}", "--stage", "generator", "--data", "latents")
    answer = kinema(*tuned, "--set", "recipe.steps=1", "-o", "tuned")
    assert answer.status == 0, answer.err


def test_what_a_run_was_is_written_down(kinema, codec):
    run = json.loads(Path("codec/run.json").read_text())
    assert run["command"].startswith("kinema train ltx_video --preset nano --stage codec")
    assert run["recipe"]["steps"] == 5
    parts = LTXVideo.from_pretrained(codec).parts.items()
    sizes = {role: sum(p.numel() for p in part.parameters()) for role, part in parts}
    assert run["parameters"] == sizes
    assert (sizes["transformer"], sizes["codec"]) == (31376, 103664)
    assert (run["seed"], run["stage"]) == (0, "codec")
    assert {"torch", "kinema", "threads"} <= run.keys()


def test_a_finished_run_says_so_and_a_longer_one_goes_on(kinema, codec):
    before = codec.read_bytes()
    answer = kinema(*CODEC, *STEPS)
    assert (answer.status, answer.out) == (0, "codec/model.safetensors\n")
    assert answer.err == "the run in codec is finished, after 5 steps\n"
    assert codec.read_bytes() == before
    answer = kinema(*CODEC, *STEPS, "--set", "recipe.steps=6")
    assert answer.err.startswith("going on from step 5 of 6 in codec\n")
    assert codec.read_bytes() != before


def test_a_finished_run_without_reports_tells_what_there_is(kinema, codec):
    log = Path("codec/log.jsonl")
    lines = [line for line in log.read_text().splitlines() if "held_out" not in line]
    log.write_text("\n".join(lines) + "\n")
    answer = kinema(*CODEC, *STEPS, "--json")
    assert answer.json == {"model": "codec/model.safetensors", "steps": 5}


def test_the_seed_fixes_the_weights(kinema, codec):
    assert kinema(*CODEC, *STEPS, "-o", "same").status == 0
    assert kinema(*CODEC, *STEPS, "-o", "other", "--seed", 1).status == 0
    assert Path("same/model.safetensors").read_bytes() == codec.read_bytes()
    assert Path("other/model.safetensors").read_bytes() != codec.read_bytes()


def test_a_warm_start_takes_the_trained_roles_too(kinema, codec):
    options = ("--seed", 1, *STEPS, "--set", "recipe.warmup=1000000")
    said = (
        "stage codec starts the codec anew; pass --warm to go on with what codec/model.safetensors"
    )
    for name, more in (("cold", ()), ("warm", ("--warm",))):
        answer = kinema(*CODEC, *options, *START, *more, "-o", name)
        assert answer.status == 0
        assert answer.err.startswith(said) == (name == "cold")
    start, cold, warm = (
        LTXVideo.from_pretrained(f"{name}/model.safetensors")
        .parts["codec"]
        .decoder.conv_in.conv.weight
        for name in ("codec", "cold", "warm")
    )
    assert (warm - start).abs().max() < 1e-4
    assert (cold - start).abs().max() > 1e-2


def test_a_dry_run_writes_nothing(kinema):
    answer = kinema(*CODEC, "--dry-run", "--set", "recipe.steps=7")
    assert answer.json["recipe"]["steps"] == 7
    assert answer.json["trains"] == ["codec"]
    full = kinema("train", "ltx_video", "--preset", "full", "--stage", "generator", "--dry-run")
    assert full.json["parameters"]["transformer"] == 1_923_385_472
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (GENERATOR, "stage generator builds on stage refine: pass --start-from"),
        ((*CODEC, "--warm"), "pass --start-from FILE too"),
        ((*GENERATOR, "--start-from", "no.safetensors"), "no such file or folder"),
        ((*GENERATOR, *START), "latents/train holds no latents; `kinema encode` writes them"),
        ((*CODEC, "--set", "recipe.step=3"), "did you mean 'steps'?"),
        ((*CODEC, "--set", "seed"), "not of the form name=value"),
        ((*CODEC, "--set", "sampling.fps=11"), "config.sampling.fps: 12.0, not 11.0; use another"),
        ((*CODEC, *STEPS, "--seed", 1), "has another seed: 0, not 1"),
        (CODEC, "has another recipe.report_every: 5, not 4"),
        ((*CODEC, *STEPS, "--set", "recipe.steps=3"), "has done 5 steps, more than 3"),
        ((*CODEC, *STEPS, *START), "has another start_from_sha256"),
        ((*CODEC, *STEPS, "--data", "shape"), "has another data"),
        ((*CODEC, "-o", "new", "--data", "shape"), "unknown world 'shape'; did you mean 'shapes'?"),
        ((*CODEC, "-o", "new", "--set", "text.num_layers=2", *START), "cannot start from a text"),
        ((*CODEC, "--preset", "tiny"), "use another --output"),
        (
            ("train", "codec/model.safetensors", "--preset", "nan", "--stage", "codec"),
            "unknown preset of ltx_video 'nan'; did you mean 'nano'?",
        ),
    ],
)
def test_what_does_not_fit_a_run(kinema, codec, arguments, said):
    before = {path: path.read_bytes() for path in Path("codec").rglob("*") if path.is_file()}
    assert said in kinema(*arguments).error
    assert before == {
        path: path.read_bytes() for path in Path("codec").rglob("*") if path.is_file()
    }


def test_a_folder_that_lost_its_checkpoints_or_its_run(kinema, codec):
    (Path("codec") / "run.json").unlink()
    assert "has checkpoints but no whole run.json" in kinema(*CODEC).error
    for path in Path("codec").glob("step-*"):
        path.unlink()
    assert "holds a model.safetensors but no checkpoint" in kinema(*CODEC).error


def test_encode_writes_both_splits_and_keeps_what_is_there(kinema, model):
    arguments = ("encode", "shapes", "--model", model, "-o", "out", "--held-out", 2, "--json")
    answer = kinema(*arguments, "--count", 3, "--batch", 2)
    assert [json.loads(line) for line in answer.out.splitlines()] == [
        {"folder": "out/train", "clips": 3},
        {"folder": "out/held_out", "clips": 2},
    ]
    codec = digest(LTXVideo.from_pretrained(model).parts["codec"])
    cache = LatentCache(Path("out/train"), codec=codec, seed=0)
    assert cache((0, 1))["latents"].shape == (2, 8, 2, 2, 2)
    assert json.loads(cache.key.source)["split"] == "train"
    assert cache((0, 1))["stills"].shape == (2, 3, 8, 2, 2)
    assert cache((0, 1))["still_frames"].shape == (2, 3)
    shards = {path: path.stat().st_mtime_ns for path in Path("out").rglob("shard*")}
    assert kinema(*arguments, "--count", 3).status == 0
    assert shards == {path: path.stat().st_mtime_ns for path in Path("out").rglob("shard*")}


def test_encode_refuses_the_cache_of_another_codec(kinema, model, codec):
    options = ("-o", "out", "--count", 2, "--held-out", 1)
    assert kinema("encode", "shapes", "--model", model, *options).status == 0
    assert (
        "out/train holds latents with codec="
        in kinema("encode", "shapes", "--model", codec, *options).error
    )
    assert "unknown world 'shape'" in kinema("encode", "shape", "--model", model, "-o", "b").error


def test_draw_writes_clips_with_their_labels(kinema):
    arguments = ("draw", "shapes", "out", "--count", 2, "--size", "32x48", "--num-frames", 5)
    answer = kinema(*arguments)
    assert (answer.status, answer.out) == (0, "2 clips in out\n")
    lines = Path("out/metadata.jsonl").read_text().splitlines()
    assert [json.loads(line)["index"] for line in lines] == [0, 1]
    assert Path("out/000001.mp4").exists()
    assert kinema(*arguments).status == 0
    assert "holds clips of another world" in kinema(*arguments, "--seed", 1).error
    assert kinema(*arguments, "--seed", 1, "--overwrite").status == 0
