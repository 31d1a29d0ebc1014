"""What systems with networks share: their parts, loading and saving.

A model's file holds all its parts under ``<role>.<parameter>`` and its configuration, as JSON, in
the metadata.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar, cast, overload

import torch
from torch import Tensor, nn

from kinema.config import from_dict, to_dict
from kinema.errors import InputError
from kinema.systems.system import System
from kinema.training.stage import Stage
from kinema.weights.files import load_tensors, open_checkpoint, save
from kinema.weights.keymap import KeyMap

N = TypeVar("N")


class Part(Generic[N]):
    """A network of a model: an attribute of its class, under the role as its name.

    Args:
        build: ``(config, device=, dtype=)`` makes the network.
    """

    def __init__(self, build: Callable[..., N]) -> None:
        self.build = build

    def __set_name__(self, owner: type, role: str) -> None:
        self.role = role

    @overload
    def __get__(self, model: None, owner: type) -> Self: ...
    @overload
    def __get__(self, model: Model, owner: type) -> N: ...
    def __get__(self, model: Model | None, owner: type) -> Self | N:
        return self if model is None else cast(N, model.parts[self.role])


class Model(System):
    """A system that has networks.

    A subclass names the class of its configuration and its training stages, and has a `Part` for
    each network: ``unet = Part(UNet)`` builds what the field ``unet`` of a configuration says.
    """

    CONFIG: ClassVar[type]
    PRESETS: ClassVar[Mapping[str, Callable[[], Any]]]
    PARTS: ClassVar[Mapping[str, Part[Any]]] = {}
    """By role, in the order of the class."""
    STAGES: ClassVar[Mapping[str, Stage]]

    def __init_subclass__(cls) -> None:
        cls.PARTS = {role: part for role, part in vars(cls).items() if isinstance(part, Part)}

    def __init__(
        self,
        config: Any,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        self.config = config
        self.parts = nn.ModuleDict(
            {
                role: part.build(getattr(config, role), device=device, dtype=dtype)
                for role, part in self.PARTS.items()
            }
        ).eval()

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return next(self.parts.parameters()).device

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype | None = None,
    ) -> Self:
        """Builds the model that a file holds and loads its weights, tensor by tensor.

        Args:
            path: a file that `save_pretrained` or a training wrote.
            device: where to put the networks.
            dtype: of the weights in memory; float32 unless told otherwise.

        Raises:
            InputError: the file is damaged, or belongs to another system.
        """
        checkpoint = open_checkpoint(path)
        if checkpoint.metadata.get("system") != cls.CARD.name or checkpoint.config is None:
            raise InputError(f"{path} holds no {cls.CARD.name} model")
        config: Any = from_dict(cls.CONFIG, checkpoint.config, where=f"config of {path}")
        model = cls(config, device="meta", dtype=dtype)
        load_tensors(model.parts, checkpoint.tensors, KeyMap(), where=str(path))
        model.parts.to(device)
        return model

    def save_pretrained(
        self, path: str | Path, *, dtype: torch.dtype | None = None, overwrite: bool = False
    ) -> None:
        """Writes all parts and the configuration into one safetensors file.

        Args:
            path: ends in ``.safetensors``.
            dtype: of the stored weights; as they are unless told otherwise.
            overwrite: whether an existing file is replaced.
        """
        tensors = {
            name: self._stored(value, dtype) for name, value in self.parts.state_dict().items()
        }
        metadata = {
            "system": self.CARD.name,
            "config": json.dumps(to_dict(self.config), sort_keys=True),
        }
        save(path, tensors, metadata, overwrite=overwrite)

    def start_from(self, other: Model, roles: tuple[str, ...]) -> None:
        """Copies the networks of some roles from another model of the same sizes (a warm start).

        Raises:
            InputError: a network of the other model has other sizes.
        """
        for role in roles:
            if getattr(self.config, role) != getattr(other.config, role):
                raise InputError(f"cannot start from a {role} of another size; use the same preset")
            self.parts[role].load_state_dict(other.parts[role].state_dict())

    def unknown_words(self, text: str) -> list[str]:
        """The words of a text that the encoder under the role ``text`` does not know.

        Raises:
            InputError: the text is too long, or no word of it is known.
        """
        encoder: Any = self.parts["text"]
        encoder.ids([text])
        known, unknown = encoder.split(text)
        if not known:
            raise InputError(f"this model knows no word of the prompt {text[:60]!r}")
        return unknown

    @staticmethod
    def _stored(value: Tensor, dtype: torch.dtype | None) -> Tensor:
        return value if dtype is None or not value.is_floating_point() else value.to(dtype)
