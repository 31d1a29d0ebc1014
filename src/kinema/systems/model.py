"""What systems with networks share: their parts, loading and saving.

A model's file holds all its parts under ``<role>.<parameter>`` and its configuration, as JSON, in
the metadata.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar, cast, overload

import torch
from torch import Tensor, nn

from kinema.config import from_dict, to_dict
from kinema.errors import InputError
from kinema.systems.system import System
from kinema.training.stage import Stage
from kinema.weights import lora
from kinema.weights.files import building, load_tensors, open_checkpoint, save
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


def multiplies_bfloat16(device: torch.device | str) -> bool:
    """Whether a device has instructions for products in bfloat16; without them it is slow."""
    kind = torch.device(device).type
    if kind == "cpu":
        able = torch.cpu.get_capabilities()
        return any(able.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    return kind == "cuda" and torch.cuda.is_bf16_supported()


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
    STILLS: ClassVar[int] = 0
    """How many frames of each clip `encoded` keeps beside its latents."""
    LORA: ClassVar[Mapping[str, lora.Layout]] = {}
    """{prefix of the names in a file of low-rank adapters: whose layers they are}."""

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

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights in memory."""
        return next(self.parts.parameters()).dtype

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
            dtype: of the weights in memory; unless told otherwise that of the stored ones where the
                device multiplies in it, else float32.

        Raises:
            InputError: the file is damaged, or belongs to another system.
        """
        checkpoint = open_checkpoint(path)
        if checkpoint.metadata.get("system") != cls.CARD.name or checkpoint.config is None:
            raise InputError(f"{path} holds no {cls.CARD.name} model")
        if checkpoint.metadata.get("dtype") == "bfloat16" and multiplies_bfloat16(device):
            dtype = dtype or torch.bfloat16
        with building(checkpoint):
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
            "dtype": str(dtype or self.dtype).removeprefix("torch."),
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

    def encoded(self, clips: Tensor, samples: Sequence[int]) -> dict[str, Tensor]:
        """What stages that train on latents read of clips.

        Args:
            clips: (B, 3, T, H, W) in [-1, 1].
            samples: a number of each, which whatever is drawn follows.

        Returns:
            ``latents`` (B, C, t, h, w), and what else they read, (B, ...) by name, on the CPU.
        """
        raise NotImplementedError

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

    def learn_words(self, embeddings: Mapping[str, Tensor]) -> None:
        """Gives words these embeddings (D,).

        Raises:
            InputError: this model reads no words.
        """
        raise InputError(f"{self.CARD.name} reads no words, and so cannot learn {[*embeddings]}")

    def merge_lora(self, path: str | Path, *, scale: float) -> None:
        """Adds the low-rank adapters of a file to the weights; words of the file are learned.

        With the opposite scale the weights are again what they were, up to rounding; words stay.

        Args:
            path: in the layout of diffusers or ComfyUI.
            scale: how strongly; 1 is as trained.

        Raises:
            InputError: the file is none of adapters of this model, or this model takes none.
        """
        if not self.LORA:
            raise InputError(f"{self.CARD.name} takes no low-rank adapters")
        read = lora.read(path, self.LORA)
        lora.merge(self.parts, read, scale=scale, where=str(path))
        if read.words:
            self.learn_words(read.words)

    def save_lora(self, path: str | Path, *, overwrite: bool) -> None:
        """Writes the adapters that were trained beside the weights, in the layout of diffusers.

        Args:
            path: ends in ``.safetensors``.
            overwrite: whether an existing file is replaced.
        """
        tensors, words = self.adapters()
        lora.write(path, tensors, words=words, overwrite=overwrite)

    def adapters(self) -> tuple[dict[str, Tensor], tuple[str, ...]]:
        """The adapters by their names in a file, and the words that were learned with them."""
        state = self.parts.state_dict()
        return {name: value for name, value in state.items() if ".lora_" in name}, ()

    @staticmethod
    def _stored(value: Tensor, dtype: torch.dtype | None) -> Tensor:
        return value if dtype is None or not value.is_floating_point() else value.to(dtype)
