"""Inputs, and how the library reads each kind of them."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from kinema import registry
from kinema.cli.outputs import is_finished
from kinema.cli.prompts import read_prompts
from kinema.cli.runs import read_run
from kinema.clip import Clip
from kinema.data.annotations import class_numbers, read_annotations, read_labels
from kinema.data.folder_latents import FolderLatents
from kinema.data.latents import LatentCache
from kinema.data.media_folder import inspect, read_folder
from kinema.media import probe, read_frames, read_sound
from kinema.metrics.clip_sets import caption_of, read_array
from kinema.metrics.feature_cache import FeatureCache
from kinema.metrics.feature_stats import FeatureStats
from kinema.metrics.passport import read_scores
from kinema.noise import Noise
from kinema.rollout import read_story
from kinema.rollout.parts import Parts
from kinema.rollout.windows import plan
from kinema.sample import Features
from kinema.scenes.gaussians import Gaussians
from kinema.scenes.plan import Plan
from kinema.systems.retriever_index import Index
from kinema.training import checkpoint, shards
from kinema.training.objective import Batch, Logs, Objective
from kinema.training.recipe import Recipe
from kinema.training.run import Run
from kinema.training.trainer import Trainer
from kinema.web.limits import Limits
from kinema.web.uploads import Uploads
from kinema.weights import files, lora
from kinema.weights.keymap import KeyMap
from kinema.weights.npz import open_npz
from kinema.worlds.folder import read_metadata

Read = Callable[[], object]
CODE_RAN = "code-ran"  # what a pickle would make if its code ran
STORY = {"story": [["a red circle", 2.0]], "seed": 1}  # what fixes the frames of a story
LENGTHS = (5, 4)  # frames of its windows
ASKED = {"model": "m", "seed": 3}  # of a clip with a record
RECIPE = Recipe(steps=10, batch_size=2, learning_rate=0.1, report_every=10, save_every=2)


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


class Fit(Objective):
    """What the run in a folder trains."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 2)
        self.players = {"one": ("inner.*",)}

    def loss(self, player: str, batch: Batch, step: int, noise: Noise) -> tuple[Tensor, Logs]:
        """The mean square of what comes out."""
        return self.inner(batch["x"]).square().mean(), {}


def trainer() -> Trainer:
    """A trainer of `Fit` at its first step."""
    torch.manual_seed(0)
    return Trainer(
        Fit(), lambda rows: {"x": torch.ones(len(rows), 3)}, RECIPE, seed=0, device="cpu"
    )


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


def _one(kind: Callable[[Path], object], folder: Path) -> list[Read]:
    (path,) = folder.iterdir()
    return [partial(kind, path)]


def _given(kind: Callable[[str], object], folder: Path) -> list[Read]:
    return _one(lambda path: kind(str(path)), folder)


def _folder(folder: Path) -> list[Read]:
    def inspected() -> None:
        found, _ = read_folder(folder, captioned=True)
        for file in found:
            inspect(file, fps=8.0, shortest=1)

    return [inspected, partial(read_metadata, folder)]


def _list(folder: Path) -> list[Read]:
    (path,) = folder.iterdir()
    return [
        lambda: [*read_annotations(path, folder)],
        lambda: class_numbers(read_labels(path)),
    ]


def _record(folder: Path) -> list[Read]:
    clip = folder / "clip.mp4"
    return [partial(is_finished, clip, ASKED), partial(caption_of, clip)]


def _story(path: Path) -> object:
    return plan(read_story(path), num_frames=25, fps=12.0, stride=8)


def _parts(folder: Path) -> list[Read]:
    def told() -> object:
        parts = Parts(folder, STORY, fps=12.0, lengths=LENGTHS, overwrite=False)
        return parts.last(9), [*parts]

    return [told]


def _sent(folder: Path) -> list[Read]:
    (path,) = folder.iterdir()
    uploads = Uploads(folder, Limits())
    return [lambda: uploads.unpack(uploads.files([str(path)]), folder / "unpacked")]


def _model(system: str, folder: Path) -> list[Read]:
    return _one(registry.system_class(system).from_pretrained, folder)


def _network(folder: Path) -> list[Read]:
    inside = [*folder.iterdir()]
    path = folder if len(inside) > 1 else inside[0]
    return [partial(files.load_into, Small(), path, KeyMap())]


def _adapters(path: Path) -> object:
    return lora.read(path, {"transformer.": lora.Layout("net", KeyMap())})


def _run(folder: Path) -> list[Read]:
    def resumed() -> None:
        run = Run(trainer(), folder, held_out={}, sheet=Path.touch)
        run.resume()
        run.trainer.train_step()

    def signed() -> None:
        _sign(folder)
        resumed()

    return [resumed, signed]


def _sign(folder: Path) -> None:
    """Gives checkpoints digests that fit, as anyone can; one that cannot be opened is left."""
    for path in checkpoint.paths(folder):
        with contextlib.suppress(Exception):
            if path.is_dir():
                values = json.loads((path / shards.VALUES).read_text())["values"]
                digests = shards._digests(path)
                whole = {"values": values, "files": digests}
                whole["digest"] = shards._digest(values, digests)
                (path / shards.VALUES).write_text(json.dumps(whole))
            else:
                with safe_open(path, framework="pt") as file:
                    said = file.metadata()
                    tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                said["digest"] = checkpoint._digest(tensors, said["values"])
                files.save(path, tensors, said, overwrite=True)


def _cache(folder: Path) -> list[Read]:
    def batch() -> object:
        return LatentCache(folder, codec="c0", seed=0)((0, 1, 2))

    return [batch]


def _clips(folder: Path) -> list[Read]:
    def batch() -> object:
        return FolderLatents(folder, codec="c0", batch_size=2, seed=0)((0, 1))

    return [batch]


def _features(folder: Path) -> list[Read]:
    def found() -> list[Tensor]:
        cache = FeatureCache(folder, {"extractor": "e"})
        return [cache[clip] for clip in ("a", "b") if clip in cache]

    return [found]


READERS: dict[str, Callable[[Path], list[Read]]] = {
    "media": _media,
    "array": partial(_one, read_array),
    "folder": _folder,
    "list": _list,
    "features": partial(_given, Features.given),
    "plan": partial(_given, Plan.given),
    "gaussians": partial(_given, Gaussians.given),
    "prompts": partial(_one, lambda path: read_prompts(path, negative="", seed=0)),
    "story": partial(_one, _story),
    "scores": partial(_one, read_scores),
    "record": _record,
    "description": lambda folder: [partial(read_run, folder)],
    "sent": _sent,
    "run": _run,
    "parts": _parts,
    "network": _network,
    "adapters": partial(_one, _adapters),
    "cache": _cache,
    "clips": _clips,
    "feature cache": _features,
    "statistics": partial(_one, FeatureStats.load),
    "index": lambda folder: [partial(Index.given, folder)],
    "arrays by name": partial(_one, open_npz),
}
READERS |= {
    f"model {name}": partial(_model, name)
    for name in registry.cards()
    if hasattr(registry.system_class(name), "PARTS")
}


def calls(seed: Seed, folder: Path) -> Sequence[Read]:
    """How the input that lies in a folder is read."""
    return READERS[seed.reader](folder)
