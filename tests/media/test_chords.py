"""The vocabulary of chords: names, ids, levels, keys, moods."""

from __future__ import annotations

import numpy as np
import pytest

from kinema.errors import InputError
from kinema.media import chords

PATTERNS = {  # of the authors' data set, in the order of the qualities
    "exciting": "1010000000100",
    "fearful": "0101000101000",
    "tense": "0111000000100",
    "sad": "0001110000000",
    "relaxing": "1000000010001",
    "neutral": "0000000000000",
}


def test_sizes() -> None:
    assert (chords.END, chords.PAD, chords.NUM_CHORDS) == (157, 158, 159)
    assert (chords.NUM_ROOTS, chords.NUM_QUALITIES) == (15, 16)


@pytest.mark.parametrize("chord", range(157))
def test_names_ids_and_levels_agree(chord: int) -> None:
    name = chords.name_of(chord)
    assert chords.read_chord(name) == chord
    root, quality = chords.levels(chord)
    if chord:
        assert chords.chord_id(root - 1, chords.QUALITIES[quality - 1]) == chord
        assert name.split(":")[0] == chords.ROOTS[root - 1]
    else:
        assert (name, root, quality) == ("N", 0, 0)


@pytest.mark.parametrize(
    ("name", "chord"), [("C", 1), ("C:maj7", 13), ("C#", 14), ("D#:min7", 43), ("G:min6", 103)]
)
def test_ids_are_the_authors(name: str, chord: int) -> None:
    assert chords.read_chord(name) == chord


def test_end_and_padding_have_levels_of_their_own() -> None:
    assert chords.levels(chords.END) == (13, 14)
    assert chords.levels(chords.PAD) == (14, 15)
    assert len({chords.levels(chord) for chord in range(chords.NUM_CHORDS)}) == chords.NUM_CHORDS


@pytest.mark.parametrize(
    ("short", "name"),
    [("Am", "A:min"), ("Bb7", "A#:7"), ("GM7", "G:maj7"), ("Cb", "B"), ("F#m7", "F#:min7")],
)
def test_musicians_names_are_read(short: str, name: str) -> None:
    assert chords.name_of(chords.read_chord(short)) == name


@pytest.mark.parametrize("name", ["", "H", "Cm13", "c", "C##", "C: maj"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(InputError):
        chords.read_chord(name)


@pytest.mark.parametrize(
    ("key", "semitones", "minor"),
    [
        ("C major", 0, False),
        ("F major", -7, False),
        ("Gb major", -6, False),
        ("E major", 4, False),
        ("A minor", 0, True),
        ("D minor", -7, True),
        ("G# minor", -1, True),
        ("C# minor", 4, True),
    ],
)
def test_keys_are_transposed_as_the_authors_do(key: str, semitones: int, minor: bool) -> None:
    assert chords.read_key(key) == (semitones, minor)


@pytest.mark.parametrize("key", ["C", "c major", "C dorian", ""])
def test_other_keys_are_refused(key: str) -> None:
    with pytest.raises(InputError, match="no key"):
        chords.read_key(key)


def test_transposing_moves_the_root_alone() -> None:
    for chord in range(1, chords.END):
        root, quality = chords.levels(chord)
        assert chords.levels(chords.transposed(chord, 5)) == ((root + 4) % 12 + 1, quality)
        assert chords.transposed(chords.transposed(chord, -7), 7) == chord
    assert chords.transposed(chords.SILENCE, 3) == chords.SILENCE


@pytest.mark.parametrize(("mood", "pattern"), PATTERNS.items())
def test_moods_have_the_authors_chords(mood: str, pattern: str) -> None:
    suiting = chords.suiting(list(chords.MOODS).index(mood))
    assert np.array_equal(suiting, [0, *map(int, pattern * 12), 0, 0])


def test_qualities_are_what_musicians_call_so() -> None:
    assert len(set(chords.INTERVALS.values())) == 13
    assert chords.INTERVALS["hdim7"] == (0, 3, 6, 10)
    assert chords.INTERVALS["dim7"] == (0, 3, 6, 9)
    assert all(
        notes[0] == 0 and sorted(notes) == list(notes) for notes in chords.INTERVALS.values()
    )
