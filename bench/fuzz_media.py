"""Whole and hostile inputs of media and texts: clips, pictures, sound, arrays, lists, stories."""

from __future__ import annotations

import io
import json
import wave
import zipfile
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from fuzz_readers import ASKED, Seed, Trap
from PIL import Image

from kinema import worlds
from kinema.cli.runs import IDENTITY
from kinema.clip import Clip
from kinema.media.score import Note, Score
from kinema.metrics.passport import Passport, as_json
from kinema.metrics.passport import Score as Scored
from kinema.noise import Noise
from kinema.sample import Sound
from kinema.scenes.gaussians import Gaussians

TREE = {"camera": {"frames": 4, "height": 8, "width": 8}, "objects": []}
STORY = "# two\na small red circle moves left | 1.5\n\na star | moves up | 2\n"
PROMPTS = "# prompts\na small red circle moves left\n\na blue star\n"
LISTS = {
    "kinetics.csv": "label,youtube_id,time_start,time_end,split\narchery,-abc,10,20,train\n",
    "moments.csv": "archery/a.mp4,archery,3,0\nbowling/b.mp4,bowling,3,0\n",
    "something.json": '[{"id": "7", "label": "x", "template": "Pushing [something] left"}]',
    "classes.json": '{"Pushing something left": "0", "Pulling something": "1"}',
    "ucf.txt": "Archery/v_Archery_g01_c01.avi 1\nBowling/v_Bowling_g01_c02.avi 2\n",
    "classes.txt": "1 Archery\n2 Bowling\n",
}
ONE_FILE = 60_000_000  # bytes, more than the page takes


def media(folder: Path) -> dict[str, Seed]:
    """Seeds of clips, pictures, sound, arrays and texts.

    Args:
        folder: empty; what seeds are written to on the way.
    """
    size = {"num_frames": 8, "height": 32, "width": 48, "fps": 8.0}
    drawn = worlds.load("shapes", seed=0, split="train", **size).sample(0).clip
    tone = np.sin(np.arange(8000, dtype=np.float32) / 20)[None] / 2
    clip = Clip(drawn.frames, drawn.fps, Sound(tone, 8000))
    clip.write(folder / "sound.mp4")
    Clip(clip.frames, 8.0).write(folder / "silent.mp4")
    clip.write(folder / "clip.gif")
    assert clip.sound is not None
    clip.sound.write(folder / "sound.wav")
    Score((Note(60, 90, 0.0, 0.5),), ((0.0, "C"),), 1.0, 120.0).write(folder / "score.mid")
    for ending, codec in {"mkv": "libx264", "webm": "libvpx-vp9", "avi": "mpeg4"}.items():
        _video(folder / f"clip.{ending}", clip, codec)
    for ending in ("png", "jpg", "webp", "bmp"):
        Image.fromarray(clip.frames[0]).save(folder / f"picture.{ending}")
    frames = [Image.fromarray(frame) for frame in clip.frames[:4]]
    frames[0].save(folder / "moving.png", save_all=True, append_images=frames[1:], duration=125)
    seeds = {
        path.name: Seed({f"input{path.suffix}": path.read_bytes()}, "media", _is_read(path))
        for path in sorted(folder.iterdir())
    }
    picture, video = (seeds[name].files for name in ("picture.png", "silent.mp4"))
    seeds |= _folders(next(iter(picture.values())), next(iter(video.values())))
    seeds |= _sent(next(iter(video.values())), next(iter(seeds["clip.gif"].files.values())))
    return seeds | _texts() | _arrays_of(clip) | _hostile_media()


def _is_read(path: Path) -> bool:
    return path.suffix != ".mid"  # written only


def _video(path: Path, clip: Clip, codec: str) -> None:
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=Fraction(8))
        stream.height, stream.width = clip.size
        stream.pix_fmt = "yuv420p"
        for frame in clip.frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))


def _arrays_of(clip: Clip) -> dict[str, Seed]:
    array, features = io.BytesIO(), io.BytesIO()
    np.save(array, clip.frames)
    values = np.arange(12, dtype=np.float32)
    np.savez(features, x=values.reshape(4, 3), seconds=values[:4])
    rows = Noise(0, tuple(range(14))).normal((14, 7), "gaussians")
    shapes = Gaussians(rows[:, :3], rows[:, 3:6], rows[:, 3:7], rows[:, 0], rows[:, :3].sigmoid())
    shapes.write("g.ply", overwrite=True)
    gaussians = Path("g.ply").read_bytes()
    return {
        "frames.npy": Seed({"input.npy": array.getvalue()}, "array"),
        "features.npz": Seed({"f.npz": features.getvalue()}, "features"),
        "gaussians.ply": Seed({"g.ply": gaussians}, "gaussians"),
    }


def _folders(picture: bytes, video: bytes) -> dict[str, Seed]:
    lines = [{"file_name": "a.mp4", "text": "a red circle"}, {"file_name": "b.png", "text": "b"}]
    listed = "".join(json.dumps(line) + "\n" for line in lines).encode()
    beside = {"a.mp4": video, "a.txt": b"a red circle", "b.png": picture, "b.txt": b"b"}
    listing = {"a.mp4": video, "b.png": picture, "metadata.jsonl": listed}
    return {
        "captions beside": Seed(beside, "folder", False),
        "metadata.jsonl": Seed(listing, "folder"),
        "metadata.jsonl alone": Seed({**listing, "a.mp4": b"", "b.png": b""}, "folder", False),
    }


def _texts() -> dict[str, Seed]:
    given = json.dumps({"prompt": "a red circle moves left", "seed": 3, "negative": "blur"})
    placed = {"name": "cat", "prompt": "a cat", "location": [0.5, 0.5], "height": 0.3}
    plan = json.dumps({**TREE, "prompt": "a cat", "objects": [placed]})
    record = {**ASKED, "prompt": "a red circle", "sampling": {"steps": 8, "shift": [1.0, 2.0]}}
    run = {name: {"width": 16, "labels": ["a"]} for name in IDENTITY}
    return {
        "prompts.jsonl": Seed({"p.jsonl": f"{given}\n".encode()}, "prompts"),
        "prompts.txt": Seed({"p.txt": PROMPTS.encode()}, "prompts"),
        "plan.json": Seed({"plan.json": plan.encode()}, "plan", False),
        "story.txt": Seed({"story.txt": STORY.encode()}, "story"),
        "scores.json": Seed({"scores.json": _scores().encode()}, "scores"),
        "record.json": Seed({"clip.json": json.dumps(record).encode()}, "record"),
        "run.json": Seed({"run.json": json.dumps(run).encode()}, "description"),
    } | {name: Seed({name: text.encode()}, "list") for name, text in LISTS.items()}


def _scores() -> str:
    passport = Passport(
        score="fvd-rand",
        variant="covariance over N - 1",
        extractor="random",
        weights="0011",
        preprocessing="first 16 frames",
        interval="95 %",
        num_real=8,
        num_generated=8,
        skipped_real=0,
        skipped_generated=1,
        num_frames=16,
        fps=None,
        height=64,
        width=96,
        reference="8899",
        seed=0,
        versions={"kinema": "0.1.0"},
    )
    score = Scored(name="fvd-rand", value=12.5, interval=(11.0, 14.0), passport=passport)
    return json.dumps({"scores": as_json([score, replace(score, name="kvd")])})


def _sent(video: bytes, moving: bytes) -> dict[str, Seed]:
    """What people may send to the page: zips of clips."""
    odd = _packed({"\u00e4.mp4": video}).replace("\u00e4".encode(), b"\xff\xfe")
    return {
        "clips.zip": Seed({"c.zip": _packed({"a/b.mp4": video, "c.gif": moving})}, "sent"),
        "zip that leads out": Seed({"c.zip": _packed({"../../a.mp4": video})}, "sent", False),
        "zip from the root": Seed({"c.zip": _packed({"/etc/a.mp4": video})}, "sent", False),
        "zip with a name of no text": Seed({"c.zip": odd}, "sent", False),
        "zip of zeros": Seed({"c.zip": _packed({"a.mp4": bytes(ONE_FILE)})}, "sent", False),
    }


def _packed(members: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return packed.getvalue()


def _hostile_media() -> dict[str, Seed]:
    bomb, giant, trap = io.BytesIO(), io.BytesIO(), io.BytesIO()
    Image.new("1", (30_000, 30_000)).save(bomb, "png")
    header = {"descr": "|u1", "fortran_order": False, "shape": (2**34, 64, 64, 3)}
    np.lib.format.write_array_header_1_0(giant, header)
    np.save(trap, np.array([Trap()], dtype=object))
    short = Clip(np.zeros((2, 8, 8, 3), np.uint8), 8.0)
    short.write("short.gif", overwrite=True)
    gif = bytearray(Path("short.gif").read_bytes())
    gif[6:10] = b"\xff\xff\xff\xff"
    with wave.open("wide.wav", "wb") as sound:
        sound.setnchannels(200)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(40_000))
    zeros = io.BytesIO()
    with zipfile.ZipFile(zeros, "w", zipfile.ZIP_DEFLATED) as archive:
        zero = io.BytesIO()
        header = {"descr": "<f4", "fortran_order": False, "shape": (2**28, 3)}
        np.lib.format.write_array_header_1_0(zero, header)
        archive.writestr("x.npy", zero.getvalue() + bytes(2**24))
        archive.writestr("../../seconds.npy", zero.getvalue())
    playlist = b"#EXTM3U\n#EXTINF:1,\nfile:input.mp4\n#EXT-X-ENDLIST\n"
    outside = b'{"file_name": "../../../a.mp4", "text": "x"}\n' * 3
    return {
        "pixels of a bomb": Seed({"input.png": bomb.getvalue()}, "media", False),
        "giant canvas": Seed({"input.gif": bytes(gif)}, "media", False),
        "many channels": Seed({"input.wav": Path("wide.wav").read_bytes()}, "media", False),
        "playlist": Seed({"input.mp4": playlist}, "media", False),
        "list": Seed({"input.mp4": b"ffconcat version 1.0\nfile input.mp4\n"}, "media", False),
        "giant array": Seed({"input.npy": giant.getvalue()}, "array", False),
        "objects": Seed({"input.npy": trap.getvalue()}, "array", False),
        "bomb of zeros": Seed({"f.npz": zeros.getvalue()}, "features", False),
        "files elsewhere": Seed({"metadata.jsonl": outside, "a.png": b"x"}, "folder", False),
    }
