"""Law: every argument with a default, in a shared part, is set to something else by some caller.

An argument that nobody sets belongs to the caller, or nowhere. Calls are matched by name, over all
of `src/`: a class by its name, its subclasses and `cls`; a method by its name; `forward` and
`__call__` by calls of variables and of attributes that some class assigns. A call by name that
hands on `*args` or `**kwargs` sets whatever it may set. Configurations and the command line are
exempt: there a person is the caller.

A default that stands for a reason says so on its own line: ``# default kept: <reason>``.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"
SHARED = (
    *("nn", "processes", "conditions", "hooks", "media", "training", "weights", "data"),
    *("planning", "claims"),
)
KEPT = re.compile(r"# default kept: \w+")
INSTANCE_CALLS = ("forward", "__call__")
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass
class Call:
    """A call somewhere in the source: what it sets, and in which function it stands."""

    positional: list[ast.expr]
    keywords: dict[str, ast.expr]
    open_ended: bool
    inside: ast.AST | None

    def sets(self, argument: Argument) -> bool:
        """Whether the call gives `argument` something other than its default."""
        if self.inside is argument.function:
            return False
        given = self.keywords.get(argument.name)
        if given is None and argument.position is not None:
            given = next(iter(self.positional[argument.position :]), None)
        if given is None:
            return self.open_ended
        return ast.dump(given) != ast.dump(argument.default)


@dataclass
class Argument:
    """An argument with a default; `position` is None where it is given by keyword only."""

    name: str
    default: ast.expr
    position: int | None
    function: Function
    place: str


@dataclass
class Source:
    """All calls in the source by the name of what is called, and the bases of every class."""

    calls: dict[str, list[Call]] = field(default_factory=lambda: defaultdict(list))
    bases: dict[str, list[str]] = field(default_factory=dict)
    defined: set[str] = field(default_factory=set)
    attributes: set[str] = field(default_factory=set)
    variables: list[Call] = field(default_factory=list)

    def family(self, name: str) -> set[str]:
        """The class `name` and all classes below it."""
        below = {sub for sub, bases in self.bases.items() if name in bases}
        return {name}.union(*(self.family(sub) for sub in below))

    def instance_calls(self) -> Iterator[Call]:
        """Calls of modules and callables, under whatever name; what they hand on is not known."""
        named = (self.calls[name] for name in self.attributes - self.defined)
        for call in chain(self.variables, *named):
            yield replace(call, open_ended=False)


class Reader(ast.NodeVisitor):
    """Collects the calls of one file into a `Source`."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.classes: list[str] = []
        self.functions: list[ast.AST] = []
        self.bound: set[str] = set()

    def visit_Module(self, node: ast.Module) -> None:
        nodes = list(ast.walk(node))
        self.bound = {item.id for item in nodes if is_stored(item) and isinstance(item, ast.Name)}
        self.bound |= {item.arg for item in nodes if isinstance(item, ast.arg)}
        self.source.attributes |= {
            item.attr for item in nodes if is_stored(item) and isinstance(item, ast.Attribute)
        }
        self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.source.bases[node.name] = [name_of(base) for base in node.bases]
        self.source.defined.add(node.name)
        self.classes.append(node.name)
        self.generic_visit(node)
        self.classes.pop()

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self.source.defined.add(node.name)
        self.functions.append(node)
        self.generic_visit(node)
        self.functions.pop()

    def visit_Call(self, node: ast.Call) -> None:
        for name in self.called(node):
            self.source.calls[name].append(self.read(node, node.args))
        if isinstance(node.func, ast.Name) and node.func.id in self.bound:
            self.source.variables.append(self.read(node, node.args))
        if name_of(node.func) == "partial" and node.args:
            self.source.calls[name_of(node.args[0])].append(self.read(node, node.args[1:]))
        self.generic_visit(node)

    def called(self, node: ast.Call) -> list[str]:
        """The names under which the callee may be defined."""
        name = name_of(node.func)
        if name == "cls" and self.classes:
            return [self.classes[-1]]
        if isinstance(node.func, ast.Attribute) and name_of(node.func.value) == "super":
            bases = self.source.bases[self.classes[-1]] if self.classes else []
            return bases if name == "__init__" else [name]
        return [name]

    def read(self, node: ast.Call, positional: list[ast.expr]) -> Call:
        starred = any(isinstance(value, ast.Starred) for value in positional)
        keywords = {item.arg: item.value for item in node.keywords if item.arg}
        return Call(
            positional=[] if starred else positional,
            keywords=keywords,
            open_ended=starred or any(item.arg is None for item in node.keywords),
            inside=self.functions[-1] if self.functions else None,
        )


def is_stored(node: ast.AST) -> bool:
    """Whether an expression is assigned to."""
    return isinstance(getattr(node, "ctx", None), ast.Store)


def name_of(node: ast.expr) -> str:
    """The last name of an expression: `a.b.C[T]` and `C(...)` are C."""
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Subscript):
        return name_of(node.value)
    return name_of(node.func) if isinstance(node, ast.Call) else ""


def arguments(function: Function, *, bound: bool, place: str) -> Iterator[Argument]:
    """The arguments of `function` that have a default; `bound` if its first is given by Python."""
    spec = function.args
    names = [*spec.posonlyargs, *spec.args]
    first = len(names) - len(spec.defaults)
    for index, (item, default) in enumerate(zip(names[first:], spec.defaults), start=first):
        yield Argument(item.arg, default, index - bound, function, f"{place}:{item.lineno}")
    for item, kw_default in zip(spec.kwonlyargs, spec.kw_defaults):
        if kw_default is not None:
            yield Argument(item.arg, kw_default, None, function, f"{place}:{item.lineno}")


def shared_functions(tree: ast.Module) -> Iterator[tuple[str, Function, str | None]]:
    """Public functions and methods of a file, as (name, definition, class or None)."""
    for node in tree.body:
        if isinstance(node, Function) and not node.name.startswith("_"):
            yield node.name, node, None
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            for item in node.body:
                if isinstance(item, Function):
                    private = item.name.startswith("_") and not item.name.startswith("__")
                    if not private:
                        yield item.name, item, node.name


def is_static(function: Function) -> bool:
    """Whether Python gives no first argument to this method."""
    return any(name_of(decorator) == "staticmethod" for decorator in function.decorator_list)


def violations(root: Path) -> list[str]:
    """Arguments of shared parts below `root` (`src`) that no call sets, as ``file:line: ...``."""
    source = Source()
    trees = {path: ast.parse(path.read_text(), str(path)) for path in sorted(root.rglob("*.py"))}
    for tree in trees.values():
        Reader(source).visit(tree)
    found = []
    for path, tree in trees.items():
        if not any(path.is_relative_to(root / "kinema" / room) for room in SHARED):
            continue
        lines = path.read_text().splitlines()
        for name, function, owner in shared_functions(tree):
            calls = list(callers(source, name, owner))
            bound = owner is not None and not is_static(function)
            place = str(path.relative_to(root.parent))
            for argument in arguments(function, bound=bound, place=place):
                line = lines[int(argument.place.rpartition(":")[2]) - 1]
                if not KEPT.search(line) and not any(call.sets(argument) for call in calls):
                    title = f"{owner}.{name}" if owner else name
                    default = ast.unparse(argument.default)
                    found.append(
                        f"{argument.place}: no caller sets {argument.name!r} of {title}"
                        f" to anything but {default}"
                    )
    return found


def callers(source: Source, name: str, owner: str | None) -> Iterator[Call]:
    """All calls that may mean the function `name`, or that method of the class `owner`."""
    if owner is not None and name == "__init__":
        for member in source.family(owner):
            yield from source.calls[member]
        return
    if owner is not None and name in INSTANCE_CALLS:
        yield from source.instance_calls()
    yield from source.calls[name]


def test_no_argument_is_left_at_its_default() -> None:
    found = violations(SOURCE)
    assert not found, "\n".join(found)


PART = """
class Norm(Base):
    def __init__(self, dim, eps=1e-6, *, affine=False):
        super().__init__()

    def forward(self, x, scale=None):
        return x

    @classmethod
    def of(cls, width):
        return cls(width)

def attend(q, k, v, mask=None):
    return attend(q, k, v, mask=mask)

def _private(x, unused=3):
    return x
"""


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A source tree with one shared part and nobody who calls it."""
    part = tmp_path / "src" / "kinema" / "nn" / "parts.py"
    part.parent.mkdir(parents=True)
    part.write_text(PART)
    (tmp_path / "src" / "kinema" / "networks").mkdir()
    return tmp_path / "src"


def missing(house: Path, caller: str) -> list[str]:
    """The names of the arguments that are reported when `caller` is all that calls the part."""
    (house / "kinema" / "networks" / "net.py").write_text(caller)
    return [report.split("'")[1] for report in violations(house)]


def test_arguments_that_nobody_sets_are_named(house: Path) -> None:
    assert missing(house, "") == ["eps", "affine", "scale", "mask"]
    report = violations(house)[0]
    assert report.startswith("src/kinema/nn/parts.py:3: no caller sets 'eps' of Norm.__init__")


@pytest.mark.parametrize(
    ("caller", "left"),
    [
        ("Norm(8, 1e-5, affine=True)", ["scale", "mask"]),
        ("Norm(8, 1e-6, affine=False)", ["eps", "affine", "scale", "mask"]),
        ("partial(Norm, eps=1e-5)", ["affine", "scale", "mask"]),
        ("Norm(8, **factory)", ["scale", "mask"]),
        ("nn.attend(q, k, v, m)", ["eps", "affine", "scale"]),
        ("attend(*qkv)", ["eps", "affine", "scale"]),
        ("_private(1, 2)", ["eps", "affine", "scale", "mask"]),
        ("self.norm = build()\nself.norm(x, scale=s)", ["eps", "affine", "mask"]),
        ("self.norm = build()\nself.norm(x, s)", ["eps", "affine", "mask"]),
        ("for block in blocks:\n    block(x, s)", ["eps", "affine", "mask"]),
        ("for block in blocks:\n    block(x, **options)", ["eps", "affine", "scale", "mask"]),
        ("torch.cat(x, s)\nx.view(1, 2)", ["eps", "affine", "scale", "mask"]),
        ("class Sub(Norm):\n    pass\nSub(8, eps=1.0)", ["affine", "scale", "mask"]),
        (
            "class Sub(Norm):\n    def __init__(self):\n        super().__init__(8, affine=True)",
            ["eps", "scale", "mask"],
        ),
    ],
)
def test_a_caller_sets_what_it_passes(house: Path, caller: str, left: list[str]) -> None:
    assert missing(house, caller) == left


def test_a_default_is_kept_only_for_a_written_reason(house: Path) -> None:
    part = house / "kinema" / "nn" / "parts.py"
    part.write_text(
        "def f(\n    x=1,  # default kept: the paper's value, for those who import us\n): ..."
    )
    assert missing(house, "") == []
    part.write_text("def f(\n    x=1,  # default kept:\n): ...")
    assert missing(house, "") == ["x"]
