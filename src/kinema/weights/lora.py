"""Files of low-rank adapters (LoRA) in the layouts that people share, and their merging.

diffusers names ``transformer.<layer>.lora_A.weight`` and ``.lora_B.weight``, with ranks and alphas
in the metadata entry ``lora_adapter_metadata`` where alpha is not the rank. ComfyUI names
``diffusion_model.<layer>`` after the authors' layers, with ``.lora_down.weight`` and
``.lora_up.weight`` or as above, and alpha as a tensor ``.alpha``; kohya the same with
``lora_unet_`` before a layer whose dots are underscores. An adapter counts alpha / rank; where a
file names no alpha, 1.

We write the first layout with alpha = rank. A model whose text encoder learned new words has two
entries more: their embeddings as ``text.words.lora_rows``, and the words in the metadata.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from kinema.errors import InputError
from kinema.files import parse_json
from kinema.weights import files
from kinema.weights.files import open_checkpoint, read_finite
from kinema.weights.keymap import KeyMap, Lazy

METADATA = "lora_adapter_metadata"
WORDS, ROWS = "new_words", "text.words.lora_rows"
KEY = re.compile(r"(?P<layer>.+)\.(?P<part>lora_A|lora_B|lora_down|lora_up|alpha)(\.weight)?")
ROUNDED_OFF = "rounded_off"  # of a layer's weight, see `add`
SIDES = {"lora_A": "a", "lora_down": "a", "lora_B": "b", "lora_up": "b", "alpha": "alpha"}


class Layout(NamedTuple):
    """Whose layers the names in a file are.

    Attributes:
        role: the network's name in the system.
        keymap: between the file's names and the network's; it may rename only.
    """

    role: str
    keymap: KeyMap


@dataclass(frozen=True)
class Adapter:
    """The matrices A (R, I) and B (O, R) of one layer; W becomes W + scale B A."""

    a: Tensor
    b: Tensor
    scale: float


@dataclass(frozen=True)
class LoRA:
    """What a file holds.

    Attributes:
        adapters: {``role.layer``, by our names: adapter}.
        words: {word: embedding (D,)} that the text encoder learned.
    """

    adapters: Mapping[str, Adapter]
    words: Mapping[str, Tensor]


def read(path: str | Path, layouts: Mapping[str, Layout]) -> LoRA:
    """Reads a file of adapters.

    Args:
        path: of a safetensors file, or a pickle of plain tensors.
        layouts: {prefix of the names in a file: layout} that a system knows.

    Raises:
        InputError: the file is damaged, or holds something else than adapters of linear layers.
    """
    checkpoint = open_checkpoint(path)
    tensors = dict(checkpoint.tensors)
    words = _words(tensors.pop(ROWS, None), checkpoint.metadata, path)
    found: dict[str, dict[str, Tensor]] = defaultdict(dict)
    for key, value in tensors.items():
        match = KEY.fullmatch(key)
        if match is None:
            raise InputError(f"{path} holds {key}, which is no adapter of a linear layer")
        found[match["layer"]][SIDES[match["part"]]] = read_finite(key, value, where=str(path))
    if not found and not words:
        raise InputError(f"{path} holds no adapters")
    alphas = _alphas(checkpoint.metadata, path)
    adapters = {}
    for layer, matrices in found.items():
        if {"a", "b"} - matrices.keys():
            raise InputError(f"{path} lacks one of the two matrices of {layer}")
        prefix = next((p for p in layouts if layer.startswith(p)), None)
        if prefix is None:
            known = ", ".join(layouts)
            raise InputError(f"{path} has an adapter of {layer}; names here begin with {known}")
        role, keymap = layouts[prefix]
        ours = _renamed(layer.removeprefix(prefix), keymap)
        adapters[f"{role}.{ours}"] = _adapter(layer, matrices, alphas(layer), path)
    return LoRA(adapters, words)


def merge(parts: nn.Module, lora: LoRA, *, scale: float, where: str, reversible: bool) -> None:
    """Adds adapters to the weights of a system; with the opposite scale they are taken out again.

    Args:
        parts: the networks by role; all must be there before the first is changed.
        lora: what `read` gave.
        scale: how strongly; 1 is as trained.
        where: names the file in messages.
        reversible: see `add`.

    Raises:
        InputError: there is no such linear layer, or it has another size.
    """
    layers = _layers(parts, lora, where)
    for name, adapter in lora.adapters.items():
        total = scale * adapter.scale
        add(layers[name], adapter.a, adapter.b, scale=total, reversible=reversible)


@contextlib.contextmanager
def merged(parts: nn.Module, lora: LoRA, *, scale: float, where: str) -> Iterator[None]:
    """`merge` for the time of a block, behind which the weights are the old ones bit for bit.

    Meanwhile the old weights of the adapted layers are kept beside the new.
    """
    layers = _layers(parts, lora, where)
    old = {name: layer.weight.detach().clone() for name, layer in layers.items()}
    try:
        merge(parts, lora, scale=scale, where=where, reversible=False)
        yield
    finally:
        with torch.no_grad():
            for name, layer in layers.items():
                layer.weight.copy_(old[name])


def _layers(parts: nn.Module, lora: LoRA, where: str) -> dict[str, nn.Linear]:
    """The layers that are adapted, by name."""
    layers = {n: module for n, module in parts.named_modules() if isinstance(module, nn.Linear)}
    for name, adapter in lora.adapters.items():
        if name not in layers:
            raise InputError(f"{where} adapts {name}, which this model does not have")
        size, fits = (len(adapter.b), adapter.a.shape[1]), tuple(layers[name].weight.shape)
        if size != fits:
            raise InputError(f"{where} adapts {name} of {size}, not {fits}: it is of another model")
    return {name: layers[name] for name in lora.adapters}


@torch.no_grad()
def add(linear: nn.Linear, a: Tensor, b: Tensor, *, scale: float, reversible: bool) -> None:
    """W += scale B A, computed in float32; with the opposite scale W is again what it was.

    In float32 that is so up to 1e-7 of the larger of both. bfloat16 rounds off as much as 4e-3, and
    would again on the way back; where that is kept, 2e-6 are left.

    Args:
        linear: its weight W (O, I) is changed in place.
        a, b: A (R, I) and B (O, R).
        scale: of the adapter.
        reversible: whether what is rounded off is kept, 2 bytes for each weight; it is no part of
            the layer's state.
    """
    weight = linear.weight
    a, b = (matrix.to(weight.device, torch.float32) for matrix in (a, b))
    exact = weight.float() + scale * (b @ a)
    if not reversible or weight.dtype.itemsize > 2:
        weight.copy_(exact)
        return
    exact += getattr(linear, ROUNDED_OFF, torch.zeros(())).to(weight.device)
    weight.copy_(exact)
    setattr(linear, ROUNDED_OFF, (exact - weight.float()).half())


def write(
    path: str | Path,
    tensors: Mapping[str, Tensor],
    *,
    words: Sequence[str],
    overwrite: bool,
) -> None:
    """Writes adapters in diffusers' layout.

    Args:
        path: ends in ``.safetensors``.
        tensors: by their names in the file: ``<role>.<layer>.lora_A.weight`` (R, I), and so on; and
            the embeddings of new words.
        words: the new words, in the order of their embeddings.
        overwrite: whether an existing file is replaced.
    """
    described: dict[str, Any] = {}
    for key, tensor in tensors.items():
        if key.endswith(".lora_A.weight"):
            role, _, layer = key.removesuffix(".lora_A.weight").partition(".")
            described |= {f"{role}.r": len(tensor), f"{role}.lora_alpha": len(tensor)}
            described.setdefault(f"{role}.target_modules", []).append(layer)
    metadata = {METADATA: json.dumps(described, sort_keys=True)}
    if words:
        metadata[WORDS] = json.dumps(list(words))
    files.save(path, tensors, metadata, overwrite=overwrite)


def _words(rows: Lazy | None, metadata: Mapping[str, str], path: str | Path) -> dict[str, Tensor]:
    words = _json(metadata, WORDS, "[]", path)
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise InputError(f"the metadata entry {WORDS} of {path} must be a list of words")
    embeddings = () if rows is None else read_finite(ROWS, rows, where=str(path))
    if rows is not None and len(rows.shape) != 2:
        raise InputError(f"{path}: {ROWS} must be a matrix, not {rows.shape}")
    if len(words) != len(embeddings):
        raise InputError(f"{path} names {len(words)} words and has {len(embeddings)} embeddings")
    return dict(zip(words, embeddings))


def _json(metadata: Mapping[str, str], name: str, absent: str, path: str | Path) -> Any:
    return parse_json(metadata.get(name, absent), f"the metadata entry {name} of {path}")


def _alphas(metadata: Mapping[str, str], path: str | Path) -> Callable[[str], float | None]:
    """A function layer -> alpha, or None where the metadata names none."""
    described = _json(metadata, METADATA, "{}", path)
    if not isinstance(described, dict):
        raise InputError(f"the metadata entry {METADATA} of {path} must be a JSON object")

    def alpha(layer: str) -> float | None:
        role, _, name = layer.partition(".")
        for kind in ("use_rslora", "use_dora"):
            if described.get(f"{role}.{kind}"):
                raise InputError(f"{path} was trained with {kind}, which is not read here")
        patterns = described.get(f"{role}.alpha_pattern") or {}
        named = patterns.get(name) if isinstance(patterns, dict) else patterns
        found = described.get(f"{role}.lora_alpha") if named is None else named
        if not (found is None or type(found) in (int, float)):
            raise InputError(f"{path}: the alpha of {layer} is no number, but {found!r:.40}")
        return found

    return alpha


def _adapter(
    layer: str, matrices: Mapping[str, Tensor], alpha: float | None, path: str | Path
) -> Adapter:
    a, b = matrices["a"], matrices["b"]
    if a.ndim != 2 or b.ndim != 2 or not len(a) or len(a) != b.shape[1]:
        raise InputError(
            f"{path}: {layer} has matrices {tuple(a.shape)} and {tuple(b.shape)}, "
            "which are no adapter of a linear layer"
        )
    if "alpha" in matrices:
        if matrices["alpha"].numel() != 1:
            raise InputError(f"{path}: the alpha of {layer} must be one number")
        alpha = float(matrices["alpha"])
    return Adapter(a, b, 1.0 if alpha is None else alpha / len(a))


def _renamed(layer: str, keymap: KeyMap) -> str:
    """The name of a layer in our network."""
    (ours,) = keymap.to_ours({f"{layer}.weight": (1, 1)})
    return ours.removesuffix(".weight")
