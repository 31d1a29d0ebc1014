"""Scores: MIDI files that others read, and sound."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pretty_midi
import pytest

from kinema.errors import InputError
from kinema.media.score import Note, Score

NOTES = (Note(69, 100, 0.0, 1.0), Note(60, 49, 0.5, 1.5), Note(64, 112, 1.25, 2.25))
SCORE = Score(NOTES, ((0.0, "A:min"), (1.0, "C")), 2.0, 120.0)


def test_a_file_holds_what_was_written(tmp_path: Path) -> None:
    SCORE.write(tmp_path / "score.mid")
    read = pretty_midi.PrettyMIDI(str(tmp_path / "score.mid"))
    (piano,) = read.instruments
    found = sorted((n.start, n.end, n.pitch, n.velocity) for n in piano.notes)
    wanted = [(n.start_seconds, n.stop_seconds, n.pitch, n.velocity) for n in NOTES]
    np.testing.assert_allclose(found, wanted, atol=2e-3)
    assert [(text.time, text.text) for text in read.text_events] == list(SCORE.chords)
    assert read.get_tempo_changes()[1].tolist() == [120.0]


def test_equal_scores_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("one.mid", "two.mid"):
        SCORE.write(tmp_path / name)
    assert (tmp_path / "one.mid").read_bytes() == (tmp_path / "two.mid").read_bytes()


def test_an_existing_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "score.mid"
    path.write_text("mine")
    with pytest.raises(InputError, match="exists"):
        SCORE.write(path)
    assert path.read_text() == "mine"
    SCORE.write(path, overwrite=True)
    assert path.read_bytes()[:4] == b"MThd"


def test_another_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.mid"):
        SCORE.write(tmp_path / "score.wav")


def test_sound_lasts_as_long_as_the_music_and_has_its_pitch() -> None:
    sound = SCORE.sound(8000)
    assert (sound.x.shape, sound.sample_rate_hz) == ((1, 16_000), 8000)
    assert 0.85 < np.abs(sound.x).max() <= 0.9 + 1e-6
    alone = sound.x[0, :4000]  # the first note, an A, sounds alone for half a second
    spectrum = np.abs(np.fft.rfft(alone))
    assert spectrum.argmax() * 8000 / 4000 == pytest.approx(440, abs=2)
    assert abs(sound.x[0, -1]) < 1e-3


def test_a_louder_note_sounds_louder() -> None:
    score = Score((Note(60, 50, 0.0, 1.0), Note(60, 100, 1.0, 2.0)), (), 2.0, 120.0)
    soft, loud = np.abs(score.sound(8000).x[0]).reshape(2, -1).max(1)
    assert loud == pytest.approx(2 * soft, rel=0.05)


def test_no_notes_are_silence() -> None:
    assert not Score((), (), 1.0, 120.0).sound(8000).x.any()


@pytest.mark.parametrize(
    "values", [(128, 64, 0, 1), (-1, 64, 0, 1), (60, 0, 0, 1), (60, 64, 1, 1), (60, 64, -1, 1)]
)
def test_notes_that_cannot_be_are_refused(values: tuple[int, int, float, float]) -> None:
    with pytest.raises(InputError):
        Note(*values)
