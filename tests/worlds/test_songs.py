"""The world `songs`: the music fits key and mood, and the picture shows the mood."""

from __future__ import annotations

import itertools
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from kinema.errors import InputError
from kinema.media import chords
from kinema.worlds import songs
from kinema.worlds.songs import Song, Songs

OPTIONS: dict[str, Any] = {"num_seconds": 30, "height": 16, "width": 24, "fps": 4.0}
WORLD = Songs(seed=0, **OPTIONS)
SONGS = [WORLD.sample(index) for index in range(40)]


def begins(song: Song) -> np.ndarray:
    """The seconds at which the scenes after the first begin."""
    return np.flatnonzero(np.diff(song.moods)) + 1


def test_a_song_depends_on_seed_and_index_alone() -> None:
    again = Songs(**WORLD.options).sample(7)
    for name in ("moods", "chords", "density", "loudness"):
        assert np.array_equal(getattr(again, name), getattr(SONGS[7], name)), name
    assert np.array_equal(again.clip.frames, SONGS[7].clip.frames)
    other = Songs(seed=1, **OPTIONS).sample(7)
    assert not np.array_equal(other.chords, SONGS[7].chords)
    assert not np.array_equal(SONGS[6].clip.frames[0], SONGS[7].clip.frames[0])


def test_it_needs_no_torch() -> None:
    code = "import sys, kinema.worlds.songs; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_everything_lasts_as_long() -> None:
    lengths = set()
    for song in SONGS:
        seconds = len(song.chords)
        lengths.add(seconds)
        assert song.moods.shape == song.density.shape == song.loudness.shape == (seconds,)
        assert song.clip.frames.shape == (4 * seconds, 16, 24, 3)
    assert len(lengths) > 5
    assert min(lengths) >= 20
    assert max(lengths) == 30


def test_chords_suit_the_mood_and_belong_to_the_key() -> None:
    for song in SONGS:
        for mood, chord in zip(song.moods, song.chords):
            root, quality = chords.levels(int(chord))
            assert root - 1 in songs.TRIADS
            name = songs.MOODS[mood]
            if name == "neutral":
                assert chords.QUALITIES[quality - 1] == songs.TRIADS[root - 1]
            else:
                assert chords.suiting(int(mood))[chord]
        assert chords.levels(int(song.chords[0]))[0] - 1 == songs.TONIC[song.minor]


def test_roots_follow_the_grammar_and_stay_two_seconds_at_most() -> None:
    for song in SONGS:
        roots = [chords.levels(int(chord))[0] - 1 for chord in song.chords]
        following = songs.FOLLOWING[song.minor]
        assert all(b == a or b in following[a] for a, b in itertools.pairwise(roots))
        assert not any(a == b == c for a, b, c in zip(roots, roots[1:], roots[2:]))


def test_scenes_last_four_seconds_or_more_and_change_the_mood() -> None:
    for song in SONGS:
        edges = np.concatenate([[0], begins(song), [len(song.moods)]])
        assert np.diff(edges).min() >= 4


def test_the_picture_shows_the_mood() -> None:
    palette = np.array([songs.COLORS[mood] for mood in songs.MOODS])
    right = []
    for song in SONGS:
        mean = song.clip.frames[::4].mean((1, 2))
        nearest = np.abs(mean[:, None] - palette).sum(-1).argmin(1)
        right.append(nearest == song.moods)
    assert np.concatenate(right).mean() > 0.9


def test_every_frame_has_a_disc_and_moves() -> None:
    for song in SONGS[:8]:
        frames = song.clip.frames.astype(int)
        assert (frames.reshape(len(frames), -1, 3).std(1).max(1) > 2).all()
        half_a_second_later = np.abs(frames[2:] - frames[:-2]).sum((1, 2, 3))
        assert (half_a_second_later > 0).mean() > 0.95


def test_energy_makes_music_denser_and_louder() -> None:
    moods = np.concatenate([song.moods for song in SONGS])
    for name in ("density", "loudness"):
        values = np.concatenate([getattr(song, name) for song in SONGS])
        by_mood = [values[moods == number].mean() for number in range(len(songs.MOODS))]
        assert np.argsort(by_mood).tolist() == np.argsort(list(songs.ENERGY.values())).tolist()
    densities = np.concatenate([song.density for song in SONGS])
    assert densities.min() >= 0
    assert densities.max() <= 40


@pytest.mark.parametrize(
    "change", [{"num_seconds": 3}, {"height": 7}, {"width": 7}, {"fps": 1.0}, {"fps": np.nan}]
)
def test_options_out_of_range_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        Songs(seed=0, **{**OPTIONS, **change})


def test_a_negative_index_is_refused() -> None:
    with pytest.raises(InputError, match="-1"):
        WORLD.sample(-1)
