"""Chords as names, ids and notes: the vocabulary of 159 of Video2Music (arXiv 2311.00968).

Id 0 is silence (N); 1 to 156 are twelve roots from C upwards with thirteen qualities each; then
come END and PAD. A chord has two levels: the id of its root (0 none, 1 to 12, 13 end, 14 padding)
and of its quality (0 none, 1 to 13, 14 end, 15 padding).

Verified against the authors' dictionaries: order of roots and qualities, ids, the qualities that
suit a mood. A chord without a quality is major.
"""

from __future__ import annotations

import re

import numpy as np

from kinema.errors import InputError, unknown

ROOTS = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
INTERVALS: dict[str, tuple[int, ...]] = {  # semitones above the root, by quality
    "maj": (0, 4, 7),
    "dim": (0, 3, 6),
    "sus4": (0, 5, 7),
    "min7": (0, 3, 7, 10),
    "min": (0, 3, 7),
    "sus2": (0, 2, 7),
    "aug": (0, 4, 8),
    "dim7": (0, 3, 6, 9),
    "maj6": (0, 4, 7, 9),
    "hdim7": (0, 3, 6, 10),
    "7": (0, 4, 7, 10),
    "min6": (0, 3, 7, 9),
    "maj7": (0, 4, 7, 11),
}
QUALITIES = tuple(INTERVALS)
SILENCE = 0
END = 1 + len(ROOTS) * len(QUALITIES)
PAD = END + 1
NUM_CHORDS = PAD + 1
NUM_ROOTS = 1 + len(ROOTS) + 2
NUM_QUALITIES = 1 + len(QUALITIES) + 2

# Which qualities suit a mood; the order of the moods is that of their probabilities in features.
MOODS: dict[str, tuple[str, ...]] = {
    "exciting": ("maj", "sus4", "7"),
    "fearful": ("dim", "min7", "dim7", "hdim7"),
    "tense": ("dim", "sus4", "min7", "7"),
    "sad": ("min7", "min", "sus2"),
    "relaxing": ("maj", "maj6", "maj7"),
    "neutral": (),
}

SHORT = {"": "maj", "m": "min", "m6": "min6", "m7": "min7", "M6": "maj6", "M7": "maj7"}
SPELLED = re.compile(r"([A-G])([#b]?):?(.*)")
KEY = re.compile(r"([A-G][#b]?) (major|minor)")


def chord_id(root: int, quality: str) -> int:
    """The id of a chord by its root (semitones above C, 0 to 11) and the name of its quality."""
    return 1 + root * len(QUALITIES) + QUALITIES.index(quality)


def levels(chord: int) -> tuple[int, int]:
    """The ids of root and quality of a chord."""
    if chord == SILENCE:
        return 0, 0
    if chord >= END:
        past = chord - END
        return 1 + len(ROOTS) + past, 1 + len(QUALITIES) + past
    root, quality = divmod(chord - 1, len(QUALITIES))
    return root + 1, quality + 1


def name_of(chord: int) -> str:
    """The authors' name of an id below END: ``N``, ``C``, ``F#:min7``."""
    assert 0 <= chord < END, f"id {chord} is no chord"
    if chord == SILENCE:
        return "N"
    root, quality = levels(chord)
    suffix = "" if quality == 1 else f":{QUALITIES[quality - 1]}"
    return ROOTS[root - 1] + suffix


def read_chord(name: str) -> int:
    """The id of a chord by the authors' name or as musicians write it: ``Am``, ``Bb7``, ``GM7``.

    Raises:
        InputError: there is no such chord.
    """
    if name == "N":
        return SILENCE
    found = SPELLED.fullmatch(name)
    if found is None:
        raise InputError(f"{name!r} is no chord; write a root and a quality, as C, Am or F#:min7")
    quality = SHORT.get(found[3], found[3])
    if quality not in QUALITIES:
        raise unknown(f"quality of the chord {name}", quality, QUALITIES)
    return chord_id(pitch_class(found[1] + found[2]), quality)


def pitch_class(note: str) -> int:
    """Semitones above C, 0 to 11, of a note's name: ``C``, ``F#``, ``Bb``."""
    return (ROOTS.index(note[0]) + {"": 0, "#": 1, "b": -1}[note[1:]]) % 12


def read_key(name: str) -> tuple[int, bool]:
    """Semitones from C major or A minor, -7 to 4, to a key, and whether it is minor.

    Raises:
        InputError: the name is not like ``D major`` or ``F# minor``.
    """
    found = KEY.fullmatch(name)
    if found is None:
        raise InputError(f"{name!r} is no key; write it as 'C major' or 'F# minor'")
    minor = found[2] == "minor"
    above = (pitch_class(found[1]) - pitch_class("A" if minor else "C")) % 12
    return (above if above <= 4 else above - 12), minor


def transposed(chord: int, semitones: int) -> int:
    """The id of a chord below END, moved up by some semitones."""
    if chord == SILENCE:
        return chord
    root, quality = levels(chord)
    return chord_id((root - 1 + semitones) % 12, QUALITIES[quality - 1])


def suiting(mood: int) -> np.ndarray:
    """Which chords suit a mood by its number: (159,) float32 of zeros and ones."""
    chords = np.zeros(NUM_CHORDS, np.float32)
    for quality in tuple(MOODS.values())[mood]:
        chords[[chord_id(root, quality) for root in range(len(ROOTS))]] = 1
    return chords
