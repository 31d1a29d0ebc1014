"""docs/ltx-video.md: its commands and its Python run, with small networks; its table is true."""

from __future__ import annotations

import re
import shlex
from collections import defaultdict
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from ltx_files import write_two_passes, write_upsampler
from PIL import Image

from kinema.networks.ltx_transformer import LTXTransformer
from kinema.networks.ltx_vae import LTXVAE
from kinema.systems.ltx_video import LTXVideo
from kinema.systems.ltx_video_presets import nano, shapes
from kinema.systems.ltx_video_sampling import steps_taken
from kinema.systems.ltx_video_versions import VERSIONS
from kinema.worlds.shapes import Shapes

PAGE = (Path(__file__).parents[2] / "docs" / "ltx-video.md").read_text()
COMMANDS = [shlex.split(line)[1:] for line in PAGE.splitlines() if line.startswith("    kinema ")]
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
SHIPPED = "ltx_video:shapes"
VERSION = re.compile(r"ltx_video:[\w.-]+@")
PROMPT = "a small red circle moves left on a navy background"


@pytest.fixture(autouse=True)
def files(in_a_fresh_folder, model):
    """Every file that the page names, small."""
    clip = (
        Shapes(seed=0, split="train", num_frames=25, height=32, width=32, fps=12.0).sample(0).clip
    )
    Path("clips").mkdir()
    for path in ("given.mp4", "clips/000.mp4"):
        clip.write(path)
    Path("clips/000.txt").write_text(PROMPT)
    for name, frame in (("first.png", 0), ("last.png", -1)):
        Image.fromarray(clip.frames[frame]).save(name)
    Path("prompts.txt").write_text(f"{PROMPT}\n")
    Path("story.txt").write_text(f"{PROMPT} | 1\n{PROMPT} | 1\n")
    write_two_passes("ltxv-13b-0.9.8-distilled.safetensors")
    write_upsampler("ltxv-spatial-upscaler-0.9.8.safetensors", "space")
    write_upsampler("ltxv-temporal-upscaler-0.9.8.safetensors", "time")
    sampling = replace(nano().sampling, sigmas=(1.0, 0.9), steps=2, guidance=1.0, renoise=1.0)
    few = LTXVideo(replace(nano(), sampling=sampling))
    few.save_pretrained("ltxv-2b-0.9.6-distilled-04-25.safetensors")
    write_adapters("lora.safetensors")


def write_adapters(path: str) -> None:
    """Adapters of one layer, as `kinema train --lora` leaves them."""
    from kinema.weights import lora

    layer = "transformer_blocks.0.attn1.to_q"
    tensors = {f"transformer.{layer}.lora_A.weight": torch.ones(1, 24)}
    tensors[f"transformer.{layer}.lora_B.weight"] = torch.ones(24, 1)
    lora.write(path, tensors, words=(), overwrite=False)


def in_miniature(text: str, model: Path) -> str:
    """With the small model in the place of the one that ships; small files tell their version."""
    return VERSION.sub("ltx_video@", text.replace(SHIPPED, f"ltx_video@{model}"))


def small(words: list[str], model: Path) -> list[str]:
    """A command for small networks."""
    named = [in_miniature(word, model) for word in words]
    if words[0] == "generate" and "--model" not in words:
        return [*named, "--model", str(model)]
    return named


@pytest.mark.parametrize("words", COMMANDS, ids=[f"{i} {w[0]}" for i, w in enumerate(COMMANDS)])
def test_a_command_does_what_it_says(kinema, model, words):
    if words[0] == "plan":  # see test_cli_plan.py
        parsed(words)
        return
    answer = kinema(*small(words, model))
    assert answer.status == 0, answer.err
    if "--output" in words and "--dry-run" not in words:
        assert Path(words[words.index("--output") + 1]).exists()


def parsed(words: list[str]) -> None:
    """Raises where a verb does not take these options."""
    from kinema.cli.main import app

    group: Any = typer.main.get_command(app)
    group.commands[words[0]].make_context(words[0], words[1:])


def test_a_command_with_a_slip_would_be_found(kinema, model):
    answer = kinema(*small([*COMMANDS[0], "--stepps", "2"], model))
    assert answer.status == 2
    with pytest.raises(Exception, match="No such option"):
        parsed(["plan", SHIPPED, "--stepps", "2"])


def test_the_python_of_the_page_runs(model):
    told: dict[str, Any] = {}
    for block in BLOCKS:
        exec(compile(in_miniature(block, model), "docs/ltx-video.md", "exec"), told)
    assert (told["longer"].num_frames, told["ahead"].num_frames) == (33, 33)
    assert told["large"].num_frames == 17


def test_the_page_names_every_mode():
    options = {word for words in COMMANDS if words[0] == "generate" for word in words}
    modes = ("--image", "--keyframe", "--extend", "--before", "--video", "--story", "--upsampler")
    assert options >= {*modes, "--tile", "--lora", "--prompts", "--count", "--batch", "--negative"}


@cache
def size(network: Any, config: Any) -> str:
    """The parameters of a network in words."""
    count = sum(p.numel() for p in network(config, device="meta").parameters())
    if count >= 1e9:
        return f"{count / 1e9:.2f} B"
    return f"{count / 1e6:.1f} M" if count < 1e8 else f"{count / 1e6:.0f} M"


def test_the_table_of_tags_is_true():
    rows = re.findall(r"^\| `([\w.-]+)` \|(.*)\|$", PAGE, re.MULTILINE)
    found = {name: [cell.strip() for cell in cells.split("|")] for name, cells in rows}
    expected = defaultdict(list)
    for name, make in {"shapes": shapes, **VERSIONS}.items():
        config = make()
        s, passes = config.sampling, config.sampling.passes((8, 32, 32))
        expected[name] = [
            size(LTXTransformer, config.transformer),
            size(LTXVAE, config.codec),
            f"{s.num_frames} x {s.height} x {s.width} at {s.fps:g}",
            str(steps_taken(passes[0])),
            f"{steps_taken(passes[1])} in a second pass" if s.second else "",
        ]
    assert found == expected
