"""What tests of several rooms share."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from kinema.systems.ltx_video import LTXVideo
from kinema.systems.ltx_video_presets import nano


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
