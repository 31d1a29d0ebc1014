"""How chords, density and loudness become notes: the arrangement of Video2Music.

Paper, code and license: see `video2music.py`. Verified against the authors' script: tempo, broken
chords and their order, velocities, transposition, thresholds. Different: the density of a second is
read from the density (their loop runs over the loudness); four voices sound all notes of a chord
(they leave out the highest of a chord with a seventh or sixth, and spell dim7 and hdim7 as other
chords); voices stay near the first chord by a simpler rule.
"""

from __future__ import annotations

from collections.abc import Sequence

from kinema.media import chords
from kinema.media.score import Note, Score

BEATS_PER_MINUTE = 120.0  # one chord lasts two beats, which is one second
STEPS = 8  # of a second, at which a note may begin
RING = 1.0  # seconds that every note lasts
# For each level of density: which voice begins at which step, for chords that come first, third ...
# in a row of equal ones, and for those that come second, fourth ...
PATTERNS = (
    ("0...1...", "2...3..."),
    ("0.1.2...", "3.1.2..."),
    ("0.1.2.3.", "2.1.2.3."),
    ("01213.2.", "10123.2."),
    ("01213212", "10123212"),
)
THRESHOLDS = (6, 12, 18, 24)  # of the density, notes a second
DENSEST = 40
LOUDEST = 50  # hundredths
VELOCITIES = (49, 112)
EXPONENT = 0.3
LOWEST_ROOT = 57  # A below the middle C; the bass lies an octave lower


def arrange(
    ids: Sequence[int], density: Sequence[float], loudness: Sequence[float], *, semitones: int
) -> Score:
    """A score of broken chords, one chord a second.

    Args:
        ids: of the chords, all below END.
        density: notes a second, 0 to 40; what lies outside is clipped.
        loudness: 0 to 0.5; what lies outside is clipped.
        semitones: by which everything is transposed.
    """
    notes, names = list[Note](), list[tuple[float, str]]()
    repeat, voices = 0, list[int]()
    center: float | None = None
    for second, chord in enumerate(ids):
        repeat = repeat + 1 if second and chord == ids[second - 1] else 0
        if not repeat:
            names.append((float(second), chords.name_of(chords.transposed(chord, semitones))))
        if chord == chords.SILENCE:
            continue
        voices = voicing(chord, center, voices[:1])
        center = voices[1] + 3.0 if center is None else center
        velocity = velocity_of(loudness[second])
        pattern = PATTERNS[level_of(density[second])][repeat % 2]
        for step, voice in enumerate(pattern):
            if voice != ".":
                start = second + step / STEPS
                pitch = voices[int(voice)] + semitones
                notes.append(Note(pitch, velocity, start, start + RING))
    return Score(tuple(notes), tuple(names), float(len(ids)), BEATS_PER_MINUTE)


def voicing(chord: int, center: float | None, bass_before: list[int]) -> list[int]:
    """The pitches of a chord's bass and its three other voices, these in rising order.

    A triad sounds as its bass, root, third and fifth, a chord of four notes with its root in the
    bass only. The bass takes the octave nearer to the bass before; the others lie within half an
    octave of `center`, or above the root where there is none.
    """
    root, quality = chords.levels(chord)
    low = LOWEST_ROOT + (root - 1 - chords.pitch_class("A")) % 12
    bass = low - 12
    if bass_before and abs(bass - bass_before[0]) > 7:
        bass += 12 if bass < bass_before[0] else -12
    upper = [low + interval for interval in chords.INTERVALS[chords.QUALITIES[quality - 1]]]
    upper = upper[-3:]
    if center is not None:
        upper = [pitch + 12 * round((center - pitch) / 12) for pitch in upper]
    return [bass, *sorted(upper)]


def level_of(density: float) -> int:
    """0 to 4, by how many thresholds the rounded density exceeds."""
    whole = min(max(round(density), 0), DENSEST)
    return sum(whole > threshold for threshold in THRESHOLDS)


def velocity_of(loudness: float) -> int:
    """The MIDI velocity, 49 to 112, of a loudness from 0 to 0.5."""
    hundredths = min(max(int(100 * loudness), 0), LOUDEST)
    soft, loud = VELOCITIES
    return round((hundredths / LOUDEST) ** EXPONENT * (loud - soft) + soft)
