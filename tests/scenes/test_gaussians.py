"""Sets of Gaussians: their shapes under transformations, and their files."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from kinema.errors import InputError
from kinema.noise import Noise
from kinema.scenes.gaussians import C0, Gaussians, about, product, rotation_matrix


def some(count: int = 7) -> Gaussians:
    noise = Noise(0, (0,))

    def draw(name: str, *shape: int) -> torch.Tensor:
        return noise.normal((1, count, *shape), name)[0]

    return Gaussians(
        draw("means", 3),
        0.3 * draw("scales", 3) - 1,
        draw("quaternions", 4),
        draw("logits"),
        draw("colors", 3).sigmoid(),
    )


def test_quaternions_are_rotations() -> None:
    turns = some().quaternions
    matrices = rotation_matrix(turns)
    assert torch.allclose(matrices @ matrices.mT, torch.eye(3).expand(7, 3, 3), atol=1e-6)
    assert torch.allclose(torch.det(matrices), torch.ones(7), atol=1e-6)
    both = rotation_matrix(product(turns, turns.flip(0)))
    assert torch.allclose(both, matrices @ matrices.flip(0), atol=1e-6)
    # Its length does not matter.
    assert torch.allclose(rotation_matrix(3 * turns), matrices, atol=1e-6)


def test_a_quarter_turn_about_the_vertical_goes_from_z_to_x() -> None:
    matrix = rotation_matrix(about(1, torch.tensor(torch.pi / 2)))
    assert torch.allclose(matrix @ torch.tensor([0.0, 0, 1]), torch.tensor([1.0, 0, 0]), atol=1e-6)


def test_transforming_moves_means_and_covariances() -> None:
    before, turn = some(), torch.tensor([0.3, -0.5, 0.8, 0.1])
    scale, shift = torch.tensor(2.5), torch.tensor([1.0, -2.0, 0.5])
    after = before.transformed(turn, scale, shift)
    matrix = rotation_matrix(turn)
    assert torch.allclose(after.means, 2.5 * before.means @ matrix.T + shift, atol=1e-5)
    expected = 2.5**2 * matrix @ before.covariances() @ matrix.T
    assert torch.allclose(after.covariances(), expected, atol=1e-4)
    assert after.colors is before.colors
    assert after.logits is before.logits


def test_a_union_has_all_in_order() -> None:
    first, second = some(3), some(5)
    both = Gaussians.union([first, second])
    assert len(both) == 8
    for whole, a, b in zip(both.fields, first.fields, second.fields):
        assert torch.equal(whole, torch.cat([a, b]))


def test_a_file_holds_the_standard_properties_and_is_read_back(tmp_path: Path) -> None:
    written, path = some(), tmp_path / "scene.ply"
    written.write(path)
    content = path.read_bytes()
    header, _, body = content.partition(b"end_header\n")
    assert header.startswith(b"ply\nformat binary_little_endian 1.0\nelement vertex 7\n")
    first = struct.unpack("<17f", body[: 17 * 4])
    assert first[:3] == tuple(written.means[0].tolist())
    assert first[6] == pytest.approx((float(written.colors[0, 0]) - 0.5) / C0)
    assert first[9] == float(written.logits[0])
    read = Gaussians.given(str(path))
    assert torch.equal(read.means, written.means)
    assert torch.allclose(read.covariances(), written.covariances(), atol=1e-6)
    assert torch.equal(read.logits, written.logits)
    assert torch.allclose(read.colors, written.colors, atol=1e-6)
    with pytest.raises(InputError, match="exists"):
        written.write(path)


def test_other_files_are_refused_in_one_line(tmp_path: Path) -> None:
    path, good = tmp_path / "scene.ply", tmp_path / "good.ply"
    some().write(good)
    content = good.read_bytes()
    damaged = {
        "no binary": b"hello",
        "little endian": content.replace(b"binary_little_endian", b"ascii"),
        "do not fill": content[:-4],
        "begin with its vertices": content.replace(b"element vertex", b"element face"),
        "all of their properties float": content.replace(b"float opacity", b"uchar opacity"),
        "lacks opacity": content.replace(b"float opacity", b"float opacitx"),
        "finite": content[:-4] + np.float32("nan").tobytes(),
        "depend on the view": content.replace(b"float nx", b"float f_rest_0")[:-68]
        + np.ones(17, "<f4").tobytes(),
    }
    for said, data in damaged.items():
        path.write_bytes(data)
        with pytest.raises(InputError, match=said) as error:
            Gaussians.given(str(path))
        assert "scene.ply" in str(error.value)
        assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="cannot read"):
        Gaussians.given(str(tmp_path / "none.ply"))
    with pytest.raises(InputError, match=r"end the name in \.ply"):
        some().write(tmp_path / "scene.obj")
