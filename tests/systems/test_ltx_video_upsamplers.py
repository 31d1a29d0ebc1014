"""Latent upsamplers of LTX-Video: their files, those of diffusers, and twice the frame rate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from diffusers.pipelines.ltx.modeling_latent_upsampler import LTXLatentUpsamplerModel
from published_files import small, stir, write_upsampler
from torch import Tensor

from kinema.clip import Clip
from kinema.errors import InputError
from kinema.networks import ltx_diffusers
from kinema.networks.ltx_latent_upsampler import LatentUpsampler, LatentUpsamplerConfig
from kinema.networks.ltx_vae_config import v0_9_5
from kinema.noise import Noise
from kinema.rollout import Segment, tell
from kinema.systems.keyframes import Keyframe
from kinema.systems.ltx_video import LTXVideo
from kinema.systems.ltx_video_config import SecondPass
from kinema.systems.ltx_video_presets import nano
from kinema.systems.ltx_video_training import STAGES
from kinema.worlds.shapes import Shapes

PROMPT = "a small red circle moves left on a navy background"
CLIP = Shapes(seed=0, split="train", num_frames=17, height=64, width=64, fps=12.0).sample(0).clip
SIZES = {"in_channels": 8, "mid_channels": 32, "num_blocks_per_stage": 1}
AXES = {
    "space": {"spatial_upsample": True, "temporal_upsample": False},
    "time": {"spatial_upsample": False, "temporal_upsample": True},
}
SECOND = SecondPass(
    share=0.67,
    steps=2,
    skip_first=1,
    guidance=1.0,
    perturbed=0.0,
    perturbed_blocks=(),
    rescale=0.0,
)


@pytest.fixture(scope="module")
def whole() -> LTXVideo:
    """The codec of 0.9.5 with few channels: 17 frames of 64x64 are 3 latent frames of 2x2."""
    torch.manual_seed(0)
    base = nano()
    size: dict[str, Any] = {"num_frames": 17, "height": 64, "width": 64, "steps": 2}
    made = LTXVideo(replace(base, codec=small(v0_9_5()), sampling=replace(base.sampling, **size)))
    stir(made)
    return made


@pytest.fixture
def model(whole: LTXVideo) -> Iterator[LTXVideo]:
    """That model, which a test may give upsamplers."""
    yield whole
    whole.upsampler = whole.temporal_upsampler = None


def upsampler(upsample: Any) -> LatentUpsampler:
    torch.manual_seed(1)
    return LatentUpsampler(LatentUpsamplerConfig(**SIZES, upsample=upsample)).eval()


def latents_of(model: LTXVideo) -> Tensor:
    """Latents (1, C, t, h, w) of seed 0."""
    return model.latents([PROMPT], noise=Noise(0, (0,)), sampling=model.config.sampling)


# -- files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("upsample", "other"), [("space", "time"), ("time", "space")])
def test_an_upsampler_is_read_from_its_published_file(
    model: LTXVideo, tmp_path: Path, upsample: str, other: str
) -> None:
    network = upsampler(upsample)
    model.load_upsampler(write_upsampler(tmp_path / "up.safetensors", network))
    loaded = {"space": model.upsampler, "time": model.temporal_upsampler}
    read = loaded[upsample]
    assert loaded[other] is None
    assert read is not None
    assert read.config == network.config
    for name, value in network.state_dict().items():
        assert torch.equal(read.state_dict()[name], value)


def test_a_file_without_a_fitting_upsampler_is_refused(model: LTXVideo, tmp_path: Path) -> None:
    path = tmp_path / "up.safetensors"
    model.save_pretrained(path)
    with pytest.raises(InputError, match="holds no latent upsampler"):
        model.load_upsampler(path)
    with pytest.raises(InputError, match="upsamples all of latents with 8 channels; this model"):
        model.load_upsampler(write_upsampler(path, upsampler("all")))
    other = LatentUpsampler(replace(upsampler("time").config, in_channels=4))
    with pytest.raises(InputError, match=r"latents with 4 channels; .* latents with 8"):
        model.load_upsampler(write_upsampler(path, other))
    with pytest.raises(InputError, match="does not fit"):
        model.load_upsampler(write_upsampler(path, upsampler("space"), num_blocks_per_stage=2))
    with pytest.raises(InputError, match="no such file or folder"):
        model.load_upsampler(tmp_path / "none.safetensors")
    assert model.upsampler is model.temporal_upsampler is None


def their_vae(model: LTXVideo) -> Any:
    """The codec of a model as diffusers has it."""
    config = model.config.codec
    vae = diffusers.AutoencoderKLLTXVideo.from_config(ltx_diffusers.vae_to_diffusers(config))
    theirs = ltx_diffusers.vae_keymap(config).to_theirs(model.codec.state_dict())
    vae.load_state_dict(theirs)
    return vae.eval()


@pytest.mark.parametrize("upsample", ["space", "time"])
@torch.inference_mode()
def test_a_folder_of_diffusers_gives_what_diffusers_does(
    model: LTXVideo, tmp_path: Path, upsample: str
) -> None:
    torch.manual_seed(2)
    theirs = LTXLatentUpsamplerModel(**SIZES, **AXES[upsample]).eval()
    pipeline = diffusers.LTXLatentUpsamplePipeline(vae=their_vae(model), latent_upsampler=theirs)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.save_pretrained(tmp_path / "pipeline")
    z = Noise(0, (0, 1)).normal((2, 8, 3, 4, 5), "latents")
    for place in (tmp_path / "pipeline", tmp_path / "pipeline" / "latent_upsampler"):
        model.load_upsampler(place)
        ours = model.upsampler if upsample == "space" else model.temporal_upsampler
        assert ours is not None
        torch.testing.assert_close(ours(z), theirs(z), rtol=1e-4, atol=1e-4)
    if upsample == "time":  # what comes of it in space: see test_two_passes against diffusers
        found = latents_of(model)
        model.temporal_upsampler = None
        told = {"latents": latents_of(model), "height": 64, "width": 64, "output_type": "latent"}
        torch.testing.assert_close(found, pipeline(**told).frames, rtol=1e-4, atol=1e-4)


def test_a_folder_without_an_upsampler_is_refused(model: LTXVideo, tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text("{}")
    with pytest.raises(InputError, match="a pipeline of one has latent_upsampler/"):
        model.load_upsampler(tmp_path)
    their_vae(model).save_pretrained(tmp_path / "vae")
    with pytest.raises(InputError, match=r"vae holds no latent upsampler$"):
        model.load_upsampler(tmp_path / "vae")


# -- twice the frame rate ------------------------------------------------------------------------


def test_a_clip_has_twice_the_frame_rate_and_lasts_as_long(model: LTXVideo) -> None:
    plain = model.generate(PROMPT, seed=0)
    small_latents = latents_of(model)
    model.temporal_upsampler = upsampler("time")
    made, latents = model.generate(PROMPT, seed=0), latents_of(model)
    assert isinstance(plain, Clip)
    assert isinstance(made, Clip)
    assert (plain.num_frames, plain.fps) == (17, 12.0)
    assert (made.num_frames, made.fps) == (33, 24.0)
    assert latents.shape == (1, 8, 5, 2, 2)
    with torch.inference_mode():
        raw = model.temporal_upsampler(model.codec.denormalize(small_latents))
    torch.testing.assert_close(latents, model.codec.normalize(raw))
    rows = model.latents([PROMPT] * 2, noise=Noise(0, (3, 0)), sampling=model.config.sampling)
    torch.testing.assert_close(rows[1:], latents, rtol=1e-4, atol=1e-5)


def test_given_frames_steer_the_clip_that_is_made_denser(model: LTXVideo) -> None:
    given = [Keyframe(clip=CLIP[:1]), Keyframe(clip=CLIP[9:10], frame=9, strength=0.8)]
    model.temporal_upsampler = upsampler("time")
    made = [
        model.generate(PROMPT, seed=0, keyframes=keyframes, output="latents")
        for keyframes in ([], given)
    ]
    assert isinstance(made[0], Tensor)
    assert isinstance(made[1], Tensor)
    assert made[0].shape == made[1].shape == (8, 5, 2, 2)
    assert not torch.allclose(made[0], made[1], atol=1e-3)


def test_a_denser_clip_goes_on_from_no_other(model: LTXVideo) -> None:
    model.temporal_upsampler = upsampler("time")
    said = (
        "24 fps that are sampled at 12 cannot go on from others; leave out the temporal upsampler"
    )
    with pytest.raises(InputError, match=said):
        model.generate(PROMPT, seed=0, extend=CLIP)
    with pytest.raises(InputError, match=said):
        tell(model, [Segment(prompt=PROMPT, seconds=3.0)], seed=0)


def test_two_passes_and_twice_the_frame_rate(model: LTXVideo) -> None:
    sampling = replace(model.config.sampling, height=96, width=96, second=SECOND)
    with pytest.raises(InputError, match=r"two passes and needs .* --upsampler FILE`, or `load_up"):
        model.generate(PROMPT, seed=0, sampling=sampling)
    model.upsampler, model.temporal_upsampler = upsampler("space"), upsampler("time")
    made = model.generate(PROMPT, seed=0, sampling=sampling)
    assert isinstance(made, Clip)
    assert (made.num_frames, made.size, made.fps) == (33, (96, 96), 24.0)


def test_a_model_of_two_passes_draws_its_sheet_in_one(model: LTXVideo, tmp_path: Path) -> None:
    """No upsampler is there while it is trained."""
    sampling = replace(model.config.sampling, second=SECOND)
    other = LTXVideo(replace(model.config, sampling=sampling))
    STAGES["generator"].sheet(other, {"captions": [(PROMPT,)]}, tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").exists()
