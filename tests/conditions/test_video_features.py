"""Features of a clip by the second, on clips whose cuts, colors and motion are known."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest

from kinema.clip import Clip
from kinema.conditions import video_features
from kinema.conditions.video_features import (
    COLOR_STATISTICS,
    NUM_COLOR_FEATURES,
    color_features,
    color_statistics,
    cuts,
    first_frames,
    hue_saturation_value,
    mood_probabilities,
    motion,
    scene_offset,
)
from kinema.media.chords import MOODS
from kinema.worlds import songs
from kinema.worlds.songs import Songs


def plain(levels: list[int], fps: float = 4.0) -> Clip:
    """A clip of gray frames."""
    frames = np.zeros((len(levels), 8, 8, 3), np.uint8)
    frames += np.array(levels, np.uint8)[:, None, None, None]
    return Clip(frames, fps)


def test_a_second_is_seen_in_its_first_frame() -> None:
    assert first_frames(plain([0] * 9)).tolist() == [0, 4, 8]
    assert first_frames(plain([0] * 8)).tolist() == [0, 4]
    assert first_frames(plain([0] * 6, 2.5)).tolist() == [0, 3, 5]
    assert first_frames(plain([0])).tolist() == [0]


def test_motion_is_the_difference_to_the_frame_before() -> None:
    found = motion(plain([10, 0, 0, 0, 30, 40, 40, 41, 44, 0]))
    assert found.tolist() == [0, 30, 3]


def test_cuts_are_found_and_slow_changes_are_not() -> None:
    levels = [50] * 10 + [200] * 12 + [20] * 10
    assert cuts(plain(levels)).tolist() == [10, 22]
    assert cuts(plain(list(range(0, 240, 8)))).tolist() == []
    assert cuts(plain([50] * 10 + [60] * 10)).tolist() == []


def test_a_flash_is_not_two_scenes() -> None:
    assert len(cuts(plain([50] * 10 + [200] + [50] * 10))) <= 1


@pytest.mark.parametrize("num_frames", range(1, 7))
def test_a_clip_may_be_as_short_as_one_frame(num_frames: int) -> None:
    clip = plain([50, 200, 50, 200, 50, 200][:num_frames])
    assert color_features(clip).x.shape == (1 + (num_frames > 4), NUM_COLOR_FEATURES)
    assert cuts(clip).tolist() == []


def test_offset_counts_from_one_since_the_first_second_of_a_scene() -> None:
    clip = plain([50] * 10 + [200] * 14 + [20] * 12)  # cuts at 2.5 and 6 seconds
    assert scene_offset(clip).tolist() == [1, 2, 3, 1, 2, 3, 1, 2, 3]


def test_cuts_of_songs_are_where_their_scenes_begin() -> None:
    found = wanted = missed = 0
    world = Songs(seed=3, num_seconds=40, height=16, width=16, fps=4.0)
    for index in range(12):
        song = world.sample(index)
        truth = set((np.flatnonzero(np.diff(song.moods)) + 1).tolist())
        seen = set((cuts(song.clip) / 4.0).tolist())
        found, wanted, missed = found + len(seen), wanted + len(truth), missed + len(truth - seen)
    assert missed <= 0.05 * wanted
    assert found <= 1.05 * wanted


def test_hue_saturation_and_value_are_those_of_python() -> None:
    colors = np.array([[255, 0, 0], [10, 200, 30], [0, 0, 255], [90, 90, 90], [200, 0, 150]])
    for rgb, found in zip(colors, hue_saturation_value(colors.astype(np.uint8))):
        hue, saturation, value = colorsys.rgb_to_hsv(*(rgb / 255))
        np.testing.assert_allclose(found, (180 * hue, 255 * saturation, 255 * value), atol=1e-3)


@pytest.mark.parametrize(
    ("rgb", "hues"),
    [
        ((255, 0, 0), "red hues"),
        ((255, 255, 0), "yellow hues"),
        ((0, 255, 0), "green hues"),
        ((0, 255, 255), "cyan hues"),
        ((0, 0, 255), "blue hues"),
        ((255, 0, 255), "magenta hues"),
        ((255, 0, 20), "red hues"),
    ],
)
def test_statistics_bear_their_names(rgb: tuple[int, int, int], hues: str) -> None:
    pixels = np.broadcast_to(np.array(rgb, np.float32), (1, 50, 3))
    found = dict(zip(COLOR_STATISTICS, color_statistics(pixels)[0]))
    assert len(found) == 16
    assert found[hues] == pytest.approx(1, abs=0.1)
    assert sum(found[name] for name in COLOR_STATISTICS[-6:]) == pytest.approx(found[hues])
    assert found["mean red"] == pytest.approx(rgb[0] / 255)
    assert found["warmth"] == pytest.approx((rgb[0] - rgb[2]) / 255)
    assert found["spread of blue"] == pytest.approx(0, abs=1e-5)
    assert found["contrast"] == pytest.approx(0, abs=1e-5)


def test_moods_are_told_by_the_colors_of_the_world() -> None:
    palette = np.array([songs.COLORS[mood] for mood in MOODS], np.float32)
    found = mood_probabilities(palette)
    assert found.argmax(1).tolist() == list(range(6))
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-5)
    assert np.isfinite(mood_probabilities(np.array([[255.0, 0.0, 255.0]]))).all()


def test_all_features_of_a_second_stand_in_a_row() -> None:
    song = Songs(seed=0, num_seconds=20, height=16, width=16, fps=4.0).sample(0)
    found = color_features(song.clip)
    assert found.x.shape == (len(song.moods), NUM_COLOR_FEATURES) == (len(song.moods), 24)
    assert found.seconds.tolist() == list(range(len(song.moods)))
    np.testing.assert_allclose(found.x[:, 16], scene_offset(song.clip))
    np.testing.assert_allclose(found.x[:, 17], motion(song.clip), rtol=1e-6)
    assert (found.x[:, 18:].argmax(1) == song.moods).mean() > 0.8


def test_long_clips_are_read_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    clip = Songs(seed=0, num_seconds=40, height=16, width=16, fps=4.0).sample(1).clip
    whole = cuts(clip)
    assert len(whole)
    monkeypatch.setattr(video_features, "FRAMES_AT_ONCE", 7)
    assert np.array_equal(cuts(clip), whole)
