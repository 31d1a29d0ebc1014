"""What every system with networks shares: parts built from a configuration, loading, saving.

A model's file holds all its parts under ``<role>.<parameter>`` and its configuration, as JSON, in
the metadata.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from kinema.card import Card
from kinema.config import from_dict, to_dict
from kinema.errors import InputError
from kinema.training.stage import Stage
from kinema.weights.files import load_tensors, open_checkpoint, save
from kinema.weights.keymap import KeyMap


class Model:
    """A system that has networks.

    A subclass names its `CARD`, the class of its configuration, its networks by role (the
    configuration has a field of the same name for each) and its training stages.
    """

    CARD: ClassVar[Card]
    CONFIG: ClassVar[type]
    PRESETS: ClassVar[Mapping[str, Callable[[], Any]]]
    PARTS: ClassVar[Mapping[str, Any]]
    STAGES: ClassVar[Mapping[str, Stage]]

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
                role: build(getattr(config, role), device=device, dtype=dtype)
                for role, build in self.PARTS.items()
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

    @staticmethod
    def _stored(value: Tensor, dtype: torch.dtype | None) -> Tensor:
        return value if dtype is None or not value.is_floating_point() else value.to(dtype)
