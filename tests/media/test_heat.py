from __future__ import annotations

import numpy as np
import pytest

from kinema.media.heat import heat_map

FRAME = np.full((8, 12, 3), (200, 100, 0), np.uint8)


def test_what_is_not_shown_is_grey_and_dark() -> None:
    shown = np.array([[True, False], [False, False]])
    drawn = heat_map(FRAME, np.zeros((2, 2)), shown)
    assert drawn.shape == FRAME.shape
    assert drawn.dtype == np.uint8
    assert (drawn[:4, :6] == (100, 50, 0)).all()  # half of the frame, half of black
    assert (drawn[4:] == 35).all()
    assert (drawn[:, 6:] == 35).all()


@pytest.mark.parametrize(
    ("value", "color"),
    [(0.0, (0, 0, 0)), (1 / 3, (255, 0, 0)), (2 / 3, (255, 255, 0)), (1.0, (255, 255, 255))],
)
def test_colors_go_from_black_over_red_and_yellow_to_white(
    value: float, color: tuple[int, int, int]
) -> None:
    drawn = heat_map(FRAME, np.full((1, 1), value), np.ones((1, 1), bool))
    expected = np.rint(0.5 * np.array((200, 100, 0)) + 0.5 * np.array(color))
    assert np.abs(drawn.astype(int) - expected).max() <= 1


def test_heat_is_where_its_patch_is() -> None:
    values = np.zeros((2, 3))
    values[1, 2] = 1
    black = np.zeros((8, 12, 3), np.uint8)
    drawn = heat_map(black, values, np.ones((2, 3), bool)).sum(-1)
    assert drawn[7, 11] == drawn.max() > 0
    assert drawn[0, 0] == 0
