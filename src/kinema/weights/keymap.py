"""The key-map language: names and layout of published tensors against those of our networks.

A map is a tuple of rules. Towards us the rules apply in order, each to the result of the one
before; towards the authors their inverses apply in reverse order, so one declaration serves both
ways::

    KeyMap(
        Drop("first_stage_model.*", "the VAE's part of the file"),
        Prefix("model.diffusion_model."),
        Rename("layers.{i}.*", "blocks.{i}.*"),
        Split("blocks.{i}.kv.*", ("blocks.{i}.to_k.*", "blocks.{i}.to_v.*"), dim=0),
    )

In a pattern ``{i}`` (any letter) stands for a number and ``*`` for any text; both sides of a rule
hold the same placeholders. A name that no rule matches stays as it is.

Maps work on tensors, on shapes alone, and on `Lazy` tensors, which are read one by one while a
checkpoint streams through.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar, cast

import torch
from torch import Tensor

from kinema.errors import InputError

Shape = tuple[int, ...]
V = TypeVar("V", Tensor, Shape)


@dataclasses.dataclass(frozen=True, slots=True)
class Lazy:
    """A tensor that is not in memory yet: its shape is known, `read` fetches the values.

    Attributes:
        is_own: what `read` gives is nobody else's memory, and may be kept.
    """

    shape: Shape
    read: Callable[[], Tensor]
    is_own: bool = False


Tensors = Mapping[str, Lazy]


@dataclasses.dataclass(frozen=True, slots=True)
class Rename:
    """Their name `theirs` is our `ours`; the tensor is the same."""

    theirs: str
    ours: str

    def to_ours(self, tensors: Tensors) -> dict[str, Lazy]:
        """Towards our names."""
        return _rename(tensors, self.theirs, self.ours)

    def to_theirs(self, tensors: Tensors) -> dict[str, Lazy]:
        """Towards the authors' names."""
        return _rename(tensors, self.ours, self.theirs)


@dataclasses.dataclass(frozen=True, slots=True)
class Split:
    """Their one tensor is several of ours, equal parts along `dim` in order (qkv -> q, k, v)."""

    theirs: str
    ours: tuple[str, ...]
    dim: int

    def to_ours(self, tensors: Tensors) -> dict[str, Lazy]:
        """Towards our names."""
        return _split(tensors, self.theirs, self.ours, self.dim)

    def to_theirs(self, tensors: Tensors) -> dict[str, Lazy]:
        """Towards the authors' names."""
        return _merge(tensors, self.ours, self.theirs, self.dim)


@dataclasses.dataclass(frozen=True, slots=True)
class Merge:
    """Several of their tensors, equal in shape, are our one, joined along `dim` in this order."""

    theirs: tuple[str, ...]
    ours: str
    dim: int

    def to_ours(self, tensors: Tensors) -> dict[str, Lazy]:
        """Towards our names."""
        return _merge(tensors, self.theirs, self.ours, self.dim)

    def to_theirs(self, tensors: Tensors) -> dict[str, Lazy]:
        """Towards the authors' names."""
        return _split(tensors, self.ours, self.theirs, self.dim)


@dataclasses.dataclass(frozen=True, slots=True)
class Permute:
    """Our axis k is their axis ``dims[k]``: ``(4, 3, 0, 1, 2)`` for a kernel (T, H, W, in, out)."""

    pattern: str
    dims: tuple[int, ...]

    def to_ours(self, tensors: Tensors) -> dict[str, Lazy]:
        """Towards our layout."""
        return _changed(tensors, self.pattern, partial(_permuted, self.dims))

    def to_theirs(self, tensors: Tensors) -> dict[str, Lazy]:
        """Towards the authors' layout."""
        back = tuple(self.dims.index(k) for k in range(len(self.dims)))
        return _changed(tensors, self.pattern, partial(_permuted, back))


@dataclasses.dataclass(frozen=True, slots=True)
class Squeeze:
    """Their 1x1 convolutions are our linear layers: (C', C, 1, 1) there is (C', C) here."""

    pattern: str

    def to_ours(self, tensors: Tensors) -> dict[str, Lazy]:
        """Towards our layout."""
        return _changed(tensors, self.pattern, _squeezed)

    def to_theirs(self, tensors: Tensors) -> dict[str, Lazy]:
        """Towards the authors' layout."""
        return _changed(tensors, self.pattern, _unsqueezed)


@dataclasses.dataclass(frozen=True, slots=True)
class Prefix:
    """Every one of their names begins with `prefix`, which ours lack."""

    prefix: str

    def to_ours(self, tensors: Tensors) -> dict[str, Lazy]:
        """Towards our names."""
        foreign = [key for key in tensors if not key.startswith(self.prefix)]
        if foreign:
            raise InputError(f"{_some(foreign)} without the prefix {self.prefix!r}")
        return {key.removeprefix(self.prefix): value for key, value in tensors.items()}

    def to_theirs(self, tensors: Tensors) -> dict[str, Lazy]:
        """Towards the authors' names."""
        return {self.prefix + key: value for key, value in tensors.items()}


@dataclasses.dataclass(frozen=True, slots=True)
class Drop:
    """Tensors of their file that we do not carry, and why; the way back does not restore them."""

    pattern: str
    reason: str

    def to_ours(self, tensors: Tensors) -> dict[str, Lazy]:
        """Towards our names."""
        match = _matcher(self.pattern)
        return {key: value for key, value in tensors.items() if match(key) is None}

    def to_theirs(self, tensors: Tensors) -> dict[str, Lazy]:
        """Nothing to add: what was dropped is not ours to invent."""
        match = _matcher(self.pattern)
        assert not any(map(match, tensors)), f"the network has tensors named as {self.pattern}"
        return dict(tensors)


Rule = Rename | Split | Merge | Permute | Squeeze | Prefix | Drop


class KeyMap:
    """A two-way map between the authors' tensors and ours, given by rules in the order towards us.

    Both directions take and return ``{name: tensor}``, ``{name: shape}`` or ``{name: Lazy}``;
    nothing is computed for shapes, and nothing is read for lazy tensors until they are asked for.
    """

    def __init__(self, *rules: Rule) -> None:
        self.rules = rules

    def to_ours(self, theirs: Mapping[str, V]) -> dict[str, V]:
        """Their tensors or shapes under our names.

        Raises:
            InputError: a name collides, lacks a prefix, or a tensor cannot be split, joined,
                permuted or squeezed as a rule says.
        """
        return _unwrap(theirs, self.lazy_to_ours(lazy(theirs)))

    def to_theirs(self, ours: Mapping[str, V]) -> dict[str, V]:
        """Our tensors or shapes under the authors' names.

        Raises:
            InputError: as `to_ours`.
        """
        return _unwrap(ours, self.lazy_to_theirs(lazy(ours)))

    def lazy_to_ours(self, theirs: Tensors) -> dict[str, Lazy]:
        """`to_ours` for tensors that are not in memory."""
        result = dict(theirs)
        for rule in self.rules:
            result = rule.to_ours(result)
        return result

    def lazy_to_theirs(self, ours: Tensors) -> dict[str, Lazy]:
        """`to_theirs` for tensors that are not in memory."""
        result = dict(ours)
        for rule in reversed(self.rules):
            result = rule.to_theirs(result)
        return result


def compare(found: Mapping[str, Sequence[int]], expected: Mapping[str, Sequence[int]]) -> str:
    """What keeps `found` from being exactly `expected` (name -> shape), in one line, or ""."""
    missing = [key for key in expected if key not in found]
    extra = [key for key in found if key not in expected]
    misshapen = [
        f"{key} is {_shape(found[key])} instead of {_shape(expected[key])}"
        for key in expected
        if key in found and tuple(found[key]) != tuple(expected[key])
    ]
    parts = (("missing", missing), ("unexpected", extra), ("of another shape", misshapen))
    return "; ".join(f"{len(keys)} {what}: {_some(keys)}" for what, keys in parts if keys)


def _some(keys: Sequence[str], shown: int = 3) -> str:
    return ", ".join(keys[:shown]) + (f" and {len(keys) - shown} more" if len(keys) > shown else "")


def _shape(shape: Sequence[int]) -> str:
    return "(" + ", ".join(map(str, shape)) + ")"


# Names.


def _matcher(pattern: str) -> Callable[[str], tuple[str, ...] | None]:
    """A function name -> what the placeholders stand for, or None where it does not match."""
    parts = [
        rf"(?P<{part[1]}>\d+)"
        if part.startswith("{")
        else "(.*)"
        if part == "*"
        else re.escape(part)
        for part in re.split(r"(\{[a-z]\}|\*)", pattern)
    ]
    compiled = re.compile("".join(parts))

    def match(name: str) -> tuple[str, ...] | None:
        found = compiled.fullmatch(name)
        return None if found is None else found.groups()

    return match


def _place(pattern: str, target: str, found: tuple[str, ...]) -> str:
    """`target` with its placeholders replaced by what `pattern`'s stood for."""
    names = re.findall(r"\{[a-z]\}|\*", pattern)
    assert sorted(names) == sorted(re.findall(r"\{[a-z]\}|\*", target)), (pattern, target)
    stars = iter([text for name, text in zip(names, found) if name == "*"])
    numbers = {name: text for name, text in zip(names, found) if name != "*"}
    return re.sub(r"\{[a-z]\}|\*", lambda m: numbers.get(m[0]) or next(stars), target)


def _put(result: dict[str, Lazy], key: str, value: Lazy) -> None:
    if key in result:
        raise InputError(f"two tensors would both be named {key}")
    result[key] = value


# The work of the rules, each usable in both directions.


def _rename(tensors: Tensors, source: str, target: str) -> dict[str, Lazy]:
    match, taken = _matcher(source), _matcher(target)
    result: dict[str, Lazy] = {}
    for key, value in tensors.items():
        found = match(key)
        if found is not None:
            _put(result, _place(source, target, found), value)
        elif taken(key) is not None:
            # The way back would rename this tensor too: it is in the target's layout already.
            raise InputError(f"{key} is named as {target} before {source} was renamed to that")
        else:
            _put(result, key, value)
    return result


def _split(tensors: Tensors, source: str, targets: tuple[str, ...], dim: int) -> dict[str, Lazy]:
    match = _matcher(source)
    result: dict[str, Lazy] = {}
    for key, value in tensors.items():
        found = match(key)
        if found is None:
            _put(result, key, value)
            continue
        shape, count = value.shape, len(targets)
        if dim >= len(shape) or shape[dim] % count:
            raise InputError(f"{key} {_shape(shape)} cannot be split in {count} along axis {dim}")
        size = shape[dim] // count
        part = (*shape[:dim], size, *shape[dim + 1 :])
        for index, target in enumerate(targets):
            read = _narrowed(value, dim, index * size, size)
            _put(result, _place(source, target, found), Lazy(part, read))
    return result


def _narrowed(value: Lazy, dim: int, start: int, size: int) -> Callable[[], Tensor]:
    return lambda: value.read().narrow(dim, start, size)


def _merge(tensors: Tensors, sources: tuple[str, ...], target: str, dim: int) -> dict[str, Lazy]:
    match = [_matcher(source) for source in sources]
    result: dict[str, Lazy] = {}
    groups: dict[str, list[Lazy | None]] = {}
    for key, value in tensors.items():
        for index, source in enumerate(sources):
            found = match[index](key)
            if found is not None:
                group = groups.setdefault(_place(source, target, found), [None] * len(sources))
                group[index] = value
                break
        else:
            _put(result, key, value)
    for key, group in groups.items():
        parts = [part for part in group if part is not None]
        shapes = {part.shape for part in parts}
        if len(parts) < len(sources) or len(shapes) > 1 or dim >= len(parts[0].shape):
            raise InputError(
                f"{key} needs {len(sources)} tensors of one shape, joined along axis {dim}; "
                f"there are {len(parts)}: {', '.join(sorted(map(_shape, shapes)))}"
            )
        shape = list(parts[0].shape)
        shape[dim] *= len(parts)
        _put(result, key, Lazy(tuple(shape), _joined(parts, dim)))
    return result


def _joined(parts: list[Lazy], dim: int) -> Callable[[], Tensor]:
    return lambda: torch.cat([part.read() for part in parts], dim)


def _changed(
    tensors: Tensors, pattern: str, change: Callable[[str, Lazy], Lazy]
) -> dict[str, Lazy]:
    match = _matcher(pattern)
    return {
        key: value if match(key) is None else change(key, value) for key, value in tensors.items()
    }


def _permuted(dims: tuple[int, ...], key: str, value: Lazy) -> Lazy:
    if len(value.shape) != len(dims):
        raise InputError(f"{key} {_shape(value.shape)} must have {len(dims)} axes")
    shape = tuple(value.shape[k] for k in dims)
    return Lazy(shape, lambda: value.read().permute(dims))


def _squeezed(key: str, value: Lazy) -> Lazy:
    if len(value.shape) != 4 or value.shape[2:] != (1, 1):
        raise InputError(f"{key} {_shape(value.shape)} is no 1x1 convolution")
    return Lazy(value.shape[:2], lambda: value.read()[..., 0, 0])


def _unsqueezed(key: str, value: Lazy) -> Lazy:
    if len(value.shape) != 2:
        raise InputError(f"{key} {_shape(value.shape)} is no linear layer")
    return Lazy((*value.shape, 1, 1), lambda: value.read()[..., None, None])


# Tensors and shapes as lazy tensors and back.


def lazy(values: Mapping[str, V]) -> dict[str, Lazy]:
    """Tensors, or shapes alone, as `Lazy` tensors; a shape reads as a tensor on the meta device."""
    return {key: _lazy(value) for key, value in values.items()}


def _lazy(value: Tensor | Sequence[int]) -> Lazy:
    if isinstance(value, Tensor):
        return Lazy(tuple(value.shape), lambda: value)
    shape = tuple(value)
    return Lazy(shape, lambda: torch.empty(shape, device="meta"))


def _unwrap(like: Mapping[str, V], values: Tensors) -> dict[str, V]:
    if any(isinstance(value, Tensor) for value in like.values()):
        return cast(dict[str, V], {key: value.read() for key, value in values.items()})
    return cast(dict[str, V], {key: value.shape for key, value in values.items()})
