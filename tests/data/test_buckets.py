"""Which bucket a clip goes to, which windows it gives, and which rows make up a batch."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinema.data.buckets import Bucket, BucketOrder, Shaper, windows

SHAPES = Shaper(Bucket(25, 96, 96), (4, 16, 16))
LTX = Shaper(Bucket(121, 512, 768), (8, 32, 32))


@pytest.mark.parametrize(
    ("shaper", "file", "bucket"),
    [
        (SHAPES, (25, 96, 96), (25, 96, 96)),
        (SHAPES, (300, 1000, 1000), (25, 96, 96)),
        (SHAPES, (1, 30, 30), (1, 96, 96)),
        (SHAPES, (24, 96, 96), (21, 96, 96)),
        (SHAPES, (5, 96, 96), (5, 96, 96)),
        (SHAPES, (25, 1080, 1920), (25, 64, 112)),
        (SHAPES, (25, 1920, 1080), (25, 112, 64)),
        (LTX, (121, 512, 768), (121, 512, 768)),
        (LTX, (100, 1080, 1920), (97, 448, 800)),
        (LTX, (121, 480, 640), (121, 480, 640)),
    ],
)
def test_a_clip_goes_to_the_bucket_of_its_shape_and_length(
    shaper: Shaper, file: tuple[int, int, int], bucket: tuple[int, int, int]
) -> None:
    assert shaper.bucket(*file) == bucket


@given(st.integers(5, 400), st.integers(16, 4000), st.integers(16, 4000))
def test_a_bucket_is_what_the_codec_takes_and_no_larger_than_the_model(
    num_frames: int, height: int, width: int
) -> None:
    bucket = SHAPES.bucket(num_frames, height, width)
    assert bucket.num_frames <= min(num_frames, 25)
    assert bucket.num_frames % 4 == 1
    assert bucket.height % 16 == bucket.width % 16 == 0
    assert 0.75 * 96 * 96 <= bucket.height * bucket.width <= 96 * 96


def test_the_shortest_clip_has_two_latent_frames() -> None:
    assert (SHAPES.shortest, LTX.shortest) == (5, 9)
    assert Shaper(Bucket(1, 96, 96), (4, 16, 16)).shortest == 1


@pytest.mark.parametrize(
    ("num_frames", "starts"),
    [
        (25, (0,)),
        (26, (0,)),
        (37, (6,)),
        (38, (0, 13)),
        (50, (0, 25)),
        (100, (0, 25, 50, 75)),
        (110, (0, 28, 56, 85)),
    ],
)
def test_a_long_clip_gives_windows_over_all_of_it(num_frames: int, starts: tuple[int, ...]) -> None:
    assert windows(num_frames, 25) == starts


@given(st.integers(1, 500), st.integers(1, 60))
def test_windows_lie_inside(num_frames: int, length: int) -> None:
    length = min(length, num_frames)
    starts = windows(num_frames, length)
    assert starts == tuple(sorted(set(starts)))
    assert min(starts) >= 0
    assert max(starts) + length <= num_frames


@pytest.mark.parametrize("sizes", [(7, 1, 4), (3,), (1, 1)])
def test_in_a_cycle_every_row_comes_equally_often(sizes: tuple[int, ...]) -> None:
    size, steps = 3, sum(sizes)
    order = BucketOrder(sizes, batch_size=size, seed=0)
    for cycle in range(2):
        seen: Counter[tuple[int, int]] = Counter()
        for step in range(cycle * steps, (cycle + 1) * steps):
            bucket, rows = order(tuple(range(step * size, (step + 1) * size)))
            assert len(rows) == size
            seen.update((bucket, row) for row in rows)
        assert seen == {(b, r): size for b, count in enumerate(sizes) for r in range(count)}


def test_no_row_of_a_bucket_comes_again_before_all_have_come() -> None:
    order = BucketOrder((6, 2), batch_size=2, seed=1)
    rows = []
    for step in range(8):
        bucket, places = order((2 * step, 2 * step + 1))
        rows += places if bucket == 0 else []
    assert [sorted(rows[i : i + 6]) for i in (0, 6)] == [list(range(6))] * 2
    assert rows[:6] != rows[6:]


def test_a_batch_depends_on_its_indices_and_the_seed_alone() -> None:
    sizes, samples = (7, 5), [tuple(range(4 * step, 4 * step + 4)) for step in range(40)]
    first, again = (BucketOrder(sizes, batch_size=4, seed=0) for _ in range(2))
    forwards = [first(batch) for batch in samples]
    assert [again(batch) for batch in reversed(samples)] == forwards[::-1]
    assert [BucketOrder(sizes, batch_size=4, seed=1)(batch) for batch in samples] != forwards
    bucket, rows = forwards[9]
    halves = [again(samples[9][:2]), again(samples[9][2:])]
    assert [half[0] for half in halves] == [bucket] * 2
    assert halves[0][1] + halves[1][1] == rows
