"""Frames of clips as one batch: their order, and functions of images and of clips."""

from __future__ import annotations

import torch

from kinema.nn.frames import by_clip, by_frame, to_clips, to_frames

CLIPS = torch.arange(2 * 3 * 5 * 4 * 6).reshape(2, 3, 5, 4, 6)


def test_frames_lie_one_clip_after_another() -> None:
    frames = to_frames(CLIPS)
    assert frames.shape == (10, 3, 4, 6)
    assert torch.equal(frames[7], CLIPS[1, :, 2])
    assert torch.equal(to_clips(frames, 5), CLIPS)


def test_a_function_of_images_sees_every_frame_alone() -> None:
    seen = []

    def halved(images: torch.Tensor) -> torch.Tensor:
        seen.append(images.shape)
        return images[:, :2, ::2]

    assert torch.equal(by_frame(halved, CLIPS), CLIPS[:, :2, :, ::2])
    assert seen == [(10, 3, 4, 6)]


def test_a_function_of_clips_sees_frames_in_their_clip() -> None:
    turned = by_clip(lambda clips: clips.flip(2), to_frames(CLIPS), 5)
    assert torch.equal(turned, to_frames(CLIPS.flip(2)))
