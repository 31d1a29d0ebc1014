"""The texts of a batch: which caption of a clip is learned, and which clips go without one."""

from __future__ import annotations

from collections.abc import Sequence

from kinema.noise import Noise
from kinema.training.objective import Batch


def draw_captions(batch: Batch, noise: Noise, *, drop: float) -> list[str]:
    """One of the ``captions`` of each clip, drawn at random.

    Args:
        batch: of clips with several captions each.
        noise: of their samples.
        drop: the share of the clips that get the empty text instead.
    """
    draws = noise.uniform((len(noise), 2), "caption").tolist()
    return [
        "" if dropped < drop else said[int(place * len(said))]
        for said, (place, dropped) in zip(batch["captions"], draws)
    ]


def drop_texts(texts: Sequence[str], noise: Noise, *, drop: float) -> list[str]:
    """The texts, a share of them, drawn at random, replaced by the empty one."""
    dropped = (noise.uniform((len(noise),), "text") < drop).tolist()
    return ["" if gone else text for text, gone in zip(texts, dropped)]
