"""Whatever cannot be used gets one line, exit status 2, and nothing is lost."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from kinema.weights.files import open_checkpoint

PROMPT = "a small red circle moves left"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("generte", PROMPT), "unknown verb 'generte'; did you mean 'generate'?"),
        (("generate", PROMPT, "--step", 3), "unknown option '--step'; did you mean '--steps'?"),
        (("generate", PROMPT, "--steps", "x"), "'--steps'"),
        (("generate", PROMPT, "--steps", 0), "'--steps'"),
        (("generate", PROMPT, "--count", 0), "'--count'"),
        (("generate", PROMPT, "--threads", 0), "'--threads'"),
        (("generate", PROMPT, "--batch", 0), "'--batch'"),
        (("generate", PROMPT, "--seed", -1), "'--seed'"),
        (("generate", PROMPT, "another"), "another"),
        (("generate", PROMPT, "--size", "96"), "--size '96' is no size; give HEIGHTxWIDTH"),
        (("generate", PROMPT, "--size", "-1x96"), "--size '-1x96' is no size"),
        (("generate", PROMPT, "--fps", 0), "fps must be above 0"),
        (("generate", PROMPT, "--fps", "nan"), "fps must be above 0"),
        (("generate", PROMPT, "--guidance", "nan"), "--guidance nan is no number"),
        (("generate", PROMPT, "--device", "cda"), "unknown device 'cda'; did you mean 'cuda'?"),
        (("generate", PROMPT, "--device", "cpu:7"), "there is no device 'cpu:7'"),
        (("generate", PROMPT, "--dtype", "bfloat"), "did you mean 'bfloat16'?"),
        (("generate", PROMPT, "--model", "ltx_vido:shapes"), "did you mean 'ltx_video'?"),
        (("generate", PROMPT, "--model", "ltx_video:x"), "unknown tag of ltx_video 'x'"),
        (("generate", PROMPT, "--model", "ltx_video"), "names an architecture; name weights too"),
        (("generate", PROMPT, "--model", "no.safetensors"), "no such file or folder"),
        (("generate",), "give a prompt in quotes"),
        (("generate", PROMPT, "--prompts", "a.txt"), "give a prompt in quotes"),
        (("generate", ""), "the prompt is empty"),
        (("generate", "  \n"), "the prompt is empty"),
        (("generate", "a \udcff circle"), "the prompt is not UTF-8 text"),
        (("generate", PROMPT, "-o", "a.txt"), "end the name in .mp4 or .gif"),
        (("generate", PROMPT, "-o", "a.mp4", "--count", 2), "several clips need a folder"),
        (("show", "ltx_vide"), "unknown system 'ltx_vide'; did you mean 'ltx_video'?"),
        (("draw", "shape", "out"), "unknown world 'shape'; did you mean 'shapes'?"),
        (("draw", "shapes", "out", "--split", "held"), "did you mean 'held_out'?"),
        (("draw", "shapes", "out", "--num-frames", 0), "num_frames is 0"),
        (("encode", "shapes", "--model", "no.safetensors", "-o", "out"), "no such file"),
        (("encode", "shapes", "-o", "out"), "'--model'"),
        (("parity", "nowhere"), "nowhere is no folder"),
        (
            ("train", "ltx_video"),
            "name a stage: --stage codec or --stage refine or --stage generator",
        ),
        (("train", "ltx_video", "--stage", "codecs"), "did you mean 'codec'?"),
        (("train", "ltx_video", "--stage", "codec", "--preset", "nan"), "did you mean 'nano'?"),
        (("train", "ltx_vido", "--stage", "codec"), "did you mean 'ltx_video'?"),
    ],
)
def test_one_line_says_what_is_wrong(kinema, arguments, said):
    assert said in kinema(*arguments).error
    assert list(Path().rglob("*.mp4")) == []


def test_a_device_that_is_not_there(kinema, model):
    if torch.cuda.is_available():
        pytest.skip("there is one")
    error = kinema("generate", PROMPT, "--model", model, "--device", "cuda").error
    assert error == "this machine, or this build of torch, has no cuda; use --device cpu"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ("--num-frames", 10),
            "10 frames of 32 x 32 (height x width): frames must be a multiple of 8",
        ),
        (("--num-frames", 10), "nearest 9 or 17"),
        (("--num-frames", 0), "nearest 1"),
        (("--size", "40x32"), "height must be a multiple of 16, nearest 32 or 48"),
        (("--size", "0x0"), "width must be a multiple of 16, nearest 16"),
    ],
)
def test_sizes_that_the_codec_cannot_take(kinema, model, options, said):
    assert said in kinema("generate", PROMPT, "--model", model, "-o", "a.mp4", *options).error
    assert not Path("a.mp4").exists()


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        (" ".join(["red"] * 10_000), "the prompt has 10000 words; this model reads 64: shorten it"),
        ("zzz qqq", "this model knows no word of the prompt 'zzz qqq'"),
        ("...", "this model knows no word of the prompt '...'"),
    ],
)
@pytest.mark.parametrize("count", [1, 2])
def test_prompts_that_the_model_cannot_read(kinema, model, prompt, said, count):
    assert kinema("generate", prompt, "--model", model, "--count", count).error == said


@pytest.mark.parametrize("name", ["clip.mp4", "clip.png", "clip.json"])
def test_what_exists_is_kept(kinema, name):
    Path(name).write_text("mine")
    error = kinema("generate", PROMPT, "--model", "not read.safetensors", "-o", "clip.mp4").error
    assert error == f"{name} exists; choose another name or pass --overwrite"
    assert Path(name).read_text() == "mine"


@pytest.mark.parametrize(
    "arguments",
    [
        ("generate", PROMPT, "-o", "file/clip.mp4"),
        ("generate", PROMPT, "-o", "file/clips", "--count", 2),
        ("generate", PROMPT, "-o", "file", "--count", 2),
        ("generate", PROMPT, "-o", "folder.mp4"),
        ("run", "ltx_video@not_read", PROMPT, "-o", "file/clip.mp4"),
        ("train", "ltx_video", "--preset", "nano", "--stage", "codec", "-o", "file"),
        ("train", "ltx_video", "--preset", "nano", "--stage", "codec", "-o", "file/run"),
        ("encode", "shapes", "--model", "not_read.safetensors", "-o", "file"),
        ("draw", "shapes", "file"),
    ],
)
def test_places_that_cannot_be_written_are_named_first(kinema, arguments):
    Path("file").write_text("mine")
    Path("folder.mp4").mkdir()
    error = kinema(*arguments).error
    assert "file" in error or "folder.mp4" in error
    assert "not_read" not in error
    assert Path("file").read_text() == "mine"


def damaged(model: Path, damage: str) -> str:
    """The name of a model whose file is damaged in some way."""
    content, tensors = model.read_bytes(), load_file(model)
    metadata = dict(open_checkpoint(model).metadata)
    name = next(key for key in tensors if key.endswith("proj_out.weight"))
    if damage == "cut":
        Path("bad.safetensors").write_bytes(content[: len(content) // 2])
    elif damage == "empty":
        Path("bad.safetensors").write_bytes(b"")
    elif damage == "NaN":
        tensors[name][0, 0] = torch.nan
        save_file(tensors, "bad.safetensors", metadata)
    elif damage == "foreign":
        save_file(tensors, "bad.safetensors")
    elif damage == "other config":
        metadata["config"] = metadata["config"].replace('"theta"', '"tetha"')
        save_file(tensors, "bad.safetensors", metadata)
    elif damage == "missing tensor":
        del tensors[name]
        save_file(tensors, "bad.safetensors", metadata)
    elif damage == "pickle":
        torch.save(tensors, "bad.pt")
        return "ltx_video@bad.pt"
    return "bad.safetensors"


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("cut", "damaged or no safetensors file"),
        ("empty", "damaged or no safetensors file"),
        ("NaN", "holds NaN or infinity"),
        ("foreign", "holds no ltx_video model"),
        ("other config", "tetha"),
        ("missing tensor", "proj_out.weight"),
        ("pickle", "holds no ltx_video model"),
    ],
)
def test_damaged_and_foreign_models_are_refused(kinema, model, damage, said):
    error = kinema("generate", PROMPT, "--model", damaged(model, damage), "-o", "a.mp4").error
    assert said in error
    assert "bad." in error
    assert not Path("a.mp4").exists()


def test_a_traceback_only_when_asked_for(kinema):
    assert "Traceback" not in kinema("generate", "").err
    answer = kinema("--debug", "generate", "")
    assert answer.status == 2
    assert "Traceback" in answer.err
    assert answer.err.splitlines()[-1].startswith("kinema: error: the prompt is empty")


def test_a_full_disk_leaves_nothing(process, model):
    def small_files() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))

    started = process(
        "generate", PROMPT, "--model", model, "-o", "out/a.mp4", preexec_fn=small_files
    )
    answer = started.answer()
    assert "cannot write out/a" in answer.error
    assert list(Path("out").iterdir()) == []


def test_a_reader_that_goes_away_is_no_error():
    theirs, ours = os.pipe()
    os.close(theirs)
    command = [sys.executable, "-m", "kinema", "systems"]
    answer = subprocess.run(command, stdout=ours, stderr=subprocess.PIPE, check=False)
    os.close(ours)
    assert (answer.returncode, answer.stderr) == (141, b"")


def test_output_that_cannot_be_written_is_one_line():
    with open("/dev/full", "w") as full:
        answer = subprocess.run(
            [sys.executable, "-m", "kinema", "systems"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert answer.returncode == 2
    assert answer.stderr.startswith("kinema: error: [Errno 28] No space left on device")
