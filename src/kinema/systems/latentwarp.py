"""LatentWarp: Consistent Diffusion Latents for Zero-Shot Video-to-Video Translation.

arXiv 2311.00353, Bao et al. 2023. Authors' code: none published, so no license. An image model with
a control branch translates all frames of a clip together: attention sees the first and the
previous frame, and in early steps latents follow the motion of the source (`hooks/warp.py`).

Letters: B clips, C latent channels, T frames, H, W pixels, h, w latents.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from kinema.card import Card
from kinema.clip import Clip
from kinema.condition import Conditions, Grid
from kinema.conditions.block_flow import block_flow
from kinema.data.clips import split_of, to_clip
from kinema.hooks.cross_frame import CrossFrame
from kinema.hooks.warp import WarpLatents
from kinema.networks.controlnet import ControlledUNet
from kinema.networks.word_encoder import WordEncoder
from kinema.nn.flow import resize_flow, resize_mask, visible
from kinema.nn.sites import hooked
from kinema.noise import Noise
from kinema.processes import schedules
from kinema.processes.guidance import Term, linear
from kinema.processes.steps import StepHook
from kinema.sample import Text
from kinema.systems.latentwarp_config import PRESETS, PROCESS, LatentWarpConfig, build_vae
from kinema.systems.latentwarp_training import STAGES, edges
from kinema.systems.model import Model, Part
from kinema.systems.system import Job

CARD = Card(
    name="latentwarp",
    number=55,
    title="LatentWarp: Consistent Diffusion Latents for Zero-Shot Video-to-Video Translation",
    arxiv="2311.00353",
    year=2023,
    kind="editor",
    job="a clip and a prompt become the clip in the look of the prompt",
    code="none published",
    code_license="none",
    weights_license="none of its own; Stable Diffusion 1.5 is CreativeML OpenRAIL-M",
    claim="warped latents lower the warp error below that of cross-frame attention alone",
    applies=("full", "tiny", "run", "claim"),
    verified=(
        "U-Net and ControlNet, against diffusers: every tensor, outputs of small networks",
        "warping, by analytic tests: identity, whole translations, masks",
        "nothing of the authors' runs: no code is published",
    ),
    inferred=(
        "that latents are warped in the first 60 % of the steps, by the nearest latent",
        "that attention sees the first and the previous frame",
        "constants of the occlusion test, which are UnFlow's",
    ),
    deviations=(
        "flow comes from exhaustive block matching in whole pixels; the paper's is RAFT's",
        "the control map is a plain gradient of the light, not Canny's edges",
        "text is read by a word encoder of our own, also at full size; Stable Diffusion's is CLIP",
        "small presets work on pixels, and are trained on frames of the world shapes",
        "all frames are denoised in one batch; memory grows with the clip",
    ),
)


class LatentWarp(Model):
    """The system; the state of its process is a clip of latents (B, C, T, h, w)."""

    CARD = CARD
    CONFIG = LatentWarpConfig
    PRESETS = PRESETS
    STAGES = STAGES
    JOBS: ClassVar = {"translate": Job(takes={"clip": Clip, "prompt": Text}, gives={"clip": Clip})}
    config: LatentWarpConfig
    process = PROCESS
    text = Part(WordEncoder)
    unet = Part(ControlledUNet)
    vae = Part(build_vae)

    def prepare(self, prompts: Sequence[str], control: Tensor) -> Conditions:
        """Encoded prompts, whose null is the empty one, and control maps (B, 3, T, H, W)."""
        tokens = self.text(self.text.ids(prompts).to(self.device))
        return Conditions({"crossattn": tokens, "control": Grid(x=control)})

    def motion(self, pixels: Tensor) -> WarpLatents:
        """The hook that carries latents along the motion of a clip (1, 3, T, H, W)."""
        frames, scale = pixels[0].transpose(0, 1), self.config.unet.stride
        now, previous = frames[1:], frames[:-1]
        flow = block_flow(now, previous, self.config.flow)
        mask = visible(flow, block_flow(previous, now, self.config.flow))
        size = (pixels.shape[3] // scale, pixels.shape[4] // scale)
        return WarpLatents(
            flow=resize_flow(flow, *size),
            mask=resize_mask(mask, *size),
            share=self.config.sampling.warped,
        )

    @torch.no_grad()
    def sample(
        self, conditions: Conditions, noise: Noise, hooks: Sequence[StepHook] = ()
    ) -> Tensor:
        """Clips (B, 3, T, H, W), about [-1, 1], of the size of their control maps."""
        batch, _, frames, height, width = conditions.of(Grid, "control").x.shape
        unet, scale, sampling = self.config.unet.unet, self.config.unet.stride, self.config.sampling
        shape = (batch, unet.in_channels, frames, height // scale, width // scale)
        latents = self.process.sample(
            self.unet,
            self.process.start(shape, noise).to(self.device),
            schedules.with_zero(schedules.stable_diffusion(sampling.steps)),
            conditions=conditions,
            guidance=linear([Term(weight=sampling.guidance - 1, drop=("crossattn",))]),
            hooks=hooks,
        )
        return self.vae.decode(latents)

    def run_translate(self, inputs: Mapping[str, Any], seed: int) -> dict[str, Clip]:
        """The clip under the prompt: its middle in the size of the model, at its own rate.

        Raises:
            InputError: the clip is too long.
        """
        clip, prompt = inputs["clip"], inputs["prompt"].text
        pixels = self.config.sampling.pixels(clip).to(self.device)
        with torch.no_grad(), hooked(CrossFrame(num_frames=clip.num_frames)):
            conditions = self.prepare([prompt], edges(pixels))
            made = self.sample(conditions, Noise(0, (seed,)), [self.motion(pixels)])[0]
        return {"clip": replace(to_clip(made, clip.fps), sound=clip.sound)}

    def example(self, job: str, folder: Path) -> dict[str, Clip | Text]:
        """A clip of the world `shapes`, and another look for it."""
        world = split_of("shapes", "held_out", self.config.sampling)
        return {"clip": world.sample(0).clip, "prompt": Text("a yellow circle on navy")}


SYSTEM = LatentWarp
