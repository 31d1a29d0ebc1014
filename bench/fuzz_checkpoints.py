"""Whole and hostile inputs of what is stored: weights, runs, parts of stories, caches, indexes."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fuzz_readers import LENGTHS, READERS, STORY, Seed, Small, Trap, trainer
from safetensors.torch import save_file

from kinema import registry
from kinema.clip import Clip
from kinema.config import to_dict
from kinema.data import folder_latents, latents
from kinema.data.latents import Encoded, LatentKey
from kinema.metrics.feature_cache import FeatureCache
from kinema.metrics.feature_stats import FeatureStats
from kinema.rollout.parts import Parts
from kinema.systems.retriever_index import FLOATS, Facts
from kinema.systems.retriever_update import writing
from kinema.training import checkpoint, shards
from kinema.weights import files, lora


def content(folder: Path) -> dict[str, bytes]:
    """The files below a folder."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


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
    add("run", "run", _write_run)
    add("run of several processes", "run", _write_shards)
    add("windows of a story", "parts", _write_parts)
    add("single", "network", lambda f: files.save(f / "n.safetensors", state, {}, overwrite=False))
    add("sharded", "network", partial(_write_sharded, state))
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


def _write_run(folder: Path) -> None:
    for step, state, values in _saved():
        checkpoint.save(checkpoint.path_of(folder, step), state, values)


def _write_shards(folder: Path) -> None:
    """As one process of several; files of more than one are read in the same way."""
    for step, state, values in _saved():
        shards.write(shards.path_of(folder, step), state, values)


def _saved() -> Iterator[tuple[int, dict[str, torch.Tensor], dict[str, Any]]]:
    """What a run saves: the step, its tensors and its values."""
    training = trainer()
    for training.step in range(1, 5):
        training.train_step()
        if training.step % 2 == 0:
            recipe = to_dict(training.recipe)
            yield (
                training.step,
                training.state(),
                {"step": training.step, "seed": 0, "recipe": recipe},
            )


def _write_parts(folder: Path) -> None:
    parts = Parts(folder, STORY, fps=12.0, lengths=LENGTHS, overwrite=False)
    levels = np.arange(9 * 4 * 6 * 3, dtype=np.uint8).reshape(9, 4, 6, 3)
    for frames in np.split(levels, np.cumsum(LENGTHS)[:-1]):
        parts.add(Clip(frames, 12.0))


def _write_sharded(state: Mapping[str, torch.Tensor], folder: Path) -> None:
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
