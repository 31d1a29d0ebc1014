"""`kinema plan`: clips, trainings, hardware, and what would make a clip fit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kinema.cli.plan import duration, number
from kinema.planning import calibration
from kinema.systems.ltx_video import LTXVideo
from kinema.systems.ltx_video_presets import nano

GB = 10**9


@pytest.fixture(autouse=True)
def measured_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures of this machine are measured on small tensors and kept beside the test."""
    monkeypatch.setenv("XDG_CACHE_HOME", "cache")
    monkeypatch.setattr(calibration, "SIDES", ((16, 16, 16),))
    monkeypatch.setattr(calibration, "CONVOLUTIONS", ((4, 2, 8),))
    monkeypatch.setattr(calibration, "TOKENS", (16,))
    monkeypatch.setattr(calibration, "ELEMENTS", (2**10,))
    monkeypatch.setattr(calibration, "BEYOND_CACHES", 2**14)
    monkeypatch.setattr(calibration, "PROCESS", "print(200_000_000)")


def by_name(plan: dict) -> dict:
    """The works of a plan by name."""
    return {work["name"]: work for work in plan["works"]}


def test_a_clip_is_planned_without_weights(kinema):
    plan = kinema("plan", "ltx_video:nano", "--json").json
    works, config = by_name(plan), nano()
    parts = LTXVideo(config, device="meta").parts
    counts = {role: sum(p.numel() for p in part.parameters()) for role, part in parts.items()}
    assert {role: works[role]["parameters"] for role in counts} == counts
    assert plan["parameters"] == sum(counts.values())
    assert plan["steps"] == config.sampling.steps
    assert works["transformer"]["calls"] == 2 * config.sampling.steps  # two branches
    assert plan["memory"]["weights"] == sum(
        x.nbytes for part in parts.values() for x in (*part.parameters(), *part.buffers())
    )
    (here,) = plan["hardware"]
    assert here["name"] == "this"
    assert here["peak"] == sum(plan["memory"].values()) + here["reserved"]
    assert here["fits"]
    assert here["would_fit"] is None
    seconds = sum(work["seconds"]["this"] for work in plan["works"])
    assert here["seconds"] == pytest.approx(seconds)
    assert here["seconds_per_step"] < here["seconds"] / config.sampling.steps


def test_size_frames_steps_and_type_change_what_is_needed(kinema):
    def needs(*options: object) -> dict:
        return kinema("plan", "ltx_video:nano", "--hardware", "l4", "--json", *options).json

    plain, narrow = needs(), needs("--dtype", "bfloat16")
    assert narrow["memory"]["weights"] * 2 == plain["memory"]["weights"]
    assert by_name(narrow)["codec"]["flops"] == by_name(plain)["codec"]["flops"]
    larger = needs("--size", "64x32", "--frames", 17)
    assert by_name(larger)["codec"]["flops"] > 3 * by_name(plain)["codec"]["flops"]
    assert larger["memory"]["activations"] > 2 * plain["memory"]["activations"]
    longer = needs("--steps", 9)
    assert by_name(longer)["transformer"]["flops"] == 3 * by_name(plain)["transformer"]["flops"]
    assert longer["memory"] == plain["memory"]
    wider = needs("--set", "transformer.num_layers=4")
    assert by_name(wider)["transformer"]["flops"] > by_name(plain)["transformer"]["flops"]
    tiled, whole = (needs("--size", "128x128", *more) for more in (("--tile", 0), ()))
    assert tiled["memory"]["activations"] < whole["memory"]["activations"]
    assert by_name(tiled)["codec"]["calls"] == by_name(whole)["codec"]["calls"] == 1


def test_each_machine_has_a_plan_of_its_own(kinema):
    """The codec of shapes takes fewer products on a CPU than on a card."""
    few = ("--steps", 1, "--json")

    def plan(*names: str) -> dict:
        chosen = [word for name in names for word in ("--hardware", name)]
        return kinema("plan", "ltx_video", "--preset", "shapes", *chosen, *few).json

    here, card, both = plan("this"), plan("l4"), plan("this", "l4")
    assert by_name(here)["codec"]["flops"] < by_name(card)["codec"]["flops"]
    assert by_name(both)["codec"]["flops"] == by_name(here)["codec"]["flops"]
    assert both["hardware"] == [*here["hardware"], *card["hardware"]]
    for name, work in by_name(both).items():
        alone = {**by_name(here)[name]["seconds"], **by_name(card)[name]["seconds"]}
        assert work["seconds"] == alone
    stage = ("--stage", "codec", "--hardware", "this", "--hardware", "h100", "--json")
    here, h100 = kinema("plan", "ltx_video:nano", *stage).json["hardware"]
    assert here["peak"] - here["reserved"] == h100["peak"] - h100["reserved"]  # with gradients


def test_weights_that_ship_and_files_bring_their_sizes(kinema, model: Path):
    shipped = kinema("plan", "ltx_video:shapes", "--hardware", "t4", "--json").json
    assert by_name(shipped)["transformer"]["parameters"] == 11_577_088
    plan = kinema("plan", model, "--hardware", "t4", "--json").json
    assert plan["parameters"] == kinema("plan", "ltx_video:nano", "--json").json["parameters"]


def test_a_stage_of_training_is_planned(kinema):
    plan = kinema("plan", "ltx_video:nano", "--stage", "generator", "--hardware", "l4", "--json")
    learning, update = plan.json["works"]
    held = plan.json["memory"]
    trained = 4 * update["parameters"]
    assert learning["calls"] == update["calls"] == plan.json["steps"] == 8
    assert held["weights"] == held["gradients"] == held["averages"] == trained
    assert trained <= held["optimizer"] <= 1.1 * trained  # Muon keeps one number, Adam two
    assert held["activations"] > 0
    assert learning["flops"] > 0
    more = ("--set", "recipe.accumulate=2", "--steps", 4)
    split = kinema("plan", "ltx_video:nano", "--stage", "generator", "--json", *more).json
    assert split["works"][0]["calls"] == 2 * split["works"][1]["calls"] == 8
    assert split["memory"]["activations"] < held["activations"]


def test_a_stage_that_reads_a_world_is_planned(kinema):
    plan = kinema("plan", "ltx_video:nano", "--stage", "codec", "--hardware", "h100", "--json").json
    counts = LTXVideo(nano(), device="meta").codec.parameters()
    assert plan["works"][1]["parameters"] > sum(p.numel() for p in counts)  # and those of a critic
    assert plan["hardware"][0]["fits"]


def test_the_table_ends_in_a_line_for_each_machine(kinema):
    cards = ("--hardware", "l4", "--hardware", "h100")
    *table, l4, h100 = kinema("plan", "ltx_video:nano", *cards).out.splitlines()
    assert table[0].split() == ["parameters", "calls", "FLOP", "activations", "l4", "h100"]
    firsts = [row.split()[0] for row in table[1:]]
    assert firsts == ["text", "transformer", "codec", "the", "in", "memory"]
    assert l4.startswith("L4: ")
    assert l4.endswith("of 24 GB")
    assert "; fits: " in l4
    assert h100.startswith("H100 SXM: ")


@pytest.mark.slow
def test_what_would_make_a_clip_fit_is_told_and_true(kinema, monkeypatch):
    monkeypatch.setattr(calibration, "memory", lambda: limit)
    limit = GB
    size = ("--size", "256x128", "--frames", 33)
    plan = kinema("plan", "ltx_video:nano", *size, "--json").json
    process, weights = plan["hardware"][0]["reserved"], plan["memory"]["weights"]
    held = plan["memory"]["activations"]
    seen = set()
    for share in (0.4, 0.1):
        limit = int(process + weights + share * held)
        (here,) = kinema("plan", "ltx_video:nano", *size, "--json").json["hardware"]
        assert not here["fits"]
        words = here["would_fit"]["options"].split()
        seen.update(word for word in words if word.startswith("--"))
        given = [*size[:2], *words] if "--size" not in words else words
        if "--frames" not in words:
            given += size[2:]
        (mended,) = kinema("plan", "ltx_video:nano", *given, "--json").json["hardware"]
        assert mended["fits"]
        assert mended["peak"] == here["would_fit"]["peak"]
    assert "--dtype" in seen
    assert len(seen) >= 2
    line = kinema("plan", "ltx_video:nano", *size).out.splitlines()[-1]
    assert f": {' '.join(words)} would bring it to " in line
    limit = process
    line = kinema("plan", "ltx_video:nano", *size).out.splitlines()[-1]
    assert "; does not fit: needs " in line


def test_this_machine_is_measured_anew_when_told(kinema):
    kinema("plan", "ltx_video:nano", "--json")
    (file,) = Path("cache/kinema").iterdir()
    figures = {**json.loads(file.read_text()), "overhead": 5.0}
    file.write_text(json.dumps(figures))
    slow = kinema("plan", "ltx_video:nano", "--json").json["hardware"][0]["seconds"]
    fast = kinema("plan", "ltx_video:nano", "--recalibrate", "--json").json["hardware"][0][
        "seconds"
    ]
    assert slow > 100 > fast


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("ltx_vide",), "unknown system 'ltx_vide'; did you mean 'ltx_video'?"),
        (("ltx_video:nan",), "unknown preset of ltx_video 'nan'; did you mean 'nano'?"),
        (("ltx_video", "--preset", "nan"), "unknown preset of ltx_video 'nan'"),
        (("ltx_video:shapes", "--preset", "nano"), "brings its sizes along; leave out --preset"),
        (("ltx_video@no.safetensors",), "no.safetensors"),
        (("stream",), "stream has no networks, so there is nothing to plan"),
        (("gr1",), "plan its training with --stage"),
        (("svd", "--preset", "nano"), "svd makes no clips from prompts"),
        (("ltx_video:nano", "--size", "33x32"), "height must be a multiple of"),
        (("ltx_video:nano", "--hardware", "l5"), "unknown hardware 'l5'; did you mean 'l4'?"),
        (("ltx_video:nano", "--dtype", "int8"), "unknown dtype 'int8'"),
        (("ltx_video:nano", "--stage", "codecs"), "unknown stage of ltx_video:nano 'codecs'"),
        (("ltx_video:nano", "--stage", "codec", "--frames", 9), "--size, --frames and --tile"),
        (("ltx_video:nano", "--set", "recipe.steps=2"), "name its --stage too"),
        (("ltx_video:nano", "--set", "text.widht=2"), "unknown setting 'text.widht'"),
    ],
)
def test_what_cannot_be_planned_is_told(kinema, arguments, said):
    assert said in kinema("plan", *arguments).error


@pytest.mark.slow
def test_the_published_model_with_13_billion_parameters_is_planned(kinema):
    """With T5, the latent upsampler and both passes; none of it is computed."""
    options = ("--dtype", "bfloat16", "--hardware", "h100", "--hardware", "rtx-4090", "--json")
    plan = kinema("plan", "ltx_video:0.9.8-13b-dev", *options).json
    works = by_name(plan)
    assert works["transformer"]["parameters"] == 13_042_569_344
    assert works["text"]["parameters"] == 4_762_310_656
    assert works["upsampler"]["calls"] == 1
    h100, rtx = plan["hardware"]
    assert h100["fits"]
    assert not rtx["fits"]
    assert rtx["would_fit"] is None  # the weights alone are more


def test_numbers_and_spans_are_short():
    said = [number(n) for n in (0, 0.5, 7, 1234, 5.6e9, 4.99e22)]
    assert said == ["0 ", "0.5 ", "7 ", "1.23 k", "5.6 G", "49.9 Z"]
    said = [duration(s) for s in (0.0123, 119, 121, 7200, 1e6, 1e9)]
    assert said == ["0.0123 s", "119 s", "2.02 min", "2 h", "11.6 d", "31.7 years"]
