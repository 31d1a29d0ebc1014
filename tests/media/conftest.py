"""The video that most tests read."""

from __future__ import annotations

from pathlib import Path

import pytest
from media_videos import make_video


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 frames at 24 fps with B-frames, keyframes every 12 frames, and 440 Hz."""
    path = tmp_path_factory.mktemp("video") / "sixty.mp4"
    options = {"x264-params": "keyint=12:scenecut=0:bframes=3"}
    return make_video(path, options=options, muxing={"movflags": "faststart"}, hertz=440)
