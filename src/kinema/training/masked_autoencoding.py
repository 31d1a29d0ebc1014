"""Masked autoencoding of clips with dual masking: VideoMAE V2 (arXiv 2303.16727), section 3.2.

The encoder sees tubes: places that are hidden are hidden in all frames. The decoder predicts every
second tubelet, chosen by running cells; what the encoder saw of these does not count in the loss.

Letters: B clips, N = T P tubelets, T in time, P places, M decoded, C values of a tubelet.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from kinema.config import config
from kinema.errors import InputError
from kinema.networks.videomae import VideoMAEEncoder
from kinema.networks.videomae_pretraining import (
    MaskedAutoencoder,
    VideoMAEDecoder,
    chosen,
    color_last,
    targets,
)
from kinema.noise import Noise
from kinema.training.objective import Batch, Logs, Objective
from kinema.training.recipe import Recipe, check_cutting

PLAYER = "autoencoder"
CELL = 4  # tubelets, two by two


@config
class MaskedRecipe(Recipe):
    """How a masked autoencoder is trained.

    Args:
        hidden: share of the places that the encoder does not see.
        skipped: share of the tubelets that the decoder leaves out, in quarters; 0 decodes exactly
            what is hidden, as the first VideoMAE does.
        flip: share of the clips that are mirrored, of those that are read from files.
        crop_area: least and largest share of a frame that is cut out, of the same clips.

    Raises:
        InputError: a number is out of its range.
    """

    hidden: float
    skipped: float
    flip: float
    crop_area: tuple[float, float]

    def __post_init__(self) -> None:
        Recipe.__post_init__(self)
        if not 0 < self.hidden < 1:
            raise InputError(f"hidden must be between 0 and 1, not {self.hidden}")
        if self.skipped not in (0, 0.25, 0.5, 0.75):
            raise InputError(f"skipped must be 0, 0.25, 0.5 or 0.75, not {self.skipped}")
        check_cutting(self.flip, self.crop_area)


def tubes(lots: Tensor, share: float, num_steps: int) -> Tensor:
    """What the encoder does not see, (B, N) bool: the same places at all times.

    Args:
        lots: (B, P); places with the lowest are hidden.
        share: of the places, rounded down to whole ones.
        num_steps: T.

    Raises:
        InputError: nothing would be hidden, or nothing seen.
    """
    count, places = int(share * lots.shape[1]), lots.shape[1]
    if not 0 < count < places:
        raise InputError(f"hidden={share} hides {count} of {places} places; choose another share")
    hidden = torch.zeros_like(lots, dtype=torch.bool)
    hidden.scatter_(1, lots.argsort(1)[:, :count], True)
    return hidden.repeat(1, num_steps)


def running_cells(starts: Tensor, share: float, grid: tuple[int, int, int]) -> Tensor:
    """What the decoder leaves out, (B, N) bool.

    In each cell of two by two places the same are left out, and from one time to the next these
    move on by one: every place is decoded equally often.

    Args:
        starts: (B,) int64, where the cells stand at first.
        share: 0.25, 0.5 or 0.75.
        grid: tubelets in time, rows, columns.

    Raises:
        InputError: rows or columns are not even.
    """
    if grid[1] % 2 or grid[2] % 2:
        raise InputError(f"cells are two by two; they do not fill {grid[1]}x{grid[2]} places")
    t, y, x = torch.meshgrid(*(torch.arange(n, device=starts.device) for n in grid), indexing="ij")
    number = (2 * (y % 2) + x % 2 + t).flatten() + starts[:, None]
    return number % CELL < CELL * share


def masked_error(predicted: Tensor, wanted: Tensor, counted: Tensor) -> Tensor:
    """The squared error of tubelets (B, M, C), as a mean over those that count (B, M)."""
    error = (predicted - wanted).square().mean(-1)
    return (error * counted).sum() / counted.sum()


class MaskedAutoencoding(Objective):
    """One player, ``autoencoder``: encoder and decoder. A batch has ``clips``.

    Args:
        encoder: with its own number of frames and pixels; a classifier's head stays as it is.
        decoder: made for it.
        normalize: clips (B, 3, T, S, S) in [-1, 1] -> what the encoder reads.
        recipe: how much is hidden and decoded.
    """

    equal_calls = True

    def __init__(
        self,
        encoder: VideoMAEEncoder,
        decoder: VideoMAEDecoder,
        *,
        normalize: Callable[[Tensor], Tensor],
        recipe: MaskedRecipe,
    ) -> None:
        super().__init__()
        self.autoencoder = MaskedAutoencoder(encoder, decoder)
        self.normalize, self.recipe = normalize, recipe
        self.grid = encoder.config.grid
        self.players = {PLAYER: ("autoencoder.*",)}

    def masks(self, noise: Noise) -> tuple[Tensor, Tensor]:
        """What is hidden and what is decoded, both (B, N) bool on the CPU."""
        time, rows, columns = self.grid
        lots = noise.uniform((len(noise), rows * columns), "tubes")
        hidden = tubes(lots, self.recipe.hidden, time)
        if not self.recipe.skipped:
            return hidden, hidden
        starts = (CELL * noise.uniform((len(noise),), "cells")).long()
        return hidden, ~running_cells(starts, self.recipe.skipped, self.grid)

    def errors(self, batch: Batch, noise: Noise) -> tuple[Tensor, Tensor]:
        """The loss, and that of gray tubelets: about 1 where nothing in a clip is flat."""
        network = self.autoencoder
        clips: Tensor = batch["clips"].to(network.decoder.mask_token.device)
        hidden, decoded = (mask.to(clips.device) for mask in self.masks(noise))
        patch_size = network.encoder.config.patch_size
        wanted = chosen(color_last(targets((clips.float() + 1) / 2, patch_size).x), decoded)
        predicted = network(self.normalize(clips), hidden, decoded).float()
        counted = hidden[decoded].unflatten(0, (len(hidden), -1))
        gray = torch.zeros_like(wanted)
        return masked_error(predicted, wanted, counted), masked_error(gray, wanted, counted)

    def loss(self, player: str, batch: Batch, step: int, noise: Noise) -> tuple[Tensor, Logs]:
        """The error of what is hidden and decoded."""
        loss, _ = self.errors(batch, noise)
        return loss, {"loss": loss.detach()}

    def held_out(self, batch: Batch, noise: Noise) -> Logs:
        """The same, and the error of whoever knows the color of each tubelet and nothing more."""
        loss, trivial = self.errors(batch, noise)
        return {"loss": loss, "trivial": trivial}
