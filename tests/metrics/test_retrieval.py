"""Scores of retrieval against counting by hand and against the definition by sorting."""

from __future__ import annotations

import pytest
import torch

from kinema.metrics.retrieval import ranks, ranks_of_best, recall, summary
from kinema.noise import Noise


def test_ranks_are_places_in_the_sorted_row() -> None:
    similarity = Noise(0, tuple(range(9))).normal((9, 20), "similarity")
    truth = (Noise(0, tuple(range(9))).uniform((9, 1), "truth")[:, 0] * 20).long()
    order = similarity.argsort(dim=1, descending=True)
    expected = 1 + (order == truth[:, None]).int().argmax(dim=1)
    assert torch.equal(ranks(similarity, truth), expected)
    assert len(expected.unique()) > 3


def test_ties_are_broken_in_favor_of_the_right_one() -> None:
    similarity = torch.tensor([[0.5, 0.5, 0.5], [0.9, 0.1, 0.1]])
    assert ranks(similarity, torch.tensor([2, 2])).tolist() == [1, 2]


def test_several_texts_may_belong_to_one_clip() -> None:
    similarity = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.3, 0.1]])
    assert ranks(similarity, torch.tensor([0, 0, 1])).tolist() == [1, 2, 2]


def test_nan_is_no_rank() -> None:
    with pytest.raises(AssertionError, match="NaN"):
        ranks(torch.tensor([[0.0, float("nan")]]), torch.tensor([0]))


def test_the_summary_of_known_ranks() -> None:
    found = torch.tensor([1, 1, 3, 6, 9, 12, 40, 200])
    assert recall(found, 40).item() == 7 / 8
    scores = {name: float(value) for name, value in summary(found).items()}
    assert scores == pytest.approx(
        {
            "R@1": 2 / 8,
            "R@5": 3 / 8,
            "R@10": 5 / 8,
            "geometric_mean": (2 / 8 * 3 / 8 * 5 / 8) ** (1 / 3),
            "MdR": 7.5,
            "MeanR": 34.0,
        }
    )


def test_scores_of_chance() -> None:
    similarity = Noise(1, tuple(range(400))).normal((400, 50), "similarity")
    scores = summary(ranks(similarity, torch.arange(400) % 50))
    assert float(scores["R@1"]) == pytest.approx(1 / 50, abs=0.02)
    assert float(scores["MdR"]) == pytest.approx(25.5, abs=3)


def test_of_several_right_candidates_the_nearest_counts() -> None:
    similarity = torch.tensor([[0.9, 0.5, 0.7], [0.2, 0.2, 0.1]])
    right = torch.tensor([[False, True, True], [True, False, True]])
    assert ranks_of_best(similarity, right).tolist() == [2, 1]
    with pytest.raises(AssertionError, match="no right candidate"):
        ranks_of_best(similarity, right & torch.tensor([[True], [False]]))
