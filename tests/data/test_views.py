"""Which frames and which squares of a clip a recognizer sees."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from kinema.clip import Clip
from kinema.data.preprocessing import IMAGENET_MEAN, IMAGENET_STD, normalized
from kinema.data.views import ClipFile, Views
from kinema.errors import InputError

DENSE = Views(
    num_frames=4,
    stride=3,
    size=8,
    resize=8,
    interpolation="bilinear",
    clips=3,
    crops=1,
    mean=IMAGENET_MEAN,
    std=IMAGENET_STD,
)
UNIFORM = replace(DENSE, stride=None, clips=1)


def clip_of(length: int, height: int = 8, width: int = 8) -> Clip:
    """Frame i is of the gray level 2 i."""
    levels = np.arange(length, dtype=np.uint8)[:, None, None, None] * 2
    return Clip(np.broadcast_to(levels, (length, height, width, 3)).copy(), fps=8.0)


def seen(views: Views, clip: Clip) -> list[list[int]]:
    """The numbers of the frames that each view shows."""
    levels = (views.of(clip)[:, 0, :, 0, 0] + 1) * 127.5 / 2
    return levels.round().int().tolist()


def test_dense_stretches_lie_from_the_start_to_the_end():
    assert seen(DENSE, clip_of(30)) == [[0, 3, 6, 9], [10, 13, 16, 19], [20, 23, 26, 29]]
    assert seen(replace(DENSE, clips=1), clip_of(30)) == [[10, 13, 16, 19]]


def test_of_a_short_clip_the_last_frame_stands():
    assert seen(DENSE, clip_of(8)) == [[0, 3, 6, 7]] * 3


def test_uniform_frames_lie_inside_their_parts():
    assert seen(UNIFORM, clip_of(20)) == [[2, 7, 12, 16]]
    assert seen(replace(UNIFORM, clips=2), clip_of(20)) == [[1, 6, 11, 15], [3, 8, 13, 17]]


@pytest.mark.parametrize("clips", [1, 2, 3, 4, 10])
@pytest.mark.parametrize("num_frames", [8, 16, 32])
def test_uniform_frames_are_those_of_the_authors(clips: int, num_frames: int):
    """UniFormerV2's `get_seq_frames` and ZeroI2V's `UniformSample`, of clips of many lengths."""
    views = replace(UNIFORM, num_frames=num_frames)
    for length in range(1, 400):
        part = (length - 1) / num_frames
        expected = [
            [round(part * i) + int(part / (clips + 1) * (k + 1)) for i in range(num_frames)]
            for k in range(clips)
        ]
        assert views.frame_numbers(length, clips).tolist() == expected, length


def test_a_clip_with_fewer_frames_repeats_them():
    assert seen(UNIFORM, clip_of(2)) == [[0, 0, 0, 1]]
    assert seen(UNIFORM, clip_of(1)) == [[0, 0, 0, 0]]


def test_frames_to_train_on_are_drawn_each_from_its_part():
    lots = np.array([0.0, 0.999, 0.5, 0.999])
    assert UNIFORM.drawn(20, lots).tolist() == [0, 10, 12, 19]
    assert UNIFORM.drawn(1, lots).tolist() == [0, 0, 0, 0]
    assert DENSE.drawn(30, lots[1:]).tolist() == [20, 23, 26, 29]


@pytest.mark.parametrize(("height", "width"), [(8, 14), (14, 8)])
def test_three_crops_lie_along_the_longer_side(height, width):
    ramp = np.arange(14, dtype=np.uint8) * 10
    frame = np.broadcast_to(ramp if width == 14 else ramp[:, None], (height, width))
    clip = Clip(np.repeat(frame[None, ..., None], 3, axis=3), fps=1.0)
    views = replace(UNIFORM, num_frames=1, crops=3).of(clip)
    assert views.shape == (3, 3, 1, 8, 8)
    firsts = ((views[:, 0, 0, 0, 0] + 1) * 127.5).round().int().tolist()
    assert firsts == [0, 30, 60]


def test_the_shorter_side_is_resized_and_the_middle_cut_out():
    noise = torch.rand(40, 60, 3, generator=torch.Generator().manual_seed(0))
    clip = Clip((noise.numpy() * 255).astype(np.uint8)[None], fps=1.0)
    views = replace(UNIFORM, num_frames=1, resize=20, size=16)
    x = views.of(clip)
    assert x.shape == (1, 3, 1, 16, 16)
    assert torch.equal(x[0, :, 0], views_of_middle(views, clip))


@pytest.mark.parametrize(("height", "width"), [(90, 160), (161, 90), (64, 64)])
def test_squares_are_those_of_the_whole_frame_scaled(height: int, width: int) -> None:
    noise = torch.rand(height, width, 3, generator=torch.Generator().manual_seed(0))
    clip = Clip((noise.numpy() * 255).astype(np.uint8)[None], fps=1.0)
    views = replace(UNIFORM, num_frames=1, resize=20, size=16, crops=3, interpolation="bicubic")
    shorter = min(height, width)
    scaled = clip.resized(20 * height // shorter, 20 * width // shorter).frames[0].astype(int)
    down, right = (length - 16 for length in scaled.shape[:2])
    for view, share in zip(views.of(clip), (0.0, 0.5, 1.0)):
        tall = height > width
        top, left = round((share if tall else 0.5) * down), round((0.5 if tall else share) * right)
        expected = scaled[top : top + 16, left : left + 16]
        found = ((view[:, 0].permute(1, 2, 0) + 1) * 127.5).round().int().numpy()
        assert np.abs(found - expected).max() <= 1


def test_a_line_of_pixels_takes_no_more_memory_than_its_squares() -> None:
    """Scaled as a whole it would have 30 billion pixels."""
    frame = np.repeat(np.arange(3, dtype=np.uint8) * 100, 4000)[None, :, None].repeat(3, axis=2)
    views = replace(UNIFORM, num_frames=1, resize=1600, size=8, crops=3)
    seen = views.of(Clip(frame[None], fps=1.0))
    levels = ((seen + 1) * 127.5).round()
    assert [sorted(set(view.flatten().tolist())) for view in levels] == [[0.0], [100.0], [200.0]]


def views_of_middle(views: Views, clip: Clip) -> torch.Tensor:
    return torch.from_numpy(views.middle(clip.frames[0]).copy()).permute(2, 0, 1) / 127.5 - 1


def test_a_file_is_seen_as_its_clip(tmp_path):
    clip = clip_of(40, 16, 24)
    clip.write(tmp_path / "clip.mp4")
    stored = Clip.read(tmp_path / "clip.mp4")
    views = replace(DENSE, crops=3, interpolation="bicubic", size=12, resize=14)
    file = ClipFile.given(tmp_path / "clip.mp4")
    assert file.num_frames == 40
    assert torch.equal(views.of(file), views.of(stored))
    assert views.of(file).shape == (views.count, 3, 4, 12, 12)


def test_what_is_no_clip_is_named(tmp_path):
    (tmp_path / "clip.mp4").write_bytes(b"none")
    with pytest.raises(InputError, match=r"clip\.mp4"):
        ClipFile.given(tmp_path / "clip.mp4")


def test_pixels_are_normalized_as_in_unit_range():
    x = torch.tensor([-1.0, 0.0, 1.0]).view(1, 3, 1, 1, 1)
    expected = (torch.tensor([0.0, 0.5, 1.0]) - torch.tensor(IMAGENET_MEAN)) / torch.tensor(
        IMAGENET_STD
    )
    assert torch.allclose(normalized(x, IMAGENET_MEAN, IMAGENET_STD).flatten(), expected)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"crops": 2}, "1 or 3"),
        ({"stride": 0}, "stride"),
        ({"clips": 0}, "clips"),
        ({"resize": 6}, "resize"),
    ],
)
def test_views_out_of_range_are_named(change, said):
    with pytest.raises(InputError, match=said):
        replace(DENSE, **change)
