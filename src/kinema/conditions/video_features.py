"""What Video2Music (arXiv 2311.00968) sees of a clip, second by second.

Scene offset and motion are defined as in the authors' scripts
(github.com/AMAAI-Lab/Video2Music, MIT). Their semantic features are CLIP's (768 numbers of
ViT-L/14 at 336 pixels) and their moods CLIP's zero-shot probabilities. `color_features` puts
stand-ins in their place, which know nothing of what is seen: sixteen statistics of color, and how
near the average color is to the color that the world `songs` gives each mood.

Letters: S seconds, T frames, P pixels.
"""

from __future__ import annotations

import math

import numpy as np

from kinema.clip import Clip
from kinema.media.chords import MOODS
from kinema.sample import Features
from kinema.worlds import songs

COLOR_STATISTICS = (
    *("mean red", "mean green", "mean blue", "spread of red", "spread of green", "spread of blue"),
    *("brightness", "contrast", "saturation", "warmth"),
    *("red hues", "yellow hues", "green hues", "cyan hues", "blue hues", "magenta hues"),
)
NUM_COLOR_FEATURES = len(COLOR_STATISTICS) + 2 + len(MOODS)
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
NEARNESS = 20.0  # levels of color over which the probability of a mood falls

# Of PySceneDetect's AdaptiveDetector, the authors' choice; its values by default.
CUT_RATIO, CUT_CONTENT, WINDOW = 3.0, 15.0, 2
SHORTEST_SCENE = 0.5  # seconds; theirs is 15 frames, which is that at 30 frames a second
WIDEST = 256  # pixels: cuts are looked for in frames that are thinned out to this
FRAMES_AT_ONCE = 64


def color_features(clip: Clip) -> Features:
    """Features (S, 24): color statistics, scene offset, motion, probabilities of the moods.

    S is the number of seconds that begin while the clip lasts; the frame of a second is the first
    in it.
    """
    first = first_frames(clip)
    pictures = clip.frames[first].astype(np.float32)
    pixels = pictures.reshape(len(first), -1, 3)
    columns = [
        color_statistics(pixels),
        scene_offset(clip)[:, None],
        motion(clip)[:, None],
        mood_probabilities(pixels.mean(1)),
    ]
    x = np.concatenate(columns, axis=1).astype(np.float32)
    return Features(x=x, seconds=np.arange(len(x), dtype=np.float32))


def first_frames(clip: Clip) -> np.ndarray:
    """The number of the first frame in each second, (S,); the last frame where there is none."""
    seconds = np.arange(math.ceil(clip.seconds - 1e-6))
    return np.minimum(np.ceil(seconds * clip.fps - 1e-6).astype(np.intp), clip.num_frames - 1)


def scene_offset(clip: Clip) -> np.ndarray:
    """One more than the whole seconds since the scene began, (S,); 0 is left for padding.

    A second belongs to the scene in which it begins.
    """
    begins = np.concatenate([[0], np.ceil(cuts(clip) / clip.fps - 1e-6)])
    seconds = np.arange(len(first_frames(clip)))
    scene = np.searchsorted(begins, seconds, side="right") - 1
    return seconds - begins[scene] + 1


def motion(clip: Clip) -> np.ndarray:
    """How much the first frame of each second differs from the frame before it, (S,).

    The mean absolute difference of the colors, in levels from 0 to 255; 0 in the first second.
    """
    first = first_frames(clip)
    before = clip.frames[np.maximum(first - 1, 0)].astype(np.int16)
    found = np.abs(clip.frames[first] - before).reshape(len(first), -1).mean(1)
    return np.where(first > 0, found, 0.0)


def cuts(clip: Clip) -> np.ndarray:
    """The numbers of the frames that begin a new scene, increasing.

    A frame does if it differs from the one before it by 15 levels or more (mean over hue,
    saturation and value) and three times as much as its four neighbors do on average.
    """
    content = _content(clip)
    kernel = np.ones(2 * WINDOW + 1)
    kernel[WINDOW] = 0
    around = np.convolve(content, kernel / kernel.sum())[WINDOW:-WINDOW]
    is_cut = (content >= CUT_CONTENT) & (content >= CUT_RATIO * around)
    is_cut[:WINDOW] = is_cut[len(is_cut) - WINDOW :] = False  # they lack a neighbor
    found: list[int] = []
    for frame in np.flatnonzero(is_cut):
        if frame - (found[-1] if found else 0) >= SHORTEST_SCENE * clip.fps:
            found.append(int(frame))
    return np.array(found, np.intp)


def _content(clip: Clip) -> np.ndarray:
    """How much each frame differs from the one before it, (T,); 0 for the first."""
    step = max(1, math.ceil(max(clip.size) / WIDEST))
    thin = clip.frames[:, ::step, ::step]
    found = np.zeros(len(thin))
    for start in range(0, len(thin) - 1, FRAMES_AT_ONCE):
        x = hue_saturation_value(thin[start : start + FRAMES_AT_ONCE + 1])
        difference = np.abs(np.diff(x, axis=0)).reshape(len(x) - 1, -1)
        found[start + 1 : start + len(x)] = difference.mean(1)
    return found


def hue_saturation_value(rgb: np.ndarray) -> np.ndarray:
    """(..., 3) uint8 RGB as float32 hue in [0, 180), saturation and value in [0, 255]."""
    red, green, blue = np.ascontiguousarray(np.moveaxis(rgb, -1, 0), np.float32)
    value = np.maximum(np.maximum(red, green), blue)  # far faster than along the last axis
    chroma = value - np.minimum(np.minimum(red, green), blue)
    over = np.maximum(chroma, 1e-6)
    hue = np.where(
        value == red,
        (green - blue) / over,
        np.where(value == green, 2 + (blue - red) / over, 4 + (red - green) / over),
    )
    return np.stack([30 * hue % 180, 255 * chroma / np.maximum(value, 1e-6), value], -1)


def color_statistics(rgb: np.ndarray) -> np.ndarray:
    """The numbers that `COLOR_STATISTICS` names, (S, 16), from pixels (S, P, 3) in [0, 255].

    All lie in [0, 1], but warmth (red less blue) in [-1, 1]. A hue's number is the share of the
    picture that it colors, weighted by how colorful each pixel is.
    """
    x = rgb / 255
    mean, spread, luma = x.mean(1), x.std(1), x @ LUMA
    hue, saturation, value = np.moveaxis(hue_saturation_value(rgb), -1, 0) / 255
    colorful = saturation * value
    sector = np.rint(hue * 255 / 30).astype(np.intp) % 6  # red, yellow, green, cyan, blue, magenta
    shares = [np.where(sector == number, colorful, 0).mean(1) for number in range(6)]
    others = [luma.mean(1), luma.std(1), saturation.mean(1), mean[:, 0] - mean[:, 2], *shares]
    return np.concatenate([mean, spread, np.stack(others, 1)], axis=1)


def mood_probabilities(color: np.ndarray) -> np.ndarray:
    """How likely each mood is for average colors (S, 3) in [0, 255]: (S, 6), in order of `MOODS`.

    A stand-in for CLIP's zero-shot probabilities: the nearness to the colors of `songs`.
    """
    palette = np.array([songs.COLORS[mood] for mood in MOODS], np.float32)
    square = ((color[:, None] - palette) ** 2).sum(-1)
    odds = np.exp(-(square - square.min(1, keepdims=True)) / (2 * NEARNESS**2))
    return odds / odds.sum(1, keepdims=True)
