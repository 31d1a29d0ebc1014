"""Contrastive losses against their formulas, and the objective over two small encoders."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from kinema.errors import InputError
from kinema.noise import Noise
from kinema.systems.frozen_in_time_training import NANO
from kinema.training.contrastive import ContrastiveObjective, cosines, max_margin, norm_softmax
from kinema.training.objective import Batch
from kinema.training.trainer import Trainer

ROWS = (0, 1, 2, 3, 4, 5)
RECIPE = replace(NANO, steps=40, batch_size=6, held_out=6, learning_rate=3e-2, warmup=1)


def table(stream: str) -> Tensor:
    return Noise(0, ROWS).normal((6, 8), stream)


BATCH = {"text": table("text"), "clips": table("clips")}
SIMILARITY = cosines(BATCH["text"], BATCH["clips"])


def objective() -> ContrastiveObjective:
    torch.manual_seed(0)
    networks = {"text": nn.Linear(8, 4), "video": nn.Linear(8, 4)}

    def embed(batch: Batch, noise: Noise) -> tuple[Tensor, Tensor]:
        return networks["text"](batch["text"]), networks["video"](batch["clips"])

    return ContrastiveObjective(networks, embed=embed, temperature=0.05)


def test_cosines_know_no_length_and_zeros_are_like_nothing() -> None:
    text, clips = BATCH["text"].clone(), BATCH["clips"]
    expected = torch.stack([torch.cosine_similarity(row, clips) for row in text])
    torch.testing.assert_close(SIMILARITY, expected)
    torch.testing.assert_close(cosines(7 * text, 0.1 * clips), expected)
    text[2] = 0
    assert not cosines(text, clips)[2].any()


def test_the_softmax_loss_is_its_formula_in_both_directions() -> None:
    e = (SIMILARITY.double() / 0.07).exp()
    directions = [-(e.diagonal() / e.sum(dim=d)).log().mean() for d in (0, 1)]
    loss = norm_softmax(SIMILARITY, temperature=0.07)
    assert float(loss) == pytest.approx(float(sum(directions)), rel=1e-5)
    alike = norm_softmax(torch.full((6, 6), 0.3), temperature=0.07)
    assert float(alike) == pytest.approx(2 * math.log(6))
    assert float(norm_softmax(torch.eye(6), temperature=0.01)) == pytest.approx(0, abs=1e-6)


def test_the_margin_loss_is_its_formula_without_the_diagonal() -> None:
    s, terms = SIMILARITY.tolist(), []
    for i in range(6):
        for j in range(6):
            if i != j:
                terms.append(max(0.0, 0.2 - s[i][i] + s[i][j]))
                terms.append(max(0.0, 0.2 - s[i][i] + s[j][i]))
    assert float(max_margin(SIMILARITY, margin=0.2)) == pytest.approx(sum(terms) / len(terms))
    assert float(max_margin(torch.eye(3), margin=1.0)) == 0


def test_a_small_model_learns_which_rows_belong_together() -> None:
    made = objective()
    trainer = Trainer(made, lambda _: BATCH, RECIPE, seed=0, device="cpu")
    logs = [trainer.train_step() for _ in range(RECIPE.steps)]
    assert logs[0]["retriever/R@1"] < 1
    assert logs[-1]["retriever/R@1"] == 1
    assert logs[-1]["retriever/loss"] < 0.3 * logs[0]["retriever/loss"]


@torch.no_grad()
def test_held_out_numbers_tell_loss_chance_and_recall() -> None:
    made = objective()
    logs = {name: float(value) for name, value in made.held_out(BATCH, Noise(0, ROWS)).items()}
    loss, training = made.loss("retriever", BATCH, 0, Noise(0, ROWS))
    assert logs["loss"] == float(loss) == float(training["loss"])
    assert logs["trivial"] == pytest.approx(2 * math.log(6))
    swapped = {"text": BATCH["text"], "clips": BATCH["clips"][[1, 0, 2, 3, 4, 5]]}
    assert made.held_out(swapped, Noise(0, ROWS))["loss"] != loss
    similarity = cosines(*made.embed(BATCH, Noise(0, ROWS)))
    right = torch.arange(6)
    assert logs["R@1"] == pytest.approx(float((similarity.argmax(1) == right).float().mean()))
    assert logs["R@1/to_text"] == pytest.approx(
        float((similarity.argmax(0) == right).float().mean())
    )


def test_batches_may_not_be_split() -> None:
    recipe = replace(RECIPE, accumulate=2)
    with pytest.raises(InputError, match="accumulate=1, not 2: every other row of the batch"):
        Trainer(objective(), lambda _: BATCH, recipe, seed=0, device="cpu")
