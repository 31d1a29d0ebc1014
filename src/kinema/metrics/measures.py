"""What is taken from one clip, or from a real clip and the generated one beside it, and kept.

A clip is always computed by itself, in parts of fixed length, so neither the order of the clips
nor what else is scored changes a digit.

Letters: T frames, H height, W width, D features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from kinema.errors import InputError
from kinema.metrics import temporal
from kinema.metrics.fidelity import psnr, ssim
from kinema.metrics.optical_flow import NAME as FLOW
from kinema.metrics.optical_flow import farneback

FRAMES_AT_ONCE = 16
TWO = 2  # frames: the fewest between which something moves
Key = tuple[str, str, str]  # name, weights, preprocessing
Files = Mapping[str, Path]  # role -> file of weights
Device = torch.device | str


@dataclass(frozen=True, eq=False)
class Measure:
    """One number or some features of a clip.

    Attributes:
        name: the network or the formula, as passports state it.
        weights: digest of the network; empty without one.
        preprocessing: what happens to the frames before that.
        fewest_frames: that it can take.
        run: frames (T, 3, H, W) uint8 of a clip, or of a real and a generated one, -> a tensor
            whose shape depends on T alone.
        reads_caption: whether `run` takes the caption of the clip after its frames.
    """

    name: str
    weights: str
    preprocessing: str
    fewest_frames: int
    run: Callable[..., Tensor]
    reads_caption: bool = False

    @property
    def key(self) -> Key:
        """What its results depend on besides the clip and the part of it that is looked at."""
        return self.name, self.weights, self.preprocessing


def framewise(network: Callable[[Tensor], Tensor], device: Device) -> Callable[[Tensor], Tensor]:
    """Makes a network of frames (B, 3, H, W) in [-1, 1] -> (B, D) one of clips -> (T, D)."""

    @torch.no_grad()
    def run(frames: Tensor) -> Tensor:
        parts = frames.split(FRAMES_AT_ONCE)
        return torch.cat([network(centered(part.to(device))).cpu() for part in parts])

    return run


def centered(frames: Tensor) -> Tensor:
    """8-bit levels as float32 in [-1, 1]."""
    return frames.float() / 127.5 - 1


def _levels(frames: Tensor) -> Tensor:
    return frames.double() / 255


def psnr_measure(files: Files, device: Device) -> Measure:
    """Mean over frames, of RGB."""
    return Measure("PSNR", "", "RGB in [0, 1]", 1, _psnr)


def _psnr(real: Tensor, generated: Tensor) -> Tensor:
    return psnr(_levels(real), _levels(generated)).mean()


def ssim_measure(files: Files, device: Device) -> Measure:
    """Mean over frames, of RGB."""
    return Measure("SSIM (Gaussian 11 x 11, sigma 1.5, valid part)", "", "RGB in [0, 1]", 1, _ssim)


def _ssim(real: Tensor, generated: Tensor) -> Tensor:
    return ssim(_levels(real), _levels(generated)).mean()


def tof_measure(files: Files, device: Device) -> Measure:
    """Mean over pairs of frames."""
    return Measure(f"tOF, {FLOW}", "", "8-bit gray, whole frames", TWO, _tof)


def _tof(real: Tensor, generated: Tensor) -> Tensor:
    flow, target = (farneback(*temporal.pairs(x)) for x in (generated, real))
    return temporal.tof(flow, target).mean()


def dynamic_degree_measure(files: Files, device: Device) -> Measure:
    """Mean over pairs of frames."""
    return Measure(f"length of {FLOW}", "", "8-bit gray", TWO, _dynamic_degree)


def _dynamic_degree(frames: Tensor) -> Tensor:
    return temporal.dynamic_degree(farneback(*temporal.pairs(frames))).mean()


def warping_measure(files: Files, device: Device) -> Measure:
    """Mean over pairs of frames, by the flow of the clip itself."""
    return Measure(
        f"warping by {FLOW}", "", "RGB in [0, 1]; flow of the clip itself", TWO, _warping_alone
    )


def _warping_alone(frames: Tensor) -> Tensor:
    return _warping(frames, frames)


def source_warping_measure(files: Files, device: Device) -> Measure:
    """Mean over pairs of frames, by the flow of the real clip."""
    return Measure(f"warping by {FLOW}", "", "RGB in [0, 1]; flow of the real clip", TWO, _warping)


def _warping(real: Tensor, generated: Tensor) -> Tensor:
    before, after = temporal.pairs(real)
    flow, back = farneback(before, after), farneback(after, before)
    return temporal.warping_error(_levels(generated).float(), flow, back).mean()


def expect_frames(measure: Measure, num_frames: int) -> None:
    """Raises InputError if clips of this length are too short for a measure."""
    if num_frames < measure.fewest_frames:
        raise InputError(
            f"{measure.name} needs {measure.fewest_frames} frames or more, not {num_frames}; "
            f"pass --frames {measure.fewest_frames}"
        )
