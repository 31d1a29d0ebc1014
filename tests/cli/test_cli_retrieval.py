"""`kinema run` and `kinema score` with a retriever: index, search, recalls over captioned clips."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from kinema.cli.retrieval import NAMES
from kinema.metrics.retrieval import summary
from kinema.noise import Noise
from kinema.systems.frozen_in_time import FrozenInTime
from kinema.systems.frozen_in_time_config import nano
from kinema.training.contrastive import cosines
from kinema.worlds import load as load_world
from kinema.worlds.folder import write_folder

SIZE = {"num_frames": 4, "height": 32, "width": 32, "fps": 8.0}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A nano model, as the command line names it, and a folder of clips with four captions each."""
    folder = tmp_path_factory.mktemp("data")
    torch.manual_seed(0)
    model = FrozenInTime(nano())
    for name, parameter in model.parts.named_parameters():
        parameter.data += 0.1 * Noise(0, (0,)).normal((1, *parameter.shape), name)[0]
    model.save_pretrained(folder / "model.safetensors")
    write_folder(load_world("shapes", seed=5, split="all", **SIZE), range(3), folder / "clips")
    return f"frozen_in_time@{folder / 'model.safetensors'}", folder / "clips"


def test_names_are_those_of_the_metric() -> None:
    assert tuple(summary(torch.ones(3))) == NAMES


def test_a_folder_is_indexed_and_searched(kinema: Any, data: tuple[str, Path]) -> None:
    model, clips = data
    answer = kinema("run", model, "index", clips, "index", "-o", "files.json")
    assert answer.status == 0, answer.err
    assert answer.err == "3 files are in the index: 3 new\n"
    again = kinema("run", model, "index", clips, "index", "-o", "files.json", "--overwrite")
    assert again.err == "3 files are in the index: 3 same\n"
    listed = json.loads(Path("files.json").read_text())
    assert listed == [{"file": f"00000{n}.mp4", "fault": ""} for n in range(3)]
    search = ("run", model, "search", "index", "a red circle", "-o", "found.json")
    answer = kinema(*search)
    assert answer.status == 0, answer.err
    found = json.loads(Path("found.json").read_text())
    assert [row["rank"] for row in found] == [1, 2, 3]
    assert {row["file"] for row in found} == {row["file"] for row in listed}
    assert "holds no index" in kinema("run", model, "search", "no", "a red", "-o", "x.json").error


def test_recalls_are_those_of_the_embeddings(kinema: Any, data: tuple[str, Path]) -> None:
    model, clips = data
    answer = kinema("score", "R@1,MdR", clips, "--system", model, "--cache", "cache", "--json")
    assert answer.status == 0, answer.err
    scores = {score["name"]: score for score in answer.json["scores"]}
    assert [*scores] == ["R@1.to_clip", "R@1.to_text", "MdR.to_clip", "MdR.to_text"]
    retriever = FrozenInTime.from_pretrained(model.partition("@")[2])
    entries = [json.loads(line) for line in (clips / "metadata.jsonl").read_text().splitlines()]
    texts, owners = [], []
    for number, entry in enumerate(entries):
        texts += [retriever.embed_query(text) for text in entry["captions"]]
        owners += [number] * len(entry["captions"])
    seen = torch.stack([retriever.embed_file(clips / entry["file_name"]) for entry in entries])
    similarity = cosines(torch.stack(texts), seen)
    first = (similarity.argmax(1) == torch.tensor(owners)).double().mean()
    assert scores["R@1.to_clip"]["value"] == pytest.approx(float(first))
    nearest = torch.tensor(owners)[similarity.argmax(0)] == torch.arange(3)
    assert scores["R@1.to_text"]["value"] == pytest.approx(float(nearest.double().mean()))
    low, high = scores["MdR.to_clip"]["interval"]
    assert 1 <= low <= scores["MdR.to_clip"]["value"] <= high <= 3
    passport = scores["R@1.to_clip"]["passport"]
    assert (passport["num_real"], passport["num_frames"], passport["height"]) == (3, 4, 32)
    assert f"{len(texts)} captions" in passport["variant"]
    assert passport["versions"]["device"] == "cpu"
    assert any(Path("cache").rglob("shard-*.safetensors"))


def test_files_without_a_caption_are_told_and_left_out(
    kinema: Any, data: tuple[str, Path], tmp_path: Path
) -> None:
    model, clips = data
    folder = tmp_path / "own"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.mp4").write_bytes((clips / f"00000{number}.mp4").read_bytes())
        (folder / f"{number}.txt").write_text("a red circle")
    (folder / "0.txt").unlink()
    score = ("score", "R@5", folder, "--system", model, "--cache", "cache")
    answer = kinema(*score)
    assert answer.err.startswith(f"left out: {folder / '0.mp4'} has no caption")
    assert "2 clips with 2 captions, by frozen_in_time" in answer.out
    assert "has no caption" in kinema(*score, "--strict").error
    (folder / "1.txt").write_text("xylophone")
    assert "needs two captioned clips or more, not 1" in kinema(*score).error


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("R@1", "list"), "pass --system NAME@FILE"),
        (("R@1,psnr", "a"), "psnr is not; score them apart"),
        (("R@1", "a", "b", "--system", "stream"), "one folder of captioned clips, not 2"),
        (("R@1", "a", "--system", "stream", "--fps", 8), "--fps is not for R@1"),
        (("R@1", "a", "--system", "stream", "--root", "c"), "--root is for top1 and top5"),
        (("psnr", "a", "--system", "x"), "--system is for top1, top5 and R@k, not for psnr"),
    ],
)
def test_what_is_wrong_with_a_score_is_said_in_one_line(
    kinema: Any, arguments: tuple[object, ...], said: str
) -> None:
    assert said in kinema("score", *arguments).error


def test_a_system_that_is_no_retriever_is_named(kinema: Any, data: tuple[str, Path]) -> None:
    said = kinema("score", "R@1", data[1], "--system", "tnt@x").error
    assert said == "unknown retriever 'tnt'; known: frozen_in_time"
