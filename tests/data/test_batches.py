"""Batches of a world, parts of them, and sources that take turns."""

from __future__ import annotations

import pytest
import torch

from kinema.data.batches import (
    Alternating,
    Mixture,
    RandomCrops,
    SegmentFrames,
    ShapesStills,
    Source,
    WorldClips,
    segment_frames,
)
from kinema.errors import InputError
from kinema.worlds.shapes import VOCABULARY, Shapes

WORLD = Shapes(seed=0, split="train", num_frames=5, height=24, width=32, fps=12.0)


def test_a_batch_holds_the_samples_asked_for() -> None:
    batch = WorldClips(WORLD)((7, 2))
    assert batch["clips"].shape == (2, 3, 5, 24, 32)
    assert batch["clips"].dtype == torch.float32
    for row, index in enumerate((7, 2)):
        sample = WORLD.sample(index)
        frames = torch.from_numpy(sample.clip.frames).permute(3, 0, 1, 2)
        restored = ((batch["clips"][row] + 1) * 127.5).round().to(torch.uint8)
        assert torch.equal(restored, frames)
        assert batch["captions"][row] == sample.captions
    assert float(batch["clips"].min()) >= -1
    assert float(batch["clips"].max()) <= 1


def test_a_row_does_not_depend_on_its_batch() -> None:
    source = WorldClips(WORLD)
    assert torch.equal(source((3, 4))["clips"][1], source((4,))["clips"][0])


def test_crops_are_windows_of_the_clips_at_places_of_their_own() -> None:
    source = WorldClips(WORLD)
    samples = tuple(range(40))
    whole, cropped = source(samples), RandomCrops(source, side=16, seed=0)(samples)
    assert cropped["clips"].shape == (40, 3, 5, 16, 16)
    assert cropped["captions"] == whole["captions"]
    places = set()
    for clip, crop in zip(whole["clips"], cropped["clips"]):
        windows = clip.unfold(2, 16, 1).unfold(3, 16, 1)  # (3, T, tops, lefts, 16, 16)
        equal = (windows == crop[:, :, None, None]).all(-1).all(-1).all(0).all(0)
        assert equal.any()
        places |= {tuple(place) for place in equal.nonzero().tolist()}
    tops, lefts = ({place[axis] for place in places} for axis in (0, 1))
    assert (min(tops), max(tops)) == (0, 24 - 16)
    assert (min(lefts), max(lefts)) == (0, 32 - 16)


def test_a_crop_belongs_to_its_sample() -> None:
    crops = RandomCrops(WorldClips(WORLD), side=16, seed=0)
    assert torch.equal(crops((3, 4))["clips"][1], crops((4,))["clips"][0])


def test_a_crop_that_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match="a crop of 25 pixels does not fit in clips of 24x32"):
        RandomCrops(WorldClips(WORLD), side=25, seed=0)((0,))


def test_stills_are_clips_of_one_frame_without_a_word_of_motion() -> None:
    world = Shapes(seed=0, split="all", num_frames=1, height=24, width=32, fps=12.0)
    batch, moving = (kind(world)(tuple(range(40))) for kind in (ShapesStills, WorldClips))
    assert batch["clips"].shape == (40, 3, 1, 24, 32)
    assert torch.equal(batch["clips"], moving["clips"])
    for (said,), labels, canonical in zip(batch["captions"], batch["labels"], moving["captions"]):
        assert set(said.split()) <= set(VOCABULARY)
        assert all(labels[name] in said for name in ("size", "color", "shape", "background"))
        # The caption of the world, without its motion.
        words = iter(canonical[0].split())
        assert all(word in words for word in said.split())
    said = " ".join(caption for (caption,) in batch["captions"])
    assert " gradient background" in said
    assert " an o" in said
    assert " a o" not in said


@pytest.mark.parametrize(
    ("length", "count", "middle"),
    [(12, 4, [1, 4, 7, 10]), (16, 4, [1, 5, 9, 13]), (5, 5, [0, 1, 2, 3, 4]), (7, 2, [1, 4])],
)
def test_the_middle_of_each_stretch_is_taken(length: int, count: int, middle: list[int]) -> None:
    assert segment_frames(length, count, None).tolist() == middle


def test_every_frame_of_a_stretch_can_be_drawn_and_no_other() -> None:
    places = torch.linspace(0, 1, 50)[:-1, None].expand(-1, 3)
    chosen = segment_frames(10, 3, places)
    assert [sorted(set(stretch)) for stretch in chosen.T.tolist()] == [
        [0, 1, 2],
        [3, 4, 5],
        [6, 7, 8, 9],
    ]


def test_frames_that_are_not_there_are_refused() -> None:
    with pytest.raises(InputError, match="6 frames cannot be taken from a clip of 5"):
        SegmentFrames(WorldClips(WORLD), num_frames=6, seed=0)((0,))


def test_frames_are_drawn_for_each_sample() -> None:
    source = WorldClips(WORLD)
    samples = tuple(range(20))
    some = SegmentFrames(source, num_frames=2, seed=0)
    batch, whole = some(samples), source(samples)
    assert batch["clips"].shape == (20, 3, 2, 24, 32)
    assert batch["captions"] == whole["captions"]
    taken = set()
    for clip, chosen in zip(whole["clips"], batch["clips"]):
        equal = (clip[:, :, None] == chosen[:, None]).all(-1).all(-1).all(0)  # (T, F)
        taken |= {tuple(row) for row in equal.nonzero().tolist()}
    assert {frame for frame, place in taken if place == 0} == {0, 1}
    assert {frame for frame, place in taken if place == 1} == {2, 3, 4}
    assert torch.equal(some((3, 4))["clips"][1], some((4,))["clips"][0])
    middle = SegmentFrames(source, num_frames=2, seed=None)((3,))
    assert torch.equal(middle["clips"], source((3,))["clips"][:, :, [0, 3]])


def test_sources_take_turns_step_by_step() -> None:
    sources = [lambda samples, name=name: {"from": name, "samples": samples} for name in "ab"]
    both = Alternating(sources, batch_size=3)
    steps = [both(tuple(range(3 * step, 3 * step + 3))) for step in range(4)]
    assert [batch["from"] for batch in steps] == ["a", "b", "a", "b"]
    assert [batch["samples"][0] for batch in steps] == [0, 3, 6, 9]
    assert both((5,))["from"] == "b"


@pytest.mark.parametrize(
    ("share", "others"), [(0.0, ""), (0.5, "1357"), (0.25, "37"), (0.75, "123567")]
)
def test_a_mixture_gives_each_source_its_share_in_its_own_order(share: float, others: str) -> None:
    def named(name: str) -> Source:
        return lambda samples: {"from": name, "samples": samples}

    mixed = Mixture(named("new"), named("known"), share=share, batch_size=4)
    seen = {"new": [], "known": []}
    for step in range(8):
        batch = mixed(tuple(range(4 * step, 4 * step + 4)))
        assert batch["from"] == ("known" if str(step) in others else "new")
        seen[batch["from"]] += batch["samples"]
        half = mixed((4 * step + 2, 4 * step + 3))
        assert half == {"from": batch["from"], "samples": batch["samples"][2:]}
    for samples in seen.values():
        assert samples == list(range(len(samples)))
