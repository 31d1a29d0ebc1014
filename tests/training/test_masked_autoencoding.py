"""Masked autoencoding: the masks, what counts in the loss, what it costs."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from kinema.errors import InputError
from kinema.networks.videomae import VideoMAE, VideoMAEConfig
from kinema.networks.videomae_pretraining import VideoMAEDecoder, VideoMAEDecoderConfig
from kinema.noise import Noise
from kinema.planning.meters import flops, saved_activations
from kinema.training.masked_autoencoding import (
    MaskedAutoencoding,
    MaskedRecipe,
    masked_error,
    running_cells,
    tubes,
)
from kinema.training.trainer import Trainer

RECIPE = MaskedRecipe(
    steps=100,
    batch_size=4,
    optimizer="muon",
    learning_rate=6e-3,
    warmup=5,
    decay=0.5,
    ema=0.9,
    hidden=0.75,
    skipped=0.5,
    flip=0.0,
    crop_area=(1.0, 1.0),
)
GRID = (4, 4, 4)
SAMPLES = (0, 1, 2, 3)
CLIPS = Noise(0, SAMPLES).uniform((4, 3, 8, 16, 16), "clips") * 2 - 1


def objective(**changes: float) -> MaskedAutoencoding:
    torch.manual_seed(0)
    sizes = VideoMAEConfig(
        image_size=16,
        patch_size=4,
        width=16,
        num_layers=1,
        num_heads=2,
        hidden=32,
        num_frames=8,
        num_classes=3,
        drop_path=0.5,
    )
    decoder = VideoMAEDecoderConfig(
        encoder_width=16, width=16, num_layers=1, num_heads=2, hidden=32, patch_size=4
    )
    return MaskedAutoencoding(
        VideoMAE(sizes),
        VideoMAEDecoder(decoder),
        normalize=lambda clips: clips,
        recipe=replace(RECIPE, **changes),
    )


# -- masks ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("share", "count"), [(0.9, 32), (0.75, 27), (0.5, 18)])
def test_tubes_hide_the_places_with_the_lowest_lots_at_all_times(share: float, count: int) -> None:
    lots = Noise(0, SAMPLES).uniform((4, 36), "lots")
    hidden = tubes(lots, share, 3).unflatten(1, (3, 36))
    assert hidden.sum(2).eq(count).all()
    assert torch.equal(hidden, hidden[:, :1].expand_as(hidden))
    for row, own in zip(lots, hidden[:, 0]):
        assert row[own].max() < row[~own].min()


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_running_cells_leave_every_place_out_equally_often(share: float) -> None:
    skipped = running_cells(torch.arange(4), share, (4, 4, 6)).unflatten(1, (4, 4, 6))
    assert skipped.float().mean(1).eq(share).all()
    cells = skipped.unflatten(2, (2, 2)).unflatten(4, (3, 2))
    assert cells.float().mean((3, 5)).eq(share).all()
    assert torch.equal(skipped[1, 0], skipped[0, 1])
    assert not torch.equal(skipped[1, 0], skipped[0, 0])


def test_masks_follow_the_noise_alone() -> None:
    made = objective()
    hidden, decoded = made.masks(Noise(0, SAMPLES))
    assert hidden.shape == decoded.shape == (4, 64)
    assert hidden.sum(1).eq(48).all()
    assert decoded.sum(1).eq(32).all()
    again = made.masks(Noise(0, (2,)))
    assert torch.equal(again[0], hidden[2:3])
    assert torch.equal(again[1], decoded[2:3])
    starts = {tuple(row.tolist()) for row in made.masks(Noise(0, tuple(range(40))))[1]}
    assert len(starts) == 4
    # Without the second mask exactly what is hidden is decoded.
    hidden, decoded = objective(skipped=0.0).masks(Noise(0, SAMPLES))
    assert torch.equal(hidden, decoded)


@pytest.mark.parametrize(("share", "places"), [(0.01, 36), (0.999, 0), (0.2, 4)])
def test_a_share_that_hides_nothing_or_all_is_refused(share: float, places: int) -> None:
    with pytest.raises(InputError, match="hides 0 of"):
        tubes(torch.rand(2, places or 1), share, 2)


def test_cells_that_do_not_fill_the_frame_are_refused() -> None:
    with pytest.raises(InputError, match="do not fill 3x4 places"):
        running_cells(torch.zeros(1, dtype=torch.int64), 0.5, (2, 3, 4))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hidden": 1.0}, "hidden must be between 0 and 1"),
        ({"skipped": 0.3}, r"skipped must be 0, 0\.25"),
        ({"flip": 2.0}, "flip must be"),
        ({"crop_area": (0.0, 1.0)}, "crop_area"),
    ],
)
def test_numbers_out_of_range_are_refused(changes: dict[str, float], said: str) -> None:
    with pytest.raises(InputError, match=said):
        replace(RECIPE, **changes)


# -- the loss -------------------------------------------------------------------------------


def test_the_error_is_a_mean_over_what_counts() -> None:
    predicted, wanted = torch.zeros(1, 3, 2), torch.tensor([[[1.0, 1.0], [2.0, 0.0], [9.0, 9.0]]])
    counted = torch.tensor([[True, True, False]])
    assert masked_error(predicted, wanted, counted) == (1 + 2) / 2


def test_a_gray_guess_costs_one_and_training_costs_less() -> None:
    """A clip whose tubelets are all alike can be made good, but by no gray tubelet."""
    made = objective()
    with torch.no_grad():
        logs = made.held_out({"clips": CLIPS}, Noise(1, SAMPLES))
    # The unbiased variance of 32 values is 1, their mean square 31/32.
    assert float(logs["trivial"]) == pytest.approx(31 / 32, abs=1e-3)
    clips = CLIPS[:1, :, :1, :4, :4].repeat(4, 1, 8, 4, 4)
    trainer = Trainer(made, lambda samples: {"clips": clips}, RECIPE, seed=0, device="cpu")
    losses = []
    for trainer.step in range(RECIPE.steps):
        losses.append(trainer.train_step()["autoencoder/loss"])
    assert losses[-1] < 0.5 < 0.9 < losses[0]


def test_what_the_encoder_saw_does_not_count() -> None:
    """Its pixels are input too, so only those of a tubelet that is hidden are changed here."""
    made = objective()
    noise = Noise(0, SAMPLES)
    hidden, decoded = made.masks(noise)

    def loss_of(pixels: Tensor) -> Tensor:
        return made.loss("autoencoder", {"clips": pixels}, 0, noise)[0].detach()

    def loss_with(where: Tensor) -> Tensor:
        pixels = CLIPS.clone()
        place = int(where[0].nonzero()[0])
        t, y, x = place // 16, place // 4 % 4, place % 4
        part = pixels[0, :, 2 * t : 2 * t + 2, 4 * y : 4 * y + 4, 4 * x : 4 * x + 4]
        part.copy_(part.flip(-1))
        return loss_of(pixels)

    plain = loss_of(CLIPS)
    assert loss_with(hidden & ~decoded) == plain
    assert loss_with(hidden & decoded) != plain


def test_nothing_is_dropped_in_pre_training() -> None:
    """Drop path is the classifier's, though the network is in training here."""
    made = objective().train()
    noise = Noise(0, SAMPLES)
    first = made.loss("autoencoder", {"clips": CLIPS}, 0, noise)[0]
    made.eval()
    assert torch.equal(first, made.loss("autoencoder", {"clips": CLIPS}, 0, noise)[0])


def test_decoding_half_takes_less_operations_and_memory() -> None:
    """Dual masking: here 16 tubelets are seen, and 32 or 48 decoded."""
    noise = Noise(0, SAMPLES)
    costs = {}
    for skipped in (0.0, 0.5):
        made = objective(skipped=skipped)

        def step(made: MaskedAutoencoding = made) -> Tensor:
            return made.loss("autoencoder", {"clips": CLIPS}, 0, noise)[0]

        costs[skipped] = (flops(step), saved_activations(step))
    assert costs[0.5][0] < 0.9 * costs[0.0][0]
    assert costs[0.5][1] < 0.9 * costs[0.0][1]
