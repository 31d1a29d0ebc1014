"""Whole and hostile inputs in every format that the library reads, and how it reads them."""

from __future__ import annotations

import io
import json
import os
import pickle
import wave
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from kinema import registry, worlds
from kinema.cli.prompts import read_prompts
from kinema.clip import Clip
from kinema.data import folder_latents, latents
from kinema.data.folder_latents import FolderLatents
from kinema.data.latents import Encoded, LatentCache, LatentKey
from kinema.data.media_folder import inspect, read_folder
from kinema.media import probe, read_frames, read_sound
from kinema.media.score import Note, Score
from kinema.metrics.clip_sets import read_array
from kinema.metrics.feature_cache import FeatureCache
from kinema.metrics.feature_stats import FeatureStats
from kinema.noise import Noise
from kinema.sample import Features, Sound
from kinema.scenes.gaussians import Gaussians
from kinema.scenes.plan import Plan
from kinema.systems.retriever_index import FLOATS, Facts, Index
from kinema.systems.retriever_update import writing
from kinema.training import checkpoint
from kinema.weights import files, lora
from kinema.weights.keymap import KeyMap
from kinema.weights.npz import open_npz
from kinema.worlds.folder import read_metadata

Read = Callable[[], object]
CODE_RAN = "code-ran"  # what a pickle would make if its code ran
TREE = {"camera": {"frames": 4, "height": 8, "width": 8}, "objects": []}
GIVEN = {"prompts": "p.jsonl", "plan": "plan.json", "ply": "g.ply", "features": "f.npz"}


@dataclass(frozen=True)
class Seed:
    """An input.

    Args:
        files: its files by their paths in a folder.
        reader: a name in `READERS`.
        whole: whether the library must read it; what is hostile by itself may be refused.
    """

    files: Mapping[str, bytes]
    reader: str
    whole: bool = True


class Small(nn.Module):
    """The network that checkpoints of no system belong to."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 4, device="meta")
        self.out = nn.Conv1d(4, 2, 1, device="meta")


class Trap:
    """An object whose pickle runs code when it is read."""

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return os.mkdir, (CODE_RAN,)


# How inputs are read: the folder of an input -> the calls that read it.


def _media(folder: Path) -> list[Read]:
    (path,) = folder.iterdir()
    return [
        partial(probe, path),
        partial(Clip.read, path),
        partial(Clip.read, path, fps=24.0, size=(16, 24)),
        partial(read_frames, path, [0, 3]),
        partial(read_sound, path),
    ]


def _arrays(folder: Path) -> list[Read]:
    (path,) = folder.iterdir()
    return [partial(read_array, path)]


def _given(kind: Callable[[str], object], folder: Path) -> list[Read]:
    (path,) = folder.iterdir()
    return [partial(kind, str(path))]


def _folder(folder: Path) -> list[Read]:
    def inspected() -> None:
        found, _ = read_folder(folder, captioned=True)
        for file in found:
            inspect(file, fps=8.0, shortest=1)

    return [inspected, partial(read_metadata, folder)]


def _model(system: str, folder: Path) -> list[Read]:
    (path,) = folder.iterdir()
    return [partial(registry.system_class(system).from_pretrained, path)]


def _network(folder: Path) -> list[Read]:
    inside = [*folder.iterdir()]
    path = folder if len(inside) > 1 else inside[0]
    return [partial(files.load_into, Small(), path, KeyMap())]


def _adapters(folder: Path) -> list[Read]:
    (path,) = folder.iterdir()
    return [partial(lora.read, path, {"transformer.": lora.Layout("net", KeyMap())})]


def _cache(folder: Path) -> list[Read]:
    def batch() -> object:
        return LatentCache(folder, codec="c0", seed=0)((0, 1, 2))

    return [batch]


def _clips(folder: Path) -> list[Read]:
    def batch() -> object:
        return FolderLatents(folder, codec="c0", batch_size=2, seed=0)((0, 1))

    return [batch]


def _features(folder: Path) -> list[Read]:
    def found() -> list[torch.Tensor]:
        cache = FeatureCache(folder, {"extractor": "e"})
        return [cache[clip] for clip in ("a", "b") if clip in cache]

    return [found]


def _arrays_by_name(folder: Path) -> list[Read]:
    (path,) = folder.iterdir()
    return [partial(open_npz, path)]


READERS: dict[str, Callable[[Path], list[Read]]] = {
    "media": _media,
    "array": _arrays,
    "folder": _folder,
    "features": partial(_given, Features.given),
    "plan": partial(_given, Plan.given),
    "gaussians": partial(_given, Gaussians.given),
    "prompts": partial(_given, lambda p: read_prompts(Path(p), negative="", seed=0)),
    "run": lambda folder: [partial(checkpoint.latest, folder)],
    "network": _network,
    "adapters": _adapters,
    "cache": _cache,
    "clips": _clips,
    "feature cache": _features,
    "statistics": partial(_given, FeatureStats.load),
    "index": lambda folder: [partial(Index.given, folder)],
    "arrays by name": _arrays_by_name,
}
READERS |= {
    f"model {name}": partial(_model, name)
    for name in registry.cards()
    if hasattr(registry.system_class(name), "PARTS")
}


def content(folder: Path) -> dict[str, bytes]:
    """The files below a folder."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


# Media.


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
    seeds |= _texts(next(iter(picture.values())), next(iter(video.values())))
    return seeds | _arrays_of(clip) | _hostile_media()


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


def _texts(picture: bytes, video: bytes) -> dict[str, Seed]:
    lines = [{"file_name": "a.mp4", "text": "a red circle"}, {"file_name": "b.png", "text": "b"}]
    listed = "".join(json.dumps(line) + "\n" for line in lines).encode()
    given = [{"prompt": "a red circle moves left", "seed": 3, "negative": "blur"}]
    prompts = "".join(json.dumps(line) + "\n" for line in given).encode()
    placed = {"name": "cat", "prompt": "a cat", "location": [0.5, 0.5], "height": 0.3}
    plan = json.dumps({**TREE, "prompt": "a cat", "objects": [placed]}).encode()
    beside = {"a.mp4": video, "a.txt": b"a red circle", "b.png": picture, "b.txt": b"b"}
    listing = {"a.mp4": video, "b.png": picture, "metadata.jsonl": listed}
    return {
        "captions beside": Seed(beside, "folder", False),
        "metadata.jsonl": Seed(listing, "folder"),
        "metadata.jsonl alone": Seed({**listing, "a.mp4": b"", "b.png": b""}, "folder", False),
        "prompts.jsonl": Seed({"p.jsonl": prompts}, "prompts"),
        "plan.json": Seed({"plan.json": plan}, "plan", False),
    }


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


# Checkpoints.


def checkpoints(folder: Path) -> dict[str, Seed]:
    """Seeds of weights, runs, adapters, caches and indexes.

    Args:
        folder: empty; what seeds are written to on the way.
    """
    torch.manual_seed(0)
    state = {k: torch.ones(v.shape) for k, v in Small().state_dict().items()}
    seeds: dict[str, Seed] = {}

    def add(name: str, reader: str, write: Callable[[Path], object], whole: bool = True) -> None:
        place = folder / name
        place.mkdir()
        write(place)
        seeds[name] = Seed(content(place), reader, whole)

    for reader in READERS:
        if reader.startswith("model "):
            kind = registry.system_class(reader.removeprefix("model "))
            model = kind(kind.PRESETS["nano"]())
            add(reader, reader, lambda f, m=model: m.save_pretrained(f / "model.safetensors"))
    add("run", "run", partial(_write_run, state))
    add("single", "network", lambda f: files.save(f / "n.safetensors", state, {}, overwrite=False))
    add("sharded", "network", partial(_write_shards, state))
    add("adapters", "adapters", _write_adapters)
    for ending in (".pt", ".bin"):
        add(f"pickle{ending}", "network", lambda f, e=ending: torch.save(state, f / f"n{e}"))
    old = {"_use_new_zipfile_serialization": False}
    add("old.pt", "network", lambda f: torch.save({"model": state}, f / "n.pt", **old))
    add("arrays", "arrays by name", lambda f: np.savez(f / "n.npz", **_plain(state)))
    add("cache", "cache", _write_cache)
    add("clips", "clips", _write_clips)
    add("features", "feature cache", _write_features)
    statistics = FeatureStats.of(torch.ones(300, 4))
    add("statistics", "statistics", lambda f: statistics.save(f / "s.safetensors", overwrite=False))
    add("index", "index", _write_index)
    for name, write in _traps(state).items():
        add(name, "arrays by name" if name.endswith("npz") else "network", write, False)
    return seeds


def _plain(state: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    return {name: value.numpy() for name, value in state.items()}


def _write_run(state: Mapping[str, torch.Tensor], folder: Path) -> None:
    for step in (2, 4):
        values = {"step": step, "seed": 0, "recipe": {"learning_rate": 0.1}}
        checkpoint.save(checkpoint.path_of(folder, step), state, values)


def _write_shards(state: Mapping[str, torch.Tensor], folder: Path) -> None:
    names = {key: f"m-{i % 2}.safetensors" for i, key in enumerate(sorted(state))}
    for file in sorted(set(names.values())):
        save_file({key: state[key] for key in state if names[key] == file}, folder / file)
    index = {"metadata": {"total_size": 100}, "weight_map": names}
    (folder / "m.safetensors.index.json").write_text(json.dumps(index))
    (folder / "config.json").write_text(json.dumps({"layers": 2}))


def _write_adapters(folder: Path) -> None:
    a, b = torch.ones(2, 3), torch.ones(4, 2)
    sides = {"transformer.inner.lora_A.weight": a, "transformer.inner.lora_B.weight": b}
    tensors = {**sides, lora.ROWS: torch.ones(1, 5)}
    lora.write(folder / "lora.safetensors", tensors, words=("new",), overwrite=False)


def _write_index(folder: Path) -> None:
    with writing(folder, Facts("m0", Path("clips"))) as index, index.database:
        for name in (b"a.mp4", b"b.mp4"):
            index.put(name, "1 2 3", "c0", np.ones(4, FLOATS).tobytes())


def _write_cache(folder: Path) -> None:
    key = LatentKey(codec="c0", source="s", num_frames=8, height=32, width=32, fps=8.0)

    def encode(samples: range) -> list[Encoded]:
        return [Encoded(torch.ones(2, 1, 2, 2), ("a circle",), {"color": "red"}) for _ in samples]

    latents.write(folder, key, 6, encode)


def _write_clips(folder: Path) -> None:
    entries = [
        {"name": f"{i}.mp4", "captions": ["a"], "bucket": [8, 32, 32], "windows": 2}
        | {"latents": f"{i}.safetensors"}
        for i in range(3)
    ]
    for entry in entries:
        tensors = {f"{i}.latents": torch.ones(2, 1, 2, 2) for i in range(2)}
        files.save(folder / str(entry["latents"]), tensors, {}, overwrite=False)
    index = {"codec": "c0", "fps": 8.0, "files": entries}
    (folder / folder_latents.INDEX).write_text(json.dumps(index))


def _write_features(folder: Path) -> None:
    cache = FeatureCache(folder, {"extractor": "e"})
    for clip in ("a", "b"):
        cache[clip] = torch.ones(3)
    cache.flush()


def _traps(state: Mapping[str, torch.Tensor]) -> dict[str, Callable[[Path], object]]:
    """Pickles that would run code, and archives that declare what they do not hold."""

    def nested(folder: Path) -> None:
        torch.save({"state_dict": dict(state), "hook": Trap()}, folder / "n.ckpt")

    def plain(folder: Path) -> None:
        (folder / "n.bin").write_bytes(pickle.dumps(Trap()))

    def objects(folder: Path) -> None:
        np.savez(folder / "n.npz", a=np.array([Trap()], dtype=object))

    return {
        "trap.pt": lambda folder: torch.save(Trap(), folder / "n.pt"),
        "trap nested.ckpt": nested,
        "trap plain.bin": plain,
        "trap objects.npz": objects,
        "bomb.npz": lambda folder: (folder / "n.npz").write_bytes(_bomb()),
    }


def _bomb() -> bytes:
    written, header = io.BytesIO(), io.BytesIO()
    said = {"descr": "<f4", "fortran_order": False, "shape": (2**29,)}
    np.lib.format.write_array_header_1_0(header, said)
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("a.npy", "w", force_zip64=True) as member:
            member.write(header.getvalue())
            for _ in range(8):
                member.write(bytes(2**24))
        archive.writestr("/etc/b.npy", b"")
    return written.getvalue()


SEEDS: dict[str, Callable[[Path], dict[str, Seed]]] = {"media": media, "checkpoints": checkpoints}


def calls(seed: Seed, folder: Path) -> Sequence[Read]:
    """How the input that lies in a folder is read."""
    return READERS[seed.reader](folder)
