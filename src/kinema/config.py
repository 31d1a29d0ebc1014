"""Configurations: frozen dataclasses of numbers, strings, tuples and nested configurations."""

from __future__ import annotations

import dataclasses
import json
import sys
import types
import typing
from collections.abc import Sequence
from typing import Any, TypeVar, Union, dataclass_transform, get_args, get_origin, get_type_hints

from kinema.errors import InputError, unknown
from kinema.files import parse_json

T = TypeVar("T")


@dataclass_transform(frozen_default=True, kw_only_default=True)
def config(cls: type[T]) -> type[T]:
    """Makes `cls` a configuration: frozen, keyword-only, slotted.

    What the types of its fields do not say is validated once, in `__post_init__`.
    """
    return dataclasses.dataclass(frozen=True, kw_only=True, slots=True)(cls)


def to_dict(value: Any) -> Any:
    """A configuration as plain JSON values; `from_dict` gives an equal one back."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_dict(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [to_dict(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"a configuration cannot hold {type(value).__name__}")


def to_json(value: Any) -> str:
    """A configuration as JSON text with sorted keys."""
    return json.dumps(to_dict(value), sort_keys=True)


def from_dict(cls: type[T], values: Any, *, where: str = "") -> T:
    """Builds a configuration of class `cls` from JSON values.

    Raises:
        InputError: a field is unknown, missing or of the wrong type; the message names it.
    """
    return typing.cast(T, _read(cls, values, where or cls.__name__))


def override(value: T, settings: Sequence[str]) -> T:
    """A copy with settings of the form ``field.sub=value`` applied, as ``--set`` takes them.

    A value is read as JSON; the value of a field that holds text is taken as it stands.

    Raises:
        InputError: a setting is malformed, names no field, or its value does not fit.
    """
    data = to_dict(value)
    for setting in settings:
        path, equals, text = setting.partition("=")
        if not equals:
            raise InputError(f"--set {setting!r} is not of the form name=value")
        *groups, last = path.strip().split(".")
        place, prefix = data, ""
        for name in groups:
            place, prefix = _entry(place, name, prefix), f"{prefix}{name}."
        is_text = isinstance(_entry(place, last, prefix), str)
        place[last] = text.strip() if is_text else _parse(text)
    return from_dict(type(value), data)


def _entry(place: Any, name: str, prefix: str) -> Any:
    if not isinstance(place, dict):
        raise InputError(f"setting {prefix[:-1]!r} is a single value; it has no {name!r}")
    if name not in place:
        raise unknown("setting", prefix + name, [prefix + known for known in place])
    return place[name]


def _parse(text: str) -> Any:
    try:
        return parse_json(text, "the value")
    except InputError:  # no JSON, a number of thousands of digits, or thousands of brackets
        return text


def _read(kind: Any, value: Any, where: str) -> Any:
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return _read_union(kind, value, where)
    if origin is tuple:
        return _read_tuple(get_args(kind), value, where)
    if origin is typing.Literal:
        if value not in get_args(kind):
            raise unknown(where, str(value), [str(a) for a in get_args(kind)])
        return value
    if dataclasses.is_dataclass(kind):
        return _read_fields(kind, value, where)
    if kind is float and type(value) in (int, float):
        if not abs(value) <= sys.float_info.max:
            raise InputError(f"{where} must be a finite number")
        return float(value)
    if type(value) is not kind:
        raise InputError(f"{where} must be {kind.__name__}, not {value!r}")
    return value


def _read_union(kind: Any, value: Any, where: str) -> Any:
    options = [option for option in get_args(kind) if option is not type(None)]
    if value is None and type(None) in get_args(kind):
        return None
    # Of several configurations, the one that shares most fields with the value is meant.
    options.sort(key=lambda option: _shared_fields(option, value), reverse=True)
    errors = []
    for option in options:
        try:
            return _read(option, value, where)
        except InputError as error:
            errors.append(error)
    raise errors[0]


def _shared_fields(kind: Any, value: Any) -> int:
    if not dataclasses.is_dataclass(kind) or not isinstance(value, dict):
        return 0
    return len(value.keys() & {field.name for field in dataclasses.fields(kind)})


def _read_tuple(kinds: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise InputError(f"{where} must be a list, not {value!r}")
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        kinds = (kinds[0],) * len(value)
    if len(kinds) != len(value):
        raise InputError(f"{where} must have {len(kinds)} values, not {len(value)}")
    return tuple(_read(k, v, f"{where}[{i}]") for i, (k, v) in enumerate(zip(kinds, value)))


def _read_fields(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise InputError(f"{where} must be a mapping, not {value!r}")
    fields = {f.name: f for f in dataclasses.fields(kind)}
    for name in value:
        if name not in fields:
            raise unknown(f"field of {where}", name, fields)
    hints = get_type_hints(kind)
    read = {name: _read(hints[name], v, f"{where}.{name}") for name, v in value.items()}
    for name, field in fields.items():
        required = (
            field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        )
        if required and name not in read:
            raise InputError(f"{where} lacks the field {name!r}")
    return kind(**read)
