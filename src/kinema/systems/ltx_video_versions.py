"""The published versions of LTX-Video, by name: ``0.9.0-2b`` to ``0.9.8-2b-distilled``.

Paper, code and license: see `ltx_video.py`. Sizes of clips and what a sampler does are read in the
authors' code: README, ``inference.py`` and ``configs/*.yaml``, those of 0.9.7 in its history.

Inferred: which versions have linear-quadratic noise levels, since that is told by the metadata of
the files. The tables of the 13B models change exactly at levels of 30 such steps, the levels of
the distilled models are the first of 8, and diffusers has them in the pipeline for 0.9.5 and later.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from kinema.conditions.text import T5Config
from kinema.networks import ltx_transformer, ltx_vae_config
from kinema.systems.ltx_video_config import LTXVideoConfig, Sampling, SecondPass

NEGATIVE = "worst quality, inconsistent motion, blurry, jittery, distorted"
# Of 8 linear-quadratic steps; the models of 0.9.7 and 0.9.8 leave the last to the second pass.
DISTILLED = (1.0, 0.9937, 0.9875, 0.9812, 0.975, 0.9094, 0.725, 0.4219)
SECOND = (0.9094, 0.725, 0.4219)
SHARE = 0.6666666  # of height and width in the first pass
NO_GUIDANCE: dict[str, Any] = {
    "guidance": 1.0,
    "perturbed": 0.0,
    "perturbed_blocks": (),
    "rescale": 0.0,
}


def full() -> LTXVideoConfig:
    """Version 0.9.0: 2B transformer, VAE 0.9.0, T5 v1.1 XXL."""
    return LTXVideoConfig(
        text=T5Config(folder="t5-v1_1-xxl", width=4096, max_tokens=256),
        transformer=ltx_transformer.ltx_2b(),
        codec=ltx_vae_config.v0_9_0(),
        causal_positions=False,
        sampling=Sampling(
            num_frames=121,
            height=512,
            width=768,
            fps=24.0,
            steps=40,
            guidance=3.0,
            perturbed=1.0,
            perturbed_blocks=(19,),
            rescale=0.7,
            terminal=0.1,
            decode_time=0.05,
            decode_noise=0.025,
            negative=NEGATIVE,
            keyframe_noise=0.15,
        ),
    )


def v0_9_1() -> LTXVideoConfig:
    """0.9.1, 2B: the timed decoder with noise maps."""
    return replace(full(), codec=ltx_vae_config.v0_9_1())


def v0_9_5() -> LTXVideoConfig:
    """0.9.5, 2B: the space-to-depth VAE; the first latent frame lies one pixel frame long."""
    return replace(
        full(),
        codec=ltx_vae_config.v0_9_5(),
        causal_positions=True,
        sampling=replace(full().sampling, schedule="linear_quadratic"),
    )


def v0_9_6_dev() -> LTXVideoConfig:
    """0.9.6, 2B: larger clips by default."""
    sampling = replace(v0_9_5().sampling, height=704, width=1216, fps=30.0)
    return replace(v0_9_5(), sampling=sampling)


def v0_9_6_distilled() -> LTXVideoConfig:
    """0.9.6, 2B, distilled: 8 steps without guidance, each of which ends in fresh noise."""
    sampling = replace(
        v0_9_6_dev().sampling,
        steps=len(DISTILLED),
        sigmas=DISTILLED,
        renoise=1.0,
        **NO_GUIDANCE,
    )
    return replace(v0_9_6_dev(), sampling=sampling)


def v0_9_7_13b_dev() -> LTXVideoConfig:
    """0.9.7 and 0.9.8, 13B: guidance by noise level, CFG-star, two passes."""
    sampling = replace(
        v0_9_6_dev().sampling,
        steps=30,
        skip_last=3,
        levels=(1.0, 0.996, 0.9933, 0.985, 0.9767, 0.9008, 0.618),
        guidance=(1.0, 1.0, 6.0, 8.0, 6.0, 1.0, 1.0),
        perturbed=(0.0, 0.0, 4.0, 4.0, 4.0, 2.0, 1.0),
        perturbed_blocks=((), (11, 25, 35, 39), (22, 35, 39), (28,), (28,), (28,), (28,)),
        rescale=(0.0, 0.0, 0.5, 0.5, 0.0, 0.0, 0.0),
        star=True,
        second=SecondPass(
            share=SHARE,
            steps=30,
            skip_first=17,
            schedule="linear_quadratic",
            guidance=1.0,
            perturbed=1.0,
            perturbed_blocks=(27,),
            rescale=0.0,
            star=True,
        ),
    )
    return replace(v0_9_6_dev(), transformer=ltx_transformer.ltx_13b(), sampling=sampling)


def v0_9_7_13b_distilled() -> LTXVideoConfig:
    """0.9.7, 13B, distilled: 7 steps, and 3 in the second pass."""
    return _in_two_passes(v0_9_7_13b_dev(), tone_map=0.0)


def v0_9_8_13b_distilled() -> LTXVideoConfig:
    """0.9.8, 13B, distilled: as 0.9.7, with a tone map before decoding."""
    return _in_two_passes(v0_9_7_13b_dev(), tone_map=0.6)


def v0_9_8_2b_distilled() -> LTXVideoConfig:
    """0.9.8, 2B, distilled from the 13B model: 7 steps, and 3 in the second pass."""
    return _in_two_passes(v0_9_6_dev(), tone_map=0.0)


def _in_two_passes(base: LTXVideoConfig, *, tone_map: float) -> LTXVideoConfig:
    """Networks of `base`, sampled as the distilled models of 0.9.7 and 0.9.8 are."""
    sampling = replace(
        v0_9_6_dev().sampling,
        steps=len(DISTILLED) - 1,
        sigmas=DISTILLED[:-1],
        second=SecondPass(
            share=SHARE, steps=len(SECOND), sigmas=SECOND, tone_map=tone_map, **NO_GUIDANCE
        ),
        **NO_GUIDANCE,
    )
    return replace(base, sampling=sampling)


VERSIONS: dict[str, Callable[[], LTXVideoConfig]] = {
    "0.9.0-2b": full,
    "0.9.1-2b": v0_9_1,
    "0.9.5-2b": v0_9_5,
    "0.9.6-2b-dev": v0_9_6_dev,
    "0.9.6-2b-distilled": v0_9_6_distilled,
    "0.9.7-13b-dev": v0_9_7_13b_dev,
    "0.9.7-13b-distilled": v0_9_7_13b_distilled,
    "0.9.8-13b-dev": v0_9_7_13b_dev,
    "0.9.8-13b-distilled": v0_9_8_13b_distilled,
    "0.9.8-2b-distilled": v0_9_8_2b_distilled,
}
