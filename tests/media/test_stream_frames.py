"""Frames by number, one after the other: those that are read at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from media_videos import make_video

from kinema.errors import InputError
from kinema.media import read_frames
from kinema.media.reading import stream_frames

OPTIONS = {"x264-params": "keyint=12:min-keyint=12:scenecut=0:bframes=3"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return make_video(tmp_path / "clip.mp4", options=OPTIONS)


@pytest.mark.parametrize("numbers", [[0], [3, 3, 4], [0, 1, 1, 17, 23, 23], list(range(24))])
def test_frames_are_those_that_are_read_at_once(path: Path, numbers: list[int]) -> None:
    found = list(stream_frames(path, numbers))
    assert np.array_equal(np.stack(found), read_frames(path, numbers))


def test_what_is_not_there_is_told_by_the_call(path: Path) -> None:
    with pytest.raises(InputError, match="is beyond its end"):
        stream_frames(path, [0, 100_000])
    with pytest.raises(InputError, match="at least one"):
        stream_frames(path, [])


def test_frames_are_asked_for_in_their_order(path: Path) -> None:
    with pytest.raises(AssertionError):
        stream_frames(path, [3, 2])
