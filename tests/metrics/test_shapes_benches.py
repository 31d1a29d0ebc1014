"""The benches of the shapes model: what they judge, and that they run."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import shapes_attributes
import shapes_bars
import shapes_codec
import shapes_gallery
import shapes_given
import shapes_story
import ship
import torch
import training_curves

import kinema
from kinema.metrics.attributes_scores import Score, Share
from kinema.systems.ltx_video import LTXVideo
from kinema.systems.ltx_video_presets import nano

BENCH = Path(__file__).parents[2] / "bench"
SCRIPTS = (
    shapes_attributes,
    shapes_codec,
    shapes_gallery,
    shapes_given,
    shapes_story,
    ship,
    training_curves,
)


def in_a_process(code: str) -> str:
    """What Python says that sees the scripts; `finetune_shapes` changes the palette of its own."""
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=BENCH, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model with random weights, of clips as long and large as those of the world."""
    base = nano()
    size = {"num_frames": 25, "height": 96, "width": 96, "steps": 1}
    torch.manual_seed(0)
    made = LTXVideo(replace(base, sampling=replace(base.sampling, **size)))
    path = tmp_path_factory.mktemp("model") / "small.safetensors"
    made.save_pretrained(path)
    return path


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_says_how_it_is_used(script: ModuleType, capsys) -> None:
    with pytest.raises(SystemExit, match="0"):
        script.main(["--help"])
    said = capsys.readouterr().out
    assert said.startswith("usage: ")
    assert f"python bench/{script.__name__}.py" in said


# -- what is judged -------------------------------------------------------------------------------


def test_a_bar_is_met_or_missed_and_written(tmp_path: Path, capsys) -> None:
    path = tmp_path / "figures.json"
    good, bad = shapes_bars.at_least(0.6, 0.6), shapes_bars.at_most(1.6, 1.5)
    assert shapes_bars.conclude({"clips": 2}, {"right": good}, path) == 0
    assert shapes_bars.conclude({"clips": 2}, {"right": good, "seam": bad}, path) == 1
    assert json.loads(path.read_text()) == {
        "clips": 2,
        "bars": {
            "right": {"found": 0.6, "bar": 0.6, "within": True},
            "seam": {"found": 1.6, "bar": 1.5, "within": False},
        },
    }
    assert capsys.readouterr().out.splitlines()[-1] == "seam: 1.600, bar 1.5: MISSED"
    assert not shapes_bars.at_least(float("nan"), 0.5).within


@pytest.mark.parametrize(
    ("figures", "missed"),
    [
        ({"PSNR of the first frame": 24.0, "color": 0.92, "shape": 0.92, "motion": 0.1}, []),
        ({"PSNR of the first frame": 23.9, "color": 0.99, "shape": 0.91}, [0, 2]),
        ({"PSNR of frame 0": 30.0, "PSNR of frame 12": 23.0, "PSNR of frame 24": 24.0}, [1]),
        ({"seam over median change": 1.5, "seam at most 1.5 times": 0.0}, []),
        ({"seam over median change": 1.51}, [0]),
    ],
)
def test_given_frames_are_judged_by_their_means(
    figures: dict[str, float], missed: list[int]
) -> None:
    found = shapes_given.verdicts({name: {"mean": mean} for name, mean in figures.items()})
    names = list(figures)
    assert [name for name in found if not found[name].within] == [names[i] for i in missed]


def test_a_summary_tells_the_largest_and_the_share(capsys) -> None:
    assert shapes_given.summary("seam", [1.0, 1.0, 4.0]) == {
        "mean": 2.0,
        "median": 1.0,
        "least": 1.0,
        "largest": 4.0,
    }
    assert shapes_given.summary("within", [True, True, False, True])["mean"] == 0.75
    numbers, truths = capsys.readouterr().out.splitlines()
    assert numbers.endswith("mean 2.00, median 1.00, 1.00 to 4.00")
    assert "3 of 4   75.0 [" in truths


def test_grounds_are_judged_by_their_kind() -> None:
    table = {name: {"psnr": 30.0} for name in ("flat", "gradient", "patterned", "dots")}
    judge = shapes_codec.verdicts
    assert [verdict.within for verdict in judge(table).values()] == [True, True, True]
    table["patterned"] = {"psnr": 26.9}
    table["flat"] = {"psnr": 29.9}
    assert [verdict.within for verdict in judge(table).values()] == [False, True, False]


def scores(right: dict[tuple[str, str], int]) -> tuple[Score, ...]:
    return tuple(
        Score(scene=scene, attribute=name, share=Share(right=count, clips=100))
        for (scene, name), count in right.items()
    )


def test_attributes_are_judged_by_scene() -> None:
    judge = shapes_attributes.verdicts
    enough = {"color": 92, "shape": 85, "motion": 85, "background": 95, "all": 65}
    found = {("one", name): count for name, count in enough.items()} | {("story", "order"): 60}
    assert all(verdict.within for verdict in judge(scores(found)).values())
    assert len(judge(scores(found))) == 6
    found |= {("one", "background"): 94, ("story", "order"): 59, ("pair", "color"): 0}
    judged = judge(scores(found))
    assert [name for name in judged if not judged[name].within] == ["one background", "story order"]
    assert list(judge(scores({("one", "color"): 100}))) == ["one color"]


def test_a_story_is_judged_by_its_worst_seam_and_phase() -> None:
    right = {"color": True, "shape": True, "motion": False, "all": False}
    shown = shapes_story.Shown(
        changes=[0.1], seams=[0.9, 1.6], memory=[90.0, 10.0, 10.5], right=[right], drift={}
    )
    found = shapes_story.verdicts(shown)
    assert [round(verdict.found, 2) for verdict in found.values()] == [1.6, 1.05, 0.0, 0.67]
    assert [verdict.within for verdict in found.values()] == [False, True, False, True]


def test_a_new_color_is_judged_by_what_is_learned_and_lost() -> None:
    said = in_a_process(
        """if True:
        from finetune_shapes import Path, Score, main, trained, verdicts
        from kinema.metrics.attributes_scores import Share
        from kinema.worlds.shapes_splits import combinations
        from kinema.worlds.palette import COLORS

        def scores(**right):
            shares = {name: Share(right=n, clips=100) for name, n in right.items()}
            return [Score(scene="one", attribute=a, share=s) for a, s in shares.items()]

        table = {"new after": scores(color=80), "old before": scores(color=95, shape=80)}
        for after in (scores(color=90, shape=80), scores(color=95, shape=74)):
            judged = verdicts({**table, "old after": after})
            print([verdict.within for verdict in judged.values()])
        for name in ("ltx_video:shapes", "ltx_video@old.safetensors", "ltx_video@a:b.safetensors"):
            print(*trained(name, Path("run")))
        held_out = {color for _, color, _ in combinations("held_out", ("left", "up"))}
        print(len(COLORS), "turquoise" in held_out)
        main(["--help"])
        """
    )
    first, second, one, two, three, colors, usage, *_ = said.splitlines()
    assert [first, second] == ["[True, True]", "[True, False]"]
    assert one == two == three == "--model ltx_video@run/model.safetensors"
    assert colors == "11 False"
    assert usage.startswith("usage: ")


# -- that they run --------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["image", "keyframes", "extend"])
def test_given_frames_are_measured(way: str, model: Path, tmp_path: Path, capsys) -> None:
    path = tmp_path / "figures.json"
    words = [way, f"--model=ltx_video@{model}", "--count=2", f"--json={path}"]
    status = shapes_given.main(words)
    found = json.loads(path.read_text())
    assert (found["way"], found["clips"]) == (way, 2)
    assert status == int(not all(bar["within"] for bar in found["bars"].values()))
    assert found["bars"]
    assert "one   color" in capsys.readouterr().out  # the ceilings


def test_grounds_are_measured(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    words = [f"--model=ltx_video@{model}", "--count=56", f"--json={path}"]
    assert shapes_codec.main(words) == 1  # it has learned nothing
    found = json.loads(path.read_text())
    kinds = {"flat", "gradient", "stripes", "checker", "dots"}
    assert set(found["grounds"]) == {*kinds, "patterned"}
    assert sum(found["grounds"][kind]["clips"] for kind in kinds) == 56


@pytest.mark.slow
def test_a_story_is_told(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    words = ["--seconds=10", f"--output={tmp_path / 'story.mp4'}", f"--json={path}"]
    assert shapes_story.main([f"--model=ltx_video@{model}", *words]) == 1
    found = json.loads(path.read_text())
    assert len(found["right"]) == 2
    assert len(found["bars"]) == 4


def test_a_model_is_stored_to_ship(model: Path, tmp_path: Path, capsys) -> None:
    path = tmp_path / "shipped.safetensors"
    assert ship.main([str(model), "--to", str(path)]) == 0
    assert capsys.readouterr().out.startswith("shipped.safetensors: ")
    stored = kinema.load(f"ltx_video@{path}", dtype=torch.float32)
    assert stored.config.sampling == LTXVideo.PRESETS["shapes"]().sampling
    with pytest.raises(SystemExit, match="2"):
        ship.main([])


def test_logs_are_thinned_counted_and_drawn(tmp_path: Path, capsys) -> None:
    run = tmp_path / "run"
    run.mkdir()
    lines = [{"step": i, "generator/loss": 1.0 + i, "seconds": 3.0} for i in range(60)]
    lines.insert(7, {"step": 6, "held_out/loss": 0.5})
    (run / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert training_curves.main([str(tmp_path), f"first={run}"]) == 0
    assert capsys.readouterr().out == "first: 60 steps, 3.0 minutes\n"
    kept = (tmp_path / "first.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in kept] == [0, 6, 50]
    assert (tmp_path / "curves.png").stat().st_size > 5000
