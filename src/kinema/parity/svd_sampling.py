"""Adapters for the recorded cases of Stable Video Diffusion's process, and of a whole sampling.

References: github.com/Stability-AI/generative-models; for one schedule diffusers. There frames lie
along the batch: ((B T), C, H, W) for our (B, C, T, H, W).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from kinema.condition import Conditions, Grid, Tokens, Vector
from kinema.errors import unknown
from kinema.networks import svd_unet
from kinema.nn.frames import to_clips, to_frames
from kinema.parity.case import Case
from kinema.parity.network import load_weights
from kinema.parity.noise import recorded_noise
from kinema.parity.runner import Adapter
from kinema.processes import edm, guidance, samplers, schedules
from kinema.processes.edm import EDM
from kinema.processes.process import Guidance, Predict
from kinema.weights.maps import svd_unet as unet_map

Results = dict[str, Tensor]

NUMBER = r"(-?\d+(?:\.\d+)?)"
KARRAS = re.compile(rf"karras\.n(\d+)_max{NUMBER}_min{NUMBER}_rho{NUMBER}")
LEGACY = re.compile(r"legacy_ddpm\.n(\d+)")
DIFFUSERS = re.compile(r"diffusers_euler\.n(\d+)\.(sigmas|timesteps|init_noise_sigma)")
SIGMA_MIN, SIGMA_MAX, RHO = 0.002, 700.0, 7.0  # of the published model


# The published process, with the training levels of the model for 14 frames.
PUBLISHED = EDM(
    sigma_data=1.0, sigma_max=SIGMA_MAX, P_mean=0.7, P_std=1.6, preconditioning=edm.v_scaling
)


# Noise levels.


def sigmas(case: Case) -> Results:
    """Tables of noise levels; an output is named by its rule and numbers."""
    case.check_inputs(optional=())
    case.check_config(optional=())
    return {f"out.{name}": _table(name) for name in case.described}


def _table(name: str) -> Tensor:
    if found := KARRAS.fullmatch(name):
        high, low, rho = map(float, found.groups()[1:])
        levels = schedules.karras(int(found[1]), sigma_min=low, sigma_max=high, rho=rho)
        return schedules.with_zero(levels)
    if found := LEGACY.fullmatch(name):
        return schedules.with_zero(schedules.stable_diffusion(int(found[1])))
    if found := DIFFUSERS.fullmatch(name):
        return _published(int(found[1]), found[2])
    raise unknown("table of noise levels", name, ("karras", "legacy_ddpm", "diffusers_euler"))


def _published(num_steps: int, what: str) -> Tensor:
    """What diffusers' scheduler holds under the published configuration."""
    levels = schedules.karras(num_steps, sigma_min=SIGMA_MIN, sigma_max=SIGMA_MAX, rho=RHO)
    if what == "sigmas":
        return schedules.with_zero(levels)
    if what == "timesteps":
        return edm.v_scaling(levels, 1.0).noise
    return PUBLISHED.start((1,), recorded_noise(torch.ones(1)))


# Preconditioning.

SCALINGS: dict[str, tuple[edm.Preconditioning, float]] = {
    "v_edm_cnoise": (edm.v_scaling, 1.0),
    "v": (edm.v_scaling, 1.0),
    "eps": (edm.eps_scaling, 1.0),
    "edm_sd0.5": (edm.edm_scaling, 0.5),
    "edm_sd1": (edm.edm_scaling, 1.0),
}
LOGARITHMIC = ("v_edm_cnoise", "edm_sd0.5", "edm_sd1")  # others tell their network sigma itself
PRECONDITIONED = re.compile(
    r"(?P<scaling>.+)\.(c_(?P<part>skip|out|in|noise)|denoised|loss_(?P<weight>.+)_weight)"
)
LEVELS_DRAWN = re.compile(rf"sigma_sampling\.pmean{NUMBER}_pstd{NUMBER}")


def preconditioning(case: Case) -> Results:
    """The four factors, D, weights and losses at recorded levels; levels from recorded draws."""
    case.check_inputs("sigma", "network_output", "x0", "noise", "rand", optional=())
    case.check_config(optional=("sigma_data of v, v_edm_cnoise",))
    results = {}
    for name in case.described:
        if found := LEVELS_DRAWN.fullmatch(name):
            value = _levels_drawn(case, float(found[1]), float(found[2]))
        elif name.startswith("weight."):
            value = _weight(name.removeprefix("weight."), case.inputs["sigma"])
        elif found := PRECONDITIONED.fullmatch(name):
            value = _preconditioned(case, found)
        else:
            raise unknown("output of a preconditioning", name, SCALINGS)
        results[f"out.{name}"] = value
    return results


def _process(scaling: str) -> EDM:
    if scaling not in SCALINGS:
        raise unknown("scaling", scaling, SCALINGS)
    rule, sigma_data = SCALINGS[scaling]
    return replace(PUBLISHED, preconditioning=rule, sigma_data=sigma_data)


def _levels_drawn(case: Case, mean: float, std: float) -> Tensor:
    draws = case.inputs["rand"]
    process = replace(PUBLISHED, P_mean=mean, P_std=std)
    return process.times(draws, recorded_noise(draws))


def _weight(name: str, sigma: Tensor) -> Tensor:
    """Of (D - x0)^2; ours is 1 / c_out^2, which is the authors' for each of their scalings."""
    if name == "unit":
        return torch.ones_like(sigma)
    process = _process(name)
    return process.preconditioning(sigma, process.sigma_data).out ** -2


def _preconditioned(case: Case, found: re.Match[str]) -> Tensor:
    sigma, output, x0 = (case.inputs[name] for name in ("sigma", "network_output", "x0"))
    noise = recorded_noise(case.inputs["noise"])
    process = _process(found["scaling"])
    if found["part"] is not None:
        scaling = process.preconditioning(sigma, process.sigma_data)._asdict()
        if found["part"] == "noise" and found["scaling"] not in LOGARITHMIC:
            return sigma
        return scaling["inner" if found["part"] == "in" else found["part"]]
    conditions = Conditions({})
    if found["weight"] is None:
        x = process.noised(x0, sigma, noise)
        return process.denoiser(lambda x, time, given: output)(x, sigma, conditions)
    losses = []
    for row in range(len(x0)):
        one = slice(row, row + 1)
        recorded = recorded_noise(case.inputs["noise"][one])
        predict = partial(_fixed, output[one])
        losses.append(process.loss_at(predict, x0[one], conditions, recorded, sigma[one])[0])
    own = _weight(found["scaling"], sigma)
    return torch.stack(losses) * _weight(found["weight"], sigma) / own


def _fixed(output: Tensor, x: Tensor, time: Tensor, conditions: Conditions) -> Tensor:
    """A network that always predicts the same."""
    return output


# Guidance.

SCALES = re.compile(
    rf"(?P<table>\w+)\.T(?P<frames>\d+)_min(?P<low>{NUMBER})_max(?P<high>{NUMBER})\.(scale|guided)"
)
TABLES = ("linear", "triangle", "trapezoid")


def guided(case: Case) -> Results:
    """Tables of one scale per frame, and recorded predictions guided by them."""
    case.check_config(optional=())
    results, used = {}, set()
    for name in case.described:
        found = SCALES.fullmatch(name)
        if found is None:
            raise unknown("output of a guidance", name, TABLES)
        scales = _scales(found)
        if name.endswith(".scale"):
            results[f"out.{name}"] = scales
            continue
        given = f"{name.removesuffix('.guided')}.x"
        used.add(given)
        results[f"out.{name}"] = _guided(case.inputs[given], scales)
    case.check_inputs(*used, optional=())
    return results


def _scales(found: re.Match[str]) -> Tensor:
    frames, low, high = int(found["frames"]), float(found["low"]), float(found["high"])
    if found["table"] == "linear":
        return guidance.rising(frames, low, high)
    if found["table"] == "triangle":
        return guidance.triangle(frames, low, high)
    if found["table"] == "trapezoid":
        return guidance.trapezoid(frames, low, high, plateau=1.0)
    raise unknown("table of scales", found["table"], TABLES)


def _guided(predictions: Tensor, scales: Tensor) -> Tensor:
    """Frames of unconditional, then conditional predictions -> guided ones."""
    null, full = to_clips(predictions, len(scales)).chunk(2)

    def predict(x: Tensor, time: Tensor, conditions: Conditions) -> Tensor:
        return full if conditions.of(Vector, "given").x.any() else null

    given = Vector(x=torch.ones(1, 1), null=Vector(x=torch.zeros(1, 1)))
    guide = _by_frame(scales, "given")
    return to_frames(guide(predict, full, torch.ones(len(full)), Conditions({"given": given}), 0))


def _by_frame(scales: Tensor, *names: str) -> Guidance:
    """Classifier-free guidance with a scale for every frame, by dropping the named conditions."""
    return guidance.linear([guidance.Term(weight=scales.view(-1, 1, 1) - 1, drop=names)])


# Samplers.

Sampler = Callable[[samplers.Velocity, Tensor, Tensor], Tensor]
SAMPLERS: dict[str, Sampler] = {
    "euler": samplers.euler,
    "heun": samplers.heun,
    "dpmpp2m": samplers.dpmpp_2m,
}
SAMPLING = ("num_steps", "sigma_max", "num_frames", "min_scale", "max_scale")


def sampler_toy(case: Case) -> Results:
    """Three samplers on a network that is a formula, under guidance by frame."""
    case.check_inputs("noise", "crossattn", "concat", "vector", optional=())
    case.check_config(*SAMPLING, "sigma_min", "rho", optional=())
    frames = case.config["num_frames"]
    text = to_clips(case.inputs["crossattn"][..., None], frames)
    conditions = Conditions(
        {
            "crossattn": _droppable(text),
            "concat": _droppable(to_clips(case.inputs["concat"], frames)),
            "vector": Grid(x=to_clips(case.inputs["vector"][..., None, None], frames)),
        }
    )
    levels = _levels(case, case.config["sigma_min"], case.config["rho"])
    results = {}
    for name, sampler in SAMPLERS.items():
        x0, inputs, times = _sampled(case, sampler, _toy, conditions, levels)
        results[f"out.{name}.x0"] = x0
        results[f"out.{name}.inputs_of_denoiser"] = inputs
        results[f"out.{name}.sigmas_of_denoiser"] = times
    return results


def sample(case: Case) -> Results:
    """Euler's rule on a small U-Net under guidance by frame; rho and sigma_min as published."""
    case.check_inputs("noise", "concat", "crossattn", "vector", optional=())
    case.check_config(*SAMPLING, "network", optional=())
    config = svd_unet.from_official(case.config["network"])
    network = svd_unet.SVDUNet(config)
    keymap = unet_map.official(config.attention, config.blocks_per_level)
    load_weights(network, case, keymap, {})
    token = case.inputs["crossattn"]
    conditions = Conditions(
        {
            "crossattn": Tokens(x=token, null=Tokens(x=torch.zeros_like(token))),
            "concat": _droppable(case.inputs["concat"][:, :, None]),
            "vector": Vector(x=case.inputs["vector"]),
        }
    )
    levels = _levels(case, SIGMA_MIN, RHO)
    latents, inputs, _ = _sampled(case, samplers.euler, network, conditions, levels)
    return {"out.latents": latents, "out.trajectory": inputs}


def _levels(case: Case, sigma_min: float, rho: float) -> Tensor:
    steps, high = case.config["num_steps"], case.config["sigma_max"]
    return schedules.with_zero(
        schedules.karras(steps, sigma_min=sigma_min, sigma_max=high, rho=rho)
    )


def _sampled(
    case: Case, sampler: Sampler, predict: Predict, conditions: Conditions, levels: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """What a sampler returns, and the states and levels at which it asks the denoiser."""
    scales = guidance.rising(*(case.config[name] for name in SAMPLING[2:]))
    process = replace(PUBLISHED, sigma_max=case.config["sigma_max"])
    guide = _by_frame(scales, "crossattn", "concat")
    velocity = process.velocity(predict, conditions, guide)
    inputs: list[Tensor] = []
    times: list[Tensor] = []

    def watched(x: Tensor, time: Tensor, step: int) -> Tensor:
        inputs.append(to_frames(x))
        times.append(time[0])
        return velocity(x, time, step)

    unit = to_clips(case.inputs["noise"], len(scales))
    start = process.start(unit.shape, recorded_noise(unit))
    return to_frames(sampler(watched, start, levels)), torch.stack(inputs), torch.stack(times)


def _toy(x: Tensor, time: Tensor, conditions: Conditions) -> Tensor:
    """The network that the case describes."""
    concat, text, vector = (conditions.of(Grid, n).x for n in ("concat", "crossattn", "vector"))
    told = 0.1 * time.view(-1, 1, 1, 1, 1)
    mean = 0.2 * text.mean((1, 3, 4), keepdim=True) - 0.15 * vector.mean(1, keepdim=True)
    return 0.5 * x + 0.25 * concat + told + mean


def _droppable(x: Tensor) -> Grid:
    """A condition whose null is zero."""
    return Grid(x=x, null=Grid(x=torch.zeros_like(x)))


ADAPTERS: dict[str, Adapter] = {
    "sigmas": sigmas,
    "preconditioning": preconditioning,
    "guidance": guided,
    "sampler-toy": sampler_toy,
    "sample": sample,
}
