"""What systems with networks share: their parts, loading and saving.

A model's file holds all its parts under ``<role>.<parameter>`` and its configuration, as JSON, in
the metadata.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar, cast, overload

import torch
from torch import Tensor, nn

from kinema.config import from_dict, to_dict
from kinema.errors import InputError
from kinema.nn.factory import multiplies_bfloat16
from kinema.systems.published import Published, opened, writer
from kinema.systems.system import System
from kinema.training.stage import Stage
from kinema.weights import lora
from kinema.weights.files import building, load_tensors, save
from kinema.weights.keymap import KeyMap
from kinema.weights.layouts import SHARD, stored
from kinema.worlds.world import WorldSample

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
    STILLS: ClassVar[int] = 0
    """How many frames of each clip `encoded` keeps beside its latents."""
    LORA: ClassVar[Mapping[str, lora.Layout]] = {}
    """{prefix of the names in a file of adapters: whose layers they are}."""
    PUBLISHED: ClassVar[Published | None] = None
    """How others publish it, where we read and write that."""

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
        where = {"device": device, "dtype": dtype}
        made = {role: p.build(getattr(config, role), **where) for role, p in self.PARTS.items()}
        self.parts = nn.ModuleDict(made).eval()

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
        preset: str | None = None,
        text_encoder: str | None = None,
    ) -> Self:
        """Builds the model that a checkpoint holds and loads its weights, tensor by tensor.

        Args:
            path: a file that `save_pretrained` or a training wrote, or of those who publish it.
            device: where to put the networks.
            dtype: of the weights in memory; unless told otherwise that of the stored ones where the
                device multiplies in it, else float32.
            preset: the published version that it is, where it does not tell itself.
            text_encoder: folder of the text encoder, where it is not with the checkpoint.

        Raises:
            InputError: the file is damaged, or belongs to another system.
        """
        checkpoint = opened(cls, Path(path), preset, text_encoder)
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
        tensors = {name: stored(value, dtype) for name, value in self.parts.state_dict().items()}
        metadata = {
            "system": self.CARD.name,
            "config": json.dumps(to_dict(self.config), sort_keys=True),
            "dtype": str(dtype or self.dtype).removeprefix("torch."),
        }
        save(path, tensors, metadata, overwrite=overwrite)

    def save_diffusers(
        self, folder: str | Path, *, dtype: torch.dtype | None = None, shard_bytes: int = SHARD
    ) -> None:
        """Writes a folder of diffusers, which its pipelines load.

        Args:
            folder: must not exist, or be empty.
            dtype: of the stored weights; as they are unless told otherwise.
            shard_bytes: of a file at most.

        Raises:
            InputError: diffusers has no such model, or the folder cannot be written.
        """
        writer(type(self))(self, Path(folder), dtype, shard_bytes)

    def start_from(self, other: Model, roles: tuple[str, ...]) -> None:
        """Copies the networks of some roles from another model of the same sizes (a warm start).

        Raises:
            InputError: a network of the other model has other sizes.
        """
        for role in roles:
            if not self.parts[role].state_dict():
                continue  # its weights lie in a folder, which the configuration names
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

    def told(self, sample: WorldSample, size: tuple[int, ...]) -> dict[str, Tensor]:
        """What they read of a sample itself; (t, h, w) is the size of its latents."""
        return {}

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

    def merge_lora(self, path: str | Path, *, scale: float, reversible: bool = True) -> None:
        """Adds the low-rank adapters of a file to the weights; words of the file are learned.

        Args:
            path: in the layout of diffusers or ComfyUI.
            scale: how strongly; 1 is as trained. The opposite takes them out again; words stay.
            reversible: whether up to 1e-6 then; weights of 16 bits need 2 bytes more each for it.

        Raises:
            InputError: the file is none of adapters of this model, or this model takes none.
        """
        read = self._read_lora(path)
        lora.merge(self.parts, read, scale=scale, where=str(path), reversible=reversible)

    @contextmanager
    def adapted(self, path: str | Path, *, scale: float) -> Iterator[None]:
        """`merge_lora` for the time of a block; then the weights are the old ones bit for bit."""
        read = self._read_lora(path)
        with lora.merged(self.parts, read, scale=scale, where=str(path)):
            yield

    def _read_lora(self, path: str | Path) -> lora.LoRA:
        """The adapters of a file, after its words were learned."""
        if not self.LORA:
            raise InputError(f"{self.CARD.name} takes no low-rank adapters")
        read = lora.read(path, self.LORA)
        if read.words:
            self.learn_words(read.words)
        return read

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
