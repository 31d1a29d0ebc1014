"""The parts of the claims of recognizers: what the arms see, and what they start from."""

from __future__ import annotations

import torch
from test_claims import FEW_PICTURES, SMALL

from kinema.claims import ia_red2_rewards, motions, pictures, uniformerv2_aggregators, zeroi2v_heads
from kinema.noise import Noise
from kinema.training.objective import Batch, Logs, Objective


def test_pictures_are_other_frames_of_other_clips_first() -> None:
    drawn = pictures.Pictures("train", 8)
    batch = drawn(tuple(range(10)))
    assert batch["clips"].shape == (10, 3, 1, pictures.SIDE, pictures.SIDE)
    assert -1 <= float(batch["clips"].min()) < float(batch["clips"].max()) <= 1
    assert batch["classes"][:2].tolist() == batch["classes"][2:4].tolist()
    assert torch.equal(batch["clips"][8:], batch["clips"][:2])
    assert not torch.equal(batch["clips"][0], batch["clips"][2])
    other = pictures.Pictures("held_out", 2)((0, 1))
    assert not torch.equal(other["clips"], batch["clips"][:2])


def test_arms_of_pictures_have_the_same_initial_weights_for_a_seed() -> None:
    first, again, other = (
        pictures.learner(pictures.plain_vit, FEW_PICTURES, seed).networks["network"].head.weight
        for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_patches_of_uniformerv2_are_of_single_frames() -> None:
    clips = Noise(0, (0,)).normal((1, 3, 8, 32, 32), "clips")
    for name in uniformerv2_aggregators.SIZES:
        model = uniformerv2_aggregators.made(name, seed=0)
        assert model.config.views.num_frames == 8
        with torch.no_grad():
            patches, turned = (model.network.patch_embed(x) for x in (clips, clips.flip(2)))
        torch.testing.assert_close(patches.flip(0), turned)


def test_arms_of_zeroi2v_start_from_the_same_tower() -> None:
    scale = SMALL["zeroi2v_heads"]
    neighbors, own = (zeroi2v_heads.made(name, scale, 0) for name in ("neighbors", "own"))
    weights, others = neighbors.network.state_dict(), own.network.state_dict()
    assert all(torch.equal(value, others[name]) for name, value in weights.items())
    assert not own.config.network.shifts
    trained = zeroi2v_heads.tower(scale, 0)
    assert torch.equal(weights["pos_embed"], trained["pos_embed"])
    found = zeroi2v_heads.run("neighbors", scale, 0)
    assert found["merging"] < 1e-5
    assert found["operations"] == 1


def test_as_many_patches_are_dropped_at_random_as_are_asked_for() -> None:
    shares, noise = (0.75, 0.6, 0.3), Noise(0, tuple(range(40)))
    there = torch.ones(80, 65, dtype=torch.bool)
    for group, share in enumerate(shares):
        before = there
        there = ia_red2_rewards.at_random(shares, noise, group, torch.zeros(80, 65), there)
        assert there[:, 0].all()
        assert not (there & ~before).any()
        assert abs(float(there[:, 1:].float().mean()) - share) < 0.02


def test_dropping_at_random_trains_the_transformer_of_a_copy() -> None:
    scale = SMALL["ia_red2_rewards"]
    host = ia_red2_rewards.host(scale, 0)
    model = ia_red2_rewards.dropping_at_random(scale, 0, (0.5, 0.5, 0.5))
    before, after = host.parts.state_dict(), model.parts.state_dict()
    changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert changed
    assert all(name.startswith("network.") for name in changed)


class Mean(Objective):
    """Tells the mean of the rows of a batch."""

    def held_out(self, batch: Batch, noise: Noise) -> Logs:
        return {"top1": batch["rows"].mean(), "loss": -batch["rows"].mean()}


def test_all_held_out_clips_are_told() -> None:
    def rows(samples: tuple[int, ...]) -> Batch:
        return {"rows": torch.tensor(samples, dtype=torch.float64)}

    assert motions.told(Mean(), rows, 100) == {"top1": 49.5, "loss": -49.5}
