"""Errors that a user can mend: one line that names the value, what was expected and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """A file, a value or a name given by the user cannot be used.

    The command line prints the message as one line and exits with status 2.
    """


def unknown(kind: str, given: str, known: Iterable[str]) -> InputError:
    """The error for a name that does not exist, with the nearest existing name.

    Args:
        kind: what was looked for, as the user calls it: ``"system"``, ``"stage"``.
        given: the name that was not found.
        known: every name that would have been accepted.
    """
    names = sorted(known)
    near = difflib.get_close_matches(given, names, n=1, cutoff=0.5)
    if near:
        mend = f"did you mean {near[0]!r}?"
    elif names:
        mend = f"known: {', '.join(names[:12])}{' ...' if len(names) > 12 else ''}"
    else:
        mend = "there is none"
    return InputError(f"unknown {kind} {given!r}; {mend}")
