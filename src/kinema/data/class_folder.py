"""Clips sorted by class: ``FOLDER/<class>/<clip>``, or that in ``train`` and ``val`` of a folder.

Letters: B batch, T frames, S side of a frame.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

import torch
from torch import Tensor

from kinema.data.annotations import Annotated
from kinema.data.media_folder import CLIPS, PICTURES
from kinema.data.views import ClipFile, Views, frames_at, to_pixels
from kinema.errors import InputError
from kinema.noise import Noise

TRAIN = "train"
HELD_OUT = ("val", "validation", "test")  # the first that a folder has
EVERY = 10  # of so many files of a class, one is held out where the folder holds none out itself
ASPECT = 4 / 3  # of what is cut out, at most, and at least its inverse
T = TypeVar("T")
_seen: ContextVar[dict[Any, Any] | None] = ContextVar("seen", default=None)


class Labelled(NamedTuple):
    """A file and the number of its class."""

    path: Path
    label: int


@dataclass(frozen=True)
class ClassFolder:
    """What such a folder holds.

    Args:
        path: of the folder.
        classes: names of the folders with clips, in order.
        train, held_out: files to learn from and files to look at, by class and name.
    """

    path: Path
    classes: tuple[str, ...]
    train: tuple[Labelled, ...]
    held_out: tuple[Labelled, ...]

    @classmethod
    def read(cls, folder: str | Path) -> Self:
        """Looks through a folder, without opening its files.

        Where the folder holds none out itself, one of ten files of a class is, chosen by its name.
        In a block of `listed_once` the folder is as it was when it was first looked through there.

        Raises:
            InputError: the folder holds fewer than two classes, a class without files or one that
                is called like a split, or what is held out has a class that is not learned.
        """
        return listed(cls._listed, folder)

    @classmethod
    def _listed(cls, path: Path) -> Self:
        aside = [path / name for name in HELD_OUT if (path / name).is_dir()]
        split = bool(aside) and (path / TRAIN).is_dir()
        found = _by_class(path / TRAIN if split else path)
        classes = tuple(found)
        if len(classes) < 2:
            raise InputError(
                f"{path} must hold a folder of clips for each of two classes or more; "
                f"there are {len(classes)}"
            )
        if split:
            unseen = _by_class(aside[0])
            if strange := [name for name in unseen if name not in found]:
                raise InputError(f"{aside[0] / strange[0]} is a class that {path / TRAIN} has not")
        else:
            chosen = {name: _held_out(files) for name, files in found.items()}
            unseen = {name: sorted(files) for name, files in chosen.items()}
            found = {
                name: [file for file in files if file not in chosen[name]]
                for name, files in found.items()
            }
        numbers = {name: number for number, name in enumerate(classes)}
        train, held_out = (
            tuple(Labelled(file, numbers[name]) for name, files in by.items() for file in files)
            for by in (found, unseen)
        )
        # Of a few clips none can be spared: they are looked at too.
        return cls(path, classes, train, held_out or train)

    @property
    def files(self) -> tuple[Labelled, ...]:
        """All of them, each once."""
        return tuple(dict.fromkeys((*self.train, *self.held_out)))

    @property
    def names(self) -> list[str]:
        """The paths of all files from the folder on."""
        return [file.path.relative_to(self.path).as_posix() for file in self.files]

    def described(self) -> str:
        """What there is, in one line."""
        if set(self.held_out) <= set(self.train):
            held = "none is held out, so held-out figures are of clips that are trained on"
        else:
            held = f"{len(self.held_out)} are held out"
        of = f" of {len(self.classes)} classes" if len(self.classes) > 1 else ""
        return f"{len(self.files)} files{of}; {held}"


@contextlib.contextmanager
def listed_once() -> Iterator[None]:
    """Inside the block every folder is looked through once, and counts as it was then."""
    token = _seen.set({})
    try:
        yield
    finally:
        _seen.reset(token)


def listed(read: Callable[[Path], T], folder: str | Path) -> T:
    """What `read` finds in a folder; in a block of `listed_once` what it found there at first."""
    place, seen = (read, Path(folder)), _seen.get()
    if seen is None:
        return read(Path(folder))
    if place not in seen:
        seen[place] = read(Path(folder))
    return seen[place]


def _by_class(folder: Path) -> dict[str, list[Path]]:
    """Files by name of their class.

    Raises:
        InputError: a folder has none, or is a split and no class.
    """
    found = {}
    for place in sorted(p for p in folder.iterdir() if p.is_dir() and p.name[0] != "."):
        if place.name.lower() in (TRAIN, *HELD_OUT):
            raise InputError(
                f"{place} is called like a split, not like a class; give {TRAIN} and "
                f"{HELD_OUT[0]} beside each other, name one of them, or rename it"
            )
        files = sorted(p for p in place.rglob("*") if p.suffix.lower() in (*CLIPS, *PICTURES))
        if not files:
            raise InputError(f"{place} holds no clip and no picture; fill or remove it")
        found[place.name] = files
    return found


def _held_out(files: Sequence[Path]) -> set[Path]:
    """One of ten, by the hashes of their names."""
    order = sorted(files, key=lambda path: hashlib.sha256(path.name.encode()).digest())
    return set(order[: len(files) // EVERY])


def annotated(folder: str | Path) -> Iterator[Annotated]:
    """The files of a folder ``<class>/<clip>`` as entries of a list.

    Raises:
        InputError: it holds no folder, or one without files or that is a split.
    """
    found = _by_class(Path(folder))
    if not found:
        raise InputError(f"{folder} must hold a folder of clips for each class")
    return (Annotated(path, name, str(path)) for name, paths in found.items() for path in paths)


def check_files(folder: ClassFolder) -> None:
    """Reads through all files, without decoding more than their first frames.

    Raises:
        InputError: some cannot be used; the first of them is named.
    """
    faults = []
    for file in folder.files:
        try:
            ClipFile.given(file.path)
        except InputError as error:
            faults.append(str(error))
    if faults:
        more = f" (and {len(faults) - 1} other files)" if len(faults) > 1 else ""
        raise InputError(f"{faults[0]}{more}; mend or remove what cannot be read")


class ClassClips:
    """Batches of files: ``clips`` (B, 3, T, S, S) in [-1, 1] and ``classes`` (B,) int64.

    To learn from, samples go through all files, each time in another order, and stretch, box and
    mirroring are drawn; to look at, sample i is file i, in one view from the middle.

    Args:
        files: with their classes.
        views: how many frames, at which size.
        seed: of what is drawn; None to look at.
        flip: share that is mirrored.
        crop_area: least and largest share of a frame that is cut out.
    """

    def __init__(
        self,
        files: Sequence[Labelled],
        views: Views,
        *,
        seed: int | None,
        flip: float,
        crop_area: tuple[float, float],
    ) -> None:
        assert files, "there are files"
        self.files, self.views, self.seed = tuple(files), views, seed
        self.flip, self.crop_area = flip, crop_area
        self._order = functools.lru_cache(maxsize=2)(self._order_of)
        self._lengths: dict[Path, int] = {}  # in frames: whole files are looked through for them

    def __call__(self, samples: tuple[int, ...]) -> dict[str, Any]:
        """The batch of some sample indices.

        Raises:
            InputError: a file cannot be read.
        """
        files = [self._file(sample) for sample in samples]
        clips = [self._clip(file.path, sample) for file, sample in zip(files, samples)]
        classes = torch.tensor([file.label for file in files])
        return {"clips": torch.stack(clips), "classes": classes}

    def _file(self, sample: int) -> Labelled:
        epoch, place = divmod(sample, len(self.files))
        if self.seed is None:
            # Spread over the classes, since only the first samples are looked at.
            return self.files[place * _stride(len(self.files)) % len(self.files)]
        return self.files[self._order(epoch)[place]]

    def _order_of(self, epoch: int) -> list[int]:
        assert self.seed is not None
        return Noise(self.seed, (epoch,)).permutation(len(self.files), "files").tolist()

    def _clip(self, path: Path, sample: int) -> Tensor:
        if path not in self._lengths:
            self._lengths[path] = ClipFile.given(path).num_frames
        file, views = ClipFile(path, self._lengths[path]), self.views
        if self.seed is None:
            numbers = views.frame_numbers(file.num_frames, clips=1)[0]
            return to_pixels([views.middle(frame) for frame in frames_at(file, numbers.tolist())])
        noise = Noise(self.seed, (sample,))
        lots = noise.uniform((1, views.num_frames), "places")[0].double().numpy()
        numbers = views.drawn(file.num_frames, lots)
        share, aspect, down, right, mirror = noise.uniform((1, 5), "box")[0].tolist()
        frames = []
        for frame in frames_at(file, numbers.tolist()):
            box = self._box(frame.shape[0], frame.shape[1], share, aspect, (right, down))
            part = views.part(frame, box)
            frames.append(part[:, ::-1] if mirror < self.flip else part)
        return to_pixels(frames)

    def _box(
        self, height: int, width: int, share: float, aspect: float, place: tuple[float, float]
    ) -> tuple[float, float, float, float]:
        """(left, top, right, bottom) of what is cut out of a frame."""
        least, most = self.crop_area
        if least == 1:  # the largest square from the middle
            side = min(height, width)
            left, top = (width - side) / 2, (height - side) / 2
            return left, top, left + side, top + side
        area = (least + (most - least) * share) * height * width
        ratio = math.exp((2 * aspect - 1) * math.log(ASPECT))
        w, h = min((area * ratio) ** 0.5, width), min((area / ratio) ** 0.5, height)
        left, top = place[0] * (width - w), place[1] * (height - h)
        return left, top, left + w, top + h


def _stride(count: int) -> int:
    """A step that visits all of `count` files once, far from one to the next."""
    step = max(1, round(count * 0.618))
    while math.gcd(step, count) != 1:
        step += 1
    return step
