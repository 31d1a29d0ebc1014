"""Sets of 3-D Gaussians (3D Gaussian Splatting, arXiv 2308.04079), and their files.

Files are the .ply of the authors: means, ``f_dc`` with color = 0.5 + C0 f_dc, logits of opacity,
logarithms of scales, quaternions. Colors do not depend on the view (degree 0).

Letters: N Gaussians. Quaternions are (w, x, y, z).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from kinema.errors import InputError
from kinema.files import atomic

C0 = 0.28209479177387814  # the spherical harmonic of degree 0
HEADER = "ply\nformat binary_little_endian 1.0\nelement vertex {count}\n{properties}end_header\n"
PROPERTIES = (
    *("x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2", "opacity"),
    *("scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"),
)
NEEDED = tuple(name for name in PROPERTIES if name not in ("nx", "ny", "nz"))
LONGEST_HEADER = 65_536  # bytes


@dataclass(frozen=True, eq=False)
class Gaussians:
    """A set of Gaussians with colors.

    Args:
        means: (N, 3) in meters.
        log_scales: (N, 3), logarithms of the standard deviations along the own axes.
        quaternions: (N, 4), how the own axes are turned; of any length but 0.
        logits: (N,) of the opacities.
        colors: (N, 3), RGB in [0, 1].
    """

    SUFFIXES: ClassVar[tuple[str, ...]] = (".ply",)
    means: Tensor
    log_scales: Tensor
    quaternions: Tensor
    logits: Tensor
    colors: Tensor

    def __len__(self) -> int:
        return len(self.means)

    @property
    def fields(self) -> tuple[Tensor, ...]:
        """All tensors, in the order of the arguments."""
        return self.means, self.log_scales, self.quaternions, self.logits, self.colors

    def to(self, device: torch.device | str) -> Gaussians:
        """The set on a device."""
        return Gaussians(*(field.to(device) for field in self.fields))

    def __getitem__(self, which: Tensor) -> Gaussians:
        """Those at indices, or under a mask."""
        return Gaussians(*(field[which] for field in self.fields))

    @classmethod
    def union(cls, parts: Sequence[Gaussians]) -> Gaussians:
        """One set of several."""
        return cls(*(torch.cat(fields) for fields in zip(*(part.fields for part in parts))))

    def covariances(self) -> Tensor:
        """R S S^T R^T: (N, 3, 3)."""
        spread = rotation_matrix(self.quaternions) * self.log_scales.exp()[:, None]
        return spread @ spread.mT

    def transformed(self, quaternion: Tensor, scale: Tensor, shift: Tensor) -> Gaussians:
        """Turned, then scaled, then shifted: R s X + L (section 3.3).

        Args:
            quaternion: (4,), or (N, 4) one each.
            scale: a number.
            shift: (3,), or (N, 3) one each.
        """
        matrix = rotation_matrix(quaternion)
        means = scale * (matrix @ self.means[..., None])[..., 0] + shift
        turned = product(quaternion.expand(len(self), 4), self.quaternions)
        return Gaussians(means, self.log_scales + scale.log(), turned, self.logits, self.colors)

    # -- files -------------------------------------------------------------------------------

    def write(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Writes a .ply file.

        Raises:
            InputError: the name ends in something else, or the file cannot be written.
        """
        if Path(path).suffix.lower() not in self.SUFFIXES:
            raise InputError(f"cannot write Gaussians as {path}; end the name in .ply")
        parts = (
            self.means,
            torch.zeros_like(self.means),  # normals, which nobody reads
            (self.colors - 0.5) / C0,
            self.logits[:, None],
            self.log_scales,
            F.normalize(self.quaternions, dim=1),
        )
        rows = torch.cat(parts, 1).detach().cpu().numpy().astype("<f4")
        properties = "".join(f"property float {name}\n" for name in PROPERTIES)
        header = HEADER.format(count=len(self), properties=properties)
        with atomic(path, overwrite=overwrite) as partial:
            partial.write_bytes(header.encode() + rows.tobytes())

    @classmethod
    def given(cls, value: str) -> Self:
        """Reads a .ply file of Gaussians.

        Raises:
            InputError: the file is missing, damaged, holds something else, or has colors that
                depend on the view.
        """
        try:
            content = Path(value).read_bytes()
        except OSError as error:
            raise InputError(f"cannot read {value}: {error.strerror}") from error
        columns = _columns(content, value)
        for name, column in columns.items():
            if name.startswith("f_rest") and column.any():
                raise InputError(f"{value} has colors that depend on the view; store degree 0 only")
        if missing := [name for name in NEEDED if name not in columns]:
            raise InputError(f"{value} holds no Gaussians: it lacks {', '.join(missing)}")

        def stacked(*names: str) -> Tensor:
            return torch.from_numpy(np.stack([columns[name] for name in names], -1))

        return cls(
            means=stacked("x", "y", "z"),
            log_scales=stacked(*(f"scale_{i}" for i in range(3))),
            quaternions=stacked(*(f"rot_{i}" for i in range(4))),
            logits=stacked("opacity")[:, 0],
            colors=0.5 + C0 * stacked(*(f"f_dc_{i}" for i in range(3))),
        )


def _columns(content: bytes, place: str) -> dict[str, np.ndarray]:
    """The columns of a binary .ply of one element whose properties are all floats."""
    start = content[:LONGEST_HEADER].find(b"end_header\n") + len(b"end_header\n")
    lines = content[:start].decode("ascii", "replace").split("\n")
    declared = [line.split() for line in lines if line.startswith(("element", "property"))]
    if lines[:2] != ["ply", "format binary_little_endian 1.0"] or not declared:
        raise InputError(f"{place} is no binary .ply file (little endian)")
    (element, *properties), names = declared, [words[-1] for words in declared[1:]]
    if element[:2] != ["element", "vertex"] or not element[-1].isdecimal():
        raise InputError(f"{place} must begin with its vertices")
    if any(words[:2] != ["property", "float"] for words in properties) or not names:
        raise InputError(f"{place} must have vertices only, all of their properties float")
    values = np.frombuffer(content, "<f4", offset=start, count=(len(content) - start) // 4)
    if len(content) - start != 4 * len(names) * int(element[-1]):
        raise InputError(f"{place} is damaged: {element[-1]} vertices do not fill it")
    if not np.isfinite(values).all():
        raise InputError(f"{place} is damaged: not all of its numbers are finite")
    table = values.reshape(-1, len(names)).astype(np.float32)
    return {name: table[:, i] for i, name in enumerate(names)}


# -- quaternions -----------------------------------------------------------------------------


def rotation_matrix(quaternion: Tensor) -> Tensor:
    """(..., 4) of any length -> (..., 3, 3)."""
    w, x, y, z = F.normalize(quaternion, dim=-1).unbind(-1)
    rows = (
        *(1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        *(2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        *(2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )
    return torch.stack(rows, -1).unflatten(-1, (3, 3))


def product(a: Tensor, b: Tensor) -> Tensor:
    """First turned by b, then by a: (..., 4)."""
    (aw, av), (bw, bv) = ((q[..., :1], q[..., 1:]) for q in (a, b))
    w = aw * bw - (av * bv).sum(-1, keepdim=True)
    return torch.cat([w, aw * bv + bw * av + torch.linalg.cross(av, bv)], -1)


def about(axis: int, angle: Tensor) -> Tensor:
    """Turns by angles (...) in radians about a coordinate axis: (..., 4)."""
    parts = [torch.cos(angle / 2), *(torch.zeros_like(angle) for _ in range(3))]
    parts[1 + axis] = torch.sin(angle / 2)
    return torch.stack(parts, -1)
