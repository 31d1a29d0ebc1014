"""Cards: the facts about a system, as a literal that can be read without importing the system."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from kinema.errors import InputError

Kind = Literal[
    "generator", "editor", "restorer", "recognizer", "retriever", "segmenter", "sounder", "scene",
    "policy", "metric", "catalog", "technique", "data", "performance",
]  # fmt: skip
Check = Literal["full", "weights", "parity", "tiny", "run", "claim"]
CHECKS: tuple[Check, ...] = get_args(Check)
# As the formatter leaves it: what comes before and after need not be parsed, which takes longer.
CARD = re.compile(r"^CARD = .*?^\)$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Weights:
    """One set of weights of a system: where it is, its license, and the digest of the file."""

    file: str
    license: str
    trained_on: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a reader needs to know before using a system. Every value is a literal."""

    name: str
    number: int
    title: str
    arxiv: str
    year: int
    kind: Kind
    job: str
    code: str
    code_license: str
    weights_license: str
    claim: str
    applies: tuple[Check, ...]
    verified: tuple[str, ...]
    inferred: tuple[str, ...] = ()
    deviations: tuple[str, ...] = ()
    dead: dict[str, str] = field(default_factory=dict)
    coupled: str = ""
    tags: dict[str, Weights] = field(default_factory=dict)

    def __post_init__(self) -> None:
        assert self.kind in get_args(Kind), f"{self.name}: no kind {self.kind!r}"
        assert set(self.applies) <= set(CHECKS), f"{self.name}: no such check in {self.applies}"


def read_card(path: Path) -> Card | None:
    """The card in a system's file, read from its source; None if it has no ``CARD = Card(...)``.

    Raises:
        InputError: the card is not a literal, or its fields are not those of a card.
    """
    written = CARD.search(path.read_text(encoding="utf-8"))
    if written is None:
        return None
    (node,) = ast.parse(written[0]).body
    assert isinstance(node, ast.Assign)
    try:
        card = _literal(node.value)
    except ValueError as error:
        raise InputError(f"the card in {path} is not a literal: {error}") from error
    except TypeError as error:
        raise InputError(f"the card in {path} has other fields: {error}") from error
    assert isinstance(card, Card), f"CARD in {path} is not a Card"
    return card


def _literal(node: ast.AST) -> Any:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        kind = {"Card": Card, "Weights": Weights}.get(node.func.id)
        if kind is None or node.args:
            raise ValueError(f"line {node.lineno} calls {node.func.id}")
        fields = {k.arg: _literal(k.value) for k in node.keywords if k.arg}
        if len(fields) < len(node.keywords):
            raise ValueError(f"line {node.lineno} unpacks a mapping")
        return kind(**fields)
    if isinstance(node, ast.Dict) and None not in node.keys:
        return {_literal(k): _literal(v) for k, v in zip(node.keys, node.values) if k}
    return ast.literal_eval(node)
