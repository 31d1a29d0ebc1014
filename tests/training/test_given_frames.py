"""Training on clips with given frames: what is drawn, told, and left out of the loss."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from nano_stage import fresh, recipe_of
from torch import Tensor, nn

from kinema.condition import Conditions, Grid, Tokens
from kinema.data import latents
from kinema.data.clips import SPLITS
from kinema.errors import InputError
from kinema.networks.ltx_transformer import patchify
from kinema.noise import Noise
from kinema.processes.flow import Flow
from kinema.systems.ltx_video import LTXVideo
from kinema.systems.ltx_video_given import (
    GivenFrames,
    GivenTokens,
    draw_given,
    rows_alike,
    strength_of,
)
from kinema.systems.ltx_video_recipes import GeneratorRecipe
from kinema.training.encode import Encode, encode_world, latent_key
from kinema.training.preflight import check
from kinema.training.run import Run
from kinema.training.shown import Shown
from kinema.training.stage import Data
from kinema.training.trainer import Trainer
from kinema.worlds.shapes import Shapes
from kinema.worlds.shown import CHANNELS, LARGEST

WHOLE = recipe_of("generator")
assert isinstance(WHOLE, GeneratorRecipe)
PLAIN = replace(WHOLE, shown=0.0)
GIVING = replace(
    PLAIN,
    precision="float32",
    first_given=0.4,
    start_given=0.2,
    stills_given=0.5,
    given_level=0.1,
)
SAMPLES = tuple(range(12))
NOISE = Noise(0, SAMPLES)
SIZE = {"num_frames": 17, "height": 32, "width": 32, "fps": 12.0}
CELLS = 4  # tokens of a latent frame, of which a clip has three


@pytest.fixture(scope="module")
def model() -> LTXVideo:
    """At nano size with weights that are nowhere zero."""
    made = fresh()
    made.config = replace(made.config, sampling=replace(made.config.sampling, num_frames=17))
    with torch.no_grad():
        for name, parameter in made.parts.named_parameters():
            drawn = Noise(0, (0,)).normal((1, *parameter.shape), name)[0]
            parameter.add_(drawn, alpha=0.05)
    return made


def without_stills(model: LTXVideo) -> Encode:
    """Encodes clips alone."""
    return lambda clips, samples: {"latents": model.codec.encode(clips)}


def write(folder: Path, model: LTXVideo, stills: int) -> str:
    """A latent cache of both splits, with single frames or none."""
    for seed, split in enumerate(("train", "held_out")):
        world = Shapes(seed=seed, split=split, **SIZE)
        kept = model.encoded if stills else without_stills(model)
        encode = partial(encode_world, kept, model.told, world, batch_size=8)
        key = latent_key(model.codec, world, stills)
        latents.write(folder / split, key, 12, encode)
    return str(folder)


@pytest.fixture(scope="module")
def named(model: LTXVideo, tmp_path_factory: pytest.TempPathFactory) -> str:
    return write(tmp_path_factory.mktemp("stills"), model, 3)


@pytest.fixture(scope="module")
def data(model: LTXVideo, named: str) -> Data:
    return model.STAGES["generator"].read(model, GIVING, named)


def objective(model: LTXVideo, recipe: GeneratorRecipe = GIVING) -> GivenFrames:
    made = model.STAGES["generator"].objective(model, recipe)
    assert isinstance(made, GivenFrames)
    return made


def prepared(made: GivenFrames, batch: Mapping[str, Any]) -> list[GivenTokens]:
    """What is learned from a batch, in rows of one length."""
    return [made.prepare(*part) for part in made.parts(batch, NOISE)]


# -- what is drawn --------------------------------------------------------------------------


def test_shares_are_those_of_the_recipe() -> None:
    samples = tuple(range(4000))
    drawn = draw_given(GIVING, {"stills": None}, Noise(0, samples))
    starts = torch.tensor([given.start for given in drawn])
    stills = torch.tensor([given.stills for given in drawn])
    levels = torch.tensor([given.level for given in drawn])
    assert set(starts.tolist()) == {0, 1, 3}
    for start, share in ((0, 0.4), (1, 0.4), (3, 0.2)):
        assert float((starts == start).float().mean()) == pytest.approx(share, abs=0.03)
    for count, share in ((0, 0.5), (1, 1 / 6), (2, 1 / 6), (3, 1 / 6)):
        assert float((stills == count).float().mean()) == pytest.approx(share, abs=0.03)
        assert float((starts == 1)[stills == count].float().mean()) == pytest.approx(0.4, abs=0.06)
    assert 0 <= float(levels.min()) < 0.01
    assert 0.09 < float(levels.max()) < 0.1
    assert drawn[7:9] == draw_given(GIVING, {"stills": None}, Noise(0, (7, 8)))


def test_no_shares_give_nothing() -> None:
    drawn = draw_given(PLAIN, {"stills": None}, NOISE)
    assert not any(given.anything for given in drawn)
    assert rows_alike(drawn) == [list(range(12))]


def test_a_batch_without_single_frames_is_given_none() -> None:
    drawn = draw_given(replace(GIVING, stills_given=1.0), {}, NOISE)
    assert {given.stills for given in drawn} == {0}


def test_a_clip_keeps_something_to_learn() -> None:
    drawn = draw_given(replace(GIVING, first_given=0.0, start_given=1.0), {}, NOISE)
    for frames, held in ((1, 0), (2, 1), (3, 2), (4, 3), (7, 3)):
        given = strength_of(drawn, frames * CELLS, CELLS) > 0
        assert given.sum(1).tolist() == [held * CELLS] * 12


@pytest.mark.parametrize(
    "change",
    [
        {"first_given": -0.1},
        {"stills_given": 1.1},
        {"first_given": 0.6, "start_given": 0.5},
        {"given_level": 1.0},
        {"shown": -0.1},
    ],
)
def test_numbers_out_of_range_are_refused(change: dict[str, float]) -> None:
    said = r"are shares of the clips|given_level must lie in|weight of a loss"
    with pytest.raises(InputError, match=said):
        replace(PLAIN, **change)


# -- what the network learns from -----------------------------------------------------------


def test_parts_hold_every_row_once_with_what_is_given_of_it(model: LTXVideo, data: Data) -> None:
    batch = data.source(SAMPLES)
    parts = prepared(objective(model), batch)
    drawn = draw_given(GIVING, batch, NOISE)
    assert sorted(s for part in parts for s in part.noise.samples) == list(SAMPLES)
    assert len(parts) > 2
    tokens = patchify(batch["latents"])
    for part in parts:
        positions = part.conditions.of(Grid, "positions").x
        for i, row in enumerate(part.noise.samples):
            given = drawn[row]
            assert torch.equal(part.x0[i, : 3 * CELLS], tokens[row])
            stills = batch["stills"][row, : given.stills]
            assert torch.equal(part.x0[i, 3 * CELLS :], patchify(stills.transpose(0, 1)[None])[0])
            seconds = batch["still_frames"][row, : given.stills].repeat_interleave(CELLS) / 12
            torch.testing.assert_close(positions[i, 0, 3 * CELLS :], seconds)
            if not given.anything:
                assert part.strength is None
                continue
            assert part.strength is not None
            held = min(given.start, 2) * CELLS
            expected = torch.zeros(part.x0.shape[1])
            expected[:held] = expected[3 * CELLS :] = 1 - given.level
            assert torch.equal(part.strength[i], expected)


class Watched(nn.Module):
    """A predictor that notes what it is told."""

    def forward(self, x: Tensor, time: Tensor, conditions: Conditions) -> Tensor:
        """Something that depends on everything."""
        self.x, self.time = x, time
        return torch.sin(x) + x.mean((1, 2), keepdim=True) + time.reshape(len(x), -1, 1)


STRENGTH = torch.tensor([[1.0, 0.0, 0.0, 0.8], [0.0, 0.0, 0.0, 0.0], [0.0, 0.5, 1.0, 1.0]])
THREE = Noise(0, (0, 1, 2))
X0 = THREE.normal((3, 4, 5), "x0")
TIMES = torch.tensor([0.9, 0.4, 0.1])


def loss_of(
    network: nn.Module, noise: Noise, strength: Tensor | None, rows: slice = slice(None)
) -> tuple[Tensor, Mapping[str, Tensor]]:
    """The loss of rows of `X0` at `TIMES`."""
    made = objective(fresh())
    made.networks["transformer"] = network
    tokens = GivenTokens(
        x0=X0[rows], conditions=Conditions({}), noise=noise, strength=strength, shown=None
    )
    return made.loss_at(tokens, TIMES[rows])


def test_given_tokens_are_told_their_own_time() -> None:
    network = Watched()
    loss_of(network, THREE, STRENGTH)
    expected = torch.tensor([[0, 0.9, 0.9, 0.2], [0.4, 0.4, 0.4, 0.4], [0.1, 0.1, 0, 0]])
    torch.testing.assert_close(network.time, expected)
    eps = THREE.normal(X0.shape, "eps")
    expected = (1 - expected)[..., None] * X0 + expected[..., None] * eps
    torch.testing.assert_close(network.x, expected)


@dataclass(frozen=True)
class Swapped(Noise):
    """Noise in which that of given tokens, or of the others, is another."""

    given: bool

    def normal(self, shape: Any, stream: str) -> Tensor:
        """With the other noise at the tokens that were chosen."""
        own, other = super().normal(shape, stream), super().normal(shape, "other")
        return torch.where(((STRENGTH > 0) == self.given)[..., None], other, own)


def test_targets_of_given_tokens_take_no_part_in_the_loss() -> None:
    firm = (STRENGTH > 0).float()
    as_it_is = loss_of(Watched(), THREE, firm)
    for given in (True, False):
        # At time 0 the noise of a given token is in its target v = eps - x0 alone.
        noise = Swapped(0, (0, 1, 2), given)
        loss, logs = loss_of(Watched(), noise, firm)
        assert torch.equal(loss, as_it_is[0]) == given
        assert torch.equal(logs["trivial"], as_it_is[1]["trivial"]) == given


def test_every_row_counts_as_much() -> None:
    together = loss_of(Watched(), THREE, STRENGTH)[0]
    rows = [slice(i, i + 1) for i in range(3)]
    alone = [loss_of(Watched(), Noise(0, (row.start,)), STRENGTH[row], row)[0] for row in rows]
    torch.testing.assert_close(together, torch.stack(alone).mean())


def test_nothing_given_is_the_plain_loss() -> None:
    plain = loss_of(Watched(), THREE, None)
    process = Flow(times=lambda x0, noise: TIMES)
    expected = process.loss(Watched(), X0, Conditions({}), THREE)
    given = loss_of(Watched(), THREE, torch.zeros(3, 4))
    assert torch.equal(plain[0], expected[0])
    torch.testing.assert_close(given[0], plain[0])
    torch.testing.assert_close(given[1]["trivial"], plain[1]["trivial"])


# -- the objective --------------------------------------------------------------------------


def test_the_loss_is_the_mean_over_the_rows(model: LTXVideo, data: Data) -> None:
    made, batch = objective(model), data.source(SAMPLES)
    together = made.loss("generator", batch, 0, NOISE)[0]
    alone = []
    for row in SAMPLES:
        one = {
            name: value[row : row + 1] if isinstance(value, (Tensor, list)) else value
            for name, value in batch.items()
        }
        alone.append(made.loss("generator", one, 0, Noise(0, (row,)))[0])
    torch.testing.assert_close(together, torch.stack(alone).mean(), rtol=1e-5, atol=1e-5)


def test_zero_shares_train_as_without(model: LTXVideo, data: Data) -> None:
    batch = data.source(SAMPLES)
    made = objective(model, replace(PLAIN, precision="float32"))
    loss, logs = made.loss("generator", batch, 0, NOISE)
    (part,) = prepared(made, batch)
    assert part.strength is None
    expected = model.process.loss(made.predict, part.x0, part.conditions, NOISE)
    assert torch.equal(loss, expected[0])
    assert torch.equal(logs["trivial"], expected[1]["trivial"])
    plain = {name: value for name, value in batch.items() if "still" not in name}
    assert torch.equal(made.loss("generator", plain, 0, NOISE)[0], loss)


# -- what tokens show -----------------------------------------------------------------------


def test_what_tokens_show_is_asked_of_the_middle_alone(model: LTXVideo, data: Data) -> None:
    batch, recipe = data.source(SAMPLES), replace(GIVING, shown=0.5)
    made, plain = objective(model, recipe), objective(model)
    head = made.networks["shown"]
    with torch.no_grad():
        for number, parameter in enumerate(head.parameters()):
            parameter.copy_(Noise(number, (0,)).normal((1, *parameter.shape), "head")[0])
    whole, logs = made.loss("generator", batch, 0, NOISE)
    flow, flow_logs = plain.loss("generator", batch, 0, NOISE)
    torch.testing.assert_close(whole, flow + 0.5 * logs["shown"])
    assert torch.equal(logs["loss"], flow_logs["loss"])
    blocks = model.transformer.transformer_blocks
    early, late, own = (next(m.parameters()) for m in (blocks[0], blocks[-1], head))
    gradients = torch.autograd.grad(whole - flow, [early, late, own])
    assert float(gradients[0].abs().max()) > 1e-6
    assert float(gradients[1].abs().max()) < 1e-6
    assert float(gradients[2].abs().max()) > 1e-6


def test_tokens_are_told_what_they_show_in_their_order() -> None:
    head, wanted = Shown(3), torch.zeros(2, CHANNELS, 2, 2, 2, dtype=torch.uint8)
    wanted[:, 0, 1, 0, 1] = LARGEST
    tokens = torch.zeros(2, 8 + 4, 3)  # four of a single frame behind them
    tokens[:, 5] = 1
    with torch.no_grad():
        first, _, last = head.layers
        first.weight.copy_(20 * torch.eye(3))
        first.bias.zero_()
        last.weight.zero_()
        last.weight[0] = 1
        last.bias.fill_(-30)
        right = head(tokens, wanted)
        assert float(right) < 1e-6
        assert float(head(tokens.roll(1, 1), wanted)) > 1


def test_a_cache_that_does_not_tell_is_refused(model: LTXVideo, named: str, tmp_path: Path) -> None:
    stage = model.STAGES["generator"]
    stage.read(model, WHOLE, named)
    for split, seed in SPLITS.items():
        world = Shapes(seed=seed, split=split, **SIZE)
        encode = partial(encode_world, model.encoded, model.told, world, batch_size=8)
        key = latent_key(model.codec, world, 3)
        bare = partial(without_what_is_shown, encode)
        latents.write(tmp_path / split, key, 12, bare)
    with pytest.raises(InputError, match=r"recipe\.shown=0\.2 needs what tokens show"):
        stage.read(model, WHOLE, str(tmp_path))
    stage.read(model, PLAIN, str(tmp_path))


def without_what_is_shown(
    encode: Callable[[range], Iterator[latents.Encoded]], samples: range
) -> Iterator[latents.Encoded]:
    for sample in encode(samples):
        beside = {name: x for name, x in sample.beside.items() if name != "shown"}
        yield replace(sample, beside=beside)


# -- runs -----------------------------------------------------------------------------------


def test_a_nano_run_gives_frames_and_learns(model: LTXVideo, data: Data, tmp_path: Path) -> None:
    made = objective(model)
    check(made, data.source, GIVING, dead={}, device="cpu")
    trainer = Trainer(made, data.source, GIVING, seed=7, device="cpu")
    losses = []
    for trainer.step in range(3):
        losses.append(trainer.train_step()["generator/loss"])
    trainer.step += 1
    Run(trainer, tmp_path, held_out=data.held_out, sheet=Path.touch).save()
    assert all(0 < loss < 10 for loss in losses)
    with torch.no_grad():
        logs = made.held_out(data.held_out, Noise(1, tuple(range(GIVING.held_out))))
    assert float(logs["loss"]) > 0
    assert float(logs["trivial"]) > 0


def test_a_cache_without_single_frames_is_refused(model: LTXVideo, tmp_path: Path) -> None:
    named = write(tmp_path, model, 0)
    stage = model.STAGES["generator"]
    with pytest.raises(InputError, match="lacks: encode into another folder"):
        stage.read(model, GIVING, named)
    stage.read(model, replace(GIVING, stills_given=0.0), named)


def test_text_is_that_of_each_row(model: LTXVideo, data: Data) -> None:
    batch = data.source(SAMPLES)
    parts = prepared(objective(model), batch)
    whole: dict[int, GivenTokens] = {row: part for part in parts for row in part.noise.samples}
    (plain,) = prepared(objective(model, replace(PLAIN, precision="float32")), batch)
    for row, part in whole.items():
        own = part.conditions.of(Tokens, "text").x[part.noise.samples.index(row)]
        torch.testing.assert_close(own, plain.conditions.of(Tokens, "text").x[row])
