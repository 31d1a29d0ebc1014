"""`bench/shapes_attributes.py`: the held-out prompts, ceilings, scores of a folder."""

from __future__ import annotations

import json
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest
import shapes_attributes as bench
import torch

import kinema
from kinema.cli.prompts import read_prompts
from kinema.config import from_dict
from kinema.metrics.attributes import Reading
from kinema.weights.digest import digest
from kinema.worlds import load
from kinema.worlds.shapes_splits import held_out

ROOT = Path(__file__).parents[2]
PROMPTS = ROOT / "docs" / "shapes-model" / "prompts.jsonl"


def lines() -> list[dict]:
    return [json.loads(line) for line in PROMPTS.read_text().splitlines()]


def test_the_prompts_are_those_that_the_command_draws():
    assert list(islice(bench.prompt_lines(), 24)) == lines()[:24]


def test_the_prompts_ask_for_unseen_combinations_in_three_kinds_of_scene():
    found = lines()
    assert Counter(line["scene"] for line in found) == {"one": 320, "pair": 96, "story": 96}
    assert len({line["prompt"] for line in found}) == 512
    for line in found:
        labels = from_dict(Reading, line["labels"])
        assert len(labels.objects) == (2 if line["scene"] == "pair" else 1)
        for thing in labels.objects:
            assert len(thing.motions) == (2 if line["scene"] == "story" else 1)
            assert all(held_out(thing.shape, thing.color, motion) for motion in thing.motions)
            assert f"{thing.size} {thing.color} {thing.shape} " in line["prompt"]


def test_kinema_generate_reads_the_prompts():
    requests = read_prompts(PROMPTS, negative="", seed=0)
    assert [request.prompt for request in requests] == [line["prompt"] for line in lines()]
    assert not any(request.broken for request in requests)
    assert [request.seed for request in requests] == list(range(512))


@pytest.fixture
def folder(tmp_path):
    """Two clips of the world, with records as `kinema generate` writes them, and their prompts."""
    place = tmp_path / "clips"
    place.mkdir()
    drawn = bench.measured(
        load("shapes:level=2", seed=4, split="all", **bench.SIZE), {"one": 1, "story": 1}
    )
    wanted = []
    for number, (scene, sample) in enumerate(drawn):
        sample.clip.write(place / f"{number:04d}.mp4")
        prompt = sample.captions[0]
        (place / f"{number:04d}.json").write_text(json.dumps({"prompt": prompt, "seed": 7}))
        labels = bench.to_dict(bench.expected(sample.graph))
        wanted.append({"prompt": prompt, "seed": 7, "scene": scene, "labels": labels})
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in wanted))
    return place


def score(folder: Path, *options: object) -> int:
    prompts = folder.parent / "prompts.jsonl"
    return bench.main(["score", str(folder), "--prompts", str(prompts), *map(str, options)])


def test_a_folder_is_scored_beside_the_ceilings(folder, tmp_path, capsys):
    limits, scores = tmp_path / "ceilings.json", tmp_path / "scores.json"
    assert bench.main(["ceilings", "--count", "16", "--json", str(limits)]) == 0
    capsys.readouterr()
    assert score(folder, "--ceilings", limits, "--json", scores) == 0
    table = capsys.readouterr().out
    assert "clips" in table.splitlines()[0]
    assert "fresh" in table.splitlines()[0]
    (line,) = (line for line in table.splitlines() if line.startswith("story order "))
    assert line.count("of") == 2
    written = json.loads(scores.read_text())
    assert written["clips"] == 2
    assert {"scene": "every", "attribute": "color", "share": {"right": 2, "clips": 2}} in (
        written["scores"]
    )
    assert written["ceilings"]["clips"] == 16
    assert written["bars"]["story order"] == {"found": 1.0, "bar": 0.6, "within": True}


def test_a_missed_bar_is_the_exit_status(folder, tmp_path, capsys):
    scores = tmp_path / "scores.json"
    (folder / "0001.mp4").write_bytes((folder / "0000.mp4").read_bytes())
    assert score(folder, "--json", scores) == 1
    assert "story order: 0.000, bar 0.6: MISSED" in capsys.readouterr().out
    assert json.loads(scores.read_text())["bars"]["one color"]["within"]


def test_what_cannot_be_scored_is_named(folder, tmp_path, capsys):
    limits = tmp_path / "ceilings.json"
    assert bench.main(["ceilings", "--count", "16", "--json", str(limits)]) == 0
    limits.write_text(limits.read_text().replace(bench.reader_digest(), "another"))
    assert score(folder, "--ceilings", limits) == 2
    assert "ceilings of another reader" in capsys.readouterr().err
    (folder / "0001.json").rename(folder.parent / "0001.json")
    assert score(folder) == 2
    assert "no clip of 1 prompts, the first 'a " in capsys.readouterr().err
    (folder / "0000.json").write_text('{"prompt": "a red circle", "seed": 7}')
    assert score(folder) == 2
    assert "do not ask for 'a red circle' with seed 7" in capsys.readouterr().err
    (folder / "0000.json").write_text('{"prompt": "a red circle"}')
    assert score(folder) == 2
    assert "0000.json does not tell prompt and seed" in capsys.readouterr().err
    assert score(folder.parent / "nowhere") == 2
    assert "no clip of 2 prompts" in capsys.readouterr().err


READER = {"fresh": 0.99, "codec": 0.97}  # of each attribute at least


def test_the_reader_is_right_where_the_answer_is_known():
    """Of the measured distribution, fresh and behind the codec that ships."""
    found = bench.read_ceilings(bench.CEILINGS)
    assert found.clips == 512
    assert found.weights == digest(kinema.load("ltx_video:shapes", dtype=torch.float32).codec)
    for name, least in READER.items():
        for line in getattr(found, name):
            if line.scene == "every" and line.attribute not in ("all", "objects"):
                assert line.share.value >= least, (name, line)
