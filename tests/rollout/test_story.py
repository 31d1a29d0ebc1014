"""Stories: what a file may say, and where the windows of its segments begin."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from kinema.errors import InputError
from kinema.rollout.story import Segment, read_story
from kinema.rollout.windows import Window, plan

CIRCLE = "a red circle moves left"


def story(*seconds: float) -> list[Segment]:
    return [Segment(prompt=CIRCLE, seconds=each) for each in seconds]


def test_a_file_is_read_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "story.txt"
    path.write_bytes(
        b"\xef\xbb\xbf# nobody | 3\n\na red circle | 4\r\n  a | b|1.5 \n#\n\tlast one | 1e-1"
    )
    assert read_story(path) == [
        Segment(prompt="a red circle", seconds=4.0, place=f"{path}:3"),
        Segment(prompt="a | b", seconds=1.5, place=f"{path}:4"),
        Segment(prompt="last one", seconds=0.1, place=f"{path}:6"),
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "holds no segment; write one in each line: prompt | seconds"),
        (b"# only this\n \n", "holds no segment"),
        (b"a | 1\na red circle\n", "story.txt:2: no seconds; write: prompt | seconds"),
        (b"a | one", "story.txt:1: 'one' after the last | is no number of seconds"),
        (b"a |", "story.txt:1: '' after the last | is no number"),
        (b"a | nan", "story.txt:1: 'nan' after the last | is no number"),
        (b"a | 0", "story.txt:1: a segment lasts more than 0 and at most 3600 seconds, not 0"),
        (b"a | -2", "at most 3600 seconds, not -2"),
        (b"a | inf", "at most 3600 seconds, not inf"),
        (b" | 2", "story.txt:1: the prompt is empty"),
        (b"\xff | 2", "story.txt:1: the line is not UTF-8 text"),
    ],
)
def test_the_line_that_cannot_be_used_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "story.txt"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_story(path)
    assert said in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read the story in .*no\.txt: No such file"):
        read_story(tmp_path / "no.txt")


def test_a_prompt_is_text() -> None:
    with pytest.raises(InputError, match="the prompt is not UTF-8 text"):
        Segment(prompt="\ud800", seconds=1.0)


def test_a_minute_of_the_shapes_model_in_windows() -> None:
    windows = plan(story(30.0, 30.0), num_frames=25, fps=12.0, stride=4)
    # 9 of 25 frames are held, so windows add 16; borders lie after 1 + 4 k frames.
    assert windows[:2] == [
        Window(number=0, segment=0, start=0, frames=25),
        Window(number=1, segment=0, start=25, frames=16),
    ]
    second = next(window for window in windows if window.segment)
    assert second.start == 361
    assert windows[-1].start + windows[-1].frames == 720
    assert len(windows) == 1 + 21 + 23


def test_a_short_first_segment_holds_what_there_is() -> None:
    windows = plan(story(0.4, 2.0), num_frames=25, fps=12.0, stride=4)
    assert [(w.start, w.frames) for w in windows] == [(0, 5), (5, 20), (25, 4)]


@given(
    seconds=st.lists(st.floats(0.5, 9.0), min_size=1, max_size=8),
    fps=st.sampled_from([8.0, 12.0, 23.976, 30.0]),
    stride=st.sampled_from([1, 4, 8]),
    latents=st.integers(1, 7),
)
def test_windows_follow_one_another_and_begin_where_the_codec_can_hold(
    seconds: list[float], fps: float, stride: int, latents: int
) -> None:
    assume(min(seconds) * fps >= stride)  # a shorter segment may be refused
    full = 1 + stride * latents
    windows = plan(story(*seconds), num_frames=full, fps=fps, stride=stride)
    assert [window.number for window in windows] == list(range(len(windows)))
    assert windows[0].start == 0
    assert all(0 < window.frames <= full for window in windows)
    assert all(a.start + a.frames == b.start for a, b in pairwise(windows))
    assert all(window.start % stride == 1 % stride for window in windows[1:])
    assert windows[-1].start + windows[-1].frames == round(sum(seconds) * fps)
    told = 0.0
    for number, length in enumerate(seconds):
        first = next(window for window in windows if window.segment == number)
        assert abs(first.start - told * fps) <= max(stride / 2, 1) + 1e-6
        told += length


@pytest.mark.parametrize(
    ("seconds", "num_frames", "said"),
    [
        ((), 25, "the story has no segment"),
        ((2.0, 0.1, 2.0), 25, "segment 2: 0.1 seconds leave no frame at 12 per second; make it"),
        ((0.01,), 25, "segment 1: 0.01 seconds leave no frame"),
        ((2.0,), 4, "4 frames leave none after those of the clip that goes on; make 5 or more"),
        ((3600.0,) * 9999, 25, "segment 232: the story is longer than 10,000,000 frames; tell"),
    ],
)
def test_what_cannot_be_cut_into_windows(
    seconds: tuple[float, ...], num_frames: int, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        plan(story(*seconds), num_frames=num_frames, fps=12.0, stride=4)


def test_the_longest_story_is_told() -> None:
    long = [3600.0, 3600.0, 2800.0]
    windows = plan(story(*long), num_frames=1_000_001, fps=1000.0, stride=4)
    assert windows[-1].start + windows[-1].frames == 10_000_000
    with pytest.raises(InputError, match="segment 3: the story is longer"):
        plan(story(*long[:2], 2800.01), num_frames=1_000_001, fps=1000.0, stride=4)


def test_a_segment_that_is_too_short_is_named_by_its_line() -> None:
    short = Segment(prompt=CIRCLE, seconds=0.01, place="story.txt:7")
    with pytest.raises(InputError, match=r"^story\.txt:7: 0\.01 seconds"):
        plan([short], num_frames=25, fps=12.0, stride=4)
