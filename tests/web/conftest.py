"""A small model, a studio with it, and a page that is open."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from kinema.web.limits import Limits
from kinema.web.studio import Studio


@pytest.fixture
def studio(tmp_path: Path, model: Path) -> Iterator[Studio]:
    """A studio in a folder of its own; its limits are small enough to reach, but for steps."""
    limits = Limits(file_bytes=300_000, waiting=12, per_minute=6, files=8, steps=100_000)
    made = Studio(tmp_path / "page", str(model), limits)
    yield made
    made.close()


@pytest.fixture
def free_port() -> int:
    """A port where nothing listens."""
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])
