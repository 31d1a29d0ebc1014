"""Programs that draw clips with complete ground truth, by name."""

from __future__ import annotations

import importlib
from typing import Any

from kinema.errors import unknown
from kinema.worlds.world import World, WorldSample

__all__ = ["WORLDS", "World", "WorldSample", "load"]

WORLDS = {
    "shapes": "kinema.worlds.shapes:Shapes",
    "tabletop": "kinema.worlds.tabletop:Tabletop",
}


def load(name: str, **options: Any) -> World:
    """The world of this name, made with its own options.

    Raises:
        InputError: there is no such world, or an option is out of range.
    """
    if name not in WORLDS:
        raise unknown("world", name, WORLDS)
    module, _, made = WORLDS[name].partition(":")
    world: World = getattr(importlib.import_module(module), made)(**options)
    return world
