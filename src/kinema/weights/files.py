"""Checkpoint files: opened by their header, loaded tensor by tensor, written atomically.

Read are single safetensors files (the authors' configuration, as JSON, under ``config`` in the
metadata), folders as diffusers writes them (``config.json`` beside safetensors files, in shards
or not), and pickles of plain tensors, whatever the names of the files end in. Written are
safetensors.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import pickle
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from kinema.errors import InputError
from kinema.files import atomic, parse_json
from kinema.media.arrays import check_members
from kinema.weights.keymap import KeyMap, Lazy, compare
from kinema.weights.manifests import shapes_of
from kinema.weights.tensor_reader import DTYPES, open_tensors

T = TypeVar("T")

# Files are told apart by how they begin: a header in JSON behind its length, or a pickle as torch
# writes it, in a zip archive or, before version 1.6, as it is.
PLACE, HEADER = 8, b"{"
PICKLES = (b"PK\x03\x04", b"\x80")
# Where training scripts put the tensors when they pickle more than tensors.
NESTS = ("state_dict", "model_state", "model", "module")

NAMES = {dtype: name for name, dtype in DTYPES.items()}
SPARE = 4  # as many parameters may be made for each that is kept


@dataclasses.dataclass(frozen=True, slots=True)
class Checkpoint:
    """An open checkpoint: names and shapes are known, values are read when asked for.

    Attributes:
        path: the file or folder.
        tensors: the file's names; reading one costs memory for that one only.
        config: the configuration stored beside the tensors, None if there is none.
        metadata: all text stored in the header, for safetensors files.
    """

    path: Path
    tensors: Mapping[str, Lazy]
    config: dict[str, Any] | None
    metadata: Mapping[str, str]


def open_checkpoint(path: str | Path) -> Checkpoint:
    """Opens a checkpoint; reads and checks its header, no values.

    Raises:
        InputError: there is no such file, it is damaged or of a kind that is not read.
    """
    path = Path(path)
    if path.is_dir():
        return _open_folder(path)
    if not path.is_file():
        raise InputError(f"no such file or folder: {path}")
    begin = _begin(path)
    has_header = begin[PLACE:] == HEADER
    if begin.startswith(PICKLES) and not has_header:
        return Checkpoint(path, _open_pickle(path), None, {})
    if not has_header and path.suffix != ".safetensors":
        raise InputError(
            f"{path} is no checkpoint: expected a safetensors file, tensors pickled by torch, or "
            "a folder"
        )
    tensors, metadata = open_tensors(path)
    config = None
    if "config" in metadata:
        config = _json(metadata["config"], f"the metadata entry 'config' of {path}")
    return Checkpoint(path, tensors, config, metadata)


def _begin(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(PLACE + len(HEADER))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error


def load_into(module: nn.Module, path: str | Path, keymap: KeyMap) -> None:
    """Loads a checkpoint into a network; peak memory is the network plus one tensor.

    (A pickle is mapped into memory: its pages count as used, but the system can drop them.) The
    network's tensors keep their dtype and device; those on the meta device are made on the
    CPU as their values arrive. Nothing is read or allocated before all names and shapes fit.

    Args:
        module: the network; parameters and persistent buffers are loaded, none may be left out.
        path: file or folder, as `open_checkpoint` takes it.
        keymap: turns the file's names into the network's.

    Raises:
        InputError: the file is damaged, belongs to another architecture, or holds NaN or infinity;
            the message names the first tensors at fault. Where values are at fault, the network is
            loaded in part and of no use.
    """
    checkpoint = open_checkpoint(path)
    load_tensors(module, checkpoint.tensors, keymap, where=str(path))


def load_tensors(
    module: nn.Module, tensors: Mapping[str, Lazy], keymap: KeyMap, *, where: str
) -> None:
    """`load_into` for tensors that are open already; `where` names their place in messages."""
    try:
        found = keymap.lazy_to_ours(tensors)
    except InputError as error:
        raise InputError(f"{where} does not fit {type(module).__name__}: {error}") from None
    expected = shapes_of(module)
    if difference := compare({key: value.shape for key, value in found.items()}, expected):
        fits = sum(key in expected for key in found)
        raise InputError(
            f"{where} does not fit {type(module).__name__}, "
            f"{fits or 'none'} of its {len(found)} tensors are known: {difference}"
        )
    for key, value in found.items():
        _set(module, key, read_finite(key, value, where=where), where, is_own=value.is_own)
    left = [key for key, value in module.named_buffers() if value.is_meta]
    assert not left, f"buffers that no checkpoint holds stay without values: {left}"


def read_finite(key: str, value: Lazy, *, where: str) -> Tensor:
    """The values of one tensor.

    Raises:
        InputError: a value is NaN or infinite.
    """
    tensor = value.read()
    if tensor.is_floating_point() and tensor.numel():
        # Both extremes are NaN as soon as one value is; no copy is made, except of 8-bit floats,
        # which torch cannot compare.
        low, high = (tensor.float() if tensor.itemsize == 1 else tensor).aminmax()
        if not (torch.isfinite(low) and torch.isfinite(high)):
            raise InputError(f"{where}: {key} holds NaN or infinity; the file cannot be used")
    return tensor


def save(
    path: str | Path,
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str],
    *,
    overwrite: bool,
) -> None:
    """Writes a safetensors file; equal content gives equal bytes.

    The safetensors package writes the metadata in an order that differs between runs and copies all
    tensors first, so the format (a length, a JSON header, the values) is written here, one tensor
    at a time.

    Args:
        path: ends in ``.safetensors``; appears only when it is complete.
        tensors: name -> tensor, on any device; stored in the order of their names.
        metadata: text for the header.
        overwrite: whether a file that exists is replaced.

    Raises:
        InputError: the file exists, cannot be written, or its name has another ending.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise InputError(f"{path}: the name of a checkpoint must end in .safetensors")
    # The format wants wide types first, so that every tensor begins at a multiple of its item size.
    order = sorted(tensors, key=lambda key: (-tensors[key].element_size(), key))
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    end = 0
    for key in order:
        tensor = tensors[key]
        begin, end = end, end + tensor.numel() * tensor.element_size()
        assert tensor.dtype in NAMES, f"{key}: {tensor.dtype} cannot be stored"
        header[key] = {
            "dtype": NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [begin, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with atomic(path, overwrite=overwrite) as partial, partial.open("wb") as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for key in order:
            _write_values(file, tensors[key])


def _write_values(file: BinaryIO, tensor: Tensor) -> None:
    values = tensor.detach().to("cpu").contiguous().reshape(-1)
    file.write(values.view(torch.uint8).numpy().data)


def _set(module: nn.Module, key: str, value: Tensor, where: str, *, is_own: bool) -> None:
    """Puts values in the place of a parameter or buffer, which keeps its dtype and device.

    Args:
        is_own: nobody else has their memory, so that the network may.
    """
    parent, _, name = key.rpartition(".")
    owner = module.get_submodule(parent)
    current = getattr(owner, name)
    if value.is_floating_point() != current.is_floating_point():
        raise InputError(f"{where}: {key} is {value.dtype}, expected {current.dtype}")
    if not current.is_meta:
        with torch.no_grad():
            current.copy_(value)
        return
    made = value
    if not is_own or value.dtype != current.dtype:
        made = torch.empty(current.shape, dtype=current.dtype).copy_(value)
    if isinstance(current, nn.Parameter):
        made = nn.Parameter(made, requires_grad=current.requires_grad)
    setattr(owner, name, made)


@contextlib.contextmanager
def building(checkpoint: Checkpoint) -> Iterator[None]:
    """Inside the block networks are built as the configuration of a checkpoint says.

    A configuration of a few bytes can describe a million layers, or one that no memory holds. So
    not many more parameters are made than the checkpoint has tensors.

    Raises:
        InputError: the configuration describes more than is there, or no network.
    """
    made = 0

    def count(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal made
        made += parameter is not None
        if made > SPARE * len(checkpoint.tensors):
            raise InputError(
                f"the configuration of {checkpoint.path} describes more than the "
                f"{len(checkpoint.tensors)} tensors that it holds"
            )

    hook = register_module_parameter_registration_hook(count)
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # what sizes without sense lead to depends on the layer
        raise InputError(
            f"the configuration of {checkpoint.path} describes no network that can be built "
            f"({type(error).__name__})"
        ) from error
    finally:
        hook.remove()


# Folders.


def _open_folder(path: Path) -> Checkpoint:
    if (path / "model_index.json").is_file():
        parts = sorted(f.parent.name for f in path.glob("*/config.json"))
        raise InputError(f"{path} is a whole pipeline; name a part of it: {', '.join(parts)}")
    tensors: dict[str, Lazy] = {}
    metadata: dict[str, str] = {}
    shards, index = _shards(path)
    for shard in shards:
        held, metadata = open_tensors(shard)
        for key, value in held.items():
            if key in tensors:
                raise InputError(f"{key} is in {shard} and in another file of its folder; keep one")
            tensors[key] = value
        if index is not None:
            named = [key for key, file in index.items() if file == shard.name]
            if difference := compare(_flat(held), _flat(named)):
                raise InputError(f"{shard} differs from the index of its folder: {difference}")
    config = None
    if (path / "config.json").is_file():
        text = (path / "config.json").read_text(encoding="utf-8", errors="replace")
        config = _json(text, str(path / "config.json"))
    return Checkpoint(path, tensors, config, metadata)


def _flat(keys: Iterable[str]) -> dict[str, tuple[int, ...]]:
    return dict.fromkeys(keys, ())


def _shards(path: Path) -> tuple[list[Path], dict[str, str] | None]:
    """The safetensors files of a folder and, where it has one, its index {name: file}."""
    indices = sorted(path.glob("*.safetensors.index.json"))
    if not indices:
        shards = sorted(path.glob("*.safetensors"))
        if not shards:
            raise InputError(f"{path} holds no safetensors file")
        return shards, None
    if len(indices) > 1:
        raise InputError(f"{path} holds several indices: {', '.join(i.name for i in indices)}")
    index = _json(indices[0].read_text(encoding="utf-8", errors="replace"), str(indices[0]))
    weights = index.get("weight_map")
    if not isinstance(weights, dict) or not all(isinstance(f, str) for f in weights.values()):
        raise InputError(f"{indices[0]} has no 'weight_map' from names to files")
    for name in sorted(set(weights.values())):
        if Path(name).name != name or not (path / name).is_file():
            raise InputError(f"{indices[0]} names {name!r}, which is no file in its folder")
    return [path / name for name in sorted(set(weights.values()))], weights


def _json(text: str, where: str) -> dict[str, Any]:
    value = parse_json(text, where)
    if not isinstance(value, dict):
        raise InputError(f"{where} must be a JSON object")
    return value


# Pickles.


def _open_pickle(path: Path) -> dict[str, Lazy]:
    try:
        # Files older than torch 1.6 are no zip archives and cannot be mapped.
        archived = zipfile.is_zipfile(path)
        if archived:
            _check_archive(path)
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=archived)
    except pickle.UnpicklingError:
        raise InputError(
            f"{path} is refused: it is damaged, or code would run when it is read; "
            "convert it to safetensors where it is trusted"
        ) from None
    except InputError:
        raise
    except Exception as error:  # a damaged pickle is a damaged program: anything may come of it
        raise InputError(
            f"{path} is damaged or no checkpoint ({type(error).__name__}); get it again"
        ) from error
    if isinstance(content, dict):
        content = next((content[n] for n in NESTS if isinstance(content.get(n), dict)), content)
    if not isinstance(content, dict) or not content:
        raise InputError(f"{path} holds no tensors by name")
    for key, value in content.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise InputError(f"{path}: {key!r} is {type(value).__name__}, expected only tensors")
    return {key: Lazy(tuple(v.shape), functools.partial(_same, v)) for key, v in content.items()}


def _check_archive(path: Path) -> None:
    """Torch packs nothing: what is declared then lies in the file, and takes no more memory."""
    with zipfile.ZipFile(path) as archive:
        check_members(path, archive)
        for member in archive.infolist():
            if member.compress_type != zipfile.ZIP_STORED:
                raise InputError(f"{path} holds {member.filename!r} packed, as torch writes none")
        declared = sum(member.file_size for member in archive.infolist())
    if declared > path.stat().st_size:
        raise InputError(f"{path} declares {declared} bytes, more than it holds; get it again")


def _same(value: Tensor) -> Tensor:
    return value
