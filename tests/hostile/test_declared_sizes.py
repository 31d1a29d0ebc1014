"""What a small file declares is looked at before memory is taken, and said beside its limit."""

from __future__ import annotations

import json
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image

from kinema.clip import Clip
from kinema.errors import InputError
from kinema.media import source
from kinema.media.arrays import read_array, read_arrays
from kinema.systems.ltx_video import LTXVideo
from kinema.systems.ltx_video_presets import nano
from kinema.weights.files import open_checkpoint

MOST = 50e6  # bytes that a refusal may take


def refusal(read: Callable[[], Any]) -> str:
    """The line that `read` refuses with, having taken little memory."""
    tracemalloc.start()
    with pytest.raises(InputError) as caught:
        read()
    assert tracemalloc.get_traced_memory()[1] < MOST
    tracemalloc.stop()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def giant_picture(path: Path, side: int) -> Path:
    """A png whose header declares side x side pixels, with a true checksum."""
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(path)
    data = path.read_bytes()
    header = b"IHDR" + side.to_bytes(4, "big") * 2 + data[24:29]
    path.write_bytes(data[:12] + header + zlib.crc32(header).to_bytes(4, "big") + data[33:])
    return path


def test_pictures_of_too_many_pixels(tmp_path: Path) -> None:
    path = giant_picture(tmp_path / "giant.png", 20_000)
    said = refusal(lambda: Clip.read(path))
    assert f"declares frames of more than {source.MAX_PIXELS:,} pixels" in said
    Clip(np.zeros((1, 8, 8, 3), np.uint8), 8.0).write(tmp_path / "giant.gif")
    data = (tmp_path / "giant.gif").read_bytes()
    (tmp_path / "giant.gif").write_bytes(data[:6] + b"\x20\x4e\x20\x4e" + data[10:])
    said = refusal(lambda: Clip.read(tmp_path / "giant.gif"))
    assert f"declares frames of more than {source.MAX_PIXELS:,} pixels" in said
    assert Clip.read(giant_picture(tmp_path / "small.png", 8)).size == (8, 8)


def sparse_video(path: Path, seconds: int) -> Path:
    """Two frames, so many seconds apart."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 32
        packets = []
        for index in range(2):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), index, np.uint8), "rgb24")
            packets += stream.encode(frame)
        packets += stream.encode(None)
        for index, packet in enumerate(packets):
            packet.pts = packet.dts = round(index * seconds / packet.time_base)
            container.mux(packet)
    return path


def test_clips_that_claim_to_last_too_long(tmp_path: Path) -> None:
    path = sparse_video(tmp_path / "long.mkv", source.MAX_SECONDS + 1000)
    assert f"seconds, more than {source.MAX_SECONDS:,}" in refusal(lambda: Clip.read(path))
    path = sparse_video(tmp_path / "slow.mkv", 100_000)
    said = refusal(lambda: Clip.read(path, fps=1000.0))
    assert f"frames at 1000 per second, more than {source.MAX_FRAMES:,}" in said
    assert Clip.read(path, stop_seconds=1.0).num_frames == 1


def giant_array(path: Path, shape: tuple[int, ...]) -> Path:
    with path.open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        file.write(bytes(100))
    return path


def test_arrays_of_too_many_numbers(tmp_path: Path) -> None:
    path = giant_array(tmp_path / "giant.npy", (2**40, 3))
    assert "declares 13194.1 GB of numbers, more than 2 GB" in refusal(lambda: read_array(path))
    path = giant_array(tmp_path / "cut.npy", (2**28,))
    assert "cut short: it declares 1073741824 bytes" in refusal(lambda: read_array(path))
    with zipfile.ZipFile(tmp_path / "giant.npz", "w") as archive:
        archive.write(tmp_path / "giant.npy", "x.npy")
    assert "more than 2 GB" in refusal(lambda: read_arrays(tmp_path / "giant.npz"))


def test_an_array_in_an_archive_ends_where_it_says(tmp_path: Path) -> None:
    """Else nobody would look at the checksum of what is behind it, nor at its own."""
    np.savez(tmp_path / "x.npz", x=np.arange(9))
    with zipfile.ZipFile(tmp_path / "x.npz") as archive:
        content = archive.read("x.npy")
    for name, array in {"more": content + b"1", "less": content.replace(b"(9,)", b"(8,)")}.items():
        with zipfile.ZipFile(tmp_path / f"{name}.npz", "w") as archive:
            archive.writestr("x.npy", array)
        said = refusal(lambda name=name: read_arrays(tmp_path / f"{name}.npz"))
        assert "it holds more than it declares" in said


@pytest.mark.parametrize("by_columns", [False, True])
def test_arrays_are_read_as_numpy_reads_them(tmp_path: Path, by_columns: bool) -> None:
    x = np.arange(24, dtype=">i2").reshape(2, 3, 4, order="F" if by_columns else "C")
    np.save(tmp_path / "x.npy", x)
    np.savez_compressed(tmp_path / "x.npz", x=x, n=np.float64(3))
    found = read_arrays(tmp_path / "x.npz")
    assert found["n"].shape == ()
    assert found["n"] == 3
    for y in (read_array(tmp_path / "x.npy"), found["x"]):
        assert y.dtype == x.dtype
        np.testing.assert_array_equal(y, x)
    with pytest.raises(InputError, match="holds 2 arrays"):
        read_array(tmp_path / "x.npz")


@pytest.mark.parametrize("member", ["../x.npy", "/etc/x.npy", "a/../../x.npy", "..\\x.npy"])
def test_paths_that_lead_out_of_an_archive(tmp_path: Path, member: str) -> None:
    for name in ("x.npz", "x.pt"):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr(member, b"x")
    for read in (
        lambda: read_arrays(tmp_path / "x.npz"),
        lambda: open_checkpoint(tmp_path / "x.pt"),
    ):
        assert "a path that leads out of it" in refusal(read)


def test_a_packed_archive_of_tensors(tmp_path: Path) -> None:
    torch.save({"x": torch.zeros(10_000)}, tmp_path / "plain.pt")
    with (
        zipfile.ZipFile(tmp_path / "plain.pt") as plain,
        zipfile.ZipFile(tmp_path / "packed.pt", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))
    assert "packed, as torch writes none" in refusal(
        lambda: open_checkpoint(tmp_path / "packed.pt")
    )
    assert open_checkpoint(tmp_path / "plain.pt").tensors["x"].shape == (10_000,)


@pytest.mark.parametrize(
    ("layers", "said"),
    [(10**9, "describes more than the"), (-1, "has -1 layers")],
)
def test_a_configuration_of_too_many_layers(tmp_path: Path, layers: int, said: str) -> None:
    path = tmp_path / "model.safetensors"
    LTXVideo(nano()).save_pretrained(path)
    data = path.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    config = json.loads(header["__metadata__"]["config"])
    config["transformer"]["num_layers"] = layers
    header["__metadata__"]["config"] = json.dumps(config)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[end:])
    with pytest.raises(InputError, match=said):
        LTXVideo.from_pretrained(path)
