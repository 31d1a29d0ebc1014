"""The finished windows of a story on disk, so that a killed one goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kinema.clip import Clip
from kinema.errors import InputError
from kinema.files import atomic, parse_json, write_text
from kinema.media.arrays import read_arrays
from kinema.sample import expect_array

SETTINGS = "story.json"
DAMAGED = (InputError, KeyError)


class Parts:
    """A folder with the frames of each finished window, without loss.

    ``story.json`` holds what fixes the frames; ``00000.npz``, ``00001.npz``, ... the new frames of
    each window. A file appears when it is complete, so a kill or a full disk costs at most the
    window in hand. One that can no longer be read, or has more or fewer frames than it should, ends
    what counts as finished.

    Args:
        folder: is made with the first window.
        settings: what fixes the frames, as JSON; frames of other settings are never mixed.
        fps: of the clips.
        lengths: how many new frames each window of the story has.
        overwrite: whether windows of other settings may be removed.

    Raises:
        InputError: the folder holds windows of other settings, and `overwrite` is false.
    """

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, Any],
        *,
        fps: float,
        lengths: Sequence[int],
        overwrite: bool,
    ) -> None:
        self.folder, self.fps, self.lengths = folder, fps, lengths
        self.settings = json.loads(json.dumps(settings))  # as they are read back
        other = self._other()
        if other and not overwrite:
            raise InputError(
                f"{folder} holds windows of another story: {other}; pass --overwrite to begin "
                "anew, or choose another --output"
            )
        if other:
            self.remove()
        self.count = self._finished()

    def add(self, clip: Clip) -> None:
        """Saves the new frames of the next window.

        Raises:
            InputError: it cannot be written; what is finished stays.
        """
        assert clip.num_frames == self.lengths[self.count], f"window {self.count}: {clip}"
        if not (self.folder / SETTINGS).exists():
            write_text(self.folder / SETTINGS, json.dumps(self.settings, indent=2) + "\n")
        with atomic(self._file(self.count), overwrite=True) as partial:
            np.savez_compressed(partial, frames=clip.frames)
        self.count += 1

    def __iter__(self) -> Iterator[np.ndarray]:
        """The new frames of each window, (n, H, W, 3) uint8; one window is held at a time."""
        return (self._read(number) for number in range(self.count))

    def last(self, frames: int) -> Clip | None:
        """The last frames of what is finished, so many or all; None before the first window."""
        found: list[np.ndarray] = []
        number = self.count
        while number and sum(map(len, found)) < frames:
            number -= 1
            found.insert(0, self._read(number))
        return Clip(np.concatenate(found)[-frames:], self.fps) if found else None

    def remove(self) -> None:
        """Removes the windows; nothing else that may lie in the folder."""
        for file in [*self._files(), self.folder / SETTINGS]:
            file.unlink(missing_ok=True)

    def _other(self) -> str:
        """What the windows in the folder were made with instead; empty if nothing."""
        file = self.folder / SETTINGS
        if not file.exists():
            return "nothing tells which" if self._files() else ""
        try:
            old = parse_json(file.read_text(encoding="utf-8"), SETTINGS)
            names = [name for name in self.settings if old.get(name) != self.settings[name]]
        except (OSError, ValueError, AttributeError):
            return f"{SETTINGS} cannot be read"
        return f"another {names[0]}" if names else ""

    def _files(self) -> list[Path]:
        return [file for file in self.folder.glob("*.npz") if file.stem.isdecimal()]

    def _file(self, number: int) -> Path:
        return self.folder / f"{number:05d}.npz"

    def _finished(self) -> int:
        """How many windows can be read, from the first on, whose frames are of one size."""
        size = None
        for number, length in enumerate(self.lengths):
            try:
                frames = self._read(number)
            except DAMAGED:
                return number
            size = size or frames.shape[1:]
            if not frames.size or frames.shape != (length, *size):
                return number
        return len(self.lengths)

    def _read(self, number: int) -> np.ndarray:
        frames = read_arrays(self._file(number))["frames"]
        expect_array("frames", frames, np.uint8, "F H W 3", (None, None, None, 3))
        return frames
