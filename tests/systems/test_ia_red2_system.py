"""IA-RED^2: the reward, the curriculum, what is learned from it, what is explained."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from kinema.data.class_folder import ClassClips
from kinema.errors import InputError
from kinema.networks.ia_red2 import Reduced
from kinema.noise import Noise
from kinema.systems.ia_red2 import IARED2
from kinema.systems.ia_red2_config import nano
from kinema.systems.ia_red2_policy import HOST, PolicyObjective, chosen, drawn, up_to
from kinema.systems.ia_red2_training import POLICIES, policy_data, policy_objective

RECIPE = POLICIES["nano"]


def model_of(**changes: Any) -> tuple[IARED2, PolicyObjective]:
    """A model with untrained interpreters, and its objective."""
    torch.manual_seed(0)
    model = IARED2(nano())
    return model, policy_objective(model, replace(RECIPE, **changes))


def batch_of(model: IARED2, samples: tuple[int, ...] = (0, 1)) -> dict[str, Any]:
    return dict(policy_data(model, RECIPE, "motions")[0](samples))


def reduced(kept: Tensor) -> Reduced:
    return Reduced(torch.zeros(1), torch.zeros(kept.shape), kept)


@pytest.mark.parametrize("answer", ["right", "probability"])
def test_the_reward_is_what_was_saved_or_the_penalty(answer: str) -> None:
    _, objective = model_of(answer=answer, penalties=(3.0, 5.0, 8.0))
    kept = torch.ones(3, 4, 17, dtype=torch.bool)  # two clips of two frames
    kept[1, :2, 1:] = False  # nothing of the first clip goes on from the second group
    kept[2, :2, 1:] = False
    logits = torch.tensor([[9.0, 0, 0, 0], [0, 1.0, 0, 0]])
    found = objective.reward(1, {"classes": torch.tensor([0, 0])}, logits, reduced(kept))
    chance = logits.softmax(1)[:, 0] if answer == "probability" else torch.tensor([1.0, 0.0])
    saved = torch.tensor([1 - (1 / 3) ** 2, 0.0])
    torch.testing.assert_close(found, chance * saved - (1 - chance) * 5)


def test_each_group_has_its_phase_and_then_the_whole_learns() -> None:
    _, objective = model_of(steps=16)
    turns = [objective.turns(step) for step in range(16)]
    for group in range(3):
        own, host = turns[4 * group : 4 * group + 2], turns[4 * group + 2 : 4 * group + 4]
        assert own == [(f"interpreter {group}",)] * 2
        assert host == [(HOST,)] * 2
    assert turns[12:] == [tuple(objective.players)] * 4
    assert len(objective.players) == 4


def test_later_groups_take_what_is_left() -> None:
    scores = torch.tensor([[0.9, 0.9, 0.1]])
    there = torch.tensor([[True, True, True]])
    assert up_to(1, 1, scores, there).tolist() == [[True, True, False]]
    assert up_to(1, 2, scores, there) is there


def test_what_is_drawn_follows_the_scores_and_never_returns() -> None:
    noise = Noise(0, tuple(range(4)))
    scores = torch.zeros(8, 1001)
    scores[:, 1:501] = 0.8
    there = torch.ones(8, 1001, dtype=torch.bool)
    there[:, 400:] = False
    kept = drawn(1, partial(up_to, 2), noise)(1, scores, there)
    assert kept[:, 0].all()
    assert not kept[:, 400:].any()
    assert kept[:, 1:400].float().mean().item() == pytest.approx(0.8, abs=0.03)
    alone = drawn(1, partial(up_to, 2), Noise(0, (2,)))(1, scores[4:6], there[4:6])
    assert torch.equal(alone, kept[4:6])
    greedy = drawn(1, partial(up_to, 2), noise)(0, scores, there)
    assert torch.equal(greedy[:, 1:], there[:, 1:])


def test_choices_are_those_of_patches_that_were_there() -> None:
    scores = torch.zeros(2, 1, 5)
    scores[1, 0] = torch.tensor([0.3, 0.9, 0.6, 0.5, 0.5])
    kept = torch.tensor([[[True, True, True, False, False]], [[True, True, False, False, False]]])
    found = chosen(1, Reduced(torch.zeros(1), scores, kept), 1)
    assert found.item() == pytest.approx((math.log(0.9) + math.log(0.4)) / 4)


def test_a_player_teaches_itself_alone() -> None:
    model, objective = model_of()
    batch, noise, last = batch_of(model), Noise(0, (0, 1)), RECIPE.steps - 1
    for player in objective.players:
        objective.zero_grad()
        objective.loss(player, batch, last, noise)[0].backward()
        own = objective.trained(player)
        others = {n: p for n, p in objective.named_parameters() if n not in own}
        if player == HOST:
            assert all(p.grad is None for p in others.values())
        else:
            interpreters = {n: p for n, p in others.items() if n.startswith("policy.")}
            assert not any(p.grad is not None and p.grad.any() for p in interpreters.values())
        assert any(p.grad.any() for p in own.values())


def learned(penalty: float) -> tuple[float, bool]:
    """The cost of a policy that was trained a little, and whether it keeps what is needed.

    Needed is the one bright patch: without it the answer is wrong.
    """
    model, objective = model_of(penalties=(penalty,) * 3, answer="right", steps=1)
    host, token = model.network.requires_grad_(False), 5
    clips = torch.full((16, 3, 1, 32, 32), -1.0)
    clips[..., 8:16, :8] = 1.0  # of four patches a row it is the first of the second

    def see(clips: Tensor, choose: Any) -> tuple[Tensor, Reduced]:
        found = model.policy.masked(host, model.frames(clips), choose)
        logits = torch.zeros(len(clips), 4)
        logits[:, 1] = found.kept[-1][:, token].float() - 0.5
        return logits, found

    objective.see = see
    batch = {"clips": clips, "classes": torch.ones(16, dtype=torch.int64)}
    interpreters = [p for n, p in objective.named_parameters() if n.startswith("policy.")]
    optimizer = torch.optim.Adam(interpreters, lr=3e-3)
    for step in range(80):
        noise = Noise(0, tuple(range(16 * step, 16 * step + 16)))
        for group in range(3):
            optimizer.zero_grad()
            objective.loss(f"interpreter {group}", batch, 0, noise)[0].backward()
            optimizer.step()
    with torch.no_grad():
        kept = see(clips, partial(up_to, 2))[1].kept
    return model.policy.cost(kept).mean().item(), bool(kept[-1][:, token].all())


def test_without_a_penalty_all_is_dropped_and_with_one_what_is_needed_stays() -> None:
    careless, careful = learned(0.0), learned(5.0)
    assert careless[0] < 0.1
    assert careful[0] < 0.5
    assert careful[1]


def test_files_are_cut_and_mirrored_as_the_recipe_of_the_policy_says(tmp_path: Path) -> None:
    model, _ = model_of()
    for name in ("dog", "cat"):
        (tmp_path / name).mkdir()
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / name / "0.png")
    recipe = replace(RECIPE, flip=0.25, crop_area=(0.5, 0.75))
    learned, _ = policy_data(model, recipe, str(tmp_path))
    assert isinstance(learned, ClassClips)
    assert (learned.flip, learned.crop_area) == (0.25, (0.5, 0.75))
    with pytest.raises(InputError, match="flip must be in"):
        replace(RECIPE, flip=1.5)
    with pytest.raises(InputError, match="crop_area must be"):
        replace(RECIPE, crop_area=(0.5, 0.2))


def test_penalties_are_as_many_as_groups() -> None:
    with pytest.raises(InputError, match="2 penalties for 3 groups"):
        model_of(penalties=(3.0, 5.0))
    with pytest.raises(InputError, match="penalties must be 0 or more"):
        replace(RECIPE, penalties=(3.0, -1.0, 2.0))
    with pytest.raises(InputError, match="host_rate must be in"):
        replace(RECIPE, host_rate=0.0)


def test_interpreters_of_another_transformer_are_refused() -> None:
    base = nano()
    with pytest.raises(InputError, match="must have 3 blocks together"):
        replace(base, policy=replace(base.policy, groups=(1, 1)))


def test_an_explanation_tells_what_each_group_got(tmp_path: Path) -> None:
    model, _ = model_of()
    for index, agent in enumerate(model.policy.agents):
        noise = Noise(0, (index,)).normal((1, *agent.qk.weight.shape), "weights")[0]
        agent.qk.weight.data = 0.5 * noise
        agent.qk.bias.data.zero_()
    inputs = model.example("explain", tmp_path)
    found = model.run(inputs, 0, "explain")
    heat, table = found["heat"], found["kept"]
    assert heat.size == (32, 32)
    assert heat.num_frames == len(table.rows) == 16
    assert table.columns == ("frame", "group 1", "group 2", "group 3")
    shares = np.array([row[1:] for row in table.rows])
    assert (np.diff(shares, axis=1) <= 0).all()
    assert 0 < shares[:, -1].mean() < 0.9
    grey = (np.ptp(heat.frames.astype(int), axis=-1) == 0).mean(axis=(1, 2))
    assert (grey >= 1 - shares[:, -1] - 1e-6).all(), "what the last group did not get is grey"
