"""What systems share: jobs for all of them; parts, loading and saving for those with networks.

A model's file holds all its parts under ``<role>.<parameter>`` and its configuration, as JSON, in
the metadata.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from kinema.card import Card
from kinema.config import from_dict, to_dict
from kinema.errors import InputError, unknown
from kinema.sample import Artefact
from kinema.training.stage import Stage
from kinema.weights.files import load_tensors, open_checkpoint, save
from kinema.weights.keymap import KeyMap


@dataclass(frozen=True)
class Job:
    """One thing that a system does for a person.

    Args:
        takes: {input: its kind}, in the order of the command line.
        gives: {artefact: its kind}, the main one first.
    """

    takes: Mapping[str, type]
    gives: Mapping[str, type]


class System:
    """A system: what it is, and what it does for a person.

    A subclass names its `CARD` and its `JOBS`, and has a method ``run_<job>(inputs, seed)`` that
    returns artefacts by name for each of them.
    """

    CARD: ClassVar[Card]
    JOBS: ClassVar[Mapping[str, Job]]
    """By name; the first is the main job."""

    def run(
        self, inputs: Mapping[str, Any], seed: int, job: str | None = None
    ) -> Mapping[str, Artefact]:
        """Does a job.

        Args:
            inputs: by name, of the kinds that the job takes.
            seed: fixes whatever is drawn.
            job: one of `JOBS`; the main one if None.

        Raises:
            InputError: there is no such job; an input is missing, too many, or does not fit.
        """
        job = job or next(iter(self.JOBS))
        if job not in self.JOBS:
            raise unknown(f"job of {self.CARD.name}", job, self.JOBS)
        takes = self.JOBS[job].takes
        for name in inputs:
            if name not in takes:
                raise unknown(f"input of {self.CARD.name} {job}", name, takes)
        if missing := [name for name in takes if name not in inputs]:
            raise InputError(f"{self.CARD.name} {job} needs {', '.join(missing)} too")
        return getattr(self, f"run_{job}")(inputs, seed)

    def example(self, job: str, folder: Path) -> dict[str, Any]:
        """Inputs for a job, drawn by a world.

        Args:
            job: one of `JOBS`.
            folder: files that the inputs name are written there.
        """
        raise NotImplementedError


class Model(System):
    """A system that has networks.

    A subclass names the class of its configuration, its networks by role (the
    configuration has a field of the same name for each) and its training stages.
    """

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
