"""A folder of clips and pictures with captions, as Frozen in Time learns from it.

Paper, code and license: see `frozen_in_time.py`. Its clips and pictures stand for WebVid and CC3M;
where there are no pictures, stills are frames of the clips.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from kinema.data.class_folder import ClassClips, ClassFolder, Labelled, listed
from kinema.data.media_folder import PICTURES, read_folder
from kinema.data.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from kinema.data.views import Views
from kinema.errors import InputError
from kinema.systems.retriever import Retriever
from kinema.training.folder_stage import FolderStage, is_folder, unsorted

WORLDS = ("shapes",)
TOLD = 10  # words, of those that are not known
LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class CaptionedFolder:
    """What such a folder holds.

    Args:
        files: each has its number in the place of a class; of clips alone some are held out.
        captions: of each number.
    """

    files: ClassFolder
    captions: tuple[tuple[str, ...], ...]

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Looks through a folder, without opening its clips.

        Raises:
            InputError: it holds no clip, or a file without a caption.
        """
        found, faults = read_folder(folder, captioned=True)
        if faults:
            more = f" (and {len(faults) - 1} others)" if len(faults) > 1 else ""
            raise InputError(f"{faults[0]}{more}")
        clips = [file for file in found if not is_picture(file.path)]
        pictures = [file for file in found if is_picture(file.path)]
        if not clips:
            raise InputError(f"{folder} holds pictures alone; this model learns from clips too")
        files = unsorted(folder, [file.path for file in clips])
        beside = (Labelled(file.path, n) for n, file in enumerate(pictures, start=len(clips)))
        captions = tuple(file.captions for file in (*clips, *pictures))
        return cls(replace(files, train=(*files.train, *beside)), captions)

    @property
    def clips(self) -> tuple[Labelled, ...]:
        """Those to learn from."""
        return tuple(file for file in self.files.train if not is_picture(file.path))

    @property
    def stills(self) -> tuple[Labelled, ...]:
        """Pictures to learn from; clips if there are none."""
        return tuple(file for file in self.files.train if is_picture(file.path)) or self.clips

    def check(self, model: Retriever, batch_size: int) -> None:
        """Reads all captions, and tells which words the model does not know.

        Raises:
            InputError: there is a caption that it cannot read, or a batch would hold the same clip
                twice, each as a negative of the other.
        """
        if (fewest := min(len(self.clips), len(self.stills))) < batch_size:
            raise InputError(
                f"{self.files.path} has {fewest} clips or pictures to learn from, but a batch has "
                f"{batch_size}; pass --set recipe.batch_size={fewest}, or less"
            )
        unknown: dict[str, None] = {}
        for file in self.files.files:
            for caption in self.captions[file.label]:
                try:
                    unknown |= dict.fromkeys(model.unknown_words(caption))
                except InputError as error:
                    raise InputError(f"{file.path}: {error}") from error
        if unknown:
            some = ", ".join(list(unknown)[:TOLD])
            LOGGER.warning("left out of the captions: %d unknown words (%s)", len(unknown), some)


def is_picture(path: Path) -> bool:
    """Whether a file holds one frame, by the ending of its name."""
    return path.suffix.lower() in PICTURES


class CaptionedStage(FolderStage):
    """A stage whose `--data` may also be a folder of clips and pictures with captions."""

    def files(self, named: str | None) -> ClassFolder | None:
        """The files of a folder."""
        found = captioned(named)
        return None if found is None else found.files


def captioned(named: str | None) -> CaptionedFolder | None:
    """The folder that the user named; None where a world is meant."""
    return listed(CaptionedFolder.read, named) if is_folder(named, WORLDS) else None


class CaptionedClips(ClassClips):
    """Batches of files: ``clips`` (B, 3, F, S, S) in [-1, 1], and all ``captions`` of each.

    Args:
        files: with the numbers of their captions.
        captions: by number.
        num_frames: F, one from each of as many equal stretches.
        size: S.
        drawn: how clips are mirrored and cut, and the seed of that, as of `ClassClips`.
    """

    def __init__(
        self,
        files: Sequence[Labelled],
        captions: Sequence[tuple[str, ...]],
        num_frames: int,
        size: int,
        **drawn: Any,
    ) -> None:
        views = Views(
            num_frames=num_frames,
            stride=None,
            size=size,
            resize=size,
            interpolation="bicubic",
            clips=1,
            crops=1,
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
        )
        super().__init__(files, views, **drawn)
        self.captions = captions

    def __call__(self, samples: tuple[int, ...]) -> dict[str, Any]:
        """The batch of some sample indices."""
        batch = super().__call__(samples)
        numbers = batch.pop("classes").tolist()
        return {**batch, "captions": [self.captions[number] for number in numbers]}
