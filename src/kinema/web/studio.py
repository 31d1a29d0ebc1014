"""What stands behind the page: a loaded model, a folder, a worker, and what they can be asked."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from kinema.cli.adapters import Adapters
from kinema.cli.clips import Maker
from kinema.cli.given import Given
from kinema.errors import InputError
from kinema.systems.image_to_video import ImageToVideo
from kinema.web.history import History, bytes_in
from kinema.web.limits import MB, Limits
from kinema.web.uploads import Uploads
from kinema.web.worker import Worker

LONGEST = 4  # clips, in clips of the model's own length
SHAPES = ((1.0, 1.0), (1.0, 4 / 3), (4 / 3, 1.0), (2 / 3, 2 / 3), (4 / 3, 4 / 3))


class Studio:
    """The model, the folder and the worker of a page.

    The folder holds `runs`, `uploads` (what was sent), `features` (of clips that were scored) and
    `examples`. Nothing outside of it is read for people, or written.

    Args:
        folder: is made if it is missing.
        model: ``name:tag``, ``name@path`` or a path.
        limits: what one person may ask for.

    Raises:
        InputError: the model cannot be loaded or makes no clips from prompts, or the folder cannot
            be made.
    """

    def __init__(self, folder: Path, model: str, limits: Limits) -> None:
        self.folder, self.limits = folder.resolve(), limits
        try:
            for name in ("uploads", "features", "examples"):
                (self.folder / name).mkdir(parents=True, exist_ok=True)
            self.history = History(self.folder / "runs")
        except OSError as error:
            raise InputError(f"cannot make the folder {folder}: {error.strerror}") from error
        self.maker = Maker(
            model,
            text_encoder=None,
            device="cpu",
            dtype="float32",
            threads=None,
            sampling={},
            adapters=Adapters(()),
            given=Given((), None),
        )
        self.uploads = Uploads(self.folder / "uploads", limits)
        self.worker = Worker(limits)

    @property
    def takes_pictures(self) -> bool:
        """Whether clips can be given frames, and go on."""
        return isinstance(self.maker.model, ImageToVideo)

    @cached_property
    def frames(self) -> list[int]:
        """The numbers of frames that clips may have."""
        own = self.maker.sampling.num_frames
        return [n for n in range(2, LONGEST * own + 1) if self._makes(num_frames=n)]

    @cached_property
    def sizes(self) -> dict[str, tuple[int, int]]:
        """Sizes that clips may have, the model's own first: (height, width) by ``HxW``."""
        own = self.maker.sampling
        found = {}
        for tall, wide in SHAPES:
            height, width = round(own.height * tall), round(own.width * wide)
            if self._makes(height=height, width=width):
                found[f"{height}x{width}"] = (height, width)
        return found

    @cached_property
    def pixels(self) -> int:
        """The most that a clip may have, in all of its frames."""
        own = self.maker.sampling
        return self.limits.clip_factor * own.num_frames * own.height * own.width

    def check_room(self) -> None:
        """Raises InputError if the folder holds as much as it may."""
        if bytes_in(self.folder) > self.limits.folder_bytes:
            raise InputError(
                f"the page's folder holds {self.limits.folder_bytes // MB} MB; "
                "whoever runs the page must delete old runs first"
            )

    def close(self) -> None:
        """Ends all runs."""
        self.worker.close()

    def _makes(self, **size: Any) -> bool:
        try:
            self.maker.model.latent_shape(replace(self.maker.sampling, **size))
        except InputError:
            return False
        return True
