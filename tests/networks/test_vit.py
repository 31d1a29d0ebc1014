"""The parts of ViTs: order of patches, positions that grow, slots of blocks."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kinema.networks.vit import Block, PatchEmbed, grown
from kinema.noise import Noise

TABLE = Noise(0, (0,)).normal((1, 25, 3), "table")


def cubic(distance: float, a: float = -0.75) -> float:
    """Keys's kernel of convolution (1981)."""
    x = abs(distance)
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * (x**3 - 5 * x**2 + 8 * x - 4) if x < 2 else 0.0


def weights(old: int, new: int, offset: float) -> np.ndarray:
    """(new, old): how much each old place counts for each new one, those at the edges repeated."""
    matrix = np.zeros((new, old))
    for row in range(new):
        center = (row + 0.5) * old / (new + offset) - 0.5
        for place in range(math.floor(center) - 1, math.floor(center) + 3):
            matrix[row, min(max(place, 0), old - 1)] += cubic(center - place)
    return matrix


@pytest.mark.parametrize("offset", [0.0, 0.1])
@pytest.mark.parametrize("size", [(3, 3), (7, 4), (2, 9), (37, 16)])
def test_positions_grow_by_bicubic_interpolation(size: tuple[int, int], offset: float) -> None:
    rows, columns = (weights(5, length, offset) for length in size)
    expected = np.einsum("ya,xb,abd->yxd", rows, columns, TABLE.view(5, 5, 3).double().numpy())
    found = grown(TABLE, size, offset=offset)
    assert found.shape == (1, size[0] * size[1], 3)
    np.testing.assert_allclose(found[0], expected.reshape(-1, 3), atol=5e-6)


def test_positions_of_the_same_size_are_not_touched() -> None:
    assert grown(TABLE, (5, 5), offset=0.1) is TABLE


def test_positions_are_interpolated_in_float32_and_keep_their_type() -> None:
    half = TABLE.bfloat16()
    found = grown(half, (7, 7), offset=0.1)
    assert torch.equal(found, grown(half.float(), (7, 7), offset=0.1).bfloat16())


@pytest.mark.parametrize(
    ("patch", "shape"), [((2, 4), (1, 3, 4, 12)), ((2, 4, 2), (1, 3, 4, 8, 6))]
)
@pytest.mark.parametrize("bias", [False, True])
def test_patches_go_row_by_row_and_frame_by_frame(
    patch: tuple[int, ...], shape: tuple[int, ...], bias: bool
) -> None:
    embed = PatchEmbed(patch, 5, bias=bias)
    assert (embed.proj.bias is not None) == bias
    x = Noise(0, (0,)).normal(shape, "x")
    tokens = embed(x)
    grid = [length // size for length, size in zip(shape[2:], patch)]
    assert tokens.shape == (1, math.prod(grid), 5)
    last = x[(..., *(slice(-size, None) for size in patch))]  # the patch in the last corner
    after_first = x[
        (..., *(slice(0, size) for size in patch[:-1]), slice(patch[-1], 2 * patch[-1]))
    ]
    for number, pixels in ((-1, last), (1, after_first)):
        torch.testing.assert_close(tokens[:, number], embed.proj(pixels).flatten(1))


def test_a_block_adds_what_its_slots_return() -> None:
    class Doubled(nn.Module):
        def forward(self, x: Tensor, mask: Tensor) -> Tensor:
            return 2 * x * mask

    block = Block(Doubled(), nn.Identity(), 4, eps=0.5)
    x, mask = Noise(0, (0,)).normal((1, 3, 4), "x"), torch.tensor([1.0, 0.0, 1.0])[:, None]
    with torch.no_grad():
        block.norm1.weight.fill_(3)
        block.norm2.bias.fill_(1)
        found = block(x, mask)

    def norm(x: Tensor) -> Tensor:
        return (x - x.mean(-1, keepdim=True)) / (
            x.var(-1, unbiased=False, keepdim=True) + 0.5
        ).sqrt()

    middle = x + 2 * 3 * norm(x) * mask
    torch.testing.assert_close(found, middle + norm(middle) + 1)
