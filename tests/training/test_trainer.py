"""The trainer on small objectives: turns, accumulation, averages, and what it refuses."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_objectives import (
    RECIPE,
    Exploding,
    Game,
    Line,
    run,
    same,
    source,
    trainer,
    weights,
)
from torch import Tensor, nn

from kinema.config import to_dict
from kinema.errors import InputError
from kinema.noise import Noise
from kinema.training import checkpoint
from kinema.training.ema import EMA
from kinema.training.fit import fit
from kinema.training.log import read_log
from kinema.training.objective import Batch, Logs
from kinema.training.run import StopSignal
from kinema.training.trainer import Trainer, optimizer


def test_a_line_is_fitted(tmp_path: Path) -> None:
    run(Line(), tmp_path, steps=400, report_every=400, save_every=400, decay=0.3).train()
    logs = read_log(tmp_path)
    assert logs[0]["line/loss"] > 4
    assert logs[-1]["held_out/loss"] < 0.3


class Alone(Line):
    """The line, with the data of its own."""

    def loss(self, player: str, batch: Batch, step: int, noise: Noise) -> tuple[Tensor, Logs]:
        assert batch == {}
        return super().loss(player, source(noise.samples), step, noise)


def test_a_fit_is_the_same_training_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    alone, whole = Alone(), run(Line(), tmp_path / "run")
    fit(alone, RECIPE, seed=0, device="cpu")
    whole.train()
    whole.trainer.finish()
    assert same(weights(alone), weights(whole.trainer.objective))
    assert not alone.training
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_it_trains_the_samples_in_order() -> None:
    seen = []

    def watched(samples: tuple[int, ...]) -> dict[str, torch.Tensor]:
        seen.append(samples)
        return source(samples)

    recipe = replace(RECIPE, accumulate=2)
    running = Trainer(Line(), watched, recipe, seed=0, device="cpu")
    for running.step in range(2):
        running.train_step()
    assert seen == [(0, 1), (2, 3), (4, 5), (6, 7)]


def test_accumulated_equals_whole() -> None:
    one, split = Line(), Line()
    first = trainer(one).train_step()
    second = trainer(split, accumulate=4).train_step()
    assert second["line/loss"] == pytest.approx(first["line/loss"], rel=1e-6)
    assert second["line/gradient_norm"] == pytest.approx(first["line/gradient_norm"], rel=1e-6)
    torch.testing.assert_close(split.line.weight, one.line.weight)


def test_a_player_moves_in_its_turn_only() -> None:
    game, line = Game(), Line()
    playing, alone = trainer(game), trainer(line)
    for step in range(6):
        playing.step = alone.step = step
        before = weights(game.mirror)
        logs = playing.train_step()
        alone.train_step()
        moved = not same(before, weights(game.mirror))
        assert moved == (step >= 4) == ("mirror/loss" in logs)
        assert same(weights(game.line), weights(line.line)), "the mirror pulls at the line"


def test_resumed_equals_whole(tmp_path: Path) -> None:
    whole = run(Game(), tmp_path / "whole", accumulate=2, save_every=3)
    whole.train()
    cut = run(Game(), tmp_path / "cut", accumulate=2, save_every=3)
    for cut.trainer.step in range(6):
        cut.trainer.train_step()
    cut.trainer.step = 6
    cut.save()
    resumed = run(Game(), tmp_path / "cut", accumulate=2, save_every=3)
    assert resumed.resume()
    assert resumed.trainer.step == 6
    resumed.train()
    assert same(weights(resumed.trainer.objective), weights(whole.trainer.objective))
    assert same(resumed.trainer.ema.average, whole.trainer.ema.average)
    assert same(
        checkpoint.load(checkpoint.path_of(tmp_path / "cut", 10))[0],
        checkpoint.load(checkpoint.path_of(tmp_path / "whole", 10))[0],
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seed": 1}, "seed=0, not 1"),
        ({"learning_rate": 0.1}, "learning_rate=0.05, not 0.1"),
        ({"betas": (0.9, 0.95)}, "betas"),
        ({"steps": 4}, "has done 5 steps, more than 4"),
    ],
)
def test_another_run_is_not_resumed(tmp_path: Path, changes: dict[str, float], said: str) -> None:
    run(Line(), tmp_path, steps=5).train()
    with pytest.raises(InputError, match=said):
        run(Line(), tmp_path, **changes).resume()


def test_a_number_that_recipes_no_longer_have_stops_a_run_only_where_it_was_something(
    tmp_path: Path,
) -> None:
    old = run(Line(), tmp_path)
    numbers = to_dict(old.trainer.recipe)
    for gone, resumes in (([], True), (["line"], False)):
        values = {"step": 1, "seed": old.trainer.seed, "recipe": {**numbers, "gone": gone}}
        checkpoint.save(checkpoint.path_of(tmp_path, 1), old.trainer.state(), values)
        if resumes:
            assert run(Line(), tmp_path).resume()
        else:
            with pytest.raises(InputError, match=r"has gone=\['line'\], not None"):
                run(Line(), tmp_path).resume()


def test_another_model_is_not_resumed(tmp_path: Path) -> None:
    run(Line(), tmp_path, steps=5).train()
    with pytest.raises(InputError, match="trains another model"):
        run(Game(), tmp_path).resume()


def test_a_run_can_be_made_longer(tmp_path: Path) -> None:
    run(Line(), tmp_path, steps=5).train()
    longer = run(Line(), tmp_path)
    assert longer.resume()
    longer.train()
    steps = [line["step"] for line in read_log(tmp_path) if "line/loss" in line]
    assert steps == list(range(10))


def test_a_gradient_that_is_not_finite_stops_the_run_and_is_not_saved(tmp_path: Path) -> None:
    running = run(Exploding(), tmp_path, save_every=1)
    with pytest.raises(InputError, match=r"gradient of line is .* at step 3; lower the learning"):
        running.train()
    tensors, values = checkpoint.load(checkpoint.path_of(tmp_path, 3))
    assert values["step"] == 3
    assert all(torch.isfinite(tensor).all() for tensor in tensors.values())
    assert all(torch.isfinite(value).all() for value in weights(running.trainer.objective).values())


def test_a_loss_that_is_not_finite_stops_the_run() -> None:
    running = trainer(Line())
    with torch.no_grad():
        running.objective.line.bias.fill_(float("nan"))
    with pytest.raises(InputError, match="loss of line is nan at step 0; lower the learning rate"):
        running.train_step()


def test_bfloat16_changes_activations_only() -> None:
    half, full = Line(), Line()
    losses = [
        trainer(half, precision="bfloat16").train_step()["line/loss"],
        trainer(full).train_step()["line/loss"],
    ]
    assert half.line.weight.dtype == torch.float32
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)


def test_a_nano_recipe_is_short_and_keeps_the_rest() -> None:
    recipe = replace(RECIPE, steps=100, ema=0.5)
    few = recipe.nano(batch_size=2, clip_norm=3.0)
    assert (few.steps, few.batch_size, few.held_out, few.clip_norm) == (8, 2, 2, 3.0)
    assert few.report_every < few.steps
    assert few.save_every < few.steps
    kept = ("learning_rate", "warmup", "decay", "ema")
    assert all(getattr(few, name) == getattr(recipe, name) for name in kept)
    assert recipe.nano(batch_size=2, steps=5).steps == 5


def test_the_rate_rises_and_falls() -> None:
    recipe = replace(RECIPE, steps=100, warmup=10, decay=0.2, learning_rate=1.0)
    rates = [recipe.rate(step) for step in range(100)]
    assert rates[:10] == pytest.approx([n / 10 for n in range(1, 11)])
    assert set(rates[10:80]) == {1.0}
    assert rates[80:] == pytest.approx([n / 20 for n in range(20, 0, -1)])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", 0),
        ("batch_size", 0),
        ("accumulate", 0),
        ("accumulate", 3),
        ("report_every", 0),
        ("save_every", -1),
        ("held_out", 0),
        ("learning_rate", 0.0),
        ("clip_norm", float("nan")),
        ("decay", 1.5),
        ("ema", 1.0),
    ],
)
def test_a_recipe_out_of_range_is_refused(name: str, value: float) -> None:
    with pytest.raises(InputError, match=str(value)):
        replace(RECIPE, **{name: value})


def test_decay_of_weights_spares_vectors_and_scalars() -> None:
    module = nn.Module()
    module.matrix = nn.Parameter(torch.ones(2, 2))
    module.vector = nn.Parameter(torch.ones(2))
    module.scalar = nn.Parameter(torch.tensor(1000.0))
    adam = optimizer(dict(module.named_parameters()), replace(RECIPE, weight_decay=0.5), {})
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    adam.step()
    assert float(module.scalar.detach()) == 1000.0
    assert module.vector.tolist() == [1.0, 1.0]
    assert module.matrix.flatten().tolist() == pytest.approx([1 - 0.5 * RECIPE.learning_rate] * 4)


def test_the_average_follows_its_formula() -> None:
    module = nn.Linear(1, 1, bias=False)
    nn.init.constant_(module.weight, 0.0)
    ema, expected = EMA(module, {"weight"}, 0.3), 0.0
    for n, value in enumerate((1.0, 2.0, 3.0, 4.0)):
        nn.init.constant_(module.weight, value)
        ema.update(module)
        decay = min(0.3, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * value
        assert float(ema.average["weight"]) == pytest.approx(expected, rel=1e-6)


def test_the_average_is_lent_and_taken_back() -> None:
    module = nn.Linear(2, 2)
    ema = EMA(module, {"weight", "bias"}, 0.9)
    own = weights(module)
    with torch.no_grad():
        module.weight.add_(1)
    moved = weights(module)
    with ema.applied(module):
        assert same(weights(module), own)
    assert same(weights(module), moved)
    assert torch.equal(ema.average["weight"], own["weight"])
    ema.copy_to(module)
    assert same(weights(module), own)


def test_signals_are_remembered_and_given_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    stop = StopSignal()
    with stop.caught():
        assert not stop.asked
        signal.raise_signal(signal.SIGTERM)
        assert stop.asked
    assert signal.getsignal(signal.SIGTERM) is before
