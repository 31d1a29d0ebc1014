from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kinema.cli.main import main
from kinema.clip import Clip
from kinema.errors import InputError
from kinema.metrics.stream import signals, stream
from kinema.noise import Noise
from kinema.sample import Folder
from kinema.systems.stream import Stream
from kinema.worlds import load

CLIPS, FRAMES = 8, 6


def clips(seed: int) -> list[np.ndarray]:
    world = load("shapes", seed=seed, split="all", num_frames=FRAMES, height=24, width=32, fps=8)
    return [world.sample(i).clip.frames for i in range(CLIPS)]


def features(seed: int, frames: int = FRAMES, width: int = 5) -> np.ndarray:
    noise = Noise(seed, tuple(range(CLIPS)))
    return noise.normal((CLIPS, frames, width), "features").numpy()


def write(folder: Path, arrays: list[np.ndarray]) -> Path:
    folder.mkdir()
    for i, x in enumerate(arrays):
        np.save(folder / f"vid_{i:05d}.npy", x)
    return folder


def given(folder: Path, x: np.ndarray) -> Path:
    folder.mkdir()
    np.save(folder / "features.npy", x)
    return folder


def score(real: Path, fake: Path, **options: Any) -> dict[str, Any]:
    """The only row of the scores, by column."""
    made = Stream(**options).run({"real": Folder(real), "fake": Folder(fake)}, 0)
    (row,) = made["scores"].rows
    return dict(zip(made["scores"].columns, row))


@pytest.fixture
def real(tmp_path: Path) -> Path:
    return write(tmp_path / "real", clips(0))


@pytest.fixture
def fake(tmp_path: Path) -> Path:
    return write(tmp_path / "fake", clips(1))


def test_clips_become_scores_with_what_they_depend_on(real, fake):
    row = score(real, fake)
    assert list(row) == ["T", "F", "D", "N_real", "N_fake", "frames", "embedder", "k", "variant"]
    assert (row["N_real"], row["N_fake"], row["frames"]) == (CLIPS, CLIPS, FRAMES)
    assert (row["k"], row["variant"]) == (5, "code")
    assert row["embedder"] == "random-conv-64 (seed 0, a stand-in)"
    assert all(0 <= row[name] <= 1 for name in "TFD")
    assert score(real, real)["T"] == pytest.approx(1)
    assert score(real, real)["F"] == 1
    assert score(fake, real)["D"] == row["F"]


def test_time_and_space_are_told_apart(tmp_path, real):
    shuffled = [x[[3, 0, 5, 1, 4, 2]] for x in clips(0)]
    row = score(real, write(tmp_path / "shuffled", shuffled), k=1)
    assert row["F"] == row["D"] == 1
    assert row["T"] < 0.7
    pale = [x // 8 + 220 for x in clips(0)]
    row = score(real, write(tmp_path / "pale", pale), k=1)
    assert row["F"] == row["D"] == 0


def test_given_features_are_scored_as_they_are(tmp_path):
    x, y = features(0), features(1)[:7]
    real, fake = given(tmp_path / "real", x), given(tmp_path / "fake", y.astype(np.float64))
    row = score(real, fake, k=3, variant="moment")
    a, b = (signals(torch.from_numpy(z), variant="moment") for z in (x, y))
    expected = stream(a, b, k=3)
    assert [row[n] for n in "TFD"] == [expected.temporal, expected.fidelity, expected.diversity]
    assert (row["N_real"], row["N_fake"], row["embedder"]) == (CLIPS, 7, "given features")
    assert (row["k"], row["variant"]) == (3, "moment")
    (fake / "features.npy").unlink()
    np.savez(fake / "features.npz", y)
    assert score(real, fake, k=3, variant="moment") == row


def test_video_files_are_read_and_other_files_left_alone(tmp_path, fake):
    real = tmp_path / "videos"
    real.mkdir()
    for i, x in enumerate(clips(0)):
        Clip(x, 8.0).write(real / f"{i}.mp4")
    (real / "metadata.jsonl").write_text("{}\n")
    (real / ".0.partial.mp4").write_bytes(b"begun")
    np.savez(real / "0.masks.npz", masks=np.zeros(3))
    row = score(real, fake)
    assert (row["N_real"], row["frames"]) == (CLIPS, FRAMES)


def test_the_command_line_writes_and_prints_the_table(tmp_path, capsys):
    real, fake = (given(tmp_path / n, features(s)) for s, n in enumerate(("real", "fake")))
    out = tmp_path / "scores.json"
    assert main(["run", "stream", str(real), f"fake={fake}", "-o", str(out)]) == 0
    (row,) = json.loads(out.read_text())
    assert row == score(real, fake)
    assert "given features" in capsys.readouterr().err


def change(index: int, x: np.ndarray) -> Callable[[Path], None]:
    return lambda folder: np.save(folder / f"vid_{index:05d}.npy", x)


def remove(folder: Path) -> None:
    for i in range(5, CLIPS):
        (folder / f"vid_{i:05d}.npy").unlink()


def truncate(folder: Path) -> None:
    path = folder / "vid_00003.npy"
    path.write_bytes(path.read_bytes()[:200])


def break_zip(folder: Path) -> None:
    (folder / "vid_00003.npy").write_bytes(b"PK\x03\x04 no archive")


CLIP = clips(0)[0]


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (change(3, CLIP[:5]), r"vid_00003.npy has 5 frames of 24x32, .*00000.npy has 6 frames of"),
        (change(3, CLIP[:, :20]), "vid_00003.npy has 6 frames of 20x32, .* cut and resize"),
        (change(3, CLIP.astype(np.float32)), r"vid_00003.npy must be an array \(F, H, W, 3\)"),
        (change(3, CLIP[..., :1]), r"vid_00003.npy must be an array \(F, H, W, 3\)"),
        (change(3, CLIP[:, :0]), "vid_00003.npy has no pixel"),
        (change(0, CLIP[:3]), "vid_00000.npy has 3 frames; give clips of 4 or more"),
        (change(3, np.array([{}], object)), "vid_00003.npy cannot be read as numpy arrays"),
        (truncate, "vid_00003.npy cannot be read as numpy arrays"),
        (break_zip, "vid_00003.npy cannot be read as numpy arrays"),
        (remove, "fake holds 5 clips; at least 6 are needed"),
        (lambda f: np.save(f / "features.npy", features(0)), "both features.npy and vid_00000"),
    ],
)
def test_clips_that_do_not_fit_are_named(real, fake, harm, said):
    harm(fake)
    with pytest.raises(InputError, match=said) as caught:
        score(real, fake)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (features(1, frames=7), "has 7 frames of 5 features, .* has 6 of 5"),
        (features(1, width=4), "has 6 frames of 4 features, .* has 6 of 5"),
        (features(1)[:5], "features.npy holds 5 clips; at least 6 are needed"),
        (features(1, frames=3), "has 3 frames; give clips of 4 or more"),
        (features(1)[0], r"must hold floats \(clips, frames, features\), not float32 \(6, 5\)"),
        (features(1).astype(np.int64), "must hold floats"),
        (np.where(features(1) > 2, np.nan, features(1)), "holds NaN or infinity"),
    ],
)
def test_features_that_do_not_fit_are_named(tmp_path, x, said):
    real, fake = given(tmp_path / "real", features(0)), given(tmp_path / "fake", x)
    with pytest.raises(InputError, match=said):
        score(real, fake)


def test_features_and_clips_are_not_compared(tmp_path, real):
    with pytest.raises(InputError, match="real does not; give both as clips or both as features"):
        score(real, given(tmp_path / "fake", features(0)))


def test_an_archive_of_several_arrays_is_refused(tmp_path):
    real, fake = given(tmp_path / "real", features(0)), tmp_path / "fake"
    fake.mkdir()
    np.savez(fake / "features.npz", a=features(0), b=features(1))
    with pytest.raises(InputError, match="holds 2 arrays; store one alone"):
        score(real, fake)
    with zipfile.ZipFile(fake / "features.npz", "w"):
        pass
    with pytest.raises(InputError, match="holds 0 arrays"):
        score(real, fake)
