"""Devices, number types, threads and models, as the options of the command line name them."""

from __future__ import annotations

import hashlib
import platform
from pathlib import Path
from typing import Any

import torch

from kinema import __version__, registry
from kinema.errors import InputError, unknown
from kinema.systems import load, place

DTYPES = {"auto": None, "float32": torch.float32, "bfloat16": torch.bfloat16}
DEVICES = ("cpu", "cuda", "mps")
DEFAULT_SYSTEM = "ltx_video"


def use_threads(count: int | None) -> None:
    """Lets torch compute on this many threads; as many as it likes if None."""
    if count is not None:
        torch.set_num_threads(count)


def check_device(name: str) -> None:
    """Says early whether a device is there.

    Raises:
        InputError: it is not, or there is no such kind of device.
    """
    kind, colon, index = name.partition(":")
    if kind not in DEVICES:
        raise unknown("device", name, DEVICES)
    count = {
        "cpu": lambda: 1,
        "cuda": torch.cuda.device_count,
        "mps": lambda: int(torch.backends.mps.is_available()),
    }[kind]()
    if count == 0:
        raise InputError(f"this machine, or this build of torch, has no {kind}; use --device cpu")
    if colon and not (index.isdecimal() and int(index) < count):
        raise InputError(f"there is no device {name!r}; {kind} has the numbers 0 to {count - 1}")


def dtype_of(name: str) -> torch.dtype | None:
    """The type of weights in memory; None for ``auto``, which leaves it to the file and the device.

    Raises:
        InputError: there is no such type, or none that models run in.
    """
    if name not in DTYPES:
        raise unknown("dtype", name, DTYPES)
    return DTYPES[name]


def full_name(model: str) -> str:
    """``name:tag`` or ``name@path`` of a model; a plain path is one of the default system."""
    is_folder = Path(model).is_dir() and model.partition(":")[0] not in registry.cards()
    is_path = "@" not in model and (model.endswith(".safetensors") or is_folder)
    return f"{DEFAULT_SYSTEM}@{model}" if is_path else model


def file_of(name: str) -> Path:
    """The file or folder with the weights of a model that `kinema.systems.load` can load."""
    return place(name)[1]


def load_model(
    model: str,
    *,
    device: str,
    dtype: str,
    threads: int | None,
    text_encoder: Path | None = None,
) -> Any:
    """Loads a model as the options say.

    Raises:
        InputError: there is no such model, device or type, or the file cannot be used.
    """
    check_device(device)
    use_threads(threads)
    folder = None if text_encoder is None else str(text_encoder)
    return load(full_name(model), device=device, dtype=dtype_of(dtype), text_encoder=folder)


def sha256(path: Path) -> str:
    """The digest of a file, in hex; of a folder, that of the names and digests of its weights."""
    if path.is_dir():
        files = sorted(path.rglob("*.safetensors"))
        said = "".join(f"{file.relative_to(path).as_posix()} {sha256(file)}\n" for file in files)
        return hashlib.sha256(said.encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def versions() -> dict[str, str]:
    """What results depend on besides what was asked for."""
    return {
        "kinema": __version__,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
