"""The matching-aware game: its three pairs, what each player moves, what is logged."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kinema.errors import InputError
from kinema.networks.tgans_c import Critics, CriticsConfig, Generator, GeneratorConfig
from kinema.noise import Noise
from kinema.training.matching_gan import (
    MatchingGAN,
    critics_losses,
    generator_losses,
    higher,
    mismatched,
)
from kinema.training.objective import Batch
from kinema.training.recipe import Recipe
from kinema.training.trainer import Trainer

ROWS = (0, 1, 2, 3)
NOISE = Noise(0, ROWS)
NAMES = ("video", "frame", "motion")
BATCH = {
    "clips": Noise(1, ROWS).uniform((4, 3, 8, 16, 16), "clips") * 2 - 1,
    "sentences": Noise(1, ROWS).normal((4, 6), "sentences"),
    "subjects": ["red circle", "blue circle", "red circle", "red star"],
}
RECIPE = Recipe(
    steps=4,
    batch_size=4,
    learning_rate=1e-3,
    warmup=0,
    decay=0.0,
    ema=0.0,
    report_every=4,
    save_every=4,
    held_out=4,
)


def game() -> MatchingGAN:
    torch.manual_seed(0)
    generator = GeneratorConfig(noise=4, sentence=6, channels=(12, 8, 6), start=(2, 4))
    critics = CriticsConfig(
        num_frames=8, side=16, channels=(4, 6, 8), sentence=6, width=8, frame_kernel=2
    )
    return MatchingGAN(Generator(generator), Critics(critics), prepare=prepare)


def prepare(batch: Batch, noise: Noise) -> tuple[torch.Tensor, torch.Tensor]:
    return batch["clips"], batch["sentences"]


def scores(value: float) -> dict[str, torch.Tensor]:
    shapes = {"video": (4,), "frame": (4, 8), "motion": (4, 7)}
    return {name: torch.full(shape, value) for name, shape in shapes.items()}


# -- pairs ----------------------------------------------------------------------------------


@given(st.lists(st.sampled_from("abc"), min_size=2, max_size=9), st.integers(0, 100))
def test_a_wrong_clip_is_never_of_the_same_subject(subjects: list[str], seed: int) -> None:
    noise = Noise(seed, tuple(range(len(subjects))))
    if len(set(subjects)) == 1:
        with pytest.raises(InputError, match=rf"all {len(subjects)} clips of a batch show"):
            mismatched(subjects, noise)
        return
    partners = mismatched(subjects, noise).tolist()
    assert len(partners) == len(subjects)
    assert all(subjects[row] != subjects[other] for row, other in enumerate(partners))


def test_all_other_subjects_are_drawn() -> None:
    drawn = {tuple(mismatched("aab", Noise(seed, (0, 1, 2))).tolist()) for seed in range(40)}
    assert drawn == {(2, 2, 0), (2, 2, 1)}


# -- losses ---------------------------------------------------------------------------------


def test_critics_that_know_nothing_lose_log_two_each() -> None:
    nothing = scores(0.0)
    losses = critics_losses(matched=nothing, wrong=nothing, made=nothing)
    assert tuple(losses) == NAMES
    for loss in losses.values():
        assert float(loss) == pytest.approx(math.log(2))
    for loss in generator_losses(nothing).values():
        assert float(loss) == pytest.approx(math.log(2) / 3)


@pytest.mark.parametrize(("pair", "true"), [("matched", True), ("wrong", False), ("made", False)])
def test_each_pair_is_a_third(pair: str, true: bool) -> None:
    sure = dict.fromkeys(("matched", "wrong", "made"), scores(0.0))
    right = critics_losses(**{**sure, pair: scores(50.0 if true else -50.0)})
    wrong = critics_losses(**{**sure, pair: scores(-50.0 if true else 50.0)})
    for name in NAMES:
        assert float(right[name]) == pytest.approx(2 * math.log(2) / 3)
        assert float(wrong[name]) == pytest.approx((2 * math.log(2) + 50) / 3)


def test_other_wrong_clips_change_the_second_term_only() -> None:
    objective = game().eval()
    first, _ = objective.loss("critics", BATCH, 0, NOISE)
    subjects = ["red circle", "red star", "blue circle", "red circle"]
    second, _ = objective.loss("critics", {**BATCH, "subjects": subjects}, 0, NOISE)
    real = objective.critics.maps(BATCH["clips"])
    terms = []
    for given_subjects in (BATCH["subjects"], subjects):
        wrong = real.rows(mismatched(given_subjects, NOISE))
        terms.append(objective.critics.scores(wrong, BATCH["sentences"]))
    nats = [sum(torch.nn.functional.softplus(s).mean() for s in term.values()) for term in terms]
    assert first != second
    torch.testing.assert_close(second - first, (nats[1] - nats[0]) / 3)


def test_a_turn_is_the_sum_of_its_critics() -> None:
    objective = game().eval()
    for player in objective.turns(0):
        loss, logs = objective.loss(player, BATCH, 0, NOISE)
        torch.testing.assert_close(loss.detach(), torch.stack([logs[n] for n in NAMES]).sum())


@pytest.mark.parametrize("critic", NAMES)
def test_every_critic_teaches_the_generator(critic: str) -> None:
    objective = game()
    made = objective.generator.make(BATCH["sentences"], NOISE)
    loss = generator_losses(objective.critics(made, BATCH["sentences"]))[critic]
    parameters = dict(objective.generator.named_parameters())
    gradients = torch.autograd.grad(loss, list(parameters.values()))
    for name, gradient in zip(parameters, gradients):
        assert gradient.any(), name


def test_the_critics_do_not_move_the_generator() -> None:
    objective = game()
    trainer = start(objective, RECIPE)
    before = [p.detach().clone() for p in objective.generator.parameters()]
    trainer.objective.turns = lambda step: ("critics",)  # type: ignore[method-assign]
    trainer.train_step()
    assert all(torch.equal(a, b) for a, b in zip(before, objective.generator.parameters()))


def start(objective: MatchingGAN, recipe: Recipe) -> Trainer:
    return Trainer(objective, lambda _: BATCH, recipe, seed=0, device="cpu")


def test_critics_learn_to_tell_and_the_generator_to_please() -> None:
    objective = game()
    critics = torch.optim.Adam(objective.critics.parameters(), lr=3e-3)
    generator = torch.optim.Adam(objective.generator.parameters(), lr=3e-3)
    for player, adam in (("critics", critics), ("generator", generator)):
        losses = []
        for _ in range(25):
            loss, _ = objective.loss(player, BATCH, 0, NOISE)
            losses.append(float(loss.detach()))
            adam.zero_grad()
            loss.backward()
            adam.step()
        assert losses[-1] < 0.7 * losses[0], player


def test_batches_are_not_split() -> None:
    with pytest.raises(InputError, match="accumulate=1, not 2: norms"):
        start(game(), replace(RECIPE, accumulate=2))


def test_without_an_average_weights_and_statistics_belong_together() -> None:
    trainer = start(game(), RECIPE)
    for trainer.step in range(3):
        trainer.train_step()
    for name, parameter in trainer.objective.named_parameters():
        assert torch.equal(trainer.ema.average[name], parameter), name


# -- held out -------------------------------------------------------------------------------


def test_held_out_numbers() -> None:
    objective = game().eval()
    logs = objective.held_out(BATCH, NOISE)
    made, real = objective.generator.make(BATCH["sentences"], NOISE), BATCH["clips"]
    colors, truth = made.mean((2, 3, 4)), real.mean((2, 3, 4))
    torch.testing.assert_close(logs["color"], (colors - truth).square().mean())
    torch.testing.assert_close(logs["trivial"], truth.var(0, unbiased=False).mean())
    steps = (real[:, :, 1:] - real[:, :, :-1]).abs().mean()
    torch.testing.assert_close(logs["change/real"], steps)
    assert logs["change"] < logs["change/real"]  # noise changes more than what layers make


def test_critics_that_learn_to_read_are_seen_to() -> None:
    objective = game()
    adam = torch.optim.Adam(objective.critics.parameters(), lr=3e-3)
    for _ in range(60):
        loss, logs = objective.loss("critics", BATCH, 0, NOISE)
        adam.zero_grad()
        loss.backward()
        adam.step()
    assert [float(logs[f"read/{name}"]) for name in NAMES] == [1.0, 1.0, 1.0]


def test_a_clip_scores_higher_by_the_mean_over_its_frames() -> None:
    matched = torch.tensor([[1.0, 3.0], [0.0, -4.0], [0.0, 5.0]])
    assert float(higher(matched, torch.zeros(3, 2))) == pytest.approx(2 / 3)
    assert float(higher(matched[:, 0], torch.tensor([0.5, 1.0, 2.0]))) == pytest.approx(1 / 3)
