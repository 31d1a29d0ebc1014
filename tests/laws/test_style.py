"""Law: code is ASCII, knows no machine, says what it is, draws keyed noise, keeps the device."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("src", "tests", "docs", "bench", ".ci")
FILES = ("Makefile", "README.md", "pyproject.toml", "constraints.txt")
TEXT = {".py", ".md", ".toml", ".txt", ".json", ".tsv", ".cfg", ".yml", ".yaml", ""}
MACHINE_PATH = re.compile(r"(?<![\w.$}*-])/(?:work|root|home|Users|tmp)/")

PAPER_ID = re.compile(r"arXiv[: ]\d{4}\.\d{4,5}|doi[:. ].*10\.\d{4}", re.IGNORECASE)
LICENSE = re.compile(r"licen[cs]e|Apache-2|\bMIT\b|\bBSD|\bGPL|OpenRAIL|CC[- ]BY", re.IGNORECASE)
CODE = re.compile(r"\bcode\b", re.IGNORECASE)
OURS = re.compile(r"\bour own design\b")
BASES_OF_SYSTEMS = (
    "systems/system.py",
    "systems/model.py",
    "systems/text_to_video.py",
    "systems/image_to_video.py",
    "systems/keyframes.py",
    "systems/published.py",
    "systems/recognizer.py",
    "systems/retriever.py",
)
SEE = re.compile(r"see `{1,2}(\w+\.py)`")

DRAWS = {
    *("rand", "randn", "randint", "randperm", "rand_like", "randn_like", "randint_like"),
    *("normal", "bernoulli", "multinomial", "poisson", "manual_seed", "seed", "seed_all"),
    *("normal_", "uniform_", "random_", "bernoulli_", "exponential_", "trunc_normal_"),
    *("kaiming_normal_", "kaiming_uniform_", "xavier_normal_", "xavier_uniform_", "orthogonal_"),
}
MAY_DRAW = ("kinema/noise.py", "kinema/nn/init.py")
INITIALIZER = re.compile(r"reset_parameters|_?init(ialize)?(_.*)?")
NUMPY_KEYED = {"Generator", "Philox", "PCG64", "PCG64DXSM", "SeedSequence", "default_rng"}

FACTORIES = {
    *("zeros", "ones", "empty", "full", "arange", "linspace", "logspace", "tensor", "eye"),
    *("scalar_tensor", "empty_strided", "tril_indices", "triu_indices", "as_tensor"),
}
MODULE_ROOMS = ("kinema/nn/", "kinema/networks/")
DEVICE_FUNCTIONS = ("forward", "loss", "sample")

Check = Callable[[str, ast.Module], Iterator[str]]
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def text_files(root: Path) -> Iterator[Path]:
    """Every file of ours below `root` that holds text."""
    folders = [file for folder in FOLDERS for file in sorted((root / folder).rglob("*"))]
    for file in [*folders, *(root / name for name in FILES)]:
        if file.is_file() and file.suffix in TEXT and "__pycache__" not in file.parts:
            yield file


def written(root: Path) -> list[str]:
    """Lines that are not ASCII though they are code, and lines that name a place on a machine."""
    found = []
    for file in text_files(root):
        for number, line in enumerate(file.read_text().splitlines(), start=1):
            place = f"{file.relative_to(root)}:{number}"
            if file.suffix == ".py" and not line.isascii():
                found.append(f"{place}: not ASCII: {line.strip()!a}")
            if MACHINE_PATH.search(line):
                found.append(f"{place}: names a place on one machine: {line.strip()[:80]}")
    return found


def parsed(root: Path, check: Check) -> list[str]:
    """What `check` says of the source files below `root`, which holds the package."""
    found = []
    for file in sorted((root / "kinema").rglob("*.py")):
        path = file.relative_to(root).as_posix()
        tree = ast.parse(file.read_text(), str(file))
        found += [f"src/{path}:{said}" for said in check(path, tree)]
    return found


def docstrings(path: str, tree: ast.Module) -> Iterator[str]:
    """Public modules, functions and classes without a docstring."""
    if not ast.get_docstring(tree):
        yield "1: the module has no docstring"
    for node in tree.body:
        if not isinstance(node, Definition) or node.name.startswith("_"):
            continue
        if not ast.get_docstring(node):
            yield f"{node.lineno}: {node.name} has no docstring"


def papers(root: Path) -> list[str]:
    """Network and system files that do not open with paper, authors' code and its license.

    A part of a network may point to the file that does: "see `ltx_vae.py`"; a network that no paper
    describes says that it is our own design.
    """
    found = []
    for file in sorted(f for room in ("networks", "systems") for f in (root / room).glob("*.py")):
        place = f"{file.parent.name}/{file.name}"
        if file.stem.startswith("_") or place in BASES_OF_SYSTEMS:
            continue
        head = ast.get_docstring(ast.parse(file.read_text(), str(file))) or ""
        see = SEE.search(head)
        points = see and see[1] != file.name and (file.parent / see[1]).exists()
        if points or (OURS.search(head) and file.parent.name == "networks"):
            continue
        wanted = {"the paper's id": PAPER_ID, "the authors' code": CODE, "its license": LICENSE}
        lacks = [what for what, pattern in wanted.items() if not pattern.search(head)]
        if lacks:
            found.append(f"{place}: the docstring does not name {', '.join(lacks)}")
    return found


def prints(path: str, tree: ast.Module) -> Iterator[str]:
    """Prints outside the command line: a library returns what it has to say."""
    if path.startswith("kinema/cli/"):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and dotted(node.func) == "print":
            yield f"{node.lineno}: prints; only the command line does"


def draws(path: str, tree: ast.Module) -> Iterator[str]:
    """Random numbers that are not keyed noise, initial weights or a keyed numpy generator."""
    if path in MAY_DRAW:
        return
    for node, functions in calls(tree):
        name = dotted(node.func)
        last = name.rpartition(".")[2]
        if ".random." in name and name.split(".")[0] in ("np", "numpy"):
            if last not in NUMPY_KEYED or not (node.args or node.keywords):
                yield f"{node.lineno}: {name} draws without a key"
        elif name.startswith("random."):
            yield f"{node.lineno}: {name} draws without a key"
        elif last in DRAWS and is_torch(name) and not initializes(path, functions):
            yield f"{node.lineno}: {name} draws; only kinema.noise and initial weights do"


def devices(path: str, tree: ast.Module) -> Iterator[str]:
    """Tensors made in networks and layers, or while computing, that ignore the device."""
    everywhere = path.startswith(MODULE_ROOMS)
    for node, functions in calls(tree):
        name = dotted(node.func)
        if not name.startswith("torch.") or name.removeprefix("torch.") not in FACTORIES:
            continue
        given = {item.arg for item in node.keywords}
        computing = any(function in DEVICE_FUNCTIONS for function in functions)
        if (everywhere or computing) and not given & {"device", None}:
            yield f"{node.lineno}: {name} without device="


def calls(tree: ast.AST, functions: tuple[str, ...] = ()) -> Iterator[tuple[ast.Call, list[str]]]:
    """Every call with the names of the functions around it."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Call):
            yield node, list(functions)
        name = (node.name,) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else ()
        yield from calls(node, functions + name)


def dotted(node: ast.expr) -> str:
    """`torch.nn.init.normal_` as it is written; an expression that is no name gives ""."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def is_torch(name: str) -> bool:
    """Whether a drawing name is torch's: its functions, its initializers, methods in place."""
    return name.startswith(("torch.", "nn.init.", "init.")) or name.endswith("_")


def initializes(path: str, functions: list[str]) -> bool:
    """Whether a call stands in a function that gives weights their first values."""
    constructs = path.startswith(MODULE_ROOMS) and "__init__" in functions
    return constructs or any(INITIALIZER.fullmatch(function) for function in functions)


CHECKS: dict[str, Check] = {
    "docstrings": docstrings,
    "prints": prints,
    "draws": draws,
    "devices": devices,
}


def test_code_is_ascii_and_knows_no_machine() -> None:
    found = written(ROOT)
    assert not found, "\n".join(found)


@pytest.mark.parametrize("check", CHECKS)
def test_source(check: str) -> None:
    found = parsed(ROOT / "src", CHECKS[check])
    assert not found, "\n".join(found)


def test_networks_and_systems_name_paper_code_and_license() -> None:
    found = papers(ROOT / "src" / "kinema")
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("file", "line", "said"),
    [
        ("src/kinema/clip.py", "# caf\u00e9", "not ASCII"),
        ("tests/test_clip.py", f"PATH = '/{'root'}/clip.mp4'", "one machine"),
        ("docs/index.md", f"see /{'home'}/me/notes.txt", "one machine"),
        ("Makefile", f"cp demo.mp4 /{'work'}/x", "one machine"),
    ],
)
def test_foreign_text_is_caught(tmp_path: Path, file: str, line: str, said: str) -> None:
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text(f"plain, with runs/{'work'}/here\n{line}\n")
    (report,) = written(tmp_path)
    assert report.startswith(f"{file}:2: ")
    assert said in report


@pytest.mark.parametrize(
    ("check", "file", "code"),
    [
        ("docstrings", "clip.py", "x = 1"),
        ("docstrings", "clip.py", "'''Clips.'''\ndef read(): ..."),
        ("docstrings", "clip.py", "'''Clips.'''\nclass Clip: ..."),
        ("prints", "media/reading.py", "print(3)"),
        ("draws", "processes/flow.py", "x = torch.randn(3, generator=g)"),
        ("draws", "processes/flow.py", "def loss(x):\n    return torch.randn_like(x)"),
        ("draws", "nn/norms.py", "x.normal_()"),
        ("draws", "networks/unet.py", "nn.init.normal_(w)"),
        ("draws", "processes/flow.py", "class Flow:\n    def __init__(s):\n        torch.rand(3)"),
        ("draws", "training/fit.py", "torch.manual_seed(0)"),
        ("draws", "training/fit.py", "torch.cuda.manual_seed(0)"),
        ("draws", "data/folder.py", "np.random.rand(3)"),
        ("draws", "data/folder.py", "np.random.default_rng()"),
        ("draws", "data/folder.py", "random.shuffle(x)"),
        ("devices", "nn/positions.py", "x = torch.arange(3)"),
        ("devices", "networks/unet.py", "def forward(x):\n    return x + torch.zeros(3)"),
        ("devices", "processes/flow.py", "def loss(x):\n    return torch.tensor(3.0)"),
        ("devices", "processes/flow.py", "def sample(x):\n    return f(torch.ones(3) for _ in x)"),
    ],
)
def test_a_violation_is_caught(tmp_path: Path, check: str, file: str, code: str) -> None:
    path = tmp_path / "kinema" / file
    path.parent.mkdir(parents=True)
    path.write_text(code)
    (report,) = parsed(tmp_path, CHECKS[check])
    assert report.startswith(f"src/kinema/{file}:")


@pytest.mark.parametrize(
    ("check", "file", "code"),
    [
        ("docstrings", "clip.py", "'''Clips.'''\ndef _read(): ..."),
        ("prints", "cli/main.py", "print(3)"),
        ("draws", "noise.py", "torch.randn(3)"),
        ("draws", "networks/unet.py", "def initialize(w):\n    nn.init.normal_(w)"),
        ("draws", "networks/unet.py", "class Net:\n    def __init__(s):\n        torch.randn(3)"),
        ("draws", "networks/unet.py", "noise.normal(shape, 'x_T')"),
        ("draws", "worlds/shapes.py", "np.random.Generator(np.random.Philox(key=3))"),
        ("devices", "nn/positions.py", "torch.arange(3, device=x.device)"),
        ("devices", "nn/positions.py", "torch.empty(3, **factory)"),
        (
            "devices",
            "processes/schedules.py",
            "def uniform(n):\n    return torch.linspace(0, 1, n)",
        ),
    ],
)
def test_what_is_allowed_stands(tmp_path: Path, check: str, file: str, code: str) -> None:
    path = tmp_path / "kinema" / file
    path.parent.mkdir(parents=True)
    path.write_text(code)
    assert parsed(tmp_path, CHECKS[check]) == []


@pytest.mark.parametrize(
    ("head", "lacks"),
    [
        ("Some network.", "the paper's id, the authors' code, its license"),
        ("Net (arXiv:2501.00103). Code: a/b.", "its license"),
        ("Net (arXiv 2501.00103), Apache-2.0.", "the authors' code"),
        ("Blocks; see `lost.py`.", "the paper's id, the authors' code, its license"),
    ],
)
def test_a_file_without_its_paper_is_caught(tmp_path: Path, head: str, lacks: str) -> None:
    path = tmp_path / "networks" / "net.py"
    path.parent.mkdir()
    path.write_text(f'"""{head}"""\n')
    assert papers(tmp_path) == [f"networks/net.py: the docstring does not name {lacks}"]


def test_a_file_with_its_paper_stands(tmp_path: Path) -> None:
    (tmp_path / "networks").mkdir()
    head = '"""A network (arXiv:2501.00103). Code: a/b, Apache-2.0."""\n'
    (tmp_path / "networks" / "net.py").write_text(head)
    (tmp_path / "networks" / "net_blocks.py").write_text('"""Blocks; see `net.py`."""\n')
    (tmp_path / "networks" / "words.py").write_text('"""A small encoder (our own design)."""\n')
    assert papers(tmp_path) == []
    (tmp_path / "systems").mkdir()
    (tmp_path / "systems" / "words.py").write_text('"""A small encoder (our own design)."""\n')
    assert len(papers(tmp_path)) == 1
