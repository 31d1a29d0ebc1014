"""LTX-Video's modes of sampling: tables by noise level, distilled steps, two passes, clips."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from published_files import small, stir
from torch import Tensor

from kinema.clip import Clip
from kinema.condition import Conditions, Tokens
from kinema.config import from_dict, to_dict
from kinema.errors import InputError
from kinema.networks.ltx_latent_upsampler import LatentUpsampler, LatentUpsamplerConfig
from kinema.networks.ltx_transformer import latent_positions, patchify, pixel_positions
from kinema.networks.ltx_vae_config import v0_9_1
from kinema.nn.sites import Site, attend
from kinema.nn.tiles import Tiling
from kinema.noise import Noise
from kinema.processes import schedules
from kinema.processes.latent_filters import match_statistics, tone_map
from kinema.processes.steps import Report, Step, watching
from kinema.sample import Sound
from kinema.systems.keyframes import Keyframe, Source, faded
from kinema.systems.ltx_video import LTXVideo
from kinema.systems.ltx_video_config import LTXVideoConfig, SecondPass
from kinema.systems.ltx_video_keyframes import appended_frames
from kinema.systems.ltx_video_passes import fitted
from kinema.systems.ltx_video_presets import nano, shapes, tiny
from kinema.systems.ltx_video_sampling import guidance, noise_levels, renoise, table_rows
from kinema.systems.ltx_video_upsamplers import enlarged
from kinema.systems.ltx_video_versions import VERSIONS
from kinema.worlds.shapes import Shapes

PROMPT = "a small red circle moves left on a navy background"
SIZE = (32, 64)
CLIP = Shapes(seed=0, split="train", num_frames=25, height=32, width=64, fps=12.0).sample(0).clip
PLAIN = {"guidance": 1.0, "perturbed": 0.0, "rescale": 0.0}
# Those of the published 13B models, with blocks that a small one has.
LEVELS = (1.0, 0.996, 0.9933, 0.985, 0.9767, 0.9008, 0.618)
TABLES: dict[str, Any] = {
    "levels": LEVELS,
    "guidance": (1.0, 1.0, 6.0, 8.0, 6.0, 1.0, 1.0),
    "perturbed": (0.0, 0.0, 4.0, 4.0, 4.0, 2.0, 1.0),
    "perturbed_blocks": ((), (0, 1), (1,), (0,), (0,), (0,), (0,)),
    "rescale": (0.0, 0.0, 0.5, 0.5, 0.0, 0.0, 0.0),
}
SECOND = SecondPass(
    share=2 / 3,
    steps=4,
    skip_first=2,
    guidance=1.0,
    perturbed=1.0,
    perturbed_blocks=(1,),
    rescale=0.0,
    schedule="linear_quadratic",
)


@pytest.fixture(scope="module")
def model() -> LTXVideo:
    """Weights that are nowhere zero, 17 frames of 32x64: 3 latent frames of 2x4."""
    torch.manual_seed(0)
    base = nano()
    size = {"num_frames": 17, "height": SIZE[0], "width": SIZE[1], "steps": 4}
    made = LTXVideo(replace(base, sampling=replace(base.sampling, **size)))
    with torch.no_grad():
        for parameter in made.parts.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
        made.codec.mean_of_means.normal_(0, 0.3)
        made.codec.std_of_means.uniform_(0.5, 2)
    return made


def upsampler(upsample: Any = "space") -> LatentUpsampler:
    torch.manual_seed(1)
    config = LatentUpsamplerConfig(
        in_channels=8, mid_channels=32, num_blocks_per_stage=1, upsample=upsample
    )
    return LatentUpsampler(config).eval()


def sampled(model: LTXVideo, source: Source | None = None, **changes: Any) -> Tensor:
    """Latents (1, C, t, h, w) of seed 0."""
    sampling = replace(model.config.sampling, **changes)
    return model.latents([PROMPT], noise=Noise(0, (0,)), sampling=sampling, source=source)


# -- noise levels and tables -------------------------------------------------------------------


def test_a_row_of_a_table_holds_down_to_its_level() -> None:
    sigmas = torch.tensor([1.0, 0.9961, 0.996, 0.995, 0.9, 0.618, 0.2])
    assert table_rows(LEVELS, sigmas) == [0, 1, 1, 2, 6, 6, 6]
    assert table_rows((), sigmas) == [0] * 7


def test_tables_of_the_13b_models_end_at_levels_of_their_schedule() -> None:
    sigmas = schedules.linear_quadratic(30)[:27]
    for level in LEVELS[3:]:
        assert float((sigmas - level).abs().min()) < 1e-4
    rows = table_rows(LEVELS, sigmas)
    # Rounded up, the levels of rows 4 and 5 lie just above those of the schedule.
    counts = {row: rows.count(row) for row in range(7)}
    assert counts == {0: 1, 1: 2, 2: 2, 3: 5, 4: 4, 5: 5, 6: 8}
    assert rows == sorted(rows)


def test_noise_levels_of_each_kind(model: LTXVideo) -> None:
    own, shift = model.config.sampling, model.config.shift
    base = noise_levels(replace(own, steps=8), shift, 24)
    torch.testing.assert_close(base, model.sigmas(8, 24, own.terminal))
    middle = noise_levels(replace(own, steps=8, skip_first=3, skip_last=2), shift, 24)
    assert middle.tolist() == [*base[3:6].tolist(), 0.0]
    straight = noise_levels(replace(own, steps=8, schedule="linear_quadratic"), shift, 24)
    assert straight.tolist() == [*schedules.linear_quadratic(8).tolist(), 0.0]
    listed = replace(own, steps=3, sigmas=(1.0, 0.9, 0.4), schedule="linear_quadratic")
    assert noise_levels(listed, shift, 24).tolist() == pytest.approx([1.0, 0.9, 0.4, 0.0])


def predictor(seen: list[tuple[bool, tuple[int, ...]]]) -> Callable[..., Tensor]:
    """Values that depend on the branch; notes whether text was dropped and what was perturbed."""

    def predict(x: Tensor, time: Tensor, conditions: Conditions) -> Tensor:
        dropped = not conditions.of(Tokens, "text").x.any()
        q = torch.randn(1, 2, 3, 4, generator=torch.Generator().manual_seed(0))
        values = [
            attend(Site(f"transformer_blocks.{i}.attn1", "self"), q, q, q, None) for i in range(2)
        ]
        perturbed = tuple(i for i, value in enumerate(values) if torch.equal(value, q))
        seen.append((dropped, perturbed))
        seed = 1 + dropped + 10 * sum(2**i for i in perturbed)
        return torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))

    return predict


@pytest.mark.parametrize("star", [False, True])
def test_guidance_follows_the_tables(model: LTXVideo, star: bool) -> None:
    sampling = replace(model.config.sampling, **TABLES, star=star)
    sigmas = torch.tensor([1.0, 0.997, 0.994, 0.99, 0.98, 0.95, 0.3, 0.0])
    guide, x = guidance(sampling, sigmas), torch.zeros(2, 5, 3)
    text = Tokens(x=torch.ones(2, 1, 1), null=Tokens(x=torch.zeros(2, 1, 1)))
    conditions = Conditions({"text": text})
    one = predictor([])
    for step, row in enumerate(table_rows(LEVELS, sigmas[:-1])):
        seen: list[tuple[bool, tuple[int, ...]]] = []
        time = sigmas[step].expand(2)
        found = guide(predictor(seen), x, time, conditions, step)
        scale, weight = TABLES["guidance"][row], TABLES["perturbed"][row]
        blocks, share = TABLES["perturbed_blocks"][row], TABLES["rescale"][row]
        wanted = [(False, ())] + [(True, ())] * (scale != 1) + [(False, blocks)] * (weight != 0)
        assert seen == wanted
        full, null = (one(x, time, given) for given in (conditions, conditions.drop(("text",))))
        if star:
            along = (full * null).sum((1, 2)) / null.square().sum((1, 2))
            null = along[:, None, None] * null
        skipped = {(): full, (0,): 11, (1,): 21, (0, 1): 31}[blocks]
        if isinstance(skipped, int):
            skipped = torch.randn(x.shape, generator=torch.Generator().manual_seed(skipped))
        expected = null + scale * (full - null) + weight * (full - skipped)
        if share:
            ratio = full.flatten(1).std(1) / expected.flatten(1).std(1)
            expected = expected * (share * ratio + 1 - share)[:, None, None]
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_tables_act_by_level_not_by_step(model: LTXVideo) -> None:
    """A clip that begins in the middle of the schedule has the guidance of the last row."""
    linear = {"schedule": "linear_quadratic", "steps": 6}
    source = Source(clip=CLIP[:17], strength=0.34)
    last = {name: table[-1] for name, table in TABLES.items() if name != "levels"}
    with_tables = sampled(model, source, **TABLES, **linear)
    torch.testing.assert_close(with_tables, sampled(model, source, **last, **linear))
    assert not torch.allclose(sampled(model, **TABLES, **linear), sampled(model, **last, **linear))


def test_configurations_with_tables_survive_json(model: LTXVideo) -> None:
    sampling = replace(model.config.sampling, **TABLES, star=True, second=SECOND)
    config = replace(model.config, sampling=sampling)
    assert from_dict(LTXVideoConfig, json.loads(json.dumps(to_dict(config)))) == config
    distilled = replace(SECOND, steps=2, skip_first=0, sigmas=(0.9, 0.4), tone_map=0.6)
    config = replace(config, sampling=replace(sampling, second=distilled))
    assert from_dict(LTXVideoConfig, json.loads(json.dumps(to_dict(config)))) == config


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"steps": 0}, "1 step or more, not 0"),
        ({"sigmas": (1.0, 0.5), "steps": 3}, "takes 2 steps, at fixed noise levels, not 3"),
        ({"sigmas": (0.5, 1.0), "steps": 2}, "sigmas fall from at most 1"),
        ({"levels": (1.5,)}, "levels fall from at most 1"),
        ({"skip_first": -1}, "of 4 steps -1 and 0 cannot be left out"),
        ({"skip_first": 2, "skip_last": 2}, "of 4 steps 2 and 2 cannot be left out"),
        ({"guidance": (3.0, 1.0)}, r"guidance needs 0 rows, one for each level"),
        ({"perturbed_blocks": ((0,), (1,)), "levels": (1.0,)}, "perturbed_blocks needs 1 rows"),
        ({"tone_map": 1.5}, "tone_map lies in .0, 1."),
        ({"renoise": -0.1}, "renoise lies in .0, 1."),
    ],
)
def test_sampling_that_does_not_fit_is_named(changes: dict[str, Any], said: str) -> None:
    base = replace(nano().sampling, steps=4)
    with pytest.raises(InputError, match=said):
        replace(base, **changes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"share": 1.0}, "share of the first pass lies between 0 and 1"),
        ({"skip_first": 0}, "leave out its first steps"),
        ({"skip_first": 0, "sigmas": (1.0, 0.9, 0.8, 0.7)}, "or list sigmas below 1"),
        ({"steps": 2}, "of 2 steps 2 and 0 cannot be left out"),
    ],
)
def test_a_second_pass_that_does_not_fit_is_named(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        replace(SECOND, **changes)


def test_only_blocks_that_are_perturbed_must_be_there() -> None:
    base = nano()
    for changes in ({"perturbed": 0.0, "perturbed_blocks": (42,)}, TABLES, {"second": SECOND}):
        replace(base, sampling=replace(base.sampling, **changes))
    for sampling in (
        replace(base.sampling, perturbed=1.0, perturbed_blocks=(42,)),
        replace(base.sampling, levels=(1.0, 0.5), perturbed=(0.0, 1.0), perturbed_blocks=(42,)),
        replace(base.sampling, levels=(1.0, 0.5), perturbed=1.0, perturbed_blocks=((0,), (42,))),
        replace(base.sampling, second=replace(SECOND, perturbed_blocks=(42,))),
    ):
        with pytest.raises(InputError, match="perturbed_blocks has 42; the transformer has 2"):
            replace(base, sampling=sampling)


# -- distilled steps ----------------------------------------------------------------------------


def test_renoised_steps_go_by_the_clean_state(model: LTXVideo) -> None:
    sigmas = (1.0, 0.9, 0.5)
    reports: list[Report] = []
    with watching(reports.append):
        found = sampled(model, sigmas=sigmas, steps=3, renoise=1.0, **PLAIN)
    sampling = replace(model.config.sampling, sigmas=sigmas, steps=3)
    conditions = model.prepare([PROMPT], "", sampling)
    noise = Noise(0, (0,))
    x = patchify(noise.normal((1, *model.latent_shape(sampling)), "x_T"))
    with torch.inference_mode():
        for step, (sigma, after) in enumerate(zip(sigmas, (*sigmas[1:], 0.0))):
            x0 = x - sigma * model.transformer(x, torch.tensor([sigma]), conditions)
            torch.testing.assert_close(reports[step].x0, x0)
            x = (1 - after) * x0 + after * noise.normal(x0.shape, f"step {step}")
    torch.testing.assert_close(patchify(found), x)
    assert not torch.allclose(found, sampled(model, sigmas=sigmas, steps=3, **PLAIN))


def test_old_noise_and_a_share_of_fresh_noise_are_as_large_as_either(model: LTXVideo) -> None:
    v, x0 = Noise(1, (0,)).normal((1, 900, 8), "v"), torch.full((1, 900, 8), 0.3)
    step = Step(0, 2, 1.0, 0.5)
    old, fresh = v + x0, Noise(0, (0,)).normal(x0.shape, "step 0")
    for share in (0.0, 0.6, 1.0):
        noise = 2 * renoise(Noise(0, (0,)), share)(x0, v, step) - x0
        torch.testing.assert_close(noise, (1 - share**2) ** 0.5 * old + share * fresh)
        assert float(noise.std()) == pytest.approx(1, abs=0.03)
    plain = sampled(model, steps=3, **PLAIN)
    assert not torch.allclose(sampled(model, steps=3, renoise=0.5, **PLAIN), plain)


def test_given_frames_stay_under_renoised_steps(model: LTXVideo) -> None:
    sampling = replace(model.config.sampling, renoise=1.0)
    given = [Keyframe(clip=CLIP[:1]), Keyframe(clip=CLIP[9:10], frame=9, strength=0.5)]
    made = model.latents([PROMPT], noise=Noise(0, (0,)), sampling=sampling, keyframes=given)
    with torch.no_grad():
        alone = model.codec.encode(torch.from_numpy(CLIP[:1].to_float())[None])
    assert torch.equal(made[:, :, :1], alone)
    assert torch.isfinite(made).all()


# -- a clip that is made anew -------------------------------------------------------------------


def test_a_weak_strength_keeps_a_clip_and_a_full_one_nothing(model: LTXVideo) -> None:
    with torch.no_grad():
        start = model.codec.encode(torch.from_numpy(CLIP[:17].to_float())[None])
    far = [
        float((sampled(model, Source(clip=CLIP[:17], strength=s), steps=8) - start).norm())
        for s in (0.13, 0.4, 0.7, 1.0)
    ]
    assert far == sorted(far)
    assert far[0] < 0.7 * far[-1]
    whole = sampled(model, Source(clip=CLIP[:17], strength=1.0))
    assert torch.equal(whole, sampled(model))


@pytest.mark.parametrize(("strength", "steps"), [(0.01, 1), (0.25, 2), (0.6, 4), (1.0, 8)])
def test_the_strength_is_the_share_of_the_steps(
    model: LTXVideo, strength: float, steps: int
) -> None:
    reports: list[Report] = []
    with watching(reports.append):
        sampled(model, Source(clip=CLIP[:17], strength=strength), steps=8)
    levels = model.sigmas(8, 24, model.config.sampling.terminal)
    assert [report.step.sigma for report in reports] == levels[8 - steps : 8].tolist()


def test_a_clip_is_brought_to_length_rate_and_size(model: LTXVideo) -> None:
    fast = Clip(CLIP.frames.repeat(2, 0).repeat(2, 1).repeat(2, 2), 24.0)
    expected = model.generate(PROMPT, seed=0, video=CLIP, strength=0.5, output="tensor")
    found = model.generate(PROMPT, seed=0, video=fast, strength=0.5, output="tensor")
    torch.testing.assert_close(found, expected, atol=0.1, rtol=0)
    with pytest.raises(
        InputError, match="gives 12 of the 17 frames that are to be made at 12 fps; make at most 9"
    ):
        model.generate(PROMPT, seed=0, video=CLIP[:12])
    for strength in (0.0, -1.0, 1.1, math.nan):
        with pytest.raises(InputError, match="strength of a clip that is made anew"):
            model.generate(PROMPT, seed=0, video=CLIP, strength=strength)


def test_sampling_without_its_first_steps_needs_a_clip(model: LTXVideo) -> None:
    with pytest.raises(InputError, match="begins with a clip"):
        sampled(model, skip_first=2)
    assert torch.isfinite(sampled(model, skip_last=2)).all()


# -- a clip that is led up to -------------------------------------------------------------------


def test_an_appended_sequence_stands_where_its_latents_do() -> None:
    long, still = Keyframe(clip=CLIP[:17], frame=8), Keyframe(clip=CLIP[:1], frame=5)
    for causal, second in ((True, 9), (False, 16)):
        frames = appended_frames([still, long, still], (8, 32, 32), causal=causal)
        assert frames == [5, 8, second, 5]
        positions = pixel_positions(
            latent_positions(2, 1, 1, device="cpu"), (8, 32, 32), causal=causal
        )
        assert [8 + int(t) for t in positions[0]] == [8, second]


def test_new_frames_lead_up_to_a_clip(model: LTXVideo) -> None:
    sampling = replace(model.config.sampling, num_frames=33)
    sound = Sound(np.full((1, 1000), 0.5, np.float32), 1200)
    given = Clip(CLIP.frames, CLIP.fps, sound)
    whole = model.generate(PROMPT, seed=1, extend=given, before=True, sampling=sampling)
    assert isinstance(whole, Clip)
    assert whole.num_frames == 25 + 33 - 17
    assert (whole.frames[16:] == CLIP.frames).all()
    assert whole.sound is not None
    silent = round(16 / 12 * 1200)
    assert whole.sound.x.shape[1] == silent + 1000
    assert not whole.sound.x[:, :silent].any()
    assert (whole.sound.x[:, silent:] == 0.5).all()
    keyframe = Keyframe(clip=CLIP[:17], frame=16)
    made = model.generate(PROMPT, seed=1, keyframes=[keyframe], sampling=sampling)
    assert isinstance(made, Clip)
    backwards = faded(CLIP.frames[0], made.frames[16::-1])
    assert (whole.frames[:16] == backwards[::-1]).all()


def test_what_is_held_of_the_clip_steers_and_stays(model: LTXVideo) -> None:
    sampling = replace(model.config.sampling, num_frames=33)
    latents = model.generate(
        PROMPT, seed=1, extend=CLIP, before=True, sampling=sampling, output="latents"
    )
    assert isinstance(latents, Tensor)
    with torch.no_grad():
        own = model.codec.encode(torch.from_numpy(CLIP[:17].to_float())[None])[0]
    assert torch.equal(latents[:, 4:], own[:, 2:])  # the first two of the three are appended
    assert not torch.allclose(latents[:, 2:4], own[:, :2], atol=1e-3)
    free = model.generate(PROMPT, seed=1, sampling=sampling, output="latents")
    assert isinstance(free, Tensor)
    assert not torch.allclose(free[:, :4], latents[:, :4], atol=1e-3)


def test_a_picture_may_begin_what_leads_up_to_a_clip(model: LTXVideo) -> None:
    whole = model.generate(PROMPT, seed=1, image=CLIP[24:25], extend=CLIP[:1], before=True)
    assert isinstance(whole, Clip)
    assert whole.num_frames == 17
    assert (whole.frames[-1] == CLIP.frames[0]).all()
    extension = model.extension(CLIP, model.config.sampling, before=True)
    assert (extension.held, extension.ahead) == (9, 8)
    with pytest.raises(InputError, match="frame 8 lies within the clip that is led up to"):
        extension.keyframes([Keyframe(clip=CLIP[:1], frame=8)])


# -- two passes ----------------------------------------------------------------------------------


@contextlib.contextmanager
def upsampling(model: LTXVideo) -> Any:
    """The model with an upsampler inside the block."""
    model.upsampler = upsampler()
    try:
        yield
    finally:
        model.upsampler = None


TWO = {"height": 96, "width": 64, "second": SECOND}


def test_two_passes_are_what_they_are_one_by_one(model: LTXVideo) -> None:
    reports: list[Report] = []
    given = [Keyframe(clip=CLIP[:1]), Keyframe(clip=CLIP[9:10], frame=9)]
    sampling = replace(model.config.sampling, **TWO)
    with upsampling(model), watching(reports.append):
        found = model.latents([PROMPT], noise=Noise(0, (0,)), sampling=sampling, keyframes=given)
    assert model.latent_shape(sampling) == found.shape[1:] == (8, 3, 8, 4)
    assert [(report.step.index, report.step.total) for report in reports] == [
        (index, 6) for index in range(6)
    ]
    small = replace(model.config.sampling, height=64, width=32)
    latents = model.latents([PROMPT], noise=Noise(0, (0,)), sampling=small, keyframes=given)
    with torch.inference_mode():
        raw = upsampler()(model.codec.denormalize(latents))
        start = match_statistics(model.codec.normalize(raw), latents, 1.0)
        torch.testing.assert_close(enlarged(model, upsampler(), latents), start)
    sigma = float(schedules.linear_quadratic(4)[2])
    assert [r.step.sigma for r in reports[4:]] == schedules.linear_quadratic(4)[2:].tolist()
    fresh = Noise(1, (0,)).normal(start.shape, "x_T")
    noised = patchify((1 - sigma) * start + sigma * fresh)
    # What the second pass began with, undone from its first report, where nothing was given.
    first = reports[4]
    velocity = (first.x - first.x0) / first.step.sigma_next
    begun = (first.x0 + sigma * velocity)[:, 32:96]
    torch.testing.assert_close(begun, noised[:, 32:], rtol=1e-3, atol=1e-3)


def test_the_clip_of_two_passes_has_the_size_that_was_asked_for(model: LTXVideo) -> None:
    sampling = replace(model.config.sampling, **TWO)
    with upsampling(model):
        latents = model.generate(PROMPT, seed=0, sampling=sampling, output="latents")
        pixels = model.generate(PROMPT, seed=0, sampling=sampling, output="tensor")
    assert isinstance(latents, Tensor)
    assert isinstance(pixels, Tensor)
    assert pixels.shape == (3, 17, 96, 64)
    large = replace(model.config.sampling, height=128, width=64)
    decoded = model.decode(latents[None], noise=Noise(0, (0,)), sampling=large)
    frames = decoded[0].transpose(0, 1)
    expected = F.interpolate(frames, size=(96, 64), mode="bilinear").transpose(0, 1)
    torch.testing.assert_close(pixels, expected)
    assert fitted(decoded, 128, 64) is decoded


def test_two_passes_of_a_clip_that_is_made_anew(model: LTXVideo) -> None:
    sampling = replace(model.config.sampling, **TWO)
    source = Source(clip=CLIP[:17], strength=0.25)
    reports: list[Report] = []
    with upsampling(model), watching(reports.append):
        near = model.latents([PROMPT], noise=Noise(0, (0,)), sampling=sampling, source=source)
        free = model.latents([PROMPT], noise=Noise(0, (0,)), sampling=sampling)
    assert [report.step.index for report in reports] == [*range(3), *range(6)]
    assert [report.step.total for report in reports] == [3] * 3 + [6] * 6
    assert not torch.allclose(near, free, atol=1e-3)


def test_two_passes_need_an_upsampler_and_room(model: LTXVideo) -> None:
    with pytest.raises(InputError, match="two passes and needs its latent upsampler"):
        sampled(model, **TWO)
    with pytest.raises(InputError, match=r"16 x 64 .* too small for two passes"):
        sampled(model, **{**TWO, "height": 16})


def test_large_latents_are_pulled_in_before_they_are_decoded(model: LTXVideo) -> None:
    latents = 3 * sampled(model, **PLAIN)
    own = replace(model.config.sampling, decode_noise=0.0)
    found = model.decode(latents, noise=Noise(0, (0,)), sampling=replace(own, tone_map=0.6))
    expected = model.decode(tone_map(latents, 0.6), noise=Noise(0, (0,)), sampling=own)
    torch.testing.assert_close(found, expected)
    assert not torch.allclose(found, model.decode(latents, noise=Noise(0, (0,)), sampling=own))


@pytest.mark.parametrize("passes", [{}, TWO], ids=["one pass", "two passes"])
def test_a_negative_prompt_of_the_model_stands_until_another_is_given(
    model: LTXVideo, passes: dict[str, Any]
) -> None:
    sampling = replace(model.config.sampling, negative="a large green star", **passes)
    with upsampling(model):
        own, said, none = (
            model.latents([PROMPT], noise=Noise(0, (0,)), sampling=sampling, negative=negative)
            for negative in (None, "a large green star", "")
        )
    assert torch.equal(own, said)
    assert not torch.allclose(own, none, atol=1e-3)


def test_published_versions_move_away_from_the_prompt_of_their_authors() -> None:
    said = "worst quality, inconsistent motion, blurry, jittery, distorted"
    assert {make().sampling.negative for make in VERSIONS.values()} == {said}
    assert {make().sampling.negative for make in (shapes, tiny, nano)} == {""}


# -- the decoder ---------------------------------------------------------------------------------


def test_noise_maps_of_the_decoder_follow_the_seeds() -> None:
    """Of 0.9.1, with scales that are not 0, on two equal rows."""
    base, size = nano(), {"num_frames": 17, "height": 64, "width": 64, "decode_noise": 0.0}
    sampling = replace(base.sampling, **size)
    made = LTXVideo(replace(base, codec=small(v0_9_1()), sampling=sampling))
    stir(made)
    latents = Noise(1, (0,)).normal((1, *made.latent_shape(sampling)), "z").repeat(2, 1, 1, 1, 1)
    both = made.decode(latents, noise=Noise(0, (3, 4)), sampling=sampling)
    alone = made.decode(latents[1:], noise=Noise(0, (4,)), sampling=sampling)
    torch.testing.assert_close(both[1:], alone, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(both[0], both[1], atol=1e-3)
    with torch.inference_mode():
        bare = made.codec.decode(latents, time=torch.full((2,), sampling.decode_time))
    torch.testing.assert_close(bare[0], bare[1], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(both, bare, atol=1e-3)
    made.codec.tiling = Tiling(frames=8, side=0)
    parts = made.decode(latents, noise=Noise(0, (3, 4)), sampling=sampling)
    torch.testing.assert_close(parts, both, rtol=1e-4, atol=1e-5)
