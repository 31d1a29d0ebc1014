"""The systems, one file per paper, and `load`, which gives a system by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kinema import registry
from kinema.card import Weights
from kinema.errors import InputError


def load(
    name: str, *, device: str = "cpu", dtype: Any = None, text_encoder: str | None = None
) -> Any:
    """A system: ``name:tag`` with weights that ship with Kinema, ``name@path`` with those of a file
    or folder, ``name:version@path`` where these do not tell which published version they are,
    ``name`` if it has none.

    Args:
        name: ``ltx_video:shapes``, ``stream``, or ``ltx_video@runs/generator/model.safetensors``.
        device: where to put the networks.
        dtype: of the weights in memory, as `Model.from_pretrained` takes it.
        text_encoder: folder of the text encoder, where it is not with the weights.

    Raises:
        InputError: there is no such system, tag or file, or the file holds something else.
    """
    if ":" not in name and "@" not in name:
        kind = registry.system_class(name)
        if not hasattr(kind, "PARTS"):
            return kind()
    kind, path, preset = place(name)
    return kind.from_pretrained(
        path, device=device, dtype=dtype, preset=preset, text_encoder=text_encoder
    )


def place(name: str) -> tuple[Any, Path, str | None]:
    """The class of a system, where its weights lie, and the published version that they are.

    Args:
        name: as `load` takes it, of a system with weights.

    Raises:
        InputError: there is no such system or tag.
    """
    reference, at, path = name.partition("@")
    system, _, tag = reference.partition(":")
    kind = registry.system_class(system)
    if not hasattr(kind, "PARTS"):
        raise InputError(f"{system} has no weights")
    if at:
        return kind, Path(path), tag or None
    return kind, registry.SHIPPED / shipped(system, tag).file, None


def shipped(system: str, tag: str) -> Weights:
    """Weights that ship with Kinema.

    Raises:
        InputError: there are none; the message says what to name instead.
    """
    tags = registry.card(system).tags
    if not tag:
        mend = f"{system}:{next(iter(tags))}" if tags else f"{system}@FILE"
        raise InputError(f"{system!r} names an architecture; name weights too: {mend}")
    published = getattr(registry.system_class(system), "PUBLISHED", None)
    if published is not None and tag in published.versions:
        raise InputError(f"no weights of {system}:{tag} ship; name a file: {system}:{tag}@FILE")
    return registry.weights(system, tag)
