"""The parts of the claims of VideoMAE V2 and of the frozen ViViT."""

from __future__ import annotations

from dataclasses import replace

import torch

from kinema.claims import videomae_v2_clean_clips as clean
from kinema.claims import videomae_v2_doubling as doubling
from kinema.claims import vivit_frozen_adapter as frozen
from kinema.claims import vivit_frozen_whole as whole
from kinema.noise import Noise

FEW = replace(clean.FULL, clips=3, labeled=3, held_out=2, pretraining=2, steps=2, batch_size=2)
LITTLE = replace(frozen.FULL, clips=4, held_out=2, image_steps=2, steps=2, batch_size=2)
CLIPS = Noise(0, tuple(range(6))).uniform((6, 3, 8, 16, 16), "clips") * 2 - 1


def test_junk_is_noise_or_cut_or_still() -> None:
    """Clips 0 and 3 are noise, 1 and 4 are cut in the middle, 2 and 5 stand still."""
    made = clean.junk(CLIPS)
    assert made.shape == CLIPS.shape
    assert made.abs().max() <= 1
    for noise in (0, 3):
        assert not torch.isclose(made[noise], CLIPS[noise]).float().mean() > 0.1
    for cut in (1, 4):
        assert torch.equal(made[cut, :, :4], CLIPS[cut, :, :4])
        assert torch.equal(made[cut, :, 4:], CLIPS[cut - 1, :, 4:])
    for still in (2, 5):
        assert torch.equal(made[still], made[still, :, :1].expand_as(made[still]))
    assert torch.equal(clean.junk(CLIPS), made)


def test_a_still_clip_of_junk_has_lost_its_object() -> None:
    moving = torch.full((3, 3, 8, 16, 16), -1.0)
    for frame in range(8):
        moving[:, :, frame, :, 2 * frame] = 1.0
    assert clean.junk(moving)[2].eq(-1).all()


def test_pools_are_the_clean_clips_and_what_is_beside_them() -> None:
    pools = {name: clean.pool(name, FEW).fields["clips"] for name in ("clean", "mixed", "more")}
    assert [len(clips) for clips in pools.values()] == [3, 6, 6]
    assert all(torch.equal(clips[:3], pools["clean"]) for clips in pools.values())
    assert torch.equal(clean.junk(pools["more"][3:]), pools["mixed"][3:])


def test_arms_of_pre_training_cost_the_same_and_start_alike() -> None:
    assert len({arm.cost() for arm in clean.arms(FEW)}) == 1
    first, second = (clean.made(0).parts.state_dict() for _ in range(2))
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_arms_share_the_frozen_transformer_and_one_starts_from_it() -> None:
    models = {name: frozen.made(name, LITTLE, 0) for name in ("adapted", "naive", "unstarted")}
    weights = [model.spatial.state_dict() for model in models.values()]
    assert all(torch.equal(w[name], value) for w in weights for name, value in weights[0].items())
    last = weights[0]["blocks.3.mlp.fc1.weight"]
    ends = {name: model.network.blocks[-1].mlp.fc1.weight for name, model in models.items()}
    assert torch.equal(ends["adapted"], last)
    assert not torch.equal(ends["unstarted"], last)
    assert not torch.equal(ends["naive"], last)
    counts = [sum(p.numel() for p in m.network.parameters()) for m in models.values()]
    assert counts[0] == counts[2]
    assert abs(counts[1] - counts[0]) < 0.02 * counts[0]


def test_features_are_those_of_the_held_out_clips() -> None:
    kept = frozen.features(LITTLE, 0, "held_out")
    (batch,) = frozen.drawn(LITTLE, "held_out", "motion", frozen.CLASSES)
    tokens = frozen.made("naive", LITTLE, 0).frozen_tokens(batch["clips"])
    assert torch.equal(kept.fields["features"], tokens)
    assert torch.equal(kept.fields["classes"], batch["classes"])


def test_both_doublings_share_the_pool_between_them() -> None:
    scale = replace(FEW, clips=1)
    pools = [doubling.pool(times, scale).fields["clips"] for times in doubling.POOLS]
    assert [len(clips) for clips in pools] == [1, 4, 16]
    assert all(torch.equal(clips, pools[-1][: len(clips)]) for clips in pools)
    first, second = (doubling.run(name, scale, 0) for name in ("first", "second"))
    assert first["more"] == second["fewer"]
    for found in (first, second):
        assert found["gain"] == found["more"] - found["fewer"]


def test_a_frozen_arm_learns_from_the_clips_of_the_whole_one() -> None:
    batch = whole.seen(LITTLE)((1, 5))
    model = whole.made(LITTLE, 0)
    kept = frozen.said(model, LITTLE, "train")((1, 5))
    tokens = model.frozen_tokens(batch["clips"])
    torch.testing.assert_close(tokens, kept["features"])
    assert torch.equal(batch["classes"], kept["classes"])


def test_a_frozen_step_keeps_the_bars_of_operations_and_memory() -> None:
    found = {name: whole.run(name, LITTLE, 0) for name in ("frozen", "whole")}
    for what in ("operations", "memory"):
        assert 0 < found["frozen"][what] <= 0.6 * found["whole"][what]
    assert found["frozen"]["handicapped"] == found["frozen"]["top1"] + 0.02
    assert found["whole"]["handicapped"] == found["whole"]["top1"]
