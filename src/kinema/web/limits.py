"""What one person may ask of the page; whatever goes beyond is refused in one line.

Values come from browsers and from programs, so that any of them may be of any kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kinema.cli.prompts import check_prompt
from kinema.errors import InputError, unknown

MB = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The most that is allowed.

    Attributes:
        prompt_letters: of a prompt, and of each line of a story.
        clip_factor: pixels of a clip, in clips of the model's own size.
        steps: of the sampler.
        guidance: scale.
        lines: of a story.
        story_seconds: of a story in all.
        file_bytes: of a file that is given, and of all that a zip file holds.
        files: on each side of a score.
        side: height and width of a picture or clip that is given, in pixels.
        given_frames: of a clip that is gone on from.
        scored_frames: of each clip that is scored.
        scored_pixels: of each clip that is scored, in all of its frames.
        waiting: runs that wait, of all people.
        waiting_per_address: runs that wait, of all people at one address.
        per_minute: runs that one person starts.
        per_address: runs that start in a minute from one address, whoever is there.
        seconds: that a run may take.
        folder_bytes: of everything in the page's folder.
    """

    prompt_letters: int = 500
    clip_factor: int = 8
    steps: int = 100
    guidance: float = 20.0
    lines: int = 8
    story_seconds: float = 20.0
    file_bytes: int = 50 * MB
    files: int = 64
    side: int = 4096
    given_frames: int = 400
    scored_frames: int = 64
    scored_pixels: int = 8_000_000
    waiting: int = 16
    waiting_per_address: int = 12
    per_minute: int = 12
    per_address: int = 60
    seconds: float = 600.0
    folder_bytes: int = 4000 * MB

    def prompt(self, value: Any) -> str:
        """A prompt. Raises InputError if it is blank, too long or no text."""
        text = self.text("the prompt", value, self.prompt_letters)
        check_prompt(text)
        return text

    def text(self, name: str, value: Any, letters: int) -> str:
        """A text, in one line and without blanks around it; None is the empty one.

        Raises:
            InputError: it is too long or no text.
        """
        said = value if isinstance(value, str) else "" if value is None else None
        if said is None or not _is_utf8(said):
            raise InputError(f"{name} must be text")
        said = " ".join(said.split())
        if len(said) > letters:
            raise InputError(f"{name} has {len(said)} letters; use at most {letters}")
        return said


def whole(name: str, value: Any, low: int, high: int) -> int:
    """A whole number in a range, ends included.

    Raises:
        InputError: it is none, or lies outside.
    """
    found = number(name, value, low, high)
    if found != int(found):
        raise InputError(f"{name} must be a whole number, not {found:g}")
    return int(found)


def number(name: str, value: Any, low: float, high: float) -> float:
    """A number in a range, ends included.

    Raises:
        InputError: it is none, or lies outside.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or value != value:  # what is not equal to itself is NaN
        raise InputError(f"{name} must be a number from {low:.10g} to {high:.10g}")
    if not low <= value <= high:
        raise InputError(f"{name} must lie between {low:.10g} and {high:.10g}")
    return float(value)


def choice(name: str, value: Any, known: Sequence[str]) -> str:
    """One of the known names. Raises InputError if it is another."""
    if not isinstance(value, str) or value not in known:
        raise unknown(name, f"{value!s:.40}", known)
    return value


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text
