"""LTX-Video: Realtime Video Latent Diffusion (arXiv 2501.00103), HaCohen et al. 2024.

Authors' code: github.com/Lightricks/LTX-Video (Apache-2.0). A text encoder conditions a transformer
that predicts the velocity of latent tokens; a codec of 32x32x8 pixels per token also denoises.

Letters: B batch, C latent channels, N tokens; t, h, w latent frames, rows, columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, cast

import torch
from torch import Tensor

from kinema.card import Card, Weights
from kinema.condition import Conditions, Grid
from kinema.conditions.text import T5, T5Config
from kinema.hooks.perturb import attention_values
from kinema.networks.ltx_transformer import (
    LTXTransformer,
    latent_positions,
    patchify,
    pixel_positions,
    unpatchify,
)
from kinema.networks.ltx_vae import LTXVAE
from kinema.networks.word_encoder import WordEncoder
from kinema.noise import Noise
from kinema.processes import schedules
from kinema.processes.flow import Flow, LogitNormal
from kinema.processes.guidance import Term, linear
from kinema.processes.process import Callback, Guidance
from kinema.systems.ltx_video_config import LTXVideoConfig, Sampling
from kinema.systems.ltx_video_presets import PRESETS
from kinema.systems.ltx_video_training import STAGES
from kinema.systems.text_to_video import TextToVideo

CARD = Card(
    name="ltx_video",
    number=5,
    title="LTX-Video: Realtime Video Latent Diffusion",
    arxiv="2501.00103",
    year=2024,
    kind="generator",
    job="a text prompt becomes a clip",
    code="github.com/Lightricks/LTX-Video",
    code_license="Apache-2.0",
    weights_license="OpenRail-M from 0.9.5",
    claim="one model does text- and image-to-video by a time per token; its decoder denoises too",
    applies=("full", "weights", "parity", "tiny", "run", "claim"),
    verified=(
        "by recorded cases: transformer, rotary table, skip modes, VAE 0.9.0, 0.9.1 and 0.9.5, "
        "latent upsampler, schedules, Euler, guidance, masked denoising, latent filters",
        "parameter counts and checkpoint names of every published version",
    ),
    inferred=(
        "that the timed decoder of 0.9.1 is the paper's denoising decoder",
        "training: the paper's text; its times are those of the authors' trainer of LTX-2",
    ),
    deviations=(
        "the shapes model reads text with a small word encoder of our own instead of T5",
        "no LPIPS term in the codec's loss: it needs weights trained by others",
    ),
    tags={
        "shapes": Weights(
            file="ltx_video.shapes.safetensors",
            license="Apache-2.0",
            trained_on="the world shapes; docs/shapes-model.md",
            sha256="71a78251b520cb16a25650d86127d0695f7cd02f7689592290fab3bf9c28d5e7",
        )
    },
)


def build_text(text: Any, **factory: Any) -> WordEncoder | T5:
    """The text encoder that a configuration asks for."""
    if isinstance(text, T5Config):
        return T5(text, dtype=factory["dtype"])
    return WordEncoder(text, **factory)


class LTXVideo(TextToVideo):
    """The system: from a prompt to a clip, each hop one call to one part."""

    CARD = CARD
    CONFIG = LTXVideoConfig
    PRESETS = PRESETS
    STAGES = STAGES
    PARTS: ClassVar = {"text": build_text, "transformer": LTXTransformer, "codec": LTXVAE}
    config: LTXVideoConfig

    @property
    def process(self) -> Flow:
        """Rectified flow; times are shifted by the number of tokens."""
        return Flow(times=LogitNormal(shift=self.config.shift))

    @property
    def text(self) -> WordEncoder | T5:
        """The text encoder."""
        return cast(WordEncoder | T5, self.parts["text"])

    @property
    def transformer(self) -> LTXTransformer:
        """The network that predicts the velocity."""
        return cast(LTXTransformer, self.parts["transformer"])

    @property
    def codec(self) -> LTXVAE:
        """The video VAE."""
        return cast(LTXVAE, self.parts["codec"])

    def prepare(self, prompts: Sequence[str], negative: str, sampling: Sampling) -> Conditions:
        """Encodes text and positions of a batch; once per sample, outside the step loop."""
        size = self.latent_shape(sampling)[1:]
        ids = self.text.ids([*prompts, *([negative] * len(prompts))]).to(self.device)
        given, null = self.text(ids).chunk(2)
        return self.conditions(replace(given, null=null), size, sampling.fps)

    def conditions(self, text: Any, size: tuple[int, int, int], fps: float) -> Conditions:
        """Text, and the positions (B, 3, N) of the tokens: seconds, rows and columns of pixels."""
        latent, causal = latent_positions(*size, device=self.device), self.config.causal_positions
        pixel = pixel_positions(latent, self.codec.stride, causal=causal).float()
        pixel[0] /= fps
        return Conditions({"text": text, "positions": Grid(x=pixel.expand(len(text.x), -1, -1))})

    def guidance(self, sampling: Sampling) -> Guidance:
        """Classifier-free and spatio-temporal guidance with rescaling."""
        rows = torch.ones(1, dtype=torch.bool)  # all
        sites = {f"transformer_blocks.{i}.attn1": rows for i in sampling.perturbed_blocks}
        terms = (
            Term(weight=sampling.guidance - 1, drop=("text",)),
            Term(weight=sampling.perturbed, within=partial(attention_values, sites)),
        )
        return linear(terms, rescale=sampling.rescale)

    def sigmas(self, steps: int, num_tokens: int, terminal: float) -> Tensor:
        """Noise levels (steps + 1,): shifted by the tokens, stretched to the terminal, then 0."""
        shifted = schedules.shift(schedules.linear(steps), self.config.shift.at(num_tokens))
        if steps > 1:
            shifted = schedules.stretch_to_terminal(shifted, terminal)
        return schedules.with_zero(shifted)

    def latent_shape(self, sampling: Sampling) -> tuple[int, int, int, int]:
        """(C, t, h, w); raises InputError if the codec cannot take clips of this size."""
        return self.codec.latent_shape(sampling.num_frames, sampling.height, sampling.width)

    @torch.inference_mode()
    def latents(
        self,
        prompts: Sequence[str],
        *,
        noise: Noise,
        sampling: Sampling,
        negative: str,
        callback: Callback | None = None,
    ) -> Tensor:
        """Normalized latents (B, C, t, h, w); row b has the noise of ``noise.samples[b]``."""
        channels, *size = self.latent_shape(sampling)
        conditions = self.prepare(prompts, negative, sampling)
        x = patchify(self.process.start((len(prompts), channels, *size), noise))
        x = x.to(next(self.transformer.parameters()))  # its device and type
        tokens = self.process.sample(
            self.transformer,
            x,
            self.sigmas(sampling.steps, x.shape[1], sampling.terminal),
            conditions=conditions,
            guidance=self.guidance(sampling),
            callback=callback,
        )
        return unpatchify(tokens, *size[1:])

    @torch.inference_mode()
    def decode(self, latents: Tensor, *, noise: Noise, sampling: Sampling) -> Tensor:
        """Clips (B, 3, T, H, W), about [-1, 1]; a timed decoder does the last denoising step."""
        if not self.config.codec.timestep_conditioning:
            return self.codec.decode(latents)
        level = sampling.decode_noise
        fresh = noise.normal(latents.shape, "decode").to(latents)
        time = torch.full((len(latents),), sampling.decode_time, device=latents.device)
        return self.codec.decode((1 - level) * latents + level * fresh, time=time)


SYSTEM = LTXVideo
