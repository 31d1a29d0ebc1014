"""Adapters for the recorded cases of scores; those of their networks are elsewhere."""

from __future__ import annotations

import torch
from torch import Tensor

from kinema.errors import InputError
from kinema.metrics.feature_stats import FeatureStats
from kinema.metrics.fidelity import luma, psnr, ssim
from kinema.metrics.frechet import frechet_distance
from kinema.metrics.inception_score import inception_score
from kinema.metrics.kernel import kernel_distance
from kinema.metrics.optical_flow import farneback
from kinema.metrics.prdc import prdc
from kinema.metrics.temporal import CUT, occluded, pairs, tecogan_crop, tof, warping_error
from kinema.nn.flow import warp
from kinema.parity import metric_networks
from kinema.parity.case import Case
from kinema.parity.runner import Adapter

FARNEBACK = "pyr .5, levels 3, window 15, iterations 3, poly 5, sigma 1.2"
OCCLUSION = "forward-backward check on the flow from t-1 to t"
FLOW_STRIDE = 8  # pixels between the places of the flow that are stored


def frechet(case: Case) -> dict[str, Tensor]:
    """Both normalizations of the covariance; their two matrix roots are one for us."""
    case.check_inputs("x", "y", optional=())
    case.check_config(optional=())
    x, y = (FeatureStats.of(case.inputs[name]) for name in ("x", "y"))
    unbiased = _scalar(frechet_distance(x, y, unbiased=True))
    return {
        "out.unbiased_sqrtm": unbiased,
        "out.unbiased_symmetric": unbiased,
        "out.biased_streaming": _scalar(frechet_distance(x, y, unbiased=False)),
    }


def kid(case: Case) -> dict[str, Tensor]:
    """KID times 1000, over the subsets that the authors' code drew."""
    case.check_inputs("x", "y", optional=())
    case.check_config("num_subsets", "max_subset_size", optional=())
    real, fake = case.inputs["x"], case.inputs["y"]
    count, largest = case.config["num_subsets"], case.config["max_subset_size"]
    size = min(len(real), len(fake), largest)
    rows, others = case.expected["out.subset_real"], case.expected["out.subset_fake"]
    if rows.shape != (count, size) or others.shape != (count, size):
        raise InputError(f"the subsets of {case.folder} must be ({count}, {size})")
    mean, _ = kernel_distance(real, fake, list(zip(rows.long(), others.long())))
    return {
        f"out.kid_x1000_{count}subsets_of_{largest}": _scalar(1000 * mean),
        "out.subset_real": rows,
        "out.subset_fake": others,
    }


def inception(case: Case) -> dict[str, Tensor]:
    """Mean and deviation for each number of splits; clips in the order of the authors' code."""
    case.check_inputs("logits", optional=())
    case.check_config("splits", optional=())
    logits, order = case.inputs["logits"], case.expected["out.shuffle"]
    if sorted(order.tolist()) != list(range(len(logits))):
        raise InputError(f"the shuffle of {case.folder} is no order of {len(logits)} samples")
    found = {"out.shuffle": order}
    for splits in case.config["splits"]:
        for name, places in (("image", None), ("video", order.long())):
            score = inception_score(logits, splits=splits, order=places)
            found[f"out.{name}_is_{splits}splits"] = torch.tensor(score, dtype=torch.float64)
    return found


def neighbors(case: Case) -> dict[str, Tensor]:
    """Precision, recall, density and coverage for each k."""
    case.check_inputs("x", "y", optional=())
    case.check_config("nearest_k", optional=())
    found = {}
    for k in case.config["nearest_k"]:
        scores = prdc(case.inputs["x"], case.inputs["y"], k=k)
        for name in ("precision", "recall", "density", "coverage"):
            found[f"out.{name}_k{k}"] = _scalar(getattr(scores, name))
    return found


def frames(case: Case) -> dict[str, Tensor]:
    """PSNR and SSIM of each frame."""
    case.check_inputs("a", "b", optional=())
    case.check_config(optional=())
    a, b = case.inputs["a"], case.inputs["b"]
    return {"out.ssim": ssim(a, b), "out.psnr": psnr(a, b)}


def tecogan(case: Case) -> dict[str, Tensor]:
    """tOF and PSNR of the luma on the part that TecoGAN's evaluation looks at."""
    case.check_inputs("target", "output", optional=())
    case.check_config("cut_frames", "farneback", optional=())
    _expect(case, "cut_frames", CUT)
    _expect(case, "farneback", FARNEBACK)
    target, output = (case.inputs[name][CUT:-CUT].movedim(-1, 1) for name in ("target", "output"))
    target_flow, flow = (tecogan_crop(farneback(*pairs(x))) for x in (target, output))
    target, output = tecogan_crop(target), tecogan_crop(output)
    return {
        "out.tOF": tof(flow, target_flow),
        "out.psnr_y": psnr(luma(target) / 255, luma(output) / 255),
        "out.target_flow_every_8th_pixel": target_flow.movedim(1, -1)[
            :, ::FLOW_STRIDE, ::FLOW_STRIDE
        ],
        "out.crop_shape": torch.tensor(target[0].movedim(0, -1).shape),
    }


def warping(case: Case) -> dict[str, Tensor]:
    """Occlusion, warped frames and their error."""
    case.check_inputs("frames", "fwd", "bwd", optional=())
    case.check_config("occlusion_call", optional=())
    _expect(case, "occlusion_call", OCCLUSION)
    x, flow, back = (case.inputs[name].movedim(-1, 1) for name in ("frames", "fwd", "bwd"))
    return {
        "out.occlusion": occluded(flow, back).float(),
        "out.warped": warp(x[1:], flow, "bilinear").movedim(1, -1),
        "out.error": warping_error(x, flow, back).mean(),
    }


def _scalar(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def _expect(case: Case, name: str, value: object) -> None:
    if case.config[name] != value:
        raise InputError(f"the argument {name} must be {value!r}, not {case.config[name]!r}")


ADAPTERS: dict[str, Adapter] = {
    **metric_networks.ADAPTERS,
    "frechet": frechet,
    "frechet-singular": frechet,
    "inception-score": inception,
    "kid": kid,
    "prdc": neighbors,
    "psnr-ssim": frames,
    "tecogan-tof-psnr": tecogan,
    "warping-error": warping,
}
