"""Scores: notes in time, written as MIDI files and rendered to sound by pretty_midi."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from kinema.errors import InputError
from kinema.files import atomic
from kinema.sample import Sound

PIANO = 0  # program of General MIDI
PEAK = 0.9  # of the rendered sound, so that a lossy codec does not clip it
HARMONICS = (1.0, 0.4, 0.2, 0.1)  # loudness of the partials of the rendered tone
FADE = 0.1  # seconds


@dataclass(frozen=True, slots=True)
class Note:
    """One note: MIDI pitch 0 to 127 (60 is the middle C), velocity 1 to 127, and its seconds."""

    pitch: int
    velocity: int
    start_seconds: float
    stop_seconds: float

    def __post_init__(self) -> None:
        if not (0 <= self.pitch <= 127 and 1 <= self.velocity <= 127):
            raise InputError(
                f"a note has a pitch in 0..127 and a velocity in 1..127, "
                f"not {self.pitch} and {self.velocity}"
            )
        if not 0 <= self.start_seconds < self.stop_seconds:
            raise InputError(
                f"a note must start at 0 or later and stop after its start, "
                f"not last from {self.start_seconds} to {self.stop_seconds} seconds"
            )


@dataclass(frozen=True)
class Score:
    """Music as notes of one instrument, a piano.

    Args:
        notes: in any order.
        chords: (seconds, name) where a chord begins; kept in the file as text.
        seconds: how long the music lasts; notes may ring longer.
        beats_per_minute: the tempo of the file.
    """

    SUFFIXES: ClassVar[tuple[str, ...]] = (".mid",)
    notes: tuple[Note, ...]
    chords: tuple[tuple[float, str], ...]
    seconds: float
    beats_per_minute: float

    def write(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Writes a MIDI file; equal scores give equal bytes.

        Raises:
            InputError: the name does not end in .mid, the file exists and `overwrite` is false, or
                it cannot be written.
        """
        if Path(path).suffix.lower() not in self.SUFFIXES:
            raise InputError(f"cannot write a score as {path}; end the name in .mid")
        with atomic(path, overwrite=overwrite) as partial:
            self._midi().write(str(partial))

    def sound(self, sample_rate_hz: int) -> Sound:
        """The score as one channel of `seconds`, played by a simple decaying tone.

        The loudest place has the same level in every score; without a note it is silence.
        """
        rendered = np.zeros(0)
        if self.notes:
            rendered = self._midi().synthesize(fs=sample_rate_hz, wave=_tone, normalize=False)
        x = np.zeros(round(self.seconds * sample_rate_hz))
        kept = min(len(x), len(rendered))
        x[:kept] = rendered[:kept]
        fade = min(kept, round(FADE * sample_rate_hz))
        x[kept - fade : kept] *= np.linspace(1, 0, fade)
        x *= PEAK / max(np.abs(x).max(initial=0.0), 1e-9)
        return Sound(x[None].astype(np.float32), sample_rate_hz)

    def _midi(self) -> Any:
        try:
            import pretty_midi
        except ImportError as error:
            raise InputError(
                "scores need the package pretty_midi: pip install kinema[sound]"
            ) from error
        midi = pretty_midi.PrettyMIDI(initial_tempo=self.beats_per_minute)
        piano = pretty_midi.Instrument(program=PIANO)
        piano.notes = [
            pretty_midi.Note(note.velocity, note.pitch, note.start_seconds, note.stop_seconds)
            for note in self.notes
        ]
        midi.instruments.append(piano)
        midi.text_events = [pretty_midi.Text(name, seconds) for seconds, name in self.chords]
        return midi


def _tone(phase: np.ndarray) -> np.ndarray:
    """A wave of a few harmonics, period 2 pi."""
    partials = [loud * np.sin((n + 1) * phase) for n, loud in enumerate(HARMONICS)]
    return np.sum(partials, axis=0)
