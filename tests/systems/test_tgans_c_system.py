"""TGANs-C as a system: what it refuses, and clips that are really of another caption."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch

from kinema.data.clips import split_of, to_clip
from kinema.errors import InputError
from kinema.noise import Noise
from kinema.processes.steps import watching
from kinema.systems.tgans_c import TGANsC
from kinema.systems.tgans_c_config import nano, tiny
from kinema.systems.tgans_c_training import STILL, ShapesClips
from kinema.worlds.shapes import VOCABULARY

PROMPT = "a small red circle moves left on a navy background"


@pytest.fixture(scope="module")
def model() -> TGANsC:
    torch.manual_seed(0)
    return TGANsC(nano())


def test_a_prompt_becomes_a_clip_that_does_not_depend_on_its_batch(model: TGANsC) -> None:
    clip = model.generate(PROMPT, seed=3)
    size = model.config.sampling
    assert clip.frames.shape == (16, 32, 32, 3)
    assert clip.fps == size.fps
    together = model.latents(["a blue star", PROMPT], noise=Noise(0, (9, 3)), sampling=size)
    pixels = model.decode(together, noise=Noise(0, (9, 3)), sampling=size)
    again = to_clip(pixels[1], size.fps)
    assert np.abs(again.frames.astype(int) - clip.frames.astype(int)).max() <= 1


def test_words_are_reported_or_refused(model: TGANsC) -> None:
    assert model.unknown_words("a shiny red circle, shiny") == ["shiny"]
    with pytest.raises(InputError, match="knows no word of the prompt 'une etoile'"):
        model.unknown_words("une etoile")
    with pytest.raises(InputError, match="shorten"):
        model.unknown_words("red " * 30)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("num_frames", 17, "16 frames of 32x32 only"),
        ("width", 48, "16 frames of 32x32 only"),
        ("steps", 20, "in 1 step with guidance 1"),
        ("guidance", 3.0, "in 1 step with guidance 1"),
    ],
)
def test_what_it_cannot_make_is_refused(model: TGANsC, field: str, value: float, said: str) -> None:
    size = replace(model.config.sampling, **{field: value})
    with pytest.raises(InputError, match=said):
        model.generate(PROMPT, seed=0, sampling=size)


def test_a_negative_prompt_is_refused(model: TGANsC) -> None:
    with pytest.raises(InputError, match="no use for the negative prompt 'blur'"):
        model.generate(PROMPT, seed=0, negative="blur")


def test_who_watches_hears_of_the_one_step(model: TGANsC) -> None:
    heard = []
    with watching(heard.append):
        clip = model.generate(PROMPT, seed=0, output="tensor")
    (report,) = heard
    assert (report.step.index, report.step.total) == (0, 1)
    assert torch.equal(report.x0[0], clip)


def test_networks_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="sentences of widths"):
        replace(nano(), text=tiny().text)
    larger = replace(nano().generator, start=(2, 6))
    with pytest.raises(InputError, match="the critics judge"):
        replace(nano(), generator=larger)


@pytest.mark.parametrize("stage", ["text", "gan"])
def test_only_its_own_world_is_read(model: TGANsC, stage: str) -> None:
    plan = model.STAGES[stage]
    recipe = plan.recipes["nano"]
    named = plan.read(model, recipe, "shapes").source((0, 1))["captions"]
    assert named == plan.read(model, recipe, None).source((0, 1))["captions"]
    with pytest.raises(InputError, match="unknown world 'songs'"):
        plan.read(model, recipe, "songs")


def test_captions_fit_and_do_not_depend_on_the_size_of_the_clips(model: TGANsC) -> None:
    still = ShapesClips(split_of("shapes", "train", STILL))(tuple(range(200)))
    whole = ShapesClips(split_of("shapes", "train", model.config.sampling))((5, 6))
    assert still["captions"][5:7] == whole["captions"]
    said = [text for captions in still["captions"] for text in captions]
    assert len(model.text.ids(said)) == 800
    assert {word for text in said for word in text.split()} <= set(VOCABULARY)


def test_clips_of_different_subjects_share_no_caption() -> None:
    drawn = ShapesClips(split_of("shapes", "train", STILL))(tuple(range(400)))
    rows = list(zip(drawn["subjects"], map(set, drawn["captions"])))
    assert len({subject for subject, _ in rows}) > 200
    shared = [(a, b) for (a, said), (b, other) in combinations(rows, 2) if said & other]
    assert all(a == b for a, b in shared)
    for subject, captions in rows:
        _, color, _ = subject.split()
        names = {"purple": {"purple", "violet"}}.get(color, {color})
        assert all(names & set(text.split()) for text in captions)
