"""The modules of this package that an experiment stands on, and digests of their sources.

They are found by reading imports in the sources, at any depth, without importing anything; imports
for type checkers alone do not count.
"""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
NAME = PACKAGE.name


def digests(*modules: str) -> dict[str, str]:
    """Digests of the sources of some modules and of all that these import, by module."""
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            waiting += imported(module)
    return {module: digest(module) or "" for module in sorted(found)}


def changed(recorded: dict[str, str]) -> list[str]:
    """The modules whose sources are no longer those with the recorded digests."""
    return [module for module, old in recorded.items() if digest(module) != old]


def digest(module: str) -> str | None:
    """The digest of a module's source; None if there is no such module."""
    path = source_of(module)
    if path is None:
        return None
    return _digest_of(path, path.stat().st_mtime_ns)


@functools.cache  # records share most of their modules
def _digest_of(path: Path, changed_ns: int) -> str:
    return hashlib.blake2b(path.read_bytes(), digest_size=8).hexdigest()


def source_of(module: str) -> Path | None:
    """The file of a module or package of ours; None if there is none."""
    place = PACKAGE.joinpath(*module.split(".")[1:])
    files = (place / "__init__.py", place.with_suffix(".py"))
    return next((file for file in files if file.is_file()), None)


@functools.cache
def imported(module: str) -> frozenset[str]:
    """The modules of ours that the source of a module imports, with the packages around them."""
    path = source_of(module)
    assert path is not None, f"no module {module}"
    names = set(_named(ast.parse(path.read_text(encoding="utf-8"))))
    packages = {part for name in names for part in _around(name)}
    return frozenset(name for name in names | packages if source_of(name) is not None)


def _named(node: ast.AST) -> Iterator[str]:
    """What imports below a node name; of ``from a import b``, both ``a`` and ``a.b``."""
    if isinstance(node, ast.Import):
        yield from (name.name for name in node.names if _ours(name.name))
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports name their modules in full"
        if _ours(node.module or ""):
            yield str(node.module)
            yield from (f"{node.module}.{name.name}" for name in node.names)
    elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        for statement in node.orelse:
            yield from _named(statement)
    else:
        for child in ast.iter_child_nodes(node):
            yield from _named(child)


def _ours(module: str) -> bool:
    return module.split(".")[0] == NAME


def _around(module: str) -> Iterator[str]:
    """The packages that a module lies in: they are imported before it."""
    while "." in module:
        module = module.rpartition(".")[0]
        yield module
