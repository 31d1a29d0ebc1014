"""`kinema generate` with --before, --video, --upsampler and --tile."""

from __future__ import annotations

import hashlib
import json
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from kinema.clip import Clip
from kinema.networks.ltx_latent_upsampler import LatentUpsampler, LatentUpsamplerConfig
from kinema.systems.ltx_video import LTXVideo
from kinema.systems.ltx_video_config import SecondPass
from kinema.weights.files import save
from kinema.worlds.shapes import Shapes

PROMPT = "a small red circle moves left on a navy background"
CLIP = Shapes(seed=0, split="train", num_frames=20, height=48, width=64, fps=12.0).sample(0).clip


@pytest.fixture(autouse=True)
def files(in_a_fresh_folder):
    """A picture and a clip."""
    Image.fromarray(CLIP.frames[0]).save("a.png")
    CLIP.write("clip.mp4")


def sha(name):
    return hashlib.sha256(Path(name).read_bytes()).hexdigest()


def test_new_frames_lead_up_to_a_clip(kinema, model):
    options = ("--extend", "clip.mp4", "--before", "--num-frames", 25, "--image", "a.png")
    arguments = ("generate", PROMPT, "--model", model, "-o", "x.mp4", *options, "--threads", 1)
    answer = kinema(*arguments, "--json")
    assert answer.status == 0, answer.err
    made, given = Clip.read("x.mp4"), Clip.read("clip.mp4", size=(32, 32))
    # 17 of the 20 frames are held, so 8 of the 25 are new.
    assert (made.num_frames, made.fps) == (8 + 20, 12.0)
    assert np.abs(made.frames[8:].astype(int) - given.frames).mean() < 3
    assert (answer.json["before"], answer.json["extend_sha256"]) == (True, sha("clip.mp4"))
    assert answer.json["keyframes"] == [{"frame": 0, "sha256": sha("a.png")}]
    command = shlex.split(answer.json["command"])
    assert kinema(*command[1:], "-o", "y.mp4").status == 0
    assert Path("x.mp4").read_bytes() == Path("y.mp4").read_bytes()


def test_a_clip_is_made_anew(kinema, model):
    options = ("--video", "clip.mp4", "--strength", "0.4", "--threads", 1)
    answer = kinema("generate", PROMPT, "--model", model, "-o", "x.mp4", *options, "--json")
    assert answer.status == 0, answer.err
    assert (answer.json["video_file"], answer.json["video_sha256"]) == ("clip.mp4", sha("clip.mp4"))
    assert answer.json["strength"] == 0.4
    video = Clip.read("clip.mp4", size=(32, 32))
    made = LTXVideo.from_pretrained(model).generate(PROMPT, seed=0, video=video, strength=0.4)
    made.write("y.mp4")
    assert Path("x.mp4").read_bytes() == Path("y.mp4").read_bytes()
    command = shlex.split(answer.json["command"])
    assert kinema(*command[1:], "-o", "z.mp4").status == 0
    assert Path("x.mp4").read_bytes() == Path("z.mp4").read_bytes()


def test_a_codec_that_saves_memory_makes_the_same_clip(kinema, model):
    arguments = ("generate", PROMPT, "--model", model, "--threads", 1)
    plain = kinema(*arguments, "-o", "x.mp4", "--json")
    parts = kinema(*arguments, "-o", "y.mp4", "--tile", 0, "--json")
    assert (plain.status, parts.status) == (0, 0)
    shown = [Clip.read(name).frames.astype(int) for name in ("x.mp4", "y.mp4")]
    assert np.abs(shown[0] - shown[1]).max() <= 2
    assert "tile" not in plain.json
    assert parts.json["tile"] == 0
    command = shlex.split(parts.json["command"])
    assert command[command.index("--tile") + 1] == "0"


def two_passes(name: str) -> None:
    """A model that makes its clips in two passes."""
    torch.manual_seed(0)
    base = LTXVideo.PRESETS["nano"]()
    second = SecondPass(
        share=0.67,
        steps=4,
        skip_first=2,
        guidance=1.0,
        perturbed=0.0,
        perturbed_blocks=(),
        rescale=0.0,
    )
    size = {"height": 48, "width": 48, "levels": (0.9, 0.5), "guidance": (1.0, 3.0)}
    LTXVideo(replace(base, sampling=replace(base.sampling, second=second, **size))).save_pretrained(
        name
    )


def upsampler(name: str) -> None:
    """A latent upsampler in the file that its authors publish."""
    config = LatentUpsamplerConfig(
        in_channels=8, mid_channels=32, num_blocks_per_stage=1, upsample="space"
    )
    told = {"_class_name": "LatentUpsampler", "in_channels": 8, "mid_channels": 32}
    told |= {"num_blocks_per_stage": 1, "dims": 3}
    tensors = LatentUpsampler(config).state_dict()
    save(name, tensors, {"config": json.dumps(told)}, overwrite=False)


def test_two_passes(kinema):
    two_passes("two.safetensors")
    upsampler("up.safetensors")
    arguments = ("generate", PROMPT, "--model", "two.safetensors", "-o", "x.mp4", "--threads", 1)
    assert "needs its latent upsampler" in kinema(*arguments).error
    answer = kinema(*arguments, "--upsampler", "up.safetensors", "--json")
    assert answer.status == 0, answer.err
    assert Clip.read("x.mp4").size == (48, 48)
    assert answer.json["upsampler_sha256"] == sha("up.safetensors")
    command = shlex.split(answer.json["command"])
    assert "--guidance" not in command  # a table, which the model has
    assert kinema(*command[1:], "-o", "y.mp4").status == 0
    assert Path("x.mp4").read_bytes() == Path("y.mp4").read_bytes()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--before",), "--before says where the new frames of --extend go; give that too"),
        (("--strength", "0.5"), "--strength says how much of --video becomes new; give that too"),
        (("--video", "clip.mp4", "--extend", "clip.mp4"), "--video and --extend are two ways"),
        (("--video", "no.mp4"), "no.mp4 does not exist; check the name"),
        (
            ("--video", "a.png"),
            "gives 1 of the 9 frames that are to be made at 12 fps; make at most 1",
        ),
        (("--video", "clip.mp4", "--num-frames", "25"), "make at most 17"),
        (("--video", "clip.mp4", "--strength", "0"), "above 0 and at most at 1, not at 0.0"),
        (("--video", "clip.mp4", "--strength", "nan"), "above 0 and at most at 1, not at nan"),
        (("--tile", "24"), "a multiple of 16 pixels from 64 on, or 0 for whole frames, not 24"),
        (("--upsampler", "no.safetensors"), "no such file or folder: no.safetensors"),
        (("--upsampler", "clip.mp4"), "clip.mp4 is no checkpoint"),
        (
            ("--keyframe", "a.png@0", "--extend", "clip.mp4", "--before", "--num-frames", "9"),
            None,
        ),
    ],
)
def test_what_does_not_fit_is_one_line(kinema, model, options, said):
    answer = kinema("generate", PROMPT, "--model", model, "-o", "x.mp4", *options)
    if said is None:
        assert answer.status == 0, answer.err
        return
    assert said in answer.error
    assert not Path("x.mp4").exists()


def test_a_story_takes_no_clip_to_make_anew(kinema, model):
    Path("story.txt").write_text(f"{PROMPT} | 1\n")
    arguments = ("generate", "--story", "story.txt", "--model", model, "--video", "clip.mp4")
    assert "leave out --video" in kinema(*arguments).error
