"""The driver: windows depend on what came before and on nothing else, and no seam is seen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from kinema.clip import Clip
from kinema.errors import InputError
from kinema.noise import Noise
from kinema.processes.steps import Report, watching
from kinema.rollout import Rollout, Segment, tell
from kinema.rollout.driver import WindowNoise, tail
from kinema.systems.ltx_video import LTXVideo
from kinema.systems.ltx_video_presets import nano
from kinema.worlds.shapes import Shapes

LEFT = Segment(prompt="a small red circle moves left on a navy background", seconds=1.5)
UP = Segment(prompt="a small red circle moves up on a navy background", seconds=2.0)
PICTURE = Shapes(seed=0, split="train", num_frames=2, height=32, width=32, fps=12.0).sample(0).clip


@pytest.fixture(scope="module")
def model() -> LTXVideo:
    """Random weights; fresh ones would predict zeros."""
    made = LTXVideo(nano())
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in made.parts.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    return made


def frames(clips: list[Clip]) -> np.ndarray:
    return np.concatenate([clip.frames for clip in clips])


def rollout(model: LTXVideo, *segments: Segment, image: Clip | None = None) -> Rollout:
    sampling = model.config.sampling
    return Rollout(model, segments, seed=3, sampling=sampling, negative="", image=image)


def test_a_story_is_as_long_as_it_says(model: LTXVideo) -> None:
    clips = list(tell(model, [LEFT, UP], seed=3))
    assert frames(clips).shape == (round(3.5 * 12), 32, 32, 3)
    assert {clip.fps for clip in clips} == {12.0}
    assert [clip.num_frames for clip in clips] == [9, 8, 8, 8, 8, 1]


def test_the_first_window_is_the_clip_of_its_prompt(model: LTXVideo) -> None:
    alone = model.generate(LEFT.prompt, seed=3)
    assert isinstance(alone, Clip)
    first = next(iter(tell(model, [LEFT, UP], seed=3)))
    assert (first.frames == alone.frames).all()
    assert (first.frames != next(iter(tell(model, [LEFT], seed=4))).frames).any()


def test_each_window_is_made_from_the_frames_before_it_alone(model: LTXVideo) -> None:
    told = list(tell(model, [LEFT, UP], seed=3))
    ours = rollout(model, LEFT, UP)
    for number in (1, 3, 5):
        before = tail(told[:number], ours.carried)
        assert before.num_frames <= ours.carried
        again = ours.make(ours.windows[number], before)
        assert (again.frames == told[number].frames).all()


def test_what_is_told_does_not_depend_on_what_follows(model: LTXVideo) -> None:
    long = frames(list(tell(model, [LEFT, UP], seed=3)))
    short = frames(list(tell(model, [replace(LEFT, seconds=17 / 12)], seed=3)))
    assert len(short) == 17
    assert (long[:17] == short).all()


def test_every_window_has_noise_of_its_own() -> None:
    drawn = [
        WindowNoise(seed=0, samples=(3,), window=window).normal((1, 8), "start")
        for window in range(4)
    ]
    assert torch.equal(drawn[0], Noise(0, (3,)).normal((1, 8), "start"))
    for a in range(4):
        for b in range(a):
            assert not torch.equal(drawn[a], drawn[b])


def test_the_prompt_of_a_segment_and_the_negative_are_seen(model: LTXVideo) -> None:
    plain = list(tell(model, [LEFT, UP], seed=3))
    other = list(tell(model, [LEFT, replace(LEFT, seconds=2.0)], seed=3))
    assert (frames(plain[:2]) == frames(other[:2])).all()
    assert (plain[2].frames != other[2].frames).any()
    against = next(iter(tell(model, [LEFT], seed=3, negative="a blue star")))
    assert (against.frames != plain[0].frames).any()


def test_a_picture_begins_the_story(model: LTXVideo) -> None:
    made = next(iter(tell(model, [LEFT], seed=3, image=PICTURE[:1])))
    expected = model.generate(LEFT.prompt, seed=3, image=PICTURE[:1])
    assert isinstance(expected, Clip)
    assert (made.frames == expected.frames).all()
    with pytest.raises(InputError, match="begins with one picture, not with 2 frames"):
        tell(model, [LEFT], seed=3, image=PICTURE)


def test_sizes_and_steps_are_those_that_are_asked_for(model: LTXVideo) -> None:
    sampling = replace(model.config.sampling, num_frames=25, height=64, steps=2)
    steps: list[Report] = []
    with watching(steps.append):
        clips = list(tell(model, [UP], seed=3, sampling=sampling))
    assert frames(clips).shape == (24, 64, 32, 3)
    assert len(steps) == 2 * len(clips)
    with pytest.raises(InputError):
        tell(model, [UP], seed=3, sampling=replace(sampling, height=33))


def test_seams_are_no_larger_than_other_changes(model: LTXVideo) -> None:
    told = list(tell(model, [replace(LEFT, seconds=6.0)], seed=3))
    shown = frames(told).astype(np.float64)
    changes = np.abs(np.diff(shown, axis=0)).mean((1, 2, 3))
    starts = np.cumsum([clip.num_frames for clip in told])[:-1]
    assert len(starts) > 4
    assert (changes[starts - 1] <= 1.5 * np.median(changes)).all()
