"""LTX-Video from prompt to clip at nano size: noise levels, guidance, outputs, files, names."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import kinema
from kinema.clip import Clip
from kinema.condition import Tokens
from kinema.errors import InputError
from kinema.networks.ltx_transformer import patchify, unpatchify
from kinema.nn.factory import multiplies_bfloat16
from kinema.noise import Noise
from kinema.processes.guidance import plain
from kinema.processes.steps import Report, watching
from kinema.systems.ltx_video import LTXVideo
from kinema.systems.ltx_video_presets import full, nano, tiny
from kinema.systems.ltx_video_versions import v0_9_1, v0_9_5, v0_9_7_13b_dev
from kinema.weights.files import open_checkpoint, save

PROMPT = "a small red circle moves left on a navy background"
PROMPTS = (PROMPT, "a large green star moves up on a black background", PROMPT)


@pytest.fixture(scope="module")
def model() -> LTXVideo:
    """Weights that are nowhere zero: the first ones are, in the output layer."""
    torch.manual_seed(0)
    made = LTXVideo(nano())
    with torch.no_grad():
        for parameter in made.parts.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return made


@pytest.fixture(scope="module")
def saved(model: LTXVideo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "model.safetensors"
    model.save_pretrained(path)
    return path


# -- sizes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("preset", "transformer", "encoder", "decoder"),
    [
        (full, 1_923_385_472, 180_404_353, 238_789_296),
        (v0_9_1, 1_923_385_472, 180_404_353, 754_572_081),
        (v0_9_5, 1_923_385_472, 694_098_881, 552_814_641),
        (v0_9_7_13b_dev, 13_042_569_344, 694_098_881, 552_814_641),
    ],
)
def test_published_sizes(
    preset: Callable[[], Any], transformer: int, encoder: int, decoder: int
) -> None:
    built = LTXVideo(preset(), device="meta")
    parts = (built.transformer, built.codec.encoder, built.codec.decoder)
    counts = [sum(parameter.numel() for parameter in part.parameters()) for part in parts]
    assert counts == [transformer, encoder, decoder]


# -- sampling -------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [2, 8, 40])
@pytest.mark.parametrize("num_tokens", [8, 1024, 6144])
@pytest.mark.parametrize("terminal", [0.05, 0.1])
def test_noise_levels(model: LTXVideo, steps: int, num_tokens: int, terminal: float) -> None:
    sigmas = model.sigmas(steps, num_tokens, terminal)
    assert sigmas.shape == (steps + 1,)
    assert float(sigmas[0]) == 1.0
    assert float(sigmas[-2]) == pytest.approx(terminal, abs=1e-6)
    assert float(sigmas[-1]) == 0.0
    assert (sigmas.diff() < 0).all()


def test_one_step_goes_from_noise_to_the_clip(model: LTXVideo) -> None:
    assert model.sigmas(1, 64, 0.1).tolist() == [1.0, 0.0]


def test_more_tokens_stay_longer_in_the_noise(model: LTXVideo) -> None:
    few, many = model.sigmas(8, 256, 0.1), model.sigmas(8, 4096, 0.1)
    assert (many[1:-2] > few[1:-2]).all()


def sampled(model: LTXVideo, prompts: tuple[str, ...] = (PROMPT,), **changes: Any) -> Tensor:
    sampling = replace(model.config.sampling, **changes)
    noise = Noise(0, tuple(range(len(prompts))))
    return model.latents(prompts, noise=noise, sampling=sampling, negative="")


def test_guidance_of_scale_one_is_none(model: LTXVideo) -> None:
    sampling = model.config.sampling
    noise = Noise(0, (0,))
    shape = model.codec.latent_shape(sampling.num_frames, sampling.height, sampling.width)
    x = patchify(model.process.start((1, *shape), noise))
    with torch.inference_mode():
        expected = model.process.sample(
            model.transformer,
            x,
            model.sigmas(sampling.steps, x.shape[1], sampling.terminal),
            conditions=model.prepare([PROMPT], "", sampling),
            guidance=plain,
        )
    unguided = sampled(model, guidance=1.0, perturbed=0.0)
    torch.testing.assert_close(unguided, unpatchify(expected, *shape[2:]))


@pytest.mark.parametrize(
    "changes", [{"guidance": 4.0}, {"perturbed": 1.0}, {"guidance": 4.0, "rescale": 0.9}]
)
def test_what_steers_changes_the_latents(model: LTXVideo, changes: dict[str, float]) -> None:
    base = {"guidance": 1.0, "perturbed": 0.0, "rescale": 0.0}
    assert not torch.allclose(sampled(model, **base), sampled(model, **{**base, **changes}))
    if "rescale" in changes:
        without = {**base, **changes, "rescale": 0.0}
        assert not torch.allclose(sampled(model, **without), sampled(model, **{**base, **changes}))


def test_the_negative_prompt_counts_where_there_is_guidance(model: LTXVideo) -> None:
    def with_negative(negative: str, guidance: float) -> Tensor:
        sampling = replace(model.config.sampling, guidance=guidance, perturbed=0.0)
        return model.latents([PROMPT], noise=Noise(0, (0,)), sampling=sampling, negative=negative)

    assert not torch.equal(with_negative("", 3.0), with_negative("red", 3.0))
    assert torch.equal(with_negative("", 1.0), with_negative("red", 1.0))


def test_the_null_is_the_encoded_negative(model: LTXVideo) -> None:
    conditions = model.prepare([PROMPT], "red", model.config.sampling)
    alone = model.prepare(["red"], "", model.config.sampling)
    null = conditions.of(Tokens, "text").null
    assert null is not None
    torch.testing.assert_close(null.x, alone.of(Tokens, "text").x)


def test_rows_are_what_they_are_alone(model: LTXVideo) -> None:
    together = sampled(model, PROMPTS)
    for row, prompt in enumerate(PROMPTS):
        alone = model.generate(prompt, seed=row, output="latents")
        torch.testing.assert_close(together[row], alone, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(together[0], together[2]), "two seeds give one clip"


# -- the main job ---------------------------------------------------------------------------


def test_a_seed_is_a_clip(model: LTXVideo) -> None:
    first, again = (model.generate(PROMPT, seed=5, output="tensor") for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.allclose(first, model.generate(PROMPT, seed=6, output="tensor"))
    assert not torch.allclose(first, model.generate(PROMPTS[1], seed=5, output="tensor"))


def test_outputs(model: LTXVideo) -> None:
    size = model.config.sampling
    latents = model.generate(PROMPT, seed=0, output="latents")
    pixels = model.generate(PROMPT, seed=0, output="tensor")
    clip = model.generate(PROMPT, seed=0)
    assert latents.shape == model.codec.latent_shape(size.num_frames, size.height, size.width)
    assert pixels.shape == (3, size.num_frames, size.height, size.width)
    assert torch.isfinite(pixels).all()
    assert isinstance(clip, Clip)
    assert clip.frames.shape == (size.num_frames, size.height, size.width, 3)
    assert clip.fps == size.fps
    assert (clip.frames == Clip.from_float(pixels.numpy(), size.fps).frames).all()


def test_who_watches_sees_every_step(model: LTXVideo) -> None:
    seen: list[Report] = []
    sampling = replace(model.config.sampling, steps=5)
    with watching(seen.append):
        latents = model.generate(PROMPT, seed=0, sampling=sampling, output="latents")
    assert [(report.step.index, report.step.total) for report in seen] == [
        (index, 5) for index in range(5)
    ]
    assert seen[0].step.sigma == 1.0
    assert [report.step.sigma_next for report in seen[:-1]] == [r.step.sigma for r in seen[1:]]
    assert seen[-1].step.sigma_next == 0.0
    torch.testing.assert_close(unpatchify(seen[-1].x, *latents.shape[2:])[0], latents)
    torch.testing.assert_close(seen[-1].x0, seen[-1].x)


def test_who_watches_can_stop(model: LTXVideo) -> None:
    seen = []

    def stop(report: Report) -> None:
        seen.append(report.step.index)
        if report.step.index == 1:
            raise StopIteration

    with watching(stop), pytest.raises(StopIteration):
        model.generate(PROMPT, seed=0)
    assert seen == [0, 1]


def test_other_sizes(model: LTXVideo) -> None:
    sampling = replace(model.config.sampling, num_frames=17, height=48, width=64)
    pixels = model.generate(PROMPT, seed=0, sampling=sampling, output="tensor")
    assert pixels.shape == (3, 17, 48, 64)


def test_a_size_that_does_not_fit_is_named(model: LTXVideo) -> None:
    sampling = replace(model.config.sampling, num_frames=10, width=40)
    with pytest.raises(InputError, match=r"nearest 9 or 17.*width.*nearest 32 or 48"):
        model.generate(PROMPT, seed=0, sampling=sampling)


def test_words(model: LTXVideo) -> None:
    assert model.unknown_words(PROMPT) == []
    assert model.unknown_words("a Red circle, wibbling wildly") == ["wibbling", "wildly"]
    with pytest.raises(InputError, match="knows no word of the prompt"):
        model.unknown_words("xyzzy")
    with pytest.raises(InputError, match="shorten it"):
        model.unknown_words("red " * 10_000)
    with pytest.raises(InputError):
        model.unknown_words("  ")


def test_the_decoder_is_told_how_noisy_its_latents_are(model: LTXVideo) -> None:
    latents, noise = sampled(model), Noise(0, (0,))
    sampling = replace(model.config.sampling, decode_time=0.0, decode_noise=0.0)
    exact = model.decode(latents, noise=noise, sampling=sampling)
    torch.testing.assert_close(exact, model.codec.decode(latents, time=torch.zeros(1)))
    noisy = model.decode(latents, noise=noise, sampling=replace(sampling, decode_noise=0.2))
    told = model.decode(latents, noise=noise, sampling=replace(sampling, decode_time=0.2))
    assert not torch.allclose(exact, noisy)
    assert not torch.allclose(exact, told)


# -- files ----------------------------------------------------------------------------------


def test_a_saved_model_makes_the_same_clip(model: LTXVideo, saved: Path) -> None:
    loaded = kinema.load(f"ltx_video@{saved}")
    assert isinstance(loaded, LTXVideo)
    expected = model.generate(PROMPT, seed=0, output="tensor")
    assert torch.equal(loaded.generate(PROMPT, seed=0, output="tensor"), expected)


def test_types_of_weights(model: LTXVideo, saved: Path, tmp_path: Path) -> None:
    half = tmp_path / "half.safetensors"
    model.save_pretrained(half, dtype=torch.bfloat16)
    assert half.stat().st_size < 0.6 * saved.stat().st_size
    fast = torch.bfloat16 if multiplies_bfloat16("cpu") else torch.float32
    assert LTXVideo.from_pretrained(half).dtype == fast
    assert LTXVideo.from_pretrained(saved).dtype == torch.float32
    loaded = LTXVideo.from_pretrained(half, dtype=torch.float32)
    assert {p.dtype for p in loaded.parts.parameters()} == {torch.float32}
    given, weight = loaded.transformer.proj_out.weight, model.transformer.proj_out.weight
    assert torch.equal(given, weight.bfloat16().float())
    loaded = LTXVideo.from_pretrained(saved, dtype=torch.bfloat16)
    assert {p.dtype for p in loaded.parts.parameters()} == {torch.bfloat16}


def test_given_frames_in_bfloat16_show_nearly_the_same(model: LTXVideo, saved: Path) -> None:
    prompt, given = "a red circle moves left", model.generate("a red circle moves left", seed=0)
    half = LTXVideo.from_pretrained(saved, dtype=torch.bfloat16)
    clips = [each.generate(prompt, seed=1, extend=given).frames for each in (model, half)]
    apart = abs(clips[0].astype(int) - clips[1])
    assert 0 < apart.mean() < 2


def test_an_existing_file_stays(model: LTXVideo, saved: Path) -> None:
    before = saved.read_bytes()
    with pytest.raises(InputError, match="exists"):
        model.save_pretrained(saved)
    assert saved.read_bytes() == before


def test_a_warm_start_copies_roles(model: LTXVideo) -> None:
    other = LTXVideo(nano())
    codec = {name: value.clone() for name, value in other.codec.state_dict().items()}
    other.start_from(model, ("transformer", "text"))
    assert torch.equal(other.transformer.proj_out.weight, model.transformer.proj_out.weight)
    assert all(torch.equal(codec[name], v) for name, v in other.codec.state_dict().items())
    with pytest.raises(InputError, match="cannot start from a codec of another size"):
        other.start_from(LTXVideo(tiny(), device="meta"), ("codec",))


def contents(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    checkpoint = open_checkpoint(path)
    tensors = {name: value.read().clone() for name, value in checkpoint.tensors.items()}
    return tensors, dict(checkpoint.metadata)


def test_a_damaged_file_is_refused(saved: Path, tmp_path: Path) -> None:
    whole = saved.read_bytes()
    path = tmp_path / "cut.safetensors"
    for length in (0, 7, 8, 1000, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match="is damaged or no safetensors file"):
            LTXVideo.from_pretrained(path)
    with pytest.raises(InputError, match="no such file"):
        LTXVideo.from_pretrained(tmp_path / "absent.safetensors")


def test_a_file_with_nan_is_refused(saved: Path, tmp_path: Path) -> None:
    tensors, metadata = contents(saved)
    tensors["codec.decoder.conv_in.conv.weight"][0] = float("nan")
    path = tmp_path / "nan.safetensors"
    save(path, tensors, metadata, overwrite=False)
    with pytest.raises(InputError, match=r"codec\.decoder\.conv_in\.conv\.weight holds NaN"):
        LTXVideo.from_pretrained(path)


def test_a_foreign_file_is_refused(saved: Path, tmp_path: Path) -> None:
    tensors, metadata = contents(saved)
    path = tmp_path / "foreign.safetensors"
    for wrong in ({}, {"config": metadata["config"]}, {**metadata, "system": "cogvideox"}):
        save(path, tensors, wrong, overwrite=True)
        with pytest.raises(InputError, match="holds no ltx_video model"):
            LTXVideo.from_pretrained(path)


def test_a_file_that_does_not_fit_its_configuration_is_refused(saved: Path, tmp_path: Path) -> None:
    tensors, metadata = contents(saved)
    path = tmp_path / "other.safetensors"
    lacking = {name: value for name, value in tensors.items() if "proj_out" not in name}
    save(path, lacking, metadata, overwrite=True)
    with pytest.raises(InputError, match="does not fit"):
        LTXVideo.from_pretrained(path)
    for change in ({"transformer": 3}, {"colour": 1}):
        config = {**json.loads(metadata["config"]), **change}
        save(path, tensors, {**metadata, "config": json.dumps(config)}, overwrite=True)
        with pytest.raises(InputError, match=next(iter(change))):
            LTXVideo.from_pretrained(path)


# -- names ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ltx_vidoe", "ltx_vidoe:shapes", "ltx_vidoe@model.safetensors"])
def test_an_unknown_system_is_answered_with_the_nearest(name: str) -> None:
    with pytest.raises(InputError, match="unknown system 'ltx_vidoe'; did you mean 'ltx_video'"):
        kinema.load(name)


def test_an_unknown_tag_is_named() -> None:
    with pytest.raises(InputError, match="unknown tag of ltx_video 'shapez'; "):
        kinema.load("ltx_video:shapez")


def test_an_architecture_is_no_model() -> None:
    with pytest.raises(InputError, match=r"name weights too: ltx_video[:@]"):
        kinema.load("ltx_video")
