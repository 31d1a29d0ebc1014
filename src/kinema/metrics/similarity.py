"""Scores of cosines of features: text and frames (CLIPSIM), frames and frames (consistency).

CLIPSIM: GODIVA (arXiv 2104.14806, sec. 4.1). Consistency of consecutive frames: EvalCrafter (arXiv
2310.11440); over all pairs: Tune-A-Video (arXiv 2212.11565); to the first frame and the last one:
VBench (arXiv 2311.17982). Recalled, not verified: the protocols. Nothing is multiplied by 100.

Letters: T frames, D features.
"""

from __future__ import annotations

from torch import Tensor


def clipsim(frames: Tensor, text: Tensor) -> Tensor:
    """Mean cosine of the frames of a clip (T, D) and its text (D,); float64 scalar."""
    return (_unit(frames) @ _unit(text)).mean()


def consecutive_consistency(frames: Tensor) -> Tensor:
    """Mean cosine of each frame (T, D) and the next; T is 2 or more."""
    x = _unit(frames)
    return (x[:-1] * x[1:]).sum(1).mean()


def pairwise_consistency(frames: Tensor) -> Tensor:
    """Mean cosine of all pairs of two frames (T, D); T is 2 or more."""
    x = _unit(frames)
    count = len(x)
    return ((x @ x.T).sum() - x.square().sum()) / (count * (count - 1))


def subject_consistency(frames: Tensor) -> Tensor:
    """Mean over frames after the first of half its cosines, none below 0, to the first and last.

    "Last" is the one before it; T is 2 or more.
    """
    x = _unit(frames)
    to_first = (x[1:] @ x[0]).clamp(min=0)
    to_last = (x[1:] * x[:-1]).sum(1).clamp(min=0)
    return (to_first + to_last).mean() / 2


def _unit(x: Tensor) -> Tensor:
    x = x.double()
    return x / x.norm(dim=-1, keepdim=True).clamp(min=1e-12)
