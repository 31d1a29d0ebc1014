"""Given frames of LTX-Video: where their tokens stand, and what stays."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from kinema.clip import Clip
from kinema.condition import Conditions, Grid, Tokens
from kinema.errors import InputError
from kinema.networks.ltx_transformer import patchify
from kinema.noise import Noise
from kinema.systems.keyframes import Keyframe, faded
from kinema.systems.ltx_video import LTXVideo
from kinema.systems.ltx_video_presets import full, nano
from kinema.systems.ltx_video_versions import v0_9_5
from kinema.worlds.shapes import Shapes

PROMPT = "a small red circle moves left on a navy background"
OTHER = "a large green star moves up on a black background"
SIZE = (32, 64)
CLIP = Shapes(seed=0, split="train", num_frames=25, height=32, width=64, fps=12.0).sample(0).clip
CELLS = 2 * 4  # tokens of a latent frame


def frame(index: int) -> Clip:
    """One frame of the clip, as a picture."""
    return CLIP[index : index + 1]


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
    return made


def encoded(model: LTXVideo, clip: Clip) -> Tensor:
    """Tokens (1, N, C) of frames that are encoded together."""
    with torch.no_grad():
        return patchify(model.codec.encode(torch.from_numpy(clip.to_float())[None]))


@dataclass
class Seen:
    """What the transformer was called with: states, times (B, N), positions (B, 3, N)."""

    states: list[Tensor]
    times: list[Tensor]
    positions: list[Tensor]


@contextlib.contextmanager
def watched(model: LTXVideo) -> Iterator[Seen]:
    """Notes every call of the transformer inside the block."""
    seen = Seen([], [], [])

    def note(module: nn.Module, given: tuple[Tensor, Tensor, Conditions]) -> None:
        seen.states.append(given[0])
        seen.times.append(given[1])
        seen.positions.append(given[2].of(Grid, "positions").x)

    handle = model.transformer.register_forward_pre_hook(note)
    try:
        yield seen
    finally:
        handle.remove()


def sampled(model: LTXVideo, *keyframes: Keyframe, **changes: Any) -> Tensor:
    """Latents (1, C, t, h, w) of seed 0 without guidance."""
    changes = {"guidance": 1.0, "perturbed": 0.0, **changes}
    sampling = replace(model.config.sampling, **changes)
    return model.latents(
        [PROMPT], noise=Noise(0, (0,)), sampling=sampling, negative="", keyframes=keyframes
    )


# -- what stays -----------------------------------------------------------------------------


def test_the_first_frame_stays_as_it_was_encoded(model: LTXVideo) -> None:
    tokens = patchify(sampled(model, Keyframe(clip=frame(3))))
    assert torch.equal(tokens[:, :CELLS], encoded(model, frame(3)))
    assert not torch.equal(tokens, patchify(sampled(model)))


def test_a_start_of_several_frames_stays(model: LTXVideo) -> None:
    tokens = patchify(sampled(model, Keyframe(clip=CLIP[:9])))
    assert torch.equal(tokens[:, : 2 * CELLS], encoded(model, CLIP[:9]))
    # The codec is causal: one frame and the first of nine give the same first latent frame.
    one = patchify(sampled(model, Keyframe(clip=frame(0))))[:, :CELLS]
    torch.testing.assert_close(tokens[:, :CELLS], one)
    whole = patchify(sampled(model, Keyframe(clip=CLIP[:17])))
    assert torch.equal(whole, encoded(model, CLIP[:17]))


def test_noise_on_given_frames_fades_to_that_of_the_last_level(model: LTXVideo) -> None:
    terminal = model.config.sampling.terminal
    with watched(model) as seen:
        tokens = patchify(sampled(model, Keyframe(clip=frame(3)), keyframe_noise=0.15))
    left = tokens[:, :CELLS] - encoded(model, frame(3))
    shown = seen.states[0][:, :CELLS] - encoded(model, frame(3))
    assert float(shown.std()) == pytest.approx(0.15, rel=0.3)
    assert float(left.std()) == pytest.approx(0.15 * terminal**2, rel=0.3)


def test_an_appended_frame_steers_and_is_cut_off(model: LTXVideo) -> None:
    free, led = sampled(model), sampled(model, Keyframe(clip=frame(5), frame=16))
    assert led.shape == free.shape
    assert not torch.allclose(led, free)
    later = sampled(model, Keyframe(clip=frame(5), frame=8))
    assert not torch.allclose(led, later), "the time of a keyframe changes nothing"


def test_a_weak_keyframe_lies_between_none_and_a_firm_one(model: LTXVideo) -> None:
    start = encoded(model, frame(3))
    far = [
        float(
            (
                patchify(sampled(model, Keyframe(clip=frame(3), strength=m)))[:, :CELLS] - start
            ).norm()
        )
        for m in (1.0, 0.7, 0.3)
    ]
    far.append(float((patchify(sampled(model))[:, :CELLS] - start).norm()))
    assert far[0] == 0.0
    assert far == sorted(far)


def test_rows_of_a_batch_share_the_keyframes(model: LTXVideo) -> None:
    given = (Keyframe(clip=frame(0)), Keyframe(clip=frame(9), frame=10, strength=0.6))
    together = model.latents(
        [PROMPT, OTHER],
        noise=Noise(0, (4, 7)),
        sampling=model.config.sampling,
        negative="",
        keyframes=given,
    )
    for row, (prompt, seed) in enumerate(((PROMPT, 4), (OTHER, 7))):
        alone = model.generate(prompt, seed=seed, keyframes=given, output="latents")
        assert isinstance(alone, Tensor)
        torch.testing.assert_close(together[row], alone, rtol=1e-4, atol=1e-5)


# -- what the network is told ---------------------------------------------------------------


def test_every_token_has_its_own_time(model: LTXVideo) -> None:
    firm, weak = Keyframe(clip=frame(0)), Keyframe(clip=frame(9), frame=9, strength=0.6)
    with watched(model) as seen:
        sampled(model, firm, weak)
    sigmas = model.sigmas(4, 3 * CELLS, model.config.sampling.terminal)
    assert len(seen.times) == 4
    for time, sigma in zip(seen.times, sigmas.tolist()):
        parts = time.split([CELLS, 2 * CELLS, CELLS], 1)
        for part, expected in zip(parts, (0.0, sigma, min(sigma, 0.4))):
            torch.testing.assert_close(part, torch.full_like(part, expected))


def test_plain_generation_has_one_time_and_no_more_tokens(model: LTXVideo) -> None:
    with watched(model) as seen:
        sampled(model)
    assert {tuple(time.shape) for time in seen.times} == {(1,)}
    assert {tuple(state.shape[:2]) for state in seen.states} == {(1, 3 * CELLS)}


def test_an_appended_frame_begins_as_the_process_would_have_it(model: LTXVideo) -> None:
    weak = Keyframe(clip=frame(9), frame=9, strength=0.6)
    with watched(model) as seen:
        sampled(model, weak)
    given = encoded(model, frame(9))
    fresh = Noise(0, (0,)).normal(given.shape, "keyframe 9")
    torch.testing.assert_close(seen.states[0][:, -CELLS:], 0.6 * given + 0.4 * fresh)


@pytest.mark.parametrize("preset", [full, v0_9_5, nano])
def test_positions_are_those_of_the_published_pipeline(preset: Any) -> None:
    diffusers = pytest.importorskip("diffusers")
    pipeline = diffusers.LTXConditionPipeline
    made = LTXVideo(preset(), device="meta")
    stride, causal = made.codec.stride, made.config.causal_positions
    text = Tokens(x=torch.zeros(2, 1, 1))
    frames = torch.tensor([[40, 7], [80, 1]])
    system = SimpleNamespace(codec=made.codec, config=made.config, device=torch.device("cpu"))
    told = LTXVideo.conditions(system, text, (4, 2, 4), 24.0, frames)  # type: ignore[arg-type]
    x = told.of(Grid, "positions").x
    assert x.shape == (2, 3, 6 * CELLS)
    scale = {"scale_factor": stride[1], "scale_factor_t": stride[0]}
    for row in range(2):
        parts = []
        for length, index in ((4, 0), (1, int(frames[row, 0])), (1, int(frames[row, 1]))):
            ids = pipeline._prepare_video_ids(1, length, 2, 4)
            parts.append(pipeline._scale_video_ids(ids, **scale, frame_index=index).float()[0])
        expected = torch.cat(parts, 1)
        if not causal:  # this pipeline knows the later positions only
            expected[0, : 4 * CELLS] = torch.arange(4).repeat_interleave(CELLS) * stride[0]
        expected[0] /= 24.0
        torch.testing.assert_close(x[row], expected)


# -- the main job ---------------------------------------------------------------------------


def test_a_picture_of_any_size_is_cut_to_the_proportions_of_the_clip(model: LTXVideo) -> None:
    large = np.zeros((1, 64, 200, 3), np.uint8)
    large[0, :, 36:164] = CLIP.frames[0].repeat(2, 0).repeat(2, 1)
    keyframe = Keyframe(clip=Clip(large, 12.0))
    middle = Clip(large[:, :, 36:164], 12.0).resized(*SIZE)
    # Beside the cut, pixels beyond it have their share in what is made smaller.
    inside = torch.from_numpy(middle.to_float())[..., 2:-2]
    torch.testing.assert_close(keyframe.pixels(*SIZE)[..., 2:-2], inside)
    tokens = patchify(sampled(model, keyframe))[:, :CELLS]
    assert torch.equal(tokens, encoded(model, Clip(large, 12.0).covering(*SIZE)))


def test_an_image_is_the_keyframe_at_the_start(model: LTXVideo, tmp_path: Any) -> None:
    expected = model.generate(PROMPT, seed=1, keyframes=[Keyframe(clip=frame(0))], output="tensor")
    Image.fromarray(CLIP.frames[0]).save(tmp_path / "a.png")
    for image in (frame(0), tmp_path / "a.png", str(tmp_path / "a.png")):
        found = model.generate(PROMPT, seed=1, image=image, output="tensor")
        assert isinstance(found, Tensor)
        assert torch.equal(found, expected)


def test_a_clip_goes_on_with_its_own_frames_first(model: LTXVideo) -> None:
    whole = model.generate(PROMPT, seed=1, extend=CLIP)
    assert isinstance(whole, Clip)
    assert (whole.num_frames, whole.fps, whole.size) == (25 + 17 - 9, 12.0, SIZE)
    assert (whole.frames[:25] == CLIP.frames).all()
    held = Keyframe(clip=CLIP[16:])
    made = model.generate(PROMPT, seed=1, keyframes=[held])
    assert isinstance(made, Clip)
    assert (whole.frames[25:] == faded(CLIP.frames[-1], made.frames[8:])).all()
    assert (whole.frames[-1] == made.frames[-1]).all()
    latents = model.generate(PROMPT, seed=1, extend=CLIP, output="latents")
    assert isinstance(latents, Tensor)
    assert torch.equal(patchify(latents[None])[:, : 2 * CELLS], encoded(model, CLIP[16:]))


def test_a_keyframe_of_an_extension_counts_from_its_start(model: LTXVideo) -> None:
    last = Keyframe(clip=frame(3), frame=32)
    with watched(model) as seen:
        model.generate(PROMPT, seed=1, extend=CLIP, keyframes=[last])
    seconds = seen.positions[0][0, 0, -CELLS:]
    torch.testing.assert_close(seconds, torch.full((CELLS,), 16 / 12))
    with pytest.raises(InputError, match="frame 24 lies within the clip that goes on"):
        model.generate(PROMPT, seed=1, extend=CLIP, keyframes=[replace(last, frame=24)])


def test_animate_goes_on_from_a_picture_or_a_clip(model: LTXVideo) -> None:
    for clip, count in ((frame(0), 17), (CLIP, 33)):
        inputs = {"prompt": model.example("animate", None)["prompt"], "clip": clip}  # type: ignore[arg-type]
        made = model.run(inputs, 0, "animate")["clip"]
        assert isinstance(made, Clip)
        assert made.num_frames == count
        assert (made.frames[: clip.num_frames] == clip.frames).all()


def test_what_does_not_fit_is_named(model: LTXVideo) -> None:
    for keyframe, said in (
        (Keyframe(clip=frame(0), frame=17), "ends at frame 17; the clip has frames 0 to 16"),
        (Keyframe(clip=CLIP[:3]), "3 frames cannot be given at frame 0"),
        (Keyframe(clip=CLIP[:9], frame=4), "9 frames cannot be given at frame 4"),
    ):
        with pytest.raises(InputError, match=said):
            model.generate(PROMPT, seed=0, keyframes=[keyframe])
