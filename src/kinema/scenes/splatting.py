"""Splatting: pictures of 3-D Gaussians in plain torch, with gradients to all of them.

After 3D Gaussian Splatting (arXiv 2308.04079) and EWA splatting (Zwicker et al. 2001). A Gaussian
is projected by the local affine approximation J of the perspective, Sigma_2 = J W Sigma W^T J^T +
0.3 I in square pixels; alpha_i = min(0.99, o_i exp(-d^T Sigma_2^-1 d / 2)); the color is the sum
over all Gaussians, front to back, of c_i alpha_i prod_{j<i} (1 - alpha_j). Rows of the picture are
drawn one by one, each from the Gaussians that touch it.

Letters: N Gaussians, P pixels of a row, C values of a Gaussian.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from kinema.scenes.cameras import Camera
from kinema.scenes.gaussians import Gaussians

NEAR = 0.2  # meters; what is nearer is not drawn
OUTSIDE = 1.3  # half pictures from the middle; farther out, shapes are those at this place
BLUR = 0.3  # square pixels, added to every projected Gaussian
LARGEST_ALPHA = 0.99
SMALLEST_ALPHA = 1 / 255  # what is weaker is not drawn, so that every Gaussian ends somewhere
SLACK = 0.01  # rows, against rounding


@dataclass(frozen=True, eq=False)
class Rendering:
    """A picture and what belongs to it.

    Args:
        color: (3, H, W), in [0, 1], black where nothing is.
        depth: (H, W), depths of the Gaussians summed like their colors.
        opacity: (H, W), in [0, 1].
    """

    color: Tensor
    depth: Tensor
    opacity: Tensor

    def over(self, background: Tensor) -> Tensor:
        """The picture (3, H, W) on a background (3,)."""
        return self.color + (1 - self.opacity) * background[:, None, None]

    def distance(self) -> Tensor:
        """The mean depth (H, W) of what is seen; 0 where nothing is."""
        return self.depth / self.opacity.clamp(min=SMALLEST_ALPHA)


class Splats(NamedTuple):
    """Projected Gaussians, the nearest first.

    Args:
        shapes: (N, 6): mean in pixels (x, y), inverse covariance (xx, xy, yy), opacity.
        values: (N, 5): color, depth, 1.
        reach: (N,), how many rows away from its mean a Gaussian ends.
    """

    shapes: Tensor
    values: Tensor
    reach: Tensor


def splat(gaussians: Gaussians, camera: Camera, *, height: int, width: int) -> Rendering:
    """Draws Gaussians.

    Args:
        gaussians: all that is in the picture; they are sorted as one set.
        camera: on the same device.
        height, width: of the picture in pixels.
    """
    splats = project(gaussians, camera, height, width)
    x = torch.arange(width, device=gaussians.means.device) + 0.5
    picture = torch.stack([draw_row(splats, x, row + 0.5) for row in range(height)], 1)
    return Rendering(picture[:3], picture[3], picture[4])


def draw_row(splats: Splats, x: Tensor, y: float) -> Tensor:
    """The pixels (x, y), x (P,), of one row: colors, depths, opacities (5, P)."""
    touches = ((splats.shapes[:, 1] - y).abs() <= splats.reach).nonzero()[:, 0]
    shapes, values = (part.index_select(0, touches) for part in splats[:2])
    return composite(alphas(shapes, x, y), values)


def project(gaussians: Gaussians, camera: Camera, height: int, width: int) -> Splats:
    """Gaussians as they lie in the picture, without those behind the camera."""
    kept = gaussians[camera.view(gaussians.means)[:, 2].detach() > NEAR]
    seen = camera.view(kept.means)
    kept = kept[torch.argsort(seen[:, 2].detach(), stable=True)]
    pixels, z = camera.project(kept.means, height, width)
    f, none = camera.focal * height, torch.zeros_like(z)
    # Far outside the picture the affine approximation would grow without bound.
    x, y = (camera.view(kept.means)[:, :2] / z[:, None]).unbind(1)
    x, y = (
        v.clamp(-m, m) for v, m in ((x, OUTSIDE * width / 2 / f), (y, OUTSIDE * height / 2 / f))
    )
    jacobian = torch.stack([f / z, none, -f * x / z, none, f / z, -f * y / z], 1)
    spread = jacobian.unflatten(1, (2, 3)) @ camera.rotation
    flat = spread @ kept.covariances() @ spread.mT
    xx, xy, yy = flat[:, 0, 0] + BLUR, flat[:, 0, 1], flat[:, 1, 1] + BLUR
    inverse = torch.stack([yy, -xy, xx], 1) / (xx * yy - xy**2)[:, None]
    opacities = kept.logits.sigmoid()
    # Where alpha falls to its smallest, o exp(-dy^2 / (2 yy)) does so at most.
    falls = 2 * (opacities / SMALLEST_ALPHA).log().clamp(min=0)
    return Splats(
        torch.cat([pixels, inverse, opacities[:, None]], 1),
        torch.cat([kept.colors, z[:, None], torch.ones_like(z)[:, None]], 1),
        ((falls * yy).sqrt() + SLACK).detach(),
    )


def alphas(shapes: Tensor, x: Tensor, y: float) -> Tensor:
    """How much each Gaussian covers of each of the pixels (x, y) of a row: (N, P)."""
    mean_x, mean_y, xx, xy, yy, opacity = shapes[:, :, None].unbind(1)
    dx, dy = x - mean_x, y - mean_y
    power = -0.5 * (xx * dx * dx + yy * dy * dy) - xy * dx * dy
    alpha = (opacity * power.exp()).clamp(max=LARGEST_ALPHA)
    return alpha.where(alpha >= SMALLEST_ALPHA, 0.0)


def composite(alpha: Tensor, values: Tensor) -> Tensor:
    """Values (N, C) of Gaussians under alphas (N, P), summed front to back: (C, P).

    The sums run in the order of the Gaussians, pixel by pixel: one that does not touch a pixel
    leaves its sums as they are, to the last bit.
    """
    if not len(alpha):
        return alpha.new_zeros(values.shape[1], alpha.shape[1])
    through = F.pad((1 - alpha).cumprod(0)[:-1], (0, 0, 1, 0), value=1.0)
    weights = alpha * through
    return torch.stack([(weights * value[:, None]).cumsum(0)[-1] for value in values.T])
