"""Keyframes and extensions by themselves: what fits, where it stands, what is joined."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from kinema.clip import Clip
from kinema.errors import InputError
from kinema.sample import Sound
from kinema.systems.keyframes import Extension, Keyframe, check_keyframes, faded
from kinema.systems.ltx_video import LTXVideo
from kinema.systems.ltx_video_presets import nano


def clip(count: int, *, fps: float = 12.0, size: tuple[int, int] = (4, 6)) -> Clip:
    """Frame i has the level i everywhere."""
    levels = np.arange(count, dtype=np.uint8)[:, None, None, None]
    return Clip(np.broadcast_to(levels, (count, *size, 3)).copy(), fps)


def levels(shown: Clip) -> list[int]:
    return shown.frames[:, 0, 0, 0].tolist()


@pytest.mark.parametrize("strength", [0.0, -0.5, 1.01, float("nan")])
def test_a_strength_is_above_zero_and_at_most_one(strength: float) -> None:
    with pytest.raises(InputError, match="the strength of a keyframe"):
        Keyframe(clip=clip(1), strength=strength)


def test_a_keyframe_stands_in_the_clip() -> None:
    with pytest.raises(InputError, match="at frame 0 or later, not at -1"):
        Keyframe(clip=clip(1), frame=-1)


def test_pixels_are_what_a_codec_takes() -> None:
    pixels = Keyframe(clip=clip(2, size=(8, 12))).pixels(4, 6)
    assert pixels.shape == (3, 2, 4, 6)
    assert pixels.dtype == torch.float32
    torch.testing.assert_close(pixels[:, 1], torch.full((3, 4, 6), 1 / 127.5 - 1))


@pytest.mark.parametrize(
    ("counts", "num_frames", "stride"),
    [
        ([(1, 0)], 1, 4),
        ([(1, 0), (1, 24), (1, 12)], 25, 4),
        ([(9, 0), (1, 9)], 25, 4),
        ([(25, 0)], 25, 4),
        ([(3, 0), (1, 3)], 4, 1),
        ([(2, 1)], 4, 1),
        ([(1, 0), (5, 4), (9, 16)], 25, 4),
    ],
)
def test_what_fits(counts: list[tuple[int, int]], num_frames: int, stride: int) -> None:
    keyframes = [Keyframe(clip=clip(count), frame=frame) for count, frame in counts]
    check_keyframes(keyframes, num_frames, stride)


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ([(1, 25)], "ends at frame 25; the clip has frames 0 to 24"),
        ([(29, 0)], "ends at frame 28; the clip has frames 0 to 24"),
        ([(4, 0)], "4 frames cannot be given at frame 0: .* a multiple of 4 plus 1"),
        ([(5, 6)], "5 frames cannot be given at frame 6: .* at a frame that 4 divides"),
        ([(6, 4)], "6 frames cannot be given at frame 4"),
        ([(1, 3), (1, 3)], "two keyframes want frame 3"),
        ([(9, 0), (1, 8)], "two keyframes want frame 8"),
        ([(1, frame) for frame in range(8)], "8 keyframes are too many for 25 frames; .* most 7"),
    ],
)
def test_what_does_not_fit(counts: list[tuple[int, int]], said: str) -> None:
    keyframes = [Keyframe(clip=clip(count), frame=frame) for count, frame in counts]
    with pytest.raises(InputError, match=said):
        check_keyframes(keyframes, 25, 4)


def test_an_extension_holds_the_end_and_joins_what_follows() -> None:
    sound = Sound(np.zeros((1, 800), np.float32), 8000)
    given = Clip(clip(20).frames, 12.0, sound)
    extension = Extension(given=given, held=9)
    held, late = extension.keyframes([Keyframe(clip=clip(1), frame=30, strength=0.5)])
    assert levels(held.clip) == list(range(11, 20))
    assert (held.frame, held.strength) == (0, 1.0)
    assert (late.frame, late.strength) == (19, 0.5)
    made = clip(25)
    made.frames[:] += 11  # its ninth frame is the last given one
    joined = extension.joined(made)
    assert levels(joined) == [*range(20), *range(20, 36)]
    assert joined.fps == 12.0
    assert joined.sound is sound


def noisy(count: int, *, change: float, seed: int) -> np.ndarray:
    """(count, 24, 32, 3) levels around 128, the same at all times but for `change`."""
    random = np.random.default_rng(seed)
    look = 128 + random.normal(0, 20, (24, 32, 3))
    frames = look + random.normal(0, change, (count, 24, 32, 3))
    return np.rint(frames).astype(np.uint8)


def changes(frames: np.ndarray) -> np.ndarray:
    return np.abs(np.diff(frames.astype(np.float64), axis=0)).mean((1, 2, 3))


def test_a_still_clip_goes_on_without_a_visible_seam() -> None:
    made = noisy(17, change=0.0, seed=0)
    residual = np.rint(np.random.default_rng(1).normal(0, 4, made.shape[1:]))
    last = (made[0] + residual).astype(np.uint8)
    seen = changes(np.concatenate((last[None], faded(last, made))))
    bare = np.abs(residual).mean()
    assert bare > 3  # what a cut would show at once
    assert seen.max() < bare / 8
    assert seen.sum() == pytest.approx(bare, rel=0.01)  # all of it fades, monotonously
    assert (faded(last, made)[-1] == made[-1]).all()


@pytest.mark.parametrize("seed", range(5))
def test_a_seam_is_like_the_other_changes(seed: int) -> None:
    made = noisy(17, change=3.0, seed=seed)
    residual = np.random.default_rng(seed + 9).normal(0, 6, made.shape[1:])
    last = np.rint(made[0] + residual).astype(np.uint8)
    own, seen = changes(made), changes(np.concatenate((last[None], faded(last, made))))
    cut = changes(np.stack((last, made[1])))[0]
    assert cut > 1.5 * np.median(own)
    assert seen[0] < 1.25 * np.median(own)
    assert seen.max() < 1.25 * own.max()


def test_nothing_is_added_where_there_is_no_residual() -> None:
    made = noisy(9, change=3.0, seed=0)
    assert (faded(made[0], made) == made[1:]).all()


def test_what_fades_stays_within_the_levels() -> None:
    made = np.full((9, 2, 2, 3), 250, np.uint8)
    made[0] = 200
    shown = faded(np.full((2, 2, 3), 240, np.uint8), made)
    assert shown[0].min() == 255
    assert (np.diff(shown.astype(int), axis=0) <= 0).all()


def test_a_single_new_frame_is_its_own() -> None:
    made = noisy(2, change=3.0, seed=0)
    assert (faded(np.zeros_like(made[0]), made) == made[1:]).all()


@pytest.mark.parametrize(
    ("given", "num_frames", "held"),
    [(1, 17, 1), (8, 17, 1), (9, 17, 9), (40, 17, 9), (40, 25, 17), (40, 33, 17), (40, 9, 1)],
)
def test_as_much_is_held_as_there_is_room_for(given: int, num_frames: int, held: int) -> None:
    model = LTXVideo(nano(), device="meta")  # one latent frame of 8
    sampling = replace(model.config.sampling, num_frames=num_frames)
    extension = model.extension(clip(given, size=(32, 32)), sampling)
    assert extension.held == held
    assert extension.given.num_frames == given


def test_an_extension_is_at_the_rate_and_in_the_size_of_the_model() -> None:
    model = LTXVideo(nano(), device="meta")
    sampling = model.config.sampling
    extension = model.extension(clip(40, fps=24.0, size=(64, 100)), sampling)
    assert levels(extension.given) == list(range(0, 40, 2))
    assert (extension.given.fps, extension.given.size) == (12.0, (32, 32))
    still = model.extension(clip(1, fps=1.0), sampling).given
    assert (still.num_frames, still.fps) == (1, 12.0)
