"""Models in the files of others: how a system reads and writes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from kinema.errors import InputError
from kinema.weights.files import Checkpoint, open_checkpoint

if TYPE_CHECKING:
    from kinema.systems.model import Model


@dataclass(frozen=True)
class Published:
    """The layouts in which the authors and diffusers publish a system.

    Attributes:
        versions: the published ones, by name; they are among the presets.
        read: (path, published version or None, folder of the text encoder or None) -> a checkpoint
            by our names, with our configuration; no values are read.
        write: (model, folder, dtype or None, bytes of a shard) writes a folder of diffusers; None
            where diffusers has no such model.
    """

    versions: Mapping[str, Callable[[], Any]]
    read: Callable[[Path, str | None, str | None], Checkpoint]
    write: Callable[[Any, Path, torch.dtype | None, int], None] | None


def writer(system: type[Model]) -> Callable[[Any, Path, torch.dtype | None, int], None]:
    """What writes models of a system as folders of diffusers.

    Raises:
        InputError: diffusers has no such model.
    """
    if system.PUBLISHED is None or system.PUBLISHED.write is None:
        raise InputError(
            f"diffusers has no {system.CARD.name}; write a file of ours, NAME.safetensors"
        )
    return system.PUBLISHED.write


def opened(
    system: type[Model], path: Path, preset: str | None, text_encoder: str | None
) -> Checkpoint:
    """A checkpoint of a system by our names, whoever wrote it; no values are read.

    Args:
        system: whose it should be.
        path: of a file, or a folder as diffusers has them.
        preset: the published version that it is, where it does not tell itself.
        text_encoder: folder of the text encoder, where it has none.

    Raises:
        InputError: it is damaged, or belongs to another system; or it tells itself what was told.
    """
    ours = None if path.is_dir() else open_checkpoint(path)
    if ours is None or "system" not in ours.metadata:
        if system.PUBLISHED is None:
            raise InputError(f"{path} holds no {system.CARD.name} model")
        return system.PUBLISHED.read(path, preset, text_encoder)
    if ours.metadata["system"] != system.CARD.name or ours.config is None:
        raise InputError(f"{path} holds no {system.CARD.name} model")
    if preset is not None:
        raise InputError(
            f"{path} tells itself which version it is; name it {system.CARD.name}@{path}"
        )
    return ours if text_encoder is None else _with_text(ours, text_encoder)


def _with_text(checkpoint: Checkpoint, folder: str) -> Checkpoint:
    assert checkpoint.config is not None
    text = checkpoint.config.get("text")
    if not isinstance(text, dict) or "folder" not in text:
        raise InputError(f"{checkpoint.path} reads no text encoder from a folder; name none")
    return replace(checkpoint, config={**checkpoint.config, "text": {**text, "folder": folder}})
