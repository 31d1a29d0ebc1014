"""A small model, a studio with it, and a page that is open."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from kinema.systems.ltx_video import LTXVideo
from kinema.systems.ltx_video_presets import nano
from kinema.web.limits import Limits
from kinema.web.studio import Studio


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of the real classes with random weights; fresh ones would predict zeros."""
    made = LTXVideo(nano())
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in made.parts.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    path = tmp_path_factory.mktemp("model") / "nano.safetensors"
    made.save_pretrained(path)
    return path


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
