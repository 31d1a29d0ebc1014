"""The drift instruments window by window give what they give of the whole clip."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from kinema.errors import InputError
from kinema.metrics import drift
from kinema.metrics.extractors import drift_measure
from kinema.rollout import picture
from kinema.rollout.instruments import Instruments, summary
from kinema.rollout.picture import drift_picture, write_drift_picture
from kinema.worlds.shapes import Shapes

FRAMES = Shapes(seed=0, split="train", num_frames=40, height=32, width=48, fps=12.0)


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    return FRAMES.sample(0).clip.frames


def shown(frames: np.ndarray, *ends: int) -> Instruments:
    found = Instruments(len(frames))
    for window in np.split(frames, ends):
        found.add(window)
    return found


@pytest.mark.parametrize("ends", [(), (25,), (9, 17, 25, 33), (1, 2, 39)])
def test_windows_change_nothing(frames: np.ndarray, ends: tuple[int, ...]) -> None:
    whole = drift_measure({}, "cpu").run(torch.from_numpy(frames).permute(0, 3, 1, 2))
    found = shown(frames, *ends).curves()
    # The embedder computes in float32, and the parts that it takes differ.
    torch.testing.assert_close(found, whole, rtol=1e-5, atol=1e-5)
    assert list(summary(found)) == list(drift.INSTRUMENTS)
    assert list(summary(found).values()) == pytest.approx(drift.summary(whole).tolist(), abs=1e-4)


def test_a_seam_is_its_change_over_the_median(frames: np.ndarray) -> None:
    jumped = frames.copy()
    jumped[20:] = 255 - jumped[20:]
    changes = np.abs(np.diff(jumped / 255.0, axis=0)).mean((1, 2, 3))
    found = shown(jumped, 10, 20).seams([10, 20])
    median = np.sort(changes)[(len(changes) - 1) // 2]  # the lower of two, as torch has it
    assert found == pytest.approx([changes[9] / median, changes[19] / median])
    assert found[1] > 5 > found[0]


def test_nothing_moves_and_nothing_is_divided_by_zero(frames: np.ndarray) -> None:
    still = np.repeat(frames[:1], 20, axis=0)
    found = shown(still, 10)
    assert found.seams([10]) == [0.0]
    assert torch.isfinite(found.curves()).all()


def test_the_picture_shows_each_curve_and_the_segments(frames: np.ndarray, tmp_path: Path) -> None:
    curves = shown(frames, 25).curves()
    plain, marked = drift_picture(curves, [], 12.0), drift_picture(curves, [0, 25], 12.0)
    assert plain.size == marked.size
    assert plain.tobytes() != marked.tobytes()
    for number in range(len(curves)):
        other = curves.clone()
        other[number] = torch.linspace(0, 5, len(frames), dtype=other.dtype)
        assert drift_picture(other, [], 12.0).tobytes() != plain.tobytes()
    path = tmp_path / "drift.png"
    write_drift_picture(path, curves, [0, 25], 12.0, overwrite=False)
    assert Image.open(path).size == marked.size
    with pytest.raises(InputError, match="exists"):
        write_drift_picture(path, curves, [0, 25], 12.0, overwrite=False)


def test_the_picture_of_many_clips_has_their_mean() -> None:
    least, most = torch.zeros(6, 10), torch.ones(6, 10)
    image = drift_picture(torch.stack([least, most]), [], None)
    middle, top = picture.MARGIN + picture.PANEL[0] // 2, picture.MARGIN + picture.HEAD
    column = [image.getpixel((middle, top + down)) for down in range(picture.PANEL[1])]
    mean = [down for down, color in enumerate(column) if color == picture.CURVE]
    assert np.mean(mean) == pytest.approx(picture.PANEL[1] / 2, abs=1)
    assert column[0] == picture.ONE_OF_MANY
    assert image.tobytes() != drift_picture(torch.stack([least, most]), [], 12.0).tobytes()
