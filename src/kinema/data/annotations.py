"""Lists of clips with their classes, in the layouts in which data sets publish them.

- Kinetics: a .csv with the columns ``label``, ``youtube_id``, ``time_start`` and ``time_end``; the
  clip is ``<youtube_id>_<start>_<end>.mp4``, times in six digits, in a folder of its class or not.
- Something-Something V2: a .json list of objects with ``id`` and ``template``; the clip is
  ``<id>.webm`` or another video. The class is the template without its brackets.
- UCF101: a .txt of lines ``<class>/<clip>.avi``, with a number behind it or not. HMDB51 has the
  same in the copies that follow UCF101.
- Moments in Time: a .csv without a header, of lines ``<class>/<clip>.mp4,<class>,...``.

Names of classes are compared without regard to case, and "_", "+" and "-" are blanks.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinema.data.media_folder import CLIPS
from kinema.errors import InputError, unknown
from kinema.files import parse_json

KINETICS = ("label", "youtube_id", "time_start", "time_end")
LAYOUTS = "a Kinetics or Moments in Time .csv, a Something-Something .json or a UCF101 .txt"
NUMBER = re.compile(r"\d{1,9}")  # of a class


@dataclass(frozen=True)
class Annotated:
    """One entry of a list.

    Args:
        path: of the clip, which need not be there.
        label: its class, as the list has it.
        place: where it stands: ``FILE:LINE``, or ``FILE[ENTRY]`` of a .json.
    """

    path: Path
    label: str
    place: str


def read_annotations(path: str | Path, root: str | Path) -> Iterator[Annotated]:
    """The entries of a list, in its order.

    Args:
        path: of the list, in one of the layouts above.
        root: folder of the clips.

    Raises:
        InputError: the list cannot be read, or an entry is malformed; its place is named.
    """
    path, root = Path(path), Path(root)
    if not root.is_dir():
        raise InputError(f"{root} is no folder; name the one that holds the clips of {path}")
    suffix = path.suffix.lower()
    if suffix == ".json":
        return _something(path, root)
    if suffix == ".txt":
        return _ucf(path, root)
    if suffix == ".csv":
        header = next(iter(_rows(path)), ("", []))[1]
        return _kinetics(path, root) if "youtube_id" in header else _moments(path, root)
    raise InputError(f"{path} is no list of clips; give {LAYOUTS}")


def read_labels(path: str | Path) -> tuple[str, ...]:
    """Names of classes in the order of their numbers, in the layouts in which they are published.

    A .json object of names and numbers (Something-Something), or lines with a name, with its number
    before it (UCF101, Kinetics) or behind it (Moments in Time); without numbers the order counts.
    Numbers count from 0 or 1.

    Raises:
        InputError: the file cannot be read, or the numbers leave some out.
    """
    path = Path(path)
    if path.suffix.lower() == ".json":
        named = _json(path)
        if not isinstance(named, dict):
            raise InputError(f"{path} must hold an object of names and numbers")
        pairs = [(f"{path}[{name!r}]", str(number), name) for name, number in named.items()]
    else:
        pairs = []
        for place, line in _lines(path):
            found = re.fullmatch(r"(?:(\d+)[\s,]+)?(.*?)(?:,(\d+))?", line)
            assert found is not None, "every line fits"
            pairs.append((place, found[1] or found[3] or "", found[2].strip().strip('"')))
    numbered = [(place, number, name) for place, number, name in pairs if number]
    if not numbered:
        names = [name for _, _, name in pairs if name not in ("id,name", "name")]
        return tuple(names)
    for place, number, name in numbered:
        if not (NUMBER.fullmatch(number) and name):
            raise InputError(f"{place}: a class needs a number of up to nine digits and a name")
    by_number = {int(number): name for _, number, name in numbered}
    first = min(by_number)
    if sorted(by_number) != list(range(first, first + len(numbered))) or first > 1:
        raise InputError(f"{path}: the numbers of the classes must run from 0 or 1, each once")
    return tuple(by_number[number] for number in sorted(by_number))


def class_numbers(labels: Sequence[str]) -> Callable[[Annotated], int]:
    """What finds the number of an entry's class among the labels of a model.

    The function raises InputError, naming the entry, where the model has no such class.

    Raises:
        InputError: two labels are alike as names are compared.
    """
    numbers = dict[str, int]()
    for index, label in enumerate(labels):
        if (first := numbers.setdefault(plain(label), index)) != index:
            raise InputError(
                f"classes {labels[first]!r} and {label!r} count as one name; rename one of them"
            )

    def number(entry: Annotated) -> int:
        if (found := numbers.get(plain(entry.label))) is None:
            raise InputError(f"{entry.place}: {unknown('class', entry.label, labels)}")
        return found

    return number


def plain(label: str) -> str:
    """A name as names are compared: lower case, words apart, no brackets, camel case split."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", label)
    return " ".join(re.sub(r"[\[\]]", "", re.sub(r"[_+\-]", " ", words)).lower().split())


def _kinetics(path: Path, root: Path) -> Iterator[Annotated]:
    rows = iter(_rows(path))
    _, header = next(rows)
    if missing := [name for name in KINETICS if name not in header]:
        raise InputError(f"{path}:1: the header lacks {', '.join(missing)}")
    columns = [header.index(name) for name in KINETICS]
    for place, row in rows:
        try:
            label, video, start, stop = (row[column] for column in columns)
            name = f"{video}_{int(float(start)):06d}_{int(float(stop)):06d}"
        except (IndexError, ValueError, OverflowError):
            raise InputError(f"{place}: needs {', '.join(KINETICS)}; mend the line") from None
        folders = (label, label.replace(" ", "_"))
        names = (*(f"{folder}/{name}" for folder in folders), name, video)
        yield Annotated(_found(root, names), label, place)


def _moments(path: Path, root: Path) -> Iterator[Annotated]:
    for place, row in _rows(path):
        if len(row) < 2 or not all(row[:2]):
            raise InputError(f"{place}: needs a clip and its class, set apart by a comma")
        yield Annotated(root / row[0], row[1], place)


def _something(path: Path, root: Path) -> Iterator[Annotated]:
    entries = _json(path)
    if not isinstance(entries, list):
        raise InputError(f"{path} must hold a list of objects with id and template")
    for number, entry in enumerate(entries):
        place = f"{path}[{number}]"
        try:
            video, template = str(entry["id"]), str(entry["template"])
        except (KeyError, TypeError):
            raise InputError(f"{place}: needs id and template; the test list has none") from None
        yield Annotated(_found(root, (video,)), re.sub(r"[\[\]]", "", template), place)


def _ucf(path: Path, root: Path) -> Iterator[Annotated]:
    for place, line in _lines(path):
        name = re.sub(r"\s+\d+$", "", line)
        label, slash, clip = name.rpartition("/")
        if not (slash and label and clip):
            raise InputError(f"{place}: needs <class>/<clip>, not {line[:60]!r}")
        yield Annotated(root / name, label.rpartition("/")[2], place)


def _found(root: Path, names: Sequence[str]) -> Path:
    """The first of these names, with some ending of a video, that is there; else the first."""
    endings = (".mp4", ".webm", *CLIPS)
    candidates = [root / f"{name}{ending}" for name in names for ending in dict.fromkeys(endings)]
    return next(filter(_is_file, candidates), candidates[0])


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long for a file
        return False


def _rows(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Lines of a .csv that are not empty, with their places."""
    for place, line in _lines(path):
        try:
            row = next(csv.reader([line]))
        except csv.Error as error:
            raise InputError(f"{place}: {error}; mend the line") from error
        yield place, [cell.strip() for cell in row]


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(_text(path).splitlines(), start=1):
        if line.strip():
            yield f"{path}:{number}", line.strip()


def _json(path: Path) -> Any:
    return parse_json(_text(path), str(path))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}: {error}") from error
