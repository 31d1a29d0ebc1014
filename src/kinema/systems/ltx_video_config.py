"""Configuration of LTX-Video, and its published versions.

Paper, code and licence: see `ltx_video.py`.
"""

from __future__ import annotations

from dataclasses import replace

from kinema.conditions.text import T5Config
from kinema.config import config
from kinema.data.clips import ClipSize
from kinema.errors import InputError
from kinema.networks import ltx_transformer, ltx_vae_config
from kinema.networks.ltx_transformer import LTXTransformerConfig
from kinema.networks.ltx_vae_config import LTXVAEConfig
from kinema.networks.word_encoder import WordEncoderConfig
from kinema.processes.schedules import TokenShift

SHIFT = TokenShift(tokens=(1024, 4096), mu=(0.95, 2.05))  # of all published versions


@config
class Sampling(ClipSize):
    """How clips are made: their size, and the defaults of a model's sampler.

    Args:
        steps: of Euler's rule.
        guidance: scale of classifier-free guidance; 1 is none.
        perturbed: weight of the branch in which the attention of `perturbed_blocks` returns values.
        rescale: how far the spread of the guided prediction is brought back.
        terminal: the last noise level that is predicted from.
        decode_time, decode_noise: what a timed decoder is told, and the level of noise added before
            it.
        keyframe_noise: given frames are shown with keyframe_noise t^2 of noise at time t.
    """

    steps: int
    guidance: float
    perturbed: float
    perturbed_blocks: tuple[int, ...]
    rescale: float
    terminal: float
    decode_time: float
    decode_noise: float
    keyframe_noise: float = 0.0

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise InputError(f"sampling needs 1 step or more, not {self.steps}")
        if not 0 < self.terminal < 1:
            raise InputError(
                f"the terminal noise level lies between 0 and 1, not at {self.terminal}"
            )


@config
class LTXVideoConfig:
    """Networks and sampling of one LTX-Video model.

    Args:
        text, transformer, codec: the networks.
        causal_positions: the first latent frame lies at second 0 and is one pixel frame long.
        shift: of the noise levels, in training and sampling.
        sampling: how clips are made.
    """

    text: WordEncoderConfig | T5Config
    transformer: LTXTransformerConfig
    codec: LTXVAEConfig
    causal_positions: bool
    sampling: Sampling
    shift: TokenShift = SHIFT

    def __post_init__(self) -> None:
        layers = self.transformer.num_layers
        for block in self.sampling.perturbed_blocks:
            if not 0 <= block < layers:
                raise InputError(
                    f"perturbed_blocks has {block}; the transformer has {layers} layers"
                )
        if self.text.width != self.transformer.caption_channels:
            raise InputError("caption_channels of the transformer must equal the width of the text")
        if self.codec.latent_channels != self.transformer.latent_channels:
            raise InputError("transformer and codec must have the same latent_channels")


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
            keyframe_noise=0.15,
        ),
    )


def full_0_9_1() -> LTXVideoConfig:
    """Version 0.9.1: the timed decoder with noise maps."""
    return replace(full(), codec=ltx_vae_config.v0_9_1())


def full_0_9_5() -> LTXVideoConfig:
    """Version 0.9.5: the space-to-depth VAE; the first latent frame lies one pixel frame long."""
    return replace(full(), codec=ltx_vae_config.v0_9_5(), causal_positions=True)


def full_13b() -> LTXVideoConfig:
    """Version 0.9.7: the 13B transformer with the VAE of 0.9.5."""
    return replace(full_0_9_5(), transformer=ltx_transformer.ltx_13b())
