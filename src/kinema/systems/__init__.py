"""The systems, one file per paper, and `load`, which gives a system by name."""

from __future__ import annotations

from typing import Any

from kinema import registry
from kinema.errors import InputError


def load(name: str, *, device: str = "cpu", dtype: Any = None) -> Any:
    """A system: ``name:tag`` with weights that ship with Kinema, ``name@path`` with a file's,
    ``name`` if it has none.

    Args:
        name: ``ltx_video:shapes``, ``stream``, or ``ltx_video@runs/generator/model.safetensors``.
        device: where to put the networks.
        dtype: of the weights in memory, as `Model.from_pretrained` takes it.

    Raises:
        InputError: there is no such system, tag or file, or the file holds something else.
    """
    if "@" in name:
        system, _, path = name.partition("@")
        return registry.system_class(system).from_pretrained(path, device=device, dtype=dtype)
    system, _, tag = name.partition(":")
    if not tag and not hasattr(registry.system_class(system), "PARTS"):
        return registry.system_class(system)()
    if not tag:
        tags = registry.card(system).tags
        mend = f"{system}:{next(iter(tags))}" if tags else f"{system}@FILE"
        raise InputError(f"{system!r} names an architecture; name weights too: {mend}")
    shipped = registry.SHIPPED / registry.weights(system, tag).file
    return registry.system_class(system).from_pretrained(shipped, device=device, dtype=dtype)
