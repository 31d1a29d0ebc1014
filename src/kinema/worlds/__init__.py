"""Programs that draw clips with complete ground truth, by name."""

from __future__ import annotations

import importlib
import inspect
import typing
from collections.abc import Callable
from typing import Any, Literal

from kinema.errors import InputError, unknown
from kinema.worlds.world import World, WorldSample

__all__ = ["WORLDS", "World", "WorldSample", "load"]

WORLDS = {
    "shapes": "kinema.worlds.shapes:Shapes",
    "motions": "kinema.worlds.motion_classes:MotionClasses",
    "tabletop": "kinema.worlds.tabletop:Tabletop",
}
TRUTH = {"0": False, "1": True, "false": False, "true": True}


def load(reference: str, **options: Any) -> World:
    """The world of a reference, made with its own options.

    Args:
        reference: a name, or a name with options: ``shapes:level=2,camera=pan``.
        options: those that the caller sets itself; no reference may set them too.

    Raises:
        InputError: there is no such world, it has no such option, or one is out of range.
    """
    name, colon, settings = reference.partition(":")
    if name not in WORLDS:
        raise unknown("world", name, WORLDS)
    module, _, made = WORLDS[name].partition(":")
    make = getattr(importlib.import_module(module), made)
    chosen = _read(name, settings, make, set(options)) if colon else {}
    world: World = make(**options, **chosen)
    return world


def _read(name: str, settings: str, make: Callable[..., World], taken: set[str]) -> dict[str, Any]:
    """The options of a reference, read as the types that the world declares."""
    kinds = typing.get_type_hints(make.__init__)
    known = [option for option in inspect.signature(make).parameters if option not in taken]
    chosen: dict[str, Any] = {}
    for setting in settings.split(","):
        option, equals, value = setting.partition("=")
        if not equals or option in chosen:
            raise InputError(f"{setting!r} in {name}:{settings} is not a new option=value")
        if option in taken:
            raise InputError(f"{option} is set elsewhere; leave it out of {name}:{settings}")
        if option not in known:
            raise unknown(f"option of the world {name}", option, known)
        chosen[option] = _value(kinds[option], value, f"{option}={value} of the world {name}")
    return chosen


def _value(kind: Any, text: str, where: str) -> Any:
    if typing.get_origin(kind) is Literal:
        if text not in typing.get_args(kind):
            raise unknown(f"value in {where}:", text, typing.get_args(kind))
        return text
    try:
        return TRUTH[text.lower()] if kind is bool else kind(text)
    except (ValueError, KeyError) as error:
        wanted = "0 or 1" if kind is bool else f"a value of type {kind.__name__}"
        raise InputError(f"{where} is not {wanted}") from error
