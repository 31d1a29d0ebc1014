"""The arguments of the authors' constructors; for a network that reads them see `video_unet.py`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from kinema.errors import InputError, unknown

BOOKKEEPING = ("_diffusers_version", "_name_or_path")  # of whoever saved them


def check_arguments(
    network: str,
    official: Mapping[str, Any],
    *,
    needed: Collection[str],
    optional: Collection[str],
    fixed: Mapping[str, tuple[Any, ...]],
) -> None:
    """Refuses arguments that ask for another network than ours.

    Args:
        network: what messages call it: "the SVD U-Net".
        official: the arguments by name.
        needed: those that must be given.
        optional: those that may be left out.
        fixed: those of which we know some values only, and these.

    Raises:
        InputError: an argument is unknown or missing, or has a value that we do not know.
    """
    known = {*needed, *optional, *fixed, *BOOKKEEPING}
    for name, value in official.items():
        if name not in known:
            raise unknown(f"argument of {network}", name, known)
        if name in fixed and value not in fixed[name]:
            raise InputError(f"{network} has {name}={fixed[name][0]!r}, not {value!r}")
    if missing := [name for name in needed if name not in official]:
        raise InputError(f"the arguments of {network} lack {', '.join(missing)}")
