"""Files of published recognizers, told apart by the sizes that they hold; see `recognizer.py`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kinema.config import to_dict
from kinema.errors import InputError, unknown
from kinema.systems.published import Published
from kinema.systems.recognizer import numbered
from kinema.weights.files import Checkpoint, open_checkpoint
from kinema.weights.keymap import KeyMap, Lazy, Rename, compare, lazy
from kinema.weights.manifests import shapes_of

HEAD = "network.head.bias"


Find = Callable[[Collection[str]], KeyMap]


def to_network(find: Find) -> Find:
    """The map to the part ``network`` of a system, from one to the network by itself."""
    return lambda names: KeyMap(*find(names).rules, Rename("*", "network.*"))


@dataclass(frozen=True, kw_only=True)
class RecognizerFiles:
    """How a recognizer is found in the files of its authors.

    Args:
        name: of the system.
        parts: {role: makes its network from the configuration's field of that name}.
        versions: the published configurations by name.
        find: (names in a file) -> the key map to ours, ``<role>.<parameter>``.
        fresh: roles that a file may lack; their networks then begin anew.
    """

    name: str
    parts: Mapping[str, Callable[..., nn.Module]]
    versions: Mapping[str, Callable[[], Any]]
    find: Find
    fresh: tuple[str, ...]

    def published(self) -> Published:
        """For a `Model`."""
        return Published(versions=self.versions, read=self.read, write=None)

    def read(self, path: Path, version: str | None, text_encoder: str | None) -> Checkpoint:
        """A file by our names, with the configuration of the version whose sizes it has.

        Classes that are not as many as those of the version get numbers for names.

        Args:
            path: a file, or a folder of transformers.
            version: one of `versions`; needed where several differ in their pixels alone.
            text_encoder: none is read.

        Raises:
            InputError: it is damaged, or of no published size; several fit; or not the one named.
        """
        if text_encoder is not None:
            raise InputError(f"{self.name} reads no texts; leave the text encoder out")
        if version is not None and version not in self.versions:
            raise unknown(f"published version of {self.name}", version, self.versions)
        checkpoint = open_checkpoint(path)
        tensors = self.find(checkpoint.tensors).lazy_to_ours(checkpoint.tensors)
        if HEAD not in tensors:
            raise InputError(f"{path} holds no {self.name} model with a head")
        configs = {
            name: _with_classes(make(), tensors[HEAD].shape[0])
            for name, make in self.versions.items()
        }
        fitting = [name for name, config in configs.items() if self._fits(config, tensors)]
        config = configs[self._one(path, version, fitting)]
        half = tensors[HEAD].read().dtype is torch.bfloat16
        metadata = {"system": self.name, "dtype": "bfloat16" if half else "float32"}
        whole = {**self._begun(config, tensors), **tensors}
        return Checkpoint(path, whole, to_dict(config), metadata)

    def _fits(self, config: Any, tensors: Mapping[str, Lazy]) -> bool:
        parts = nn.ModuleDict(
            {
                role: build(getattr(config, role), device="meta")
                for role, build in self.parts.items()
                if role not in self._lacking(tensors)
            }
        )
        return not compare({key: t.shape for key, t in tensors.items()}, shapes_of(parts))

    def _lacking(self, tensors: Mapping[str, Lazy]) -> list[str]:
        """The roles that begin anew."""
        return [r for r in self.fresh if not any(key.startswith(f"{r}.") for key in tensors)]

    def _begun(self, config: Any, tensors: Mapping[str, Lazy]) -> dict[str, Lazy]:
        """What a file lacks, with first values."""
        missing = {r: self.parts[r](getattr(config, r)) for r in self._lacking(tensors)}
        return lazy(nn.ModuleDict(missing).state_dict())

    def _one(self, path: Path, version: str | None, fitting: list[str]) -> str:
        """The version that was named, or the only one that it can be."""
        if version in fitting:
            return version
        if not fitting:
            raise InputError(f"{path} has the sizes of no published {self.name}")
        told = " or ".join(fitting)
        if version is not None:
            raise InputError(f"{path} holds {told}, not {version}")
        if len(fitting) > 1:
            raise InputError(
                f"{path} may be {told}; name one, such as {self.name}:{fitting[0]}@{path}"
            )
        return fitting[0]


def _with_classes(config: Any, count: int) -> Any:
    """A configuration for so many classes."""
    labels = config.labels if len(config.labels) == count else numbered(count)
    return replace(config, labels=labels, network=replace(config.network, num_classes=count))
