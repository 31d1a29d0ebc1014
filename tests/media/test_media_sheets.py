"""Contact sheets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kinema.clip import Clip
from kinema.errors import InputError
from kinema.media import contact_sheet, write_contact_sheet
from kinema.media.sheets import fitted


def plain(color: tuple[int, int, int], num_frames: int = 9, size: int = 32) -> Clip:
    frames = np.full((num_frames, size, size, 3), color, np.uint8)
    frames[-1] = 255 - frames[-1]
    return Clip(frames, 12.0)


CLIPS = [plain((200, 0, 0)), plain((0, 160, 0)), plain((0, 0, 200), num_frames=2)]
LABELS = ["red", "green " * 60, "a blue square stands still on nothing in particular"]


def test_a_sheet_shows_first_and_last_frames_in_cells() -> None:
    sheet = np.asarray(contact_sheet(CLIPS, LABELS, columns=2, frames_per_clip=4))
    assert sheet[0, 0].tolist() == [255, 255, 255]
    row = sheet[16 + 48]
    red = np.flatnonzero((row == (200, 0, 0)).all(axis=-1))
    assert red[0] == 16
    assert len(red) == 3 * 96
    assert ((row == (55, 255, 255)).all(axis=-1)).sum() == 96
    assert (sheet == (0, 160, 0)).all(axis=-1)[:, red[-1] + 1 :].any()
    below = (sheet == (0, 0, 200)).all(axis=-1)
    assert np.flatnonzero(below.any(axis=1))[0] > 16 + 96
    assert below.sum() == 96 * 96


def test_labels_are_written_dark_and_wrapped_within_their_cell() -> None:
    blank = np.asarray(contact_sheet(CLIPS[:1], [""], columns=1, frames_per_clip=2))
    short = np.asarray(contact_sheet(CLIPS[:1], ["red"], columns=1, frames_per_clip=2))
    long = np.asarray(contact_sheet(CLIPS[:1], ["red " * 200], columns=1, frames_per_clip=2))
    unbroken = contact_sheet(CLIPS[:1], ["x" * 300], columns=1, frames_per_clip=2)
    assert blank.shape == short.shape
    assert (short[blank[..., 0] == 255] < 100).any()
    assert long.shape[0] == short.shape[0] + 3 * 17
    assert long.shape[1] == short.shape[1] == unbroken.width
    assert (long[:, -16:] == 255).all()


def test_large_clips_are_scaled_down() -> None:
    sheet = contact_sheet([plain((1, 2, 3), size=500)], ["big"], columns=3, frames_per_clip=2)
    assert sheet.width == 2 * 16 + 2 * 192 + 3


@pytest.mark.parametrize(("height", "shown"), [(40, 120), (95, 190), (96, 96), (192, 192)])
def test_what_is_fitted_stays_as_it_is(height: int, shown: int) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (height, 60, 3), np.uint8)
    once = fitted(frame)
    assert once.shape == (shown, 60 * shown // height, 3)
    assert (fitted(once) == once).all()


def test_what_was_scaled_down_before_gives_the_same_sheet() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (3, 260, 90, 3), np.uint8)
    small = Clip(np.stack([fitted(frame) for frame in frames]), 12.0)
    assert small.size == (192, 66)
    whole, again = (
        contact_sheet([clip], ["a"], columns=1, frames_per_clip=3)
        for clip in (Clip(frames, 12.0), small)
    )
    assert whole.tobytes() == again.tobytes()


def test_writing(tmp_path: Path) -> None:
    options = {"columns": 2, "frames_per_clip": 3}
    path = tmp_path / "sheet.png"
    write_contact_sheet(path, CLIPS, LABELS, **options, overwrite=False)
    np.testing.assert_array_equal(Image.open(path), contact_sheet(CLIPS, LABELS, **options))
    with pytest.raises(InputError, match="exists"):
        write_contact_sheet(path, CLIPS, LABELS, **options, overwrite=False)
    with pytest.raises(InputError, match=r"end the name in \.png"):
        write_contact_sheet(tmp_path / "sheet.xyz", CLIPS, LABELS, **options, overwrite=False)


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(InputError, match="a label for each"):
        contact_sheet(CLIPS, LABELS[:2], columns=1, frames_per_clip=1)
    with pytest.raises(InputError, match="a label for each"):
        contact_sheet([], [], columns=1, frames_per_clip=1)
    for columns, frames in ((0, 1), (1, 0)):
        with pytest.raises(InputError, match="columns and frames"):
            contact_sheet(CLIPS, LABELS, columns=columns, frames_per_clip=frames)
