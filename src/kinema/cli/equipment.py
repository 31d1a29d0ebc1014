"""What the command line gives a model beside its weights: upsamplers, a codec that saves memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinema.cli.machine import sha256
from kinema.errors import InputError
from kinema.networks.ltx_vae import LTXVAE
from kinema.nn.tiles import Tiling
from kinema.systems.ltx_video import LTXVideo

FRAMES_AT_ONCE = 8  # of pixels, in a codec that saves memory


@dataclass(frozen=True)
class Equipment:
    """What a model is given.

    Args:
        upsamplers: files of latent upsamplers: of space, which some models need, and of time.
        tile: as `work_in_parts` takes it; None, and the codec takes clips whole.
    """

    upsamplers: tuple[Path, ...] = ()
    tile: int | None = None

    def give(self, model: Any, name: str) -> None:
        """Gives it to a model of this name.

        Raises:
            InputError: the model has no use for some of it, or it does not fit.
        """
        if self.upsamplers:
            load_upsamplers(model, name, self.upsamplers)
        if self.tile is not None:
            work_in_parts(getattr(model, "codec", None), name, self.tile)

    def settings(self) -> dict[str, Any]:
        """What of it fixes a clip."""
        digests = [sha256(path) for path in self.upsamplers]
        return {
            **({"upsampler_sha256": digests} if digests else {}),
            **({} if self.tile is None else {"tile": self.tile}),
        }

    def options(self) -> list[str]:
        """The words of a command that gives the same."""
        words = [word for path in self.upsamplers for word in ("--upsampler", str(path))]
        return words if self.tile is None else [*words, "--tile", str(self.tile)]


NOTHING = Equipment()


def load_upsamplers(model: Any, name: str, files: tuple[Path, ...]) -> None:
    """Gives a model one upsampler of space at most, and one of time.

    Raises:
        InputError: it has no use for one of them, or a file is none of its.
    """
    if not isinstance(model, LTXVideo):
        raise InputError(f"{name} has no use for an upsampler of latents; leave out --upsampler")
    for path in files:
        model.load_upsampler(path)
    loaded = [u for u in (model.upsampler, model.temporal_upsampler) if u is not None]
    if len(loaded) < len(files):
        raise InputError("--upsampler names two of one kind; give one of space and one of time")
    if model.upsampler is not None and model.config.sampling.second is None:
        raise InputError(f"{name} makes clips in one pass; leave out the --upsampler of space")


def work_in_parts(codec: object, name: str, tile: int) -> None:
    """Lets the codec of a model save memory.

    Args:
        codec: of the model.
        name: of the model.
        tile: side in pixels of the tiles that the codec works in; 0 for whole frames, a few at a
            time.

    Raises:
        InputError: the codec takes only whole clips, or no tiles of this side.
    """
    if not isinstance(codec, LTXVAE):
        raise InputError(f"{name} has no codec that works in parts; leave out --tile")
    codec.tiling = Tiling(frames=FRAMES_AT_ONCE, side=tile)
    codec.tiling.latents(codec.stride[1])
