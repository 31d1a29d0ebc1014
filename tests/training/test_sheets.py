"""Sheets: what belongs together stands together, over its own caption."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from PIL import Image

from kinema.clip import Clip
from kinema.training import sheets
from kinema.training.sheets import draw_sheet


def test_samples_follow_one_another_with_all_their_kinds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[tuple[list[int], Sequence[str]]] = []
    whole = sheets.write_contact_sheet

    def watched(path: Path, clips: Sequence[Clip], labels: Sequence[str], **options: int) -> None:
        shown.append(([int(clip.frames[0, 0, 0, 0]) for clip in clips], labels))
        whole(path, clips, labels, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(sheets, "write_contact_sheet", watched)
    real, made = torch.full((2, 3, 4, 8, 8), -1.0), torch.full((2, 3, 4, 8, 8), 0.0)
    real[1], made[1] = 1, 0.5
    for _ in range(2):  # a sheet may be drawn again
        rows = {"real": real, "made": made}
        draw_sheet(tmp_path / "sheet.png", rows, ["a", "b", "of a third"], columns=2)
    assert shown[0] == ([0, 128, 255, 191], ["real: a", "made: a", "real: b", "made: b"])
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 2 * 4 * 96
