"""Passports: what a score depends on besides the clips that it judges.

Two scores compare only if every field of their passports agrees (`compare`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from kinema.errors import InputError
from kinema.files import parse_json

if TYPE_CHECKING:
    from kinema.metrics.measures import Device

# Packages by which features of a clip may differ in a digit; OpenCV is an extra, of two names.
PACKAGES = ("kinema", "torch", "numpy", "av", "opencv-python-headless", "opencv-python")


def made_by(device: Device) -> dict[str, str]:
    """The versions of the packages that are installed, and the kind of device."""
    found = {"device": str(device).partition(":")[0]}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


@dataclass(frozen=True, kw_only=True)
class Passport:
    """What a score was computed from and how.

    Attributes:
        score: its name.
        variant: its formula, where there are several.
        extractor: the network that saw the clips; stand-ins say that they are.
        weights: digest of that network; empty if there is none.
        preprocessing: what happened to the clips before it.
        interval: how the confidence interval was computed.
        num_real, num_generated: clips that count; 0 where the score needs no real ones.
        skipped_real, skipped_generated: clips that were broken, short or of another size or rate.
        num_frames: of each clip.
        fps: frames per second; None where the files do not say.
        height, width: of the frames as they were read, in pixels.
        reference: digest of the real clips, in order; empty if there are none.
        seed: of everything that was drawn.
        versions: of the packages that computed it, and the kind of device (`made_by`).
    """

    score: str
    variant: str
    extractor: str
    weights: str
    preprocessing: str
    interval: str
    num_real: int
    num_generated: int
    skipped_real: int
    skipped_generated: int
    num_frames: int
    fps: float | None
    height: int
    width: int
    reference: str
    seed: int
    versions: Mapping[str, str]

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """From what `asdict` and JSON made of one.

        Raises:
            InputError: a field is missing or unknown.
        """
        names = {field.name for field in fields(cls)}
        if missing := sorted(names - set(values)):
            raise InputError(f"a passport lacks the field {missing[0]!r}; compute the score anew")
        if extra := sorted(set(values) - names):
            raise InputError(f"a passport has an unknown field {extra[0]!r}; compute it anew")
        return cls(**values)

    def difference(self, other: Passport) -> str | None:
        """The first field that differs, with both values; None if all agree."""
        for field in fields(self):
            mine, theirs = getattr(self, field.name), getattr(other, field.name)
            if mine != theirs:
                return f"{field.name}: {mine!r} and {theirs!r}"
        return None


@dataclass(frozen=True, kw_only=True)
class Score:
    """A number, how sure it is, and its passport.

    Attributes:
        name: of the score and, where it has several numbers, of this one: ``stream.T``.
        value: the number.
        interval: ends of the 95 % confidence interval over the draw of the generated clips.
        passport: what it depends on.
    """

    name: str
    value: float
    interval: tuple[float, float]
    passport: Passport

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """From what `asdict` and JSON made of one.

        Raises:
            InputError: a field is missing or of another kind.
        """
        try:
            low, high = values["interval"]
            return cls(
                name=str(values["name"]),
                value=float(values["value"]),
                interval=(float(low), float(high)),
                passport=Passport.from_json(values["passport"]),
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"a score is malformed: {error}; compute it anew") from error


@dataclass(frozen=True)
class Comparison:
    """Two scores of one passport: of the sets A and B."""

    name: str
    a: Score
    b: Score

    @property
    def overlap(self) -> bool:
        """Whether the intervals have a point in common."""
        return self.a.interval[0] <= self.b.interval[1] and self.b.interval[0] <= self.a.interval[1]


def compare(a: Sequence[Score], b: Sequence[Score]) -> list[Comparison]:
    """The scores that both have, side by side.

    Raises:
        InputError: they have none in common, or two of one name have different passports.
    """
    others = {score.name: score for score in b}
    pairs = [Comparison(s.name, s, others[s.name]) for s in a if s.name in others]
    if not pairs:
        raise InputError("the two have no score in common; compute the same scores of both")
    for pair in pairs:
        if difference := pair.a.passport.difference(pair.b.passport):
            raise InputError(
                f"{pair.name} was not computed alike, so it does not compare: {difference}"
            )
    return pairs


def as_json(scores: Sequence[Score]) -> list[dict[str, Any]]:
    """Scores as JSON can hold them; `Score.from_json` reads each."""
    return [asdict(score) for score in scores]


def read_scores(path: str | Path) -> list[Score]:
    """The scores in a file that `kinema score` wrote.

    Raises:
        InputError: the file cannot be read or holds none.
    """
    try:
        found = parse_json(Path(path).read_text(encoding="utf-8"), str(path))
        scores = list(found["scores"])
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} holds no scores; `kinema score --output` writes them") from error
    try:
        return [Score.from_json(score) for score in scores]
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
