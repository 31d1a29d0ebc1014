"""Adapters for the recorded cases of LTX-Video that run no network: schedules, steps, guidance."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from kinema.condition import Conditions, Tokens
from kinema.errors import InputError, unknown
from kinema.hooks.hold import Hold
from kinema.parity.case import Case
from kinema.parity.noise import recorded_noise
from kinema.processes import flow, guidance, latent_filters, samplers, schedules
from kinema.processes.steps import Report, watching
from kinema.systems.ltx_video_config import SHIFT

Results = dict[str, Tensor]

RULES = ("sd3", "linearquadratic", "simplediffusion", "constantMU")
RULE = re.compile(
    r"(?P<rule>sd3|linearquadratic|simplediffusion|constant(?P<mu>\d+(\.\d+)?))"
    r"(_terminal(?P<stretched>\d+(\.\d+)?))?"
)


def scheduler_sigmas(case: Case) -> Results:
    """Noise levels; an output is named by its rule and one of the sizes in the configuration."""
    case.check_inputs(optional=())
    results = {}
    for name in case.described:
        size = next((key for key in case.config if name.endswith(f"_{key}")), None)
        if size is None:
            raise unknown("size of a schedule", name, case.config)
        values = case.config[size]
        if set(values) != {"steps", "tokens"}:
            raise InputError(f"the size {size} of a schedule has steps and tokens, not {values}")
        rule = RULE.fullmatch(name.removesuffix(f"_{size}"))
        if rule is None:
            raise unknown("rule of a schedule", name.removesuffix(f"_{size}"), RULES)
        results[f"out.{name}"] = _sigmas(rule, values["steps"], values["tokens"])
    return results


def _sigmas(rule: re.Match[str], steps: int, tokens: int) -> Tensor:
    if rule["rule"] == "sd3":
        sigmas = schedules.shift(schedules.linear(steps), SHIFT.at(tokens))
    elif rule["rule"] == "linearquadratic":
        sigmas = schedules.linear_quadratic(steps)
    elif rule["mu"] is not None:
        sigmas = schedules.shift(schedules.linear(steps), float(rule["mu"]))
    else:
        # Recorded on times that avoid 1, where the ratio of signal to noise is 0.
        sigmas = schedules.simple_diffusion_shift(torch.linspace(0.95, 0.05, steps), tokens)
    if rule["stretched"] is None:
        return sigmas
    return schedules.stretch_to_terminal(sigmas, float(rule["stretched"]))


def _table(arguments: Mapping[str, Any]) -> Tensor:
    """Noise levels and the final 0, by the arguments of the authors' scheduler."""
    steps, tokens = arguments["steps"], arguments["tokens"]
    shifting, terminal = arguments["shifting"], arguments["target_shift_terminal"]
    sigmas = schedules.linear(steps)
    if shifting == "SD3":
        sigmas = schedules.shift(sigmas, SHIFT.at(tokens))
        if terminal is not None:
            sigmas = schedules.stretch_to_terminal(sigmas, terminal)
    elif shifting == "SimpleDiffusion":
        sigmas = schedules.simple_diffusion_shift(sigmas, tokens)
    elif shifting is not None:
        raise unknown("shifting of a schedule", str(shifting), ["SD3", "SimpleDiffusion"])
    return schedules.with_zero(sigmas)


def scheduler_euler(case: Case) -> Results:
    """Euler's rule with one time for all, with a time per token, and adding noise."""
    case.check_inputs("x", "A", "tok_t", optional=())
    case.check_config("steps", "tokens", "shifting", "target_shift_terminal", optional=())
    x, matrix, times = (case.inputs[name] for name in ("x", "A", "tok_t"))
    sigmas = _table(case.config)
    trajectory: list[Tensor] = []

    def velocity(x: Tensor, time: Tensor, step: int) -> Tensor:
        return x @ matrix + time[:, None, None]

    with watching(lambda report: trajectory.append(report.x)):
        samplers.euler(velocity, x, sigmas)
    noise = recorded_noise(matrix[0].expand_as(x))
    process = flow.Flow(times=flow.LogitNormal(shift=SHIFT))
    return {
        "out.trajectory": torch.stack(trajectory),
        "out.per_token_step": samplers.euler_step(x, x @ matrix, times, sigmas),
        "out.add_noise": process.noised(x, times[:, 0], noise),
    }


def masked_denoising(case: Case) -> Results:
    """Euler's rule while given tokens are held; the schedule is the one of 0.9.0 and later."""
    case.check_inputs("latents", "v", "mask", "init", "noise", optional=())
    case.check_config("steps", "tokens", "image_cond_noise_scale", optional=())
    start, v = case.inputs["latents"], case.inputs["v"]
    sigmas = _table({**case.config, "shifting": "SD3", "target_shift_terminal": 0.1})
    hold = Hold(
        given=case.inputs["init"],
        strength=case.inputs["mask"],
        noise=recorded_noise(case.inputs["noise"]),
        noise_scale=case.config["image_cond_noise_scale"],
    )
    shown: list[Tensor] = []
    times: list[Tensor] = []
    trajectory: list[Tensor] = []

    def velocity(x: Tensor, time: Tensor, step: int) -> Tensor:
        shown.append(x)
        times.append(time)
        return v + 0.3 * x

    def seen(report: Report) -> None:
        trajectory.append(report.x)

    with watching(seen):
        samplers.euler(velocity, start, sigmas, hooks=[hold])
    return {
        "out.trajectory": torch.stack(trajectory),
        "out.noised": torch.stack(shown),
        "out.token_times": torch.stack(times),
    }


GUIDANCE = ("guidance_scale", "stg_scale", "rescaling_scale", "cfg_star_rescale")


def guided(case: Case) -> Results:
    """Guidance of recorded predictions, once for every setting in the configuration."""
    case.check_inputs("uncond", "text", "perturbed", optional=())
    results = {}
    for name, setting in case.config.items():
        if set(setting) != set(GUIDANCE):
            raise InputError(f"the guidance {name} has {', '.join(GUIDANCE)}, not {list(setting)}")
        scale, skip, rescale, star = (setting[argument] for argument in GUIDANCE)
        results[f"out.{name}"] = _guided(case, scale, skip, rescale, star)
    return results


def _guided(case: Case, scale: float, skip: float, rescale: float, star: bool) -> Tensor:
    branch = "text"

    @contextlib.contextmanager
    def perturbed() -> Iterator[None]:
        nonlocal branch
        branch = "perturbed"
        yield
        branch = "text"

    def predict(x: Tensor, time: Tensor, conditions: Conditions) -> Tensor:
        dropped = not conditions.of(Tokens, "text").x.any()
        return case.inputs["uncond" if dropped else branch]

    text = Tokens(x=torch.ones(1, 1, 1), null=Tokens(x=torch.zeros(1, 1, 1)))
    # In the authors' pipeline a scale of 1 is no guidance, and a rescaling of 1, or one without
    # skipped layers, is no rescaling.
    terms = [
        guidance.Term(
            weight=max(scale - 1, 0.0), drop=("text",), adjust=guidance.project if star else None
        ),
        guidance.Term(weight=max(skip, 0.0), within=perturbed),
    ]
    guide = guidance.linear(terms, rescale=rescale if skip > 0 and rescale != 1 else 0.0)
    x = case.inputs["text"]
    return guide(predict, x, torch.ones(len(x)), Conditions({"text": text}), 0)


def filters(case: Case) -> Results:
    """Tone map, AdaIN and normalization of latents; strengths are in the outputs' descriptions."""
    case.check_inputs("x", "ref", "mean", "std", optional=())
    case.check_config(optional=())
    x, reference = case.inputs["x"], case.inputs["ref"]
    mean, std = (case.inputs[name].view(-1, 1, 1, 1) for name in ("mean", "std"))
    results = {"out.normalised": (x - mean) / std, "out.un_normalised": x * std + mean}
    for name, text in case.described.items():
        strength = re.fullmatch(r"(?:compression|factor) (-?[\d.]+)", text)
        if name.startswith("tone_map") and strength is not None:
            results[f"out.{name}"] = latent_filters.tone_map(x, float(strength[1]))
        elif name.startswith("adain") and strength is not None:
            factor = float(strength[1])
            results[f"out.{name}"] = latent_filters.match_statistics(x, reference, factor)
    return results
