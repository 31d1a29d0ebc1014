"""`kinema train MODEL --data FOLDER`: from a person's clips to a model that knows them."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from kinema.cli.train import preset_of
from kinema.files import LOCK, alone
from kinema.systems.ltx_video import LTXVideo
from kinema.worlds import load as load_world
from kinema.worlds.folder import write_folder

QUICK = ("--set", "recipe.replay_clips=4")


@pytest.fixture
def clips(in_a_fresh_folder) -> Path:
    """Four drawn clips, whose captions have a word that the model does not know."""
    size = {"num_frames": 9, "height": 32, "width": 32, "fps": 12.0}
    write_folder(load_world("shapes", seed=5, split="train", **size), range(4), "clips")
    for path in Path("clips").iterdir():
        if path.name.endswith((".jsonl", ".png", ".json")):
            path.unlink()
    for path in Path("clips").glob("*.txt"):
        path.write_text(f"glimmering: {path.read_text()}")
    return Path("clips")


def test_from_a_folder_to_a_clip(kinema, model, clips):
    tuned = ("train", f"ltx_video@{model}", "--data", clips, "-o", "run")
    answer = kinema(*tuned, "--json")
    assert answer.status == 0, answer.err
    assert answer.json["model"] == "run/model.safetensors"
    assert answer.json["steps"] == 8
    said = answer.err.splitlines()
    assert said[0] == "words: 1 new: glimmering"
    assert said[1].startswith("data: 4 clips and 0 pictures give 4 windows at 12 fps: 4 of 9 x 32")
    assert any(line.startswith("cost: 8 steps of ") for line in said)
    run = json.loads(Path("run/run.json").read_text())
    assert (run["stage"], run["preset"], run["data"]) == ("finetune", "nano", "clips")
    made = ("generate", "a glimmering circle", "--model", "run/model.safetensors", "-o", "a.mp4")
    answer = kinema(*made)
    assert (answer.status, answer.err) == (0, "")
    again = kinema("train", "run/model.safetensors", "--data", clips, "-o", "more", *QUICK)
    assert again.status == 0, again.err
    assert "words:" not in again.err
    assert kinema(*tuned).err == "the run in run is finished, after 8 steps\n"


def test_a_model_with_settings_of_its_own_is_tuned_by_the_recipe_of_its_sizes(kinema, model):
    made = LTXVideo.from_pretrained(model)
    made.config = replace(made.config, sampling=replace(made.config.sampling, guidance=5.0))
    made.save_pretrained("guided.safetensors")
    train = ("train", "--stage", "finetune", "--dry-run")
    plan = kinema(*train, "guided.safetensors").json
    assert (plan["preset"], plan["config"]["sampling"]["guidance"]) == ("nano", 5.0)
    smaller = replace(made.config, transformer=replace(made.config.transformer, num_layers=1))
    LTXVideo(smaller).save_pretrained("smaller.safetensors")
    error = kinema(*train, "smaller.safetensors").error
    assert error == "smaller.safetensors has sizes of its own; name a recipe with --preset"


def test_a_version_is_not_taken_for_another_with_the_same_networks():
    for name in ("0.9.5-2b", "0.9.6-2b-dev", "0.9.6-2b-distilled"):
        assert preset_of(LTXVideo, LTXVideo.PRESETS[name]()) == name


def test_what_another_process_trains_is_left_alone(kinema, model, clips):
    with alone("run"):
        error = kinema("train", f"ltx_video@{model}", "--data", clips, "-o", "run").error
        assert error == "another process writes in run; wait for it, or choose another folder"
        assert os.listdir("run") == [LOCK]  # neither run.json nor latents


def test_adapters_are_a_small_file_that_generate_adds(kinema, model, clips):
    tuned = ("train", f"ltx_video@{model}", "--data", clips, "--lora", 2, "-o", "run")
    answer = kinema(*tuned, "--set", "recipe.lora_rate=0.03", "--set", "recipe.replay=0.5", *QUICK)
    assert (answer.status, answer.out) == (0, "run/lora.safetensors\n"), answer.err
    file = Path("run/lora.safetensors")
    assert file.stat().st_size < Path(model).stat().st_size / 5
    assert not Path("run/model.safetensors").exists()
    prompt = ("generate", "a glimmering circle", "--model", model)
    for name, more in (
        ("plain", ()),
        ("full", ("--lora", file)),
        ("one", ("--lora", f"{file}:1")),
        ("half", ("--lora", f"{file}:0.5")),
        ("none", ("--lora", f"{file}:1", "--lora", f"{file}:-1")),
    ):
        answer = kinema(*prompt, *more, "-o", f"{name}.mp4")
        assert answer.status == 0, answer.err
        assert ("ignored: glimmering" in answer.err) == (name == "plain")
    content = {name: Path(f"{name}.mp4").read_bytes() for name in ("plain", "full", "one", "half")}
    assert content["full"] == content["one"]
    assert len(set(content.values())) == 3
    record = json.loads(Path("half.json").read_text())
    assert [lora["scale"] for lora in record["lora"]] == [0.5]
    assert record["lora_files"] == ["run/lora.safetensors"]
    assert "--lora run/lora.safetensors:0.5" in record["command"]
    merged = LTXVideo.from_pretrained(model)
    merged.merge_lora(file, scale=1.0)
    merged.save_pretrained("merged.safetensors")
    answer = kinema(
        "generate", "a glimmering circle", "--model", "merged.safetensors", "-o", "m.mp4"
    )
    assert answer.status == 0, answer.err
    assert Path("m.mp4").read_bytes() == content["full"]


@pytest.mark.parametrize("more", [pytest.param((), marks=pytest.mark.slow), ("--lora", 2)])
def test_a_killed_run_ends_as_if_it_had_not_been(kinema, process, model, clips, more):
    steps = ("--set", "recipe.steps=60", "--set", "recipe.report_every=60", "--threads", 1)
    tuned = ("train", f"ltx_video@{model}", "--data", clips, *more, *steps)
    killed = process(*tuned, "-o", "killed")
    begun = lambda: any(Path("killed").glob("step-*"))  # noqa: E731
    assert killed.stop(signal.SIGKILL, begun).status == -signal.SIGKILL
    result = "lora.safetensors" if more else "model.safetensors"
    assert not (Path("killed") / result).exists()
    answer = kinema(*tuned, "-o", "killed")
    assert answer.status == 0, answer.err
    assert answer.err.startswith("going on from step ")
    assert kinema(*tuned, "-o", "whole").status == 0
    assert (Path("killed") / result).read_bytes() == (Path("whole") / result).read_bytes()


def test_every_bad_file_has_a_line(kinema, model, clips):
    (clips / "000001.txt").unlink()
    (clips / "000002.mp4").write_bytes(b"no clip")
    tuned = ("train", f"ltx_video@{model}", "--data", clips, "-o", "run")
    answer = kinema(*tuned)
    assert answer.status == 2
    assert answer.out == ""
    *lines, last = [line for line in answer.err.splitlines() if not line.startswith("words:")]
    assert lines == [
        "clips/000001.mp4 has no caption; write it to 000001.txt beside it",
        "clips/000002.mp4 is not a video, sound or picture file, or is cut short; check that it "
        "plays, or fetch it again",
    ]
    assert last == (
        "kinema: error: 2 of 4 files cannot be used, as told above; mend or remove them, or train "
        "on the others with --set recipe.skip_broken=true"
    )
    answer = kinema(*tuned, "--set", "recipe.skip_broken=true")
    assert answer.status == 0, answer.err
    assert "data: 2 clips" in answer.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("train", "ltx_video", "--data", "clips"), "name a stage: --stage codec or --stage"),
        (
            ("train", "ltx_video", "--preset", "nano", "--stage", "finetune", "--data", "clips"),
            "fine-tuning goes on from a model: name ltx_video:TAG or ltx_video@FILE",
        ),
        (("train", "MODEL", "--data", "empty"), "name a stage: --stage"),
        (("train", "MODEL", "--stage", "finetune"), "name what to learn from: --data FOLDER"),
        (
            ("train", "MODEL", "--stage", "finetune", "--data", "nowhere"),
            "there is no folder nowhere",
        ),
        (
            ("train", "MODEL", "--stage", "codec", "--lora", 2),
            "stage codec of ltx_video trains no adapters",
        ),
        (
            ("train", "MODEL", "--data", "clips", "--set", "recipe.replay_form=shapes"),
            "did you mean 'replay_from'?",
        ),
        (("generate", "a", "--model", "MODEL", "--lora", "no.safetensors"), "there is no file no"),
        (("generate", "a", "--model", "MODEL", "--lora", "MODEL:big"), "not of the form FILE or"),
        (("generate", "a", "--model", "MODEL", "--lora", "MODEL"), "which is no adapter of a"),
    ],
)
def test_what_cannot_be_asked_for(kinema, model, clips, arguments, said):
    Path("empty").mkdir()
    named = [str(word).replace("MODEL", str(model)) for word in arguments]
    assert said in kinema(*named).error


def test_a_run_keeps_to_its_clips(kinema, model, clips):
    tuned = ("train", f"ltx_video@{model}", "--data", clips, "-o", "run")
    assert kinema(*tuned, "--set", "recipe.steps=2").status == 0
    (clips / "000003.txt").write_text("something else")
    answer = kinema(*tuned, "--set", "recipe.steps=4")
    assert answer.status == 2
    assert "000003.mp4 changed since the run in run began; use another --output" in answer.err
