"""Stable Video Diffusion: Scaling Latent Video Diffusion Models to Large Datasets.

Blattmann et al. 2023, arXiv 2311.15127. Authors' code: github.com/Stability-AI/generative-models
(MIT); weights under the Stable Video Diffusion license. A still becomes a clip: its latent joins
those of all frames, a token of it is attended to, and EDM's sampler removes the noise.

Letters: B batch, C latent channels, T frames, H, W pixels, h, w latent rows and columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from kinema.card import Card
from kinema.clip import Clip
from kinema.data.clips import split_of, to_clip
from kinema.networks.svd_unet import SVDUNet
from kinema.networks.svd_vae import SVDVAE
from kinema.networks.vit import ViT
from kinema.noise import Noise
from kinema.processes import schedules
from kinema.processes.edm import EDM, v_scaling
from kinema.processes.guidance import Term, linear, rising
from kinema.processes.process import Guidance
from kinema.systems.model import Model, Part
from kinema.systems.svd_conditions import STILLS, conditions, encode, framed
from kinema.systems.svd_config import PRESETS, Sampling, SVDConfig
from kinema.systems.svd_finetuning import FINETUNE
from kinema.systems.svd_training import STAGES
from kinema.systems.system import Job
from kinema.weights.keymap import KeyMap
from kinema.weights.lora import Layout

CARD = Card(
    name="svd",
    number=34,
    title="Stable Video Diffusion: Scaling Latent Video Diffusion Models to Large Datasets",
    arxiv="2311.15127",
    year=2023,
    kind="generator",
    job="a still picture becomes a clip",
    code="github.com/Stability-AI/generative-models",
    code_license="MIT",
    weights_license="Stable Video Diffusion license (non-commercial, community)",
    claim="pretraining on images, then on curated clips, each lowers the error of the video model",
    applies=("full", "weights", "parity", "tiny", "run", "claim"),
    verified=(
        "by recorded cases: U-Net, encoder and decoder of the VAE",
        "parameter counts and names of U-Net and VAE",
    ),
    inferred=(
        "training: noise levels recalled from the paper; learning rates, and the share of clips "
        "learned without their still, token and latent together, are guesses",
    ),
    deviations=(
        "the published image encoder, CLIP ViT-H/14, is not here yet: a plain ViT stands in for "
        "it, in the full sizes of CLIP's width; it is trained with the U-Net, CLIP is frozen",
        "the VAE learns from squared error and KL alone, encoder and decoder at once",
        "the motion bucket is the mean change from frame to frame, not optical flow",
        "a clip is decoded at once, not 14 frames a time",
        "the U-Net learns from modes of the VAE's posteriors, as they are cached, not from draws",
    ),
    dead={
        "*transformer_blocks.0.attn2.to_q.*": "attention to a single token has no choice",
        "*transformer_blocks.0.attn2.to_k.*": "attention to a single token has no choice",
        "*transformer_blocks.0.norm2.*": "it only feeds the queries of attn2",
        "codec.*.attentions.0.to_k.bias": "what is added to all keys changes no softmax",
    },
)


class SVD(Model):
    """The system: from a still to a clip."""

    CARD = CARD
    JOBS: ClassVar = {"animate": Job(takes={"image": Clip}, gives={"clip": Clip})}
    CONFIG = SVDConfig
    PRESETS = PRESETS
    STAGES: ClassVar = {**STAGES, "finetune": FINETUNE}
    STILLS = STILLS
    LORA: ClassVar = {"unet.": Layout("unet", KeyMap())}  # our names are those of diffusers
    config: SVDConfig
    image = Part(ViT)
    unet = Part(SVDUNet)
    vae = Part(SVDVAE)

    @property
    def process(self) -> EDM:
        """Noise of any deviation on latents of deviation 1, v-prediction."""
        return EDM(
            sigma_data=1.0,
            sigma_max=self.config.sampling.sigma_max,
            P_mean=self.config.P_mean,
            P_std=self.config.P_std,
            preconditioning=v_scaling,
        )

    def encoded(self, clips: Tensor, samples: Sequence[int]) -> dict[str, Tensor]:
        """Latents, first frames and motion buckets of clips; see `svd_conditions.encode`."""
        return encode(self, clips)

    def guidance(self, sampling: Sampling) -> Guidance:
        """Classifier-free guidance that grows from frame to frame; the vector is always told."""
        scales = rising(sampling.num_frames, *sampling.guidance)
        return linear([Term(weight=scales.view(-1, 1, 1) - 1, drop=("crossattn", "concat"))])

    @torch.inference_mode()
    def animate(self, stills: Tensor, *, noise: Noise, sampling: Sampling) -> Tensor:
        """Clips (B, 3, T, H, W), about [-1, 1], of stills (B, 3, H, W) in [-1, 1].

        Row b has the noise of ``noise.samples[b]``.
        """
        stills = stills.to(next(self.unet.parameters()))  # its device and type
        told = stills.new_tensor([sampling.motion, sampling.still_noise]).expand(len(stills), -1)
        levels = {name: getattr(sampling, name) for name in ("sigma_min", "sigma_max", "rho")}
        shape = self.vae.latent_shape(sampling.num_frames, *stills.shape[2:])
        latents = self.process.sample(
            self.unet,
            self.process.start((len(stills), *shape), noise).to(stills),
            schedules.with_zero(schedules.karras(sampling.steps, **levels)),
            conditions=conditions(self, stills, told[:, 0], told[:, 1], sampling.fps, noise),
            guidance=self.guidance(sampling),
        )
        return self.vae.decode(latents)

    def run_animate(self, inputs: Mapping[str, Clip], seed: int) -> dict[str, Any]:
        """The first frame of what is given moves; see `framed`."""
        sampling = self.config.sampling
        still = framed(inputs["image"][:1], sampling.height, sampling.width).to_float()
        made = self.animate(
            torch.from_numpy(still[None, :, 0]), noise=Noise(0, (seed,)), sampling=sampling
        )
        return {"clip": to_clip(made[0], sampling.fps)}

    def example(self, job: str, folder: Path) -> dict[str, Any]:
        """A clip of the world `shapes`; its first frame is the still."""
        return {"image": split_of("shapes", "held_out", self.config.sampling).sample(0).clip}


SYSTEM = SVD
