"""LTX-Video against diffusers' pipelines: equal weights, prompts and noise, 8 steps in float32.

Real networks of diffusers with the weights of ours. What differs on purpose, and is evened out:

- `LTXPipeline` and `LTXImageToVideoPipeline` know the positions of 0.9.0 only, in which the first
  latent frame is as long as the others; `LTXConditionPipeline` those of 0.9.5 and later only. Ours
  has what the model was trained with, in every mode. Each pipeline is met by a model of its time.
- diffusers draws the latents of given frames from the posterior; ours, as the authors, takes its
  mode. Here the posterior of diffusers gives its mode.
- diffusers adds the decoder's noise to latents after their mean and deviation are undone; ours, as
  the authors, before. Here both statistics are those of normal latents where there is noise.
- Appended tokens stand before those of the clip in diffusers, behind them here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from published_files import small
from torch import Tensor

from kinema.clip import Clip
from kinema.condition import Tokens
from kinema.networks import ltx_diffusers, ltx_vae_config
from kinema.networks.ltx_latent_upsampler import LatentUpsampler, LatentUpsamplerConfig
from kinema.networks.ltx_transformer import LTXTransformerConfig, patchify, unpatchify
from kinema.noise import Noise
from kinema.processes.schedules import TokenShift
from kinema.systems.keyframes import Keyframe, Source
from kinema.systems.ltx_video import LTXVideo
from kinema.systems.ltx_video_config import SecondPass
from kinema.systems.ltx_video_presets import nano
from kinema.weights.maps import ltx_transformer as transformer_map
from kinema.worlds.shapes import Shapes

diffusers = pytest.importorskip("diffusers")

PROMPT = "a small red circle moves left on a navy background"
NEGATIVE = "a large green star"
HEIGHT, WIDTH, FRAMES, FPS = 64, 96, 33, 24.0
CELLS = 2 * 3  # tokens of a latent frame
CLIP = Shapes(seed=0, split="train", num_frames=33, height=HEIGHT, width=WIDTH, fps=FPS)
CLIP = CLIP.sample(0).clip
STEPS = 8
TOLERANCE = 1e-3  # of values of about 1
SHIFT = {"base_image_seq_len": 1024, "max_image_seq_len": 4096, "base_shift": 0.95}
SHIFT |= {"max_shift": 2.05, "shift_terminal": 0.1, "use_dynamic_shifting": True}


@dataclass
class Pair:
    """A model of ours, and diffusers' networks with its weights."""

    ours: LTXVideo
    transformer: Any
    vae: Any

    def pipeline(self, name: str, **scheduler: Any) -> Any:
        """A pipeline of diffusers with these networks, and no text encoder."""
        made = getattr(diffusers, name)(
            scheduler=diffusers.FlowMatchEulerDiscreteScheduler(**scheduler),
            vae=self.vae,
            text_encoder=None,
            tokenizer=None,
            transformer=self.transformer,
        )
        made.set_progress_bar_config(disable=True)
        return made

    def unit_statistics(self) -> None:
        """Latents have mean 0 and deviation 1 for both."""
        for codec, mean, std in (
            (self.ours.codec, "mean_of_means", "std_of_means"),
            (self.vae, "latents_mean", "latents_std"),
        ):
            getattr(codec, mean).zero_()
            getattr(codec, std).fill_(1)


def pair(version: str) -> Pair:
    """Small random networks with the codec and the positions of a version."""
    torch.manual_seed(0)
    codec = getattr(ltx_vae_config, f"v{version.replace('.', '_')}")()
    base = nano()
    sizes = {"num_frames": FRAMES, "height": HEIGHT, "width": WIDTH, "fps": FPS, "steps": STEPS}
    config = replace(
        base,
        transformer=LTXTransformerConfig(
            latent_channels=8, caption_channels=16, num_layers=2, num_heads=2, head_width=12
        ),
        codec=small(codec),
        causal_positions=version == "0.9.5",
        shift=TokenShift(tokens=(1024, 4096), mu=(0.95, 2.05)),
        sampling=replace(base.sampling, terminal=0.1, perturbed=0.0, **sizes),
    )
    ours = LTXVideo(config)
    with torch.no_grad():
        for parameter in ours.parts.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        ours.codec.mean_of_means.normal_(0, 0.3)
        ours.codec.std_of_means.uniform_(0.5, 2)
    described = ltx_diffusers.transformer_to_diffusers(config.transformer)
    transformer = diffusers.LTXVideoTransformer3DModel.from_config(described).eval()
    theirs = transformer_map.DIFFUSERS.to_theirs(ours.transformer.state_dict())
    transformer.load_state_dict(theirs)
    vae = diffusers.AutoencoderKLLTXVideo.from_config(
        ltx_diffusers.vae_to_diffusers(config.codec)
    ).eval()
    theirs = ltx_diffusers.vae_keymap(config.codec).to_theirs(ours.codec.state_dict())
    vae.load_state_dict(theirs)
    return Pair(ours, transformer, vae)


pairs = cache(pair)


@dataclass(frozen=True)
class Drawn(Noise):
    """What a torch generator gives in the place of our noise, in the order of the pipelines."""

    source: torch.Generator

    def normal(self, shape: Any, stream: str) -> Tensor:
        """Noise of the clip, of each later keyframe, of the steps in between, of the decoder.

        No pipeline hands its generator to the decoder, whose maps are of the global one.
        """
        if stream in ("x_T", "decode"):
            return torch.randn(tuple(shape), generator=self.source)
        if stream.startswith("decode map"):
            return torch.randn(tuple(shape))
        if stream.startswith("keyframe"):
            frames = shape[1] // CELLS
            return patchify(torch.randn(1, shape[2], frames, 2, 3, generator=self.source))
        assert stream.startswith("hold"), f"no pipeline draws {stream}"
        drawn = torch.randn(tuple(shape), generator=self.source)
        return drawn.roll(-(shape[1] - 5 * CELLS), 1)  # appended tokens come first in diffusers


def drawn() -> Drawn:
    return Drawn(0, (0,), torch.Generator().manual_seed(3))


def given_to_both(model: LTXVideo, **others: Any) -> dict[str, Any]:
    """What all pipelines are called with: the encoded prompts, the size, the noise."""
    text = model.prepare([PROMPT], NEGATIVE, model.config.sampling).of(Tokens, "text")
    assert text.null is not None
    return {
        "prompt_embeds": text.x,
        "prompt_attention_mask": text.mask,
        "negative_prompt_embeds": text.null.x,
        "negative_prompt_attention_mask": text.null.mask,
        "height": HEIGHT,
        "width": WIDTH,
        "num_frames": FRAMES,
        "frame_rate": FPS,
        "num_inference_steps": STEPS,
        "generator": torch.Generator().manual_seed(3),
        "output_type": "latent",
        **others,
    }


def latents_of(model: LTXVideo, *, given: Any = (), source: Any = None, **changes: Any) -> Tensor:
    """Ours, (1, C, t, h, w)."""
    return model.latents(
        [PROMPT],
        noise=drawn(),
        sampling=replace(model.config.sampling, **changes),
        negative=NEGATIVE,
        keyframes=given,
        source=source,
    )


@pytest.fixture(autouse=True)
def mode_of_the_posterior(monkeypatch: pytest.MonkeyPatch) -> None:
    """See above."""
    from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution as Posterior

    monkeypatch.setattr(Posterior, "sample", lambda self, generator=None: self.mode())


def picture(clip: Clip) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(clip.frames[0]))


def close(ours: Tensor, theirs: Tensor) -> None:
    """Within the tolerance, of values that are not all small."""
    assert theirs.std() > 0.2
    torch.testing.assert_close(ours, theirs, rtol=TOLERANCE, atol=TOLERANCE)


# -- text ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scale", "rescale"), [(1.0, 0.0), (3.0, 0.0), (3.0, 0.7)], ids=["plain", "guided", "rescaled"]
)
def test_text_to_video(scale: float, rescale: float) -> None:
    two = pairs("0.9.0")
    theirs = two.pipeline("LTXPipeline", **SHIFT)(
        **given_to_both(two.ours, guidance_scale=scale, guidance_rescale=rescale)
    ).frames
    ours = latents_of(two.ours, guidance=scale, rescale=rescale)
    close(ours, unpatchify(theirs, 2, 3))


@pytest.mark.parametrize("version", ["0.9.0", "0.9.1", "0.9.5"])
def test_pixels(version: str) -> None:
    """With every decoder; latents of 0.9.5 by LTXConditionPipeline, the others by LTXPipeline."""
    two = pairs(version)
    sampling = {"guidance": 3.0, "rescale": 0.0, "decode_noise": 0.0, "decode_time": 0.05}
    pipeline = two.pipeline("LTXPipeline", **SHIFT)
    if version == "0.9.5":
        pipeline = two.pipeline("LTXConditionPipeline")
        sampling |= {"schedule": "linear_quadratic"}
    beside = {"decode_timestep": 0.05, "decode_noise_scale": 0.0}
    told = given_to_both(two.ours, output_type="pt", guidance_scale=3.0, **beside)
    torch.manual_seed(5)  # of the maps
    theirs = pipeline(**told).frames
    latents = latents_of(two.ours, **sampling)
    torch.manual_seed(5)
    sampling_ours = replace(two.ours.config.sampling, **sampling)
    ours = two.ours.decode(latents, noise=drawn(), sampling=sampling_ours)
    close(((ours + 1) / 2).clamp(0, 1).movedim(1, 2), theirs)


def test_noise_before_the_decoder() -> None:
    two = pair("0.9.5")
    two.unit_statistics()
    beside = {"decode_timestep": 0.05, "decode_noise_scale": 0.2}
    told = given_to_both(two.ours, output_type="pt", guidance_scale=1.0, **beside)
    theirs = two.pipeline("LTXConditionPipeline")(**told).frames
    plain = {"guidance": 1.0, "schedule": "linear_quadratic"}
    sampling = replace(two.ours.config.sampling, decode_noise=0.2, decode_time=0.05, **plain)
    noise = drawn()
    latents = two.ours.latents([PROMPT], noise=noise, sampling=sampling, negative=NEGATIVE)
    ours = two.ours.decode(latents, noise=noise, sampling=sampling)
    close(((ours + 1) / 2).clamp(0, 1).movedim(1, 2), theirs)


# -- pictures and clips ------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_image_to_video(scale: float) -> None:
    two = pairs("0.9.0")
    theirs = two.pipeline("LTXImageToVideoPipeline", **SHIFT)(
        **given_to_both(two.ours, image=picture(CLIP), guidance_scale=scale)
    ).frames
    ours = latents_of(two.ours, given=[Keyframe(clip=CLIP[:1])], guidance=scale, rescale=0.0)
    theirs = unpatchify(theirs, 2, 3)
    close(ours, theirs)
    alone = two.ours.codec.encode(torch.from_numpy(CLIP[:1].to_float())[None])
    torch.testing.assert_close(theirs[:, :, :1], alone, rtol=TOLERANCE, atol=TOLERANCE)


GIVEN = {
    "first": [(CLIP[:1], 0, 1.0)],
    "weak first": [(CLIP[:1], 0, 0.6)],
    "start": [(CLIP[:17], 0, 1.0)],
    "weak start": [(CLIP[:9], 0, 0.8)],
    "last": [(CLIP[20:21], 32, 1.0)],
    "end of two latents": [(CLIP[:9], 24, 1.0)],
    "end": [(CLIP[:17], 16, 1.0)],
    "weak middle": [(CLIP[3:20], 8, 0.7)],
    "several": [(CLIP[:1], 0, 1.0), (CLIP[9:10], 7, 0.7), (CLIP[:17], 16, 0.9)],
}


@pytest.mark.parametrize("fresh", [0.0, 0.15], ids=["held still", "with noise"])
@pytest.mark.parametrize("case", GIVEN)
def test_conditions(case: str, fresh: float) -> None:
    from diffusers.pipelines.ltx.pipeline_ltx_condition import LTXVideoCondition

    two, conditions = pairs("0.9.5"), []
    for clip, at, strength in GIVEN[case]:
        pictures = [picture(clip[i : i + 1]) for i in range(clip.num_frames)]
        content = {"video": pictures} if len(pictures) > 1 else {"image": pictures[0]}
        conditions.append(LTXVideoCondition(**content, frame_index=at, strength=strength))
    told = {"guidance_scale": 3.0, "image_cond_noise_scale": fresh, "conditions": conditions}
    theirs = two.pipeline("LTXConditionPipeline")(**given_to_both(two.ours, **told)).frames
    ours = latents_of(
        two.ours,
        given=[Keyframe(clip=clip, frame=at, strength=m) for clip, at, m in GIVEN[case]],
        guidance=3.0,
        rescale=0.0,
        schedule="linear_quadratic",
        keyframe_noise=fresh,
    )
    close(ours, theirs)


@pytest.mark.parametrize("strength", [0.1, 0.4, 0.85, 1.0])
def test_video_to_video(strength: float) -> None:
    two = pairs("0.9.5")
    start = two.ours.codec.encode(torch.from_numpy(CLIP.to_float())[None])
    # The pipeline takes no step where ours takes one at least.
    told = {"denoise_strength": max(strength, 1 / STEPS), "latents": start, "guidance_scale": 3.0}
    theirs = two.pipeline("LTXConditionPipeline")(**given_to_both(two.ours, **told)).frames
    changes = {"guidance": 3.0, "rescale": 0.0, "schedule": "linear_quadratic"}
    ours = latents_of(two.ours, source=Source(clip=CLIP, strength=strength), **changes)
    close(ours, theirs)


def test_levels_of_a_distilled_model() -> None:
    two = pairs("0.9.5")
    sigmas = (1.0, 0.9937, 0.9875, 0.9812, 0.975, 0.9094, 0.725)
    told = {"timesteps": [1000 * sigma for sigma in sigmas], "guidance_scale": 1.0}
    told["num_inference_steps"] = len(sigmas)
    theirs = two.pipeline("LTXConditionPipeline")(**given_to_both(two.ours, **told)).frames
    ours = latents_of(two.ours, guidance=1.0, sigmas=sigmas, steps=len(sigmas))
    close(ours, theirs)


# -- two passes --------------------------------------------------------------------------------


def test_two_passes() -> None:
    """diffusers has a pipeline for each of the three parts; the first passes are the same."""
    from diffusers.pipelines.ltx.modeling_latent_upsampler import LTXLatentUpsamplerModel

    two = pairs("0.9.5")
    sizes = {"in_channels": 8, "mid_channels": 32, "num_blocks_per_stage": 1}
    torch.manual_seed(1)
    network = LatentUpsampler(LatentUpsamplerConfig(**sizes, upsample="space")).eval()
    theirs = LTXLatentUpsamplerModel(**sizes).eval()
    theirs.load_state_dict(network.state_dict())
    upsample = diffusers.LTXLatentUpsamplePipeline(vae=two.vae, latent_upsampler=theirs)
    upsample.set_progress_bar_config(disable=True)
    pipeline = two.pipeline("LTXConditionPipeline")
    source = torch.Generator().manual_seed(3)
    small = pipeline(**given_to_both(two.ours, guidance_scale=3.0, generator=source)).frames
    large = upsample(
        latents=small, height=HEIGHT, width=WIDTH, adain_factor=1.0, output_type="latent"
    ).frames
    told = {"height": 2 * HEIGHT, "width": 2 * WIDTH, "latents": large, "denoise_strength": 0.5}
    told |= {"generator": source, "guidance_scale": 1.0}
    expected = pipeline(**given_to_both(two.ours, **told)).frames
    second = SecondPass(
        share=2 / 3,
        steps=STEPS,
        skip_first=4,
        schedule="linear_quadratic",
        guidance=1.0,
        perturbed=0.0,
        perturbed_blocks=(),
        rescale=0.0,
    )
    two.ours.upsampler = network
    try:
        ours = latents_of(
            two.ours,
            guidance=3.0,
            rescale=0.0,
            schedule="linear_quadratic",
            height=3 * HEIGHT // 2,
            width=3 * WIDTH // 2,
            second=second,
        )
    finally:
        two.ours.upsampler = None
    close(ours, expected)
