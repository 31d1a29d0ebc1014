"""`kinema score top1,top5` and `kinema export`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from kinema import registry
from kinema.cli.accuracy import NAMES
from kinema.data.clips import ClipSize, split_of
from kinema.metrics.accuracy import ACCURACIES
from kinema.worlds.motion_classes import CLASSES

NAME = "tnt"
SIZE = ClipSize(num_frames=10, height=40, width=48, fps=8.0)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A nano model, as the command line names it, and a folder of classes with a list of it."""
    folder = tmp_path_factory.mktemp("data")
    system = registry.system_class(NAME)
    torch.manual_seed(0)
    model = system(system.PRESETS["nano"]())
    model.reset_classifier(CLASSES)
    model.save_pretrained(folder / "model.safetensors")
    world, lines = split_of("motions", "train", SIZE), []
    for motion in ("up left", "grow"):
        (folder / "clips" / motion).mkdir(parents=True)
        for index in range(3):
            name = f"{motion}/{index}.mp4"
            world.sample_of(index, motion).clip.write(folder / "clips" / name)
            lines.append(f"{name},{motion.replace(' ', '_')},3,0")
    (folder / "list.csv").write_text("\n".join([*lines, "grow/9.mp4,grow,3,0"]))
    (folder / "names.txt").write_text("\n".join(f"{i},{name}" for i, name in enumerate(CLASSES)))
    return f"{NAME}@{folder / 'model.safetensors'}", folder


def test_names_are_those_of_the_metric():
    assert tuple(ACCURACIES) == NAMES


def test_a_list_is_scored_with_a_table_of_classes(kinema, data):
    model, folder = data
    options = ("--system", model, "--cache", "cache", "--root", folder / "clips")
    answer = kinema("score", "top1,top5", folder / "list.csv", *options)
    assert answer.status == 0
    assert answer.err.startswith(f"left out: {folder / 'list.csv'}:7: there is no file")
    lines = answer.out.splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["score", "top1", "top5"]
    assert lines[4].split()[:3] == ["class", "clips", "top1"]
    assert {line.split("  ")[0] for line in lines[5:]} == {"up left", "grow"}
    found = kinema("score", "top1,top5", folder / "list.csv", *options, "--json", "-o", "a.json")
    (first, fifth) = found.json["scores"]
    assert first["passport"]["num_real"] == 6
    assert first["passport"]["skipped_real"] == 1
    assert first["passport"]["versions"]["device"] == "cpu"
    assert first["value"] <= fifth["value"]
    assert [row["clips"] for row in found.json["classes"]] == [3, 3]
    assert json.loads(Path("a.json").read_text())["scores"] == found.json["scores"]
    same = kinema("score", "compare", "a.json", "a.json")
    assert same.out.count("overlap") == 2


def test_a_folder_of_classes_is_a_list_and_labels_may_be_given(kinema, data):
    model, folder = data
    options = ("--system", model, "--cache", "cache", "--json")
    found = kinema("score", "top1", folder / "clips", *options)
    named = kinema("score", "top1", folder / "clips", *options, "--labels", folder / "names.txt")
    assert named.json["scores"] == found.json["scores"]


def test_a_table_is_printed_where_no_file_is_named(kinema, data):
    model, folder = data
    clip = folder / "clips" / "grow" / "0.mp4"
    answer = kinema("run", model, clip)
    assert answer.status == 0, answer.err
    lines = answer.out.splitlines()
    assert lines[0].split() == ["label", "probability"]
    assert len(lines) == 11
    found = kinema("run", model, clip, "--json").json
    assert (found["job"], found["inputs"]) == ("classify", {"clip": str(clip)})
    best = found["results"]["classes"][0]
    assert lines[1].split("  ")[0] == best["label"]
    assert not [*Path().iterdir()]


def test_a_clip_is_not_printed(kinema, tmp_path):
    arguments = ("run", f"ia_red2@{tmp_path / 'none'}", "explain", "clip.mp4")
    assert kinema(*arguments).error == "say where to write the heat: --output FOLDER"


def test_classes_get_the_names_of_a_file(kinema, data):
    model, folder = data
    names = [f"name {number}" for number in range(len(CLASSES))]
    Path("names.txt").write_text("\n".join(names))
    clip = folder / "clips" / "grow" / "0.mp4"
    answer = kinema("run", model, clip, "--labels", "names.txt", "--json")
    assert answer.status == 0, answer.err
    own = kinema("run", model, clip, "--json").json["results"]["classes"]
    expected = [{**row, "label": names[CLASSES.index(row["label"])]} for row in own]
    assert answer.json["results"]["classes"] == expected
    Path("two.txt").write_text("a\nb\n")
    said = kinema("run", model, clip, "--labels", "two.txt").error
    assert said == "two.txt: there are 2 labels, but network.num_classes is 12"
    said = kinema("run", "survey_video_diffusion", "attention", "--labels", "two.txt").error
    assert said == "survey_video_diffusion tells no classes apart; leave --labels out"


def test_views_of_a_score_may_be_set(kinema, data):
    model, folder = data
    options = ("--system", model, "--cache", "cache", "--json")
    plain = kinema("score", "top1", folder / "clips", *options).json["scores"][0]
    more = kinema("score", "top1", folder / "clips", *options, "--set", "views.clips=2")
    assert more.status == 0, more.err
    seen = [score["passport"]["preprocessing"] for score in (plain, more.json["scores"][0])]
    assert [json.loads(views)["clips"] for views in seen] == [1, 2]
    said = kinema("score", "top1", folder / "clips", *options, "--set", "network.width=8").error
    assert said.startswith("--set cannot change network")


def test_a_folder_of_classes_needs_no_stage(kinema, data):
    clips = data[1] / "clips"
    assert kinema("train", NAME, "--data", clips, "--dry-run").json["stage"] == "classifier"
    several = kinema("train", "ia_red2", "--data", clips, "--dry-run")
    assert several.json["stage"] == "classifier"
    assert "name a stage: --stage classifier or --stage policy" in kinema("train", "ia_red2").error
    assert "stream has no networks" in kinema("train", "stream").error


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("top1", "list.csv"), "pass --system NAME@FILE"),
        (("top1,psnr", "a"), "score them apart"),
        (("psnr", "a", "b", "--root", "c"), "--root is for top1 and top5"),
        (("psnr", "a", "b", "--set", "c=1"), "--set is for top1 and top5"),
        (("R@1", "a", "--system", "x", "--set", "c=1"), "--set is for top1 and top5"),
        (("top1", "a", "b", "--system", "stream"), "one list of clips, not 2"),
        (("top1", "a", "--system", "stream", "--frames", 8), "--frames is not for top1"),
        (("top1", "a.csv", "--system", "stream"), "--root must name the folder"),
    ],
)
def test_what_is_wrong_with_a_score_is_said_in_one_line(kinema, arguments, said):
    assert said in kinema("score", *arguments).error


def test_a_system_that_is_no_recognizer_is_named(kinema, data):
    _, folder = data
    said = kinema("score", "top1", folder / "clips", "--system", "frozen_in_time@x").error
    assert "unknown recognizer 'frozen_in_time'" in said


@pytest.mark.parametrize("name", ["model.pt2", "model.onnx"])
def test_an_exported_model_says_what_it_takes(kinema, data, name):
    model, _ = data
    answer = kinema("export", model, name, "--json")
    assert answer.status == 0
    assert answer.json["error"] < 1e-4
    assert answer.json["inputs"]["clips"][:2] == ["batch", 3]
    assert Path(name).stat().st_size > 10_000
    assert "exists" in kinema("export", model, name).error


def test_what_cannot_be_exported_is_said(kinema):
    assert "recognizers can" in kinema("export", "stream", "a.pt2").error
