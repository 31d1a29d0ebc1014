"""LTX-Video: Realtime Video Latent Diffusion (arXiv 2501.00103), HaCohen et al. 2024.

Authors' code: github.com/Lightricks/LTX-Video (Apache-2.0). A text encoder conditions a transformer
that predicts the velocity of latent tokens; a codec of 32x32x8 pixels per token also denoises.

Letters: B batch, C latent channels, N tokens; t, h, w latent frames, rows, columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from kinema.card import Card, Weights
from kinema.condition import Conditions, Grid
from kinema.conditions.encoders import build_text
from kinema.errors import InputError
from kinema.networks.ltx_latent_upsampler import LatentUpsampler
from kinema.networks.ltx_transformer import LTXTransformer, latent_positions, pixel_positions
from kinema.networks.ltx_vae import LTXVAE
from kinema.noise import Noise
from kinema.processes import schedules
from kinema.processes.flow import Flow, LogitNormal
from kinema.processes.latent_filters import tone_map
from kinema.systems import ltx_video_diffusers, ltx_video_given, ltx_video_published
from kinema.systems.image_to_video import ImageToVideo
from kinema.systems.keyframes import Keyframe, Source, check_keyframes
from kinema.systems.ltx_video_config import LTXVideoConfig, Sampling
from kinema.systems.ltx_video_finetuning import FINETUNE
from kinema.systems.ltx_video_keyframes import appended_frames
from kinema.systems.ltx_video_passes import fitted, two_passes
from kinema.systems.ltx_video_presets import PRESETS
from kinema.systems.ltx_video_sampling import denoise, noise_maps, shifted
from kinema.systems.ltx_video_training import STAGES
from kinema.systems.ltx_video_upsamplers import denser, read_upsampler
from kinema.systems.ltx_video_versions import VERSIONS
from kinema.systems.model import Part
from kinema.systems.published import Published
from kinema.weights.lora import Layout
from kinema.weights.maps import ltx_transformer
from kinema.worlds.shown import shown
from kinema.worlds.world import WorldSample

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
        "what each version is sampled with: the authors' configs/*.yaml",
        "every mode of sampling against diffusers' pipelines, with equal weights and noise",
    ),
    inferred=(
        "that the timed decoder of 0.9.1 is the paper's denoising decoder",
        "that noise levels are linear-quadratic from 0.9.5 on: the tables of 13B lie on them",
        "a temporal upsampler doubles the frame rate of what is made, statistics as they come",
        "training: the paper's text; its times are those of the authors' trainer of LTX-2",
    ),
    deviations=(
        "the shapes model reads text with a small word encoder of our own instead of T5",
        "the shapes model also tells tokens their place, by a layer of our own",
        "no LPIPS term in the codec's loss: it needs weights trained by others",
    ),
    tags={
        "shapes": Weights(
            file="ltx_video.shapes.safetensors",
            license="Apache-2.0",
            trained_on="the world shapes:level=2; docs/shapes-model.md",
            sha256="e199803f1594500e8ed79af14e3f8ffe43a7c8f938ee66138e8ed9e5cdbb77c8",
        )
    },
)


class LTXVideo(ImageToVideo):
    """The system: from a prompt to a clip, each hop one call to one part."""

    CARD = CARD
    CONFIG = LTXVideoConfig
    PRESETS = PRESETS
    STAGES: ClassVar = {**STAGES, "finetune": FINETUNE}
    LORA: ClassVar = {
        "transformer.": Layout("transformer", ltx_transformer.DIFFUSERS),
        "diffusion_model.": Layout("transformer", ltx_transformer.OFFICIAL),
        "lora_unet_": Layout("transformer", ltx_transformer.KOHYA),
    }
    PUBLISHED = Published(VERSIONS, ltx_video_published.read, ltx_video_diffusers.write)
    STILLS = ltx_video_given.STILLS
    config: LTXVideoConfig
    text = Part(build_text)
    transformer = Part(LTXTransformer)
    codec = Part(LTXVAE)
    upsampler: LatentUpsampler | None = None  # of space, between two passes; `load_upsampler`
    temporal_upsampler: LatentUpsampler | None = None  # of time, behind the last pass

    @property
    def process(self) -> Flow:
        """Rectified flow; times are shifted by the number of tokens."""
        return Flow(times=LogitNormal(shift=self.config.shift))

    def prepare(
        self,
        prompts: Sequence[str],
        negative: str,
        sampling: Sampling,
        keyframes: Sequence[Keyframe] = (),
    ) -> Conditions:
        """Encodes text and positions of a batch; once per sample, outside the step loop.

        Keyframes after the first frame are appended as tokens of their own.
        """
        check_keyframes(keyframes, sampling.num_frames, self.codec.stride[0])
        causal = self.config.causal_positions
        stills = appended_frames(keyframes, self.codec.stride, causal=causal)
        size = self.latent_shape(sampling)[1:]
        ids = self.text.ids([*prompts, *([negative] * len(prompts))]).to(self.device)
        given, null = self.text(ids).chunk(2)
        frames = torch.tensor([stills] * len(prompts), dtype=torch.long, device=self.device)
        return self.conditions(replace(given, null=null), size, sampling.fps, frames)

    def conditions(
        self, text: Any, size: tuple[int, int, int], fps: float, stills: Tensor
    ) -> Conditions:
        """Text, and the positions (B, 3, N) of the tokens: seconds, rows and columns of pixels.

        Tokens of the clip come first, then those of single frames (B, S), given by their numbers.
        """
        stride, causal = self.codec.stride, self.config.causal_positions
        latent, alone = (
            latent_positions(frames, *size[1:], device=self.device) for frames in (size[0], 1)
        )
        clip = pixel_positions(latent, stride, causal=causal).expand(len(stills), -1, -1)
        own = pixel_positions(alone, stride, causal=causal).repeat(len(stills), 1, stills.shape[1])
        own[:, 0] += stills.repeat_interleave(alone.shape[1], 1)
        pixel = torch.cat((clip, own), 2).float()
        pixel[:, 0] /= fps
        return Conditions({"text": text, "positions": Grid(x=pixel)})

    def encoded(self, clips: Tensor, samples: Sequence[int]) -> dict[str, Tensor]:
        """Latents of clips, and of single frames; see `ltx_video_given.encode`."""
        return ltx_video_given.encode(self, clips, samples)

    def told(self, sample: WorldSample, size: tuple[int, ...]) -> dict[str, Tensor]:
        """What the tokens of a clip show."""
        return {"shown": torch.from_numpy(shown(sample, size))}

    def load_upsampler(self, path: str | Path) -> None:
        """Loads a latent upsampler: of space, which two passes need, or of time.

        With one of time clips have twice the frame rate, see `frame_rate`: 2F - 1 frames where
        `Sampling` says F.

        Args:
            path: a published file, or a folder of diffusers.

        Raises:
            InputError: there is none for this model.
        """
        channels = self.codec.channels
        read = read_upsampler(path, channels=channels, device=self.device, dtype=self.dtype)
        if read.config.upsample == "time":
            self.temporal_upsampler = read
        else:
            self.upsampler = read

    def check(self, sampling: Sampling) -> None:
        """As of any `TextToVideo`; two passes need their upsampler."""
        super().check(sampling)
        if sampling.second is not None and self.upsampler is None:
            raise InputError(
                "this model makes clips in two passes and needs its latent upsampler between them, "
                "published as ltxv-spatial-upscaler-0.9.7.safetensors or -0.9.8: `kinema generate "
                "--upsampler FILE`, or `load_upsampler(FILE)` in Python"
            )

    def negative(self, said: str | None, sampling: Sampling) -> str:
        """As of any `TextToVideo`; that of the model is in its sampling."""
        return sampling.negative if said is None else said

    def frame_rate(self, sampling: Sampling) -> float:
        """Twice that of the sampling behind a temporal upsampler."""
        return sampling.fps if self.temporal_upsampler is None else 2 * sampling.fps

    def sigmas(self, steps: int, num_tokens: int, terminal: float) -> Tensor:
        """Noise levels (steps + 1,): shifted by the tokens, stretched to the terminal, then 0."""
        return schedules.with_zero(shifted(steps, self.config.shift, num_tokens, terminal))

    def latent_shape(self, sampling: Sampling) -> tuple[int, int, int, int]:
        """(C, t, h, w); raises InputError if the codec cannot take clips of this size."""
        last = sampling.passes(self.codec.stride)[-1]
        return self.codec.latent_shape(last.num_frames, last.height, last.width)

    @torch.inference_mode()
    def latents(self, prompts: Sequence[str], *, sampling: Sampling, **given: Any) -> Tensor:
        """As of any `ImageToVideo`, in one pass or two; 2t - 1 frames for a temporal upsampler."""
        self.check(sampling)
        make = super().latents if sampling.second is None else partial(two_passes, self)
        made = make(prompts, sampling=sampling, **given)
        return denser(self, self.temporal_upsampler, made) if self.temporal_upsampler else made

    def sample(
        self,
        conditions: Conditions,
        noise: Noise,
        sampling: Sampling,
        keyframes: Sequence[Keyframe] = (),
        source: Source | None = None,
    ) -> Tensor:
        """Normalized latents (B, C, t, h, w), from noise or from a clip under noise."""
        if source is None:
            return denoise(self, conditions, noise, sampling, keyframes, start=None)
        pixels = source.pixels(sampling.height, sampling.width).to(self.device, self.dtype)
        start = self.codec.encode(pixels[None]).expand(len(noise), -1, -1, -1, -1)
        later = sampling.from_clip(source.strength)
        return denoise(self, conditions, noise, later, keyframes, start=start)

    @torch.inference_mode()
    def decode(self, latents: Tensor, *, noise: Noise, sampling: Sampling) -> Tensor:
        """Clips (B, 3, T, H, W), about [-1, 1]; a timed decoder does the last denoising step."""
        time = None
        if self.config.codec.timestep_conditioning:
            level = sampling.decode_noise
            fresh = noise.normal(latents.shape, "decode").to(latents)
            latents = (1 - level) * latents + level * fresh
            time = torch.full((len(latents),), sampling.decode_time, device=latents.device)
        latents = tone_map(latents, sampling.passes(self.codec.stride)[-1].tone_map)
        clips = self.codec.decode(latents, time=time, noise=noise_maps(noise))
        return fitted(clips, sampling.height, sampling.width)


SYSTEM = LTXVideo
