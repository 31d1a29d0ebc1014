"""The claims of the project: their files, their records, and every arm at a small size."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from kinema import registry
from kinema.claims import (
    cvt_convolutions,
    frozen_curriculum,
    ia_red2_rewards,
    ltx_denoising_decoder,
    ltx_given_tokens,
    pictures,
    stream_separates_time_and_space,
    tnt_words,
    uniformerv2_aggregators,
    uniformerv2_local,
    videomae_v2_clean_clips,
    videomae_v2_doubling,
    vivit_frozen_adapter,
    vivit_frozen_whole,
    zeroi2v_heads,
)
from kinema.claims.claim import chosen, claims, load, read_claim
from kinema.claims.record import RECORDS, read_record
from kinema.claims.runner import run_claim
from kinema.claims.verdict import verdict
from kinema.condition import Conditions
from kinema.errors import InputError
from kinema.noise import Noise

PICTURES = Path(__file__).parents[2] / "docs" / "claims"
FEW_PICTURES = replace(pictures.FULL, pictures=6, held_out=5, steps=2, batch_size=4)
FEW_MOTIONS = replace(uniformerv2_aggregators.FULL, steps=2, batch_size=2, held_out=3)
FEW_UNLABELED = replace(
    videomae_v2_clean_clips.FULL,
    clips=4,
    labeled=4,
    held_out=3,
    pretraining=2,
    steps=2,
    batch_size=4,
)
SMALL: dict[str, Any] = {
    "tnt_words": FEW_PICTURES,
    "cvt_convolutions": FEW_PICTURES,
    "uniformerv2_aggregators": FEW_MOTIONS,
    "uniformerv2_local": FEW_MOTIONS,
    "zeroi2v_heads": replace(zeroi2v_heads.FULL, tower_steps=2, steps=2, batch_size=2, held_out=3),
    "ia_red2_rewards": replace(
        ia_red2_rewards.FULL, host_steps=2, steps=8, batch_size=2, held_out=4
    ),
    "frozen_curriculum": replace(
        frozen_curriculum.FULL, clips=8, held_out=4, frames=4, side=16, steps=13, batch_size=4
    ),
    "videomae_v2_clean_clips": FEW_UNLABELED,
    "videomae_v2_doubling": replace(FEW_UNLABELED, clips=1),
    "vivit_frozen_adapter": replace(
        vivit_frozen_adapter.FULL, clips=6, held_out=4, image_steps=2, steps=2, batch_size=4
    ),
    "vivit_frozen_whole": replace(
        vivit_frozen_whole.FULL, clips=6, held_out=4, image_steps=2, steps=2, batch_size=4
    ),
    "stream_separates_time_and_space": replace(
        stream_separates_time_and_space.FULL, clips=8, frames=6, strengths=(0.5, 1.0)
    ),
    "ltx_given_tokens": replace(
        ltx_given_tokens.FULL,
        clips=6,
        held_out=2,
        frames=5,
        side=32,
        steps=2,
        batch_size=4,
        sampling_steps=2,
    ),
    "ltx_denoising_decoder": replace(
        ltx_denoising_decoder.FULL,
        clips=6,
        held_out=2,
        frames=5,
        side=32,
        steps=2,
        batch_size=2,
        width=4,
    ),
}
MODULES: dict[str, Any] = {
    "tnt_words": tnt_words,
    "cvt_convolutions": cvt_convolutions,
    "uniformerv2_aggregators": uniformerv2_aggregators,
    "uniformerv2_local": uniformerv2_local,
    "zeroi2v_heads": zeroi2v_heads,
    "ia_red2_rewards": ia_red2_rewards,
    "frozen_curriculum": frozen_curriculum,
    "videomae_v2_clean_clips": videomae_v2_clean_clips,
    "videomae_v2_doubling": videomae_v2_doubling,
    "vivit_frozen_adapter": vivit_frozen_adapter,
    "vivit_frozen_whole": vivit_frozen_whole,
    "stream_separates_time_and_space": stream_separates_time_and_space,
    "ltx_given_tokens": ltx_given_tokens,
    "ltx_denoising_decoder": ltx_denoising_decoder,
}


@pytest.mark.parametrize("name", claims())
def test_a_claim_is_a_literal_of_a_system_that_has_claims(name: str) -> None:
    claim = claims()[name]
    assert claim.name == name
    assert load(name).claim == claim
    card = registry.card(claim.system)
    assert "claim" in card.applies
    assert claim.budget <= 40


def test_a_system_has_one_primary_claim() -> None:
    primary = [claim.system for claim in claims().values() if claim.primary]
    assert len(set(primary)) == len(primary)
    assert {claim.system for claim in claims().values()} == set(primary)


def test_a_claim_that_is_no_literal_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.py"
    path.write_text("CLAIM = Claim(name=f())\n")
    with pytest.raises(ValueError, match="malformed node"):
        read_claim(path)
    path.write_text("OTHER = 1\n")
    assert read_claim(path) is None


def test_claims_are_chosen_by_their_name_or_that_of_their_system() -> None:
    given, decoder = claims()["ltx_given_tokens"], claims()["ltx_denoising_decoder"]
    assert chosen("ltx_video", secondary=False) == [given]
    assert chosen("ltx_video", secondary=True) == [decoder]
    assert chosen("ltx_denoising_decoder", secondary=False) == [decoder]
    with pytest.raises(InputError, match="did you mean 'ltx_video'"):
        chosen("ltx_vido", secondary=False)
    with pytest.raises(InputError, match="stream has no secondary claim"):
        chosen("stream", secondary=True)


@pytest.mark.parametrize("name", claims())
def test_a_claim_runs_from_end_to_end(name: str, tmp_path: Path) -> None:
    module = MODULES[name]
    small = replace(module.EXPERIMENT, arms=module.arms(SMALL[name]))
    record = run_claim(small, tmp_path, seeds=3, module=module.__name__)
    costs = [arm.cost for arm in record.arms.values()]
    assert all(cost.parameters > 1000 and cost.flops > 100_000 for cost in costs)
    assert (tmp_path / "figure.png").stat().st_size > 10_000
    assert record.stale == []
    # The same seed measures the same, and another seed something else.
    arm = small.arms[0]
    first = record.arms[arm.name].measured
    assert arm.run(0) == first[0]
    assert first[0] != first[1]


@pytest.mark.parametrize(
    "name",
    [
        "ltx_given_tokens",
        "ltx_denoising_decoder",
        "zeroi2v_heads",
        "ia_red2_rewards",
        "videomae_v2_doubling",
        "vivit_frozen_whole",
    ],
)
def test_matched_arms_cost_the_same(name: str) -> None:
    costs = [arm.cost() for arm in MODULES[name].arms(SMALL[name])]
    assert len(set(costs)) == 1


@pytest.mark.parametrize("path", sorted(RECORDS.glob("*.json")), ids=lambda path: path.stem)
def test_a_record_follows_the_rules(path: Path) -> None:
    record = read_record(path)
    assert record.claim == claims()[path.stem], "the claim was changed after it was run"
    assert len(record.gains) in (3, 5)
    judged = verdict(record.gains, record.claim.margin)
    assert (record.outcome, record.mean, record.error) == (
        judged.outcome,
        judged.mean,
        judged.error,
    )
    tested, baseline = (
        record.arms[name].measured for name in (record.claim.tested, record.claim.baseline)
    )
    assert record.gains == tuple(map(record.claim.gain, tested, baseline))
    assert record.minutes <= record.claim.budget
    assert (PICTURES / f"{path.stem}.png").is_file()


# -- the parts of single claims ------------------------------------------------------------------


def test_the_leak_is_that_of_the_worse_score() -> None:
    leak = stream_separates_time_and_space.leak
    time, space = "time", "space"
    clean = {("T", time): 0.8, ("T", space): 0.0, ("F", time): 0.0, ("F", space): 0.5}
    assert leak(clean) == 0
    assert leak({**clean, ("F", time): 0.5}) == 0.5
    assert leak({**clean, ("T", time): 0.0}) == 1
    assert leak({("frechet", time): 1.0, ("frechet", space): 1.0}) == 0.5
    assert leak({("frechet", time): 1.0, ("frechet", space): 3.0}) == 0.75


def test_damage_in_time_leaves_every_frame_and_damage_in_space_every_order() -> None:
    claim = stream_separates_time_and_space
    x = claim.clips(0, SMALL["stream_separates_time_and_space"])
    noise = Noise(0, tuple(range(len(x))))
    mixed = claim.damaged(x, claim.TIME, 1.0, noise)
    assert not torch.equal(mixed, x)
    assert torch.equal(mixed.flatten(2).sort(1).values, x.flatten(2).sort(1).values)
    still = x[:, :1].expand_as(x)
    noisy = claim.damaged(still, claim.SPACE, 1.0, noise)
    assert torch.equal(noisy, noisy[:, :1].expand_as(noisy))
    assert not torch.equal(noisy, still)
    for kind in (claim.TIME, claim.SPACE):
        assert torch.equal(claim.damaged(x, kind, 0.0, noise), x)


def test_one_time_is_the_latest_on_every_token() -> None:
    seen: list[torch.Tensor] = []

    class Probe(torch.nn.Module):
        def forward(self, x: torch.Tensor, time: torch.Tensor, conditions: Conditions) -> Any:
            seen.append(time)
            return x

    told = ltx_given_tokens.OneTime(Probe())
    x = torch.zeros(2, 3, 1)
    told(x, torch.tensor([[0.0, 0.5, 0.5], [0.0, 0.9, 0.9]]), Conditions({}))
    told(x, torch.tensor([0.3, 0.4]), Conditions({}))
    assert torch.equal(seen[0], torch.tensor([[0.5] * 3, [0.9] * 3]))
    assert torch.equal(seen[1], torch.tensor([0.3, 0.4]))


def test_the_given_frame_is_kept_and_arms_start_alike() -> None:
    scale = SMALL["ltx_given_tokens"]
    models = {name: ltx_given_tokens.made(name, scale, 0)[0] for name in ("per-token", "one-time")}
    a, b = (dict(m.parts.named_parameters()) for m in models.values())
    renamed = {name.replace("transformer.transformer.", "transformer."): p for name, p in b.items()}
    assert all(torch.equal(p, renamed[name]) for name, p in a.items())
    batch = ltx_given_tokens.latents(scale, "held_out")((0, 1))
    z = batch["latents"]
    made = ltx_given_tokens.sampled(models["one-time"], scale, batch["captions"], z, given=True)
    assert made.shape == z.shape
    assert torch.equal(made[:, :, 0], z[:, :, 0])
    assert not torch.equal(made[:, :, 1], z[:, :, 1])


def test_arms_of_the_decoder_see_what_they_are_said_to_see() -> None:
    scale = SMALL["ltx_denoising_decoder"]
    batch = ltx_denoising_decoder.pairs(scale, "train")((0, 1))
    z, noise = batch["latents"], Noise(0, (0, 1))
    seen: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    level = torch.tensor([0.2, 0.0])
    for name in ("told", "untold", "plain"):
        objective = ltx_denoising_decoder.made(name, scale, 0)

        def decode(z: torch.Tensor, *, time: torch.Tensor, name: str = name) -> torch.Tensor:
            seen[name] = (z, time)
            return z

        objective.codec.decode = decode
        objective.decode(z, level, noise)
    assert torch.equal(seen["told"][1], level)
    assert not seen["untold"][1].any()
    assert not seen["plain"][1].any()
    assert torch.equal(seen["told"][0], seen["untold"][0])
    assert torch.allclose(seen["plain"][0][0], seen["told"][0][0] / 0.8)
    assert torch.equal(seen["plain"][0][1], z[1])


def test_the_curriculum_has_the_operations_of_full_frames_in_more_steps() -> None:
    scale = SMALL["frozen_curriculum"]
    steps = {name: frozen_curriculum.steps_of(name, scale) for name in frozen_curriculum.PHASES}
    assert steps == {"curriculum": 16, "full-frames": 13}
    clips, stills = (frozen_curriculum.drawn(scale, "train", count) for count in (4, 1))
    for name, count in steps.items():
        plan = frozen_curriculum.recipe(name, scale, count)
        source = frozen_curriculum.in_turns(clips, stills, plan)
        size, costs = scale.batch_size, frozen_curriculum.prices(scale)
        batches = [source(tuple(range(step * size, (step + 1) * size))) for step in range(count)]
        seen = [batch["clips"].shape[2] for batch in batches]
        assert set(seen[::2]) == set(plan.frames)
        assert set(seen[1::2]) == {1}
        arm = frozen_curriculum.cost(name, scale)
        assert arm.flops == sum(costs[frames].flops for frames in seen)


def test_shuffled_samples_are_all_there_in_every_round() -> None:
    rounds = frozen_curriculum.shuffled(lambda samples: {"rows": samples}, 5)
    first, second = (rounds(tuple(range(start, start + 5)))["rows"] for start in (0, 5))
    assert sorted(first) == sorted(second) == [0, 1, 2, 3, 4]
    assert first != second
    assert rounds((1, 7))["rows"] == (first[1], second[2])
