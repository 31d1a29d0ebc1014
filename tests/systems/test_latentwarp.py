"""LatentWarp: what each of its parts adds to a frame-wise translation, and what people may give."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from kinema.clip import Clip
from kinema.condition import Conditions
from kinema.config import from_dict, to_json
from kinema.errors import InputError
from kinema.hooks.cross_frame import CrossFrame
from kinema.hooks.warp import WarpLatents
from kinema.nn.flow import warp_error
from kinema.nn.sites import hooked
from kinema.noise import Noise
from kinema.sample import Sound, Text
from kinema.systems.latentwarp import LatentWarp
from kinema.systems.latentwarp_config import LatentWarpConfig, full, nano, tiny
from kinema.systems.latentwarp_training import edges, prepare_batch
from kinema.worlds.shapes import Shapes

PROMPT = "a large yellow circle on navy"
NOISE = Noise(0, (5,))


def drawn() -> LatentWarp:
    """A nano model with fixed weights, none of them zero."""
    torch.manual_seed(0)
    model = LatentWarp(nano())
    for name, parameter in model.parts.named_parameters():
        value = Noise(0, (0,)).normal((1, *parameter.shape), name)[0]
        fan_in = max(1, parameter[0].numel()) if parameter.ndim > 1 else 100
        parameter.data.add_(value, alpha=0.7 / fan_in**0.5)
    return model


MODEL = drawn()
STILL = Shapes(seed=3, split="all", num_frames=1, height=16, width=16, fps=12.0).sample(4).clip
STANDING = torch.from_numpy(STILL.to_float())[None].expand(1, 3, 4, 16, 16)
MOVING = torch.cat([STANDING[:, :, :1].roll(2 * i, 4) for i in range(4)], dim=2)


def given(pixels: Tensor) -> Conditions:
    """The conditions of a clip."""
    with torch.no_grad():
        return MODEL.prepare([PROMPT], edges(pixels))


def translated(pixels: Tensor, *hooks: WarpLatents) -> Tensor:
    """A clip by cross-frame attention and the hooks."""
    with hooked(CrossFrame(num_frames=pixels.shape[2])):
        return MODEL.sample(given(pixels), NOISE, hooks)


def still(mask: bool, share: float = 1.0) -> WarpLatents:
    """A hook for a clip in which nothing moves."""
    shown = torch.full((3, 1, 16, 16), mask)
    return WarpLatents(flow=torch.zeros(3, 2, 16, 16), mask=shown, share=share)


def test_without_visible_latents_it_is_cross_frame_attention_alone() -> None:
    hidden = replace(MODEL.motion(MOVING), mask=torch.zeros(3, 1, 16, 16, dtype=torch.bool))
    alone = translated(MOVING)
    assert torch.equal(translated(MOVING, hidden), alone)
    assert not torch.allclose(translated(MOVING, MODEL.motion(MOVING)), alone, atol=1e-2)
    assert not torch.allclose(MODEL.sample(given(MOVING), NOISE), alone, atol=1e-3)


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_where_nothing_moves_frames_are_identical(share: float) -> None:
    made = translated(STANDING, still(True, share))
    torch.testing.assert_close(made, made[:, :, :1].expand_as(made), rtol=0, atol=1e-5)
    free = translated(STANDING)
    assert (free - free[:, :, :1]).abs().max() > 0.1, "noise alone makes frames differ"


def test_what_stands_is_found_to_stand() -> None:
    motion = MODEL.motion(STANDING)
    assert not motion.flow.any()
    assert motion.mask.all()
    assert motion.share == MODEL.config.sampling.warped


def test_what_moves_is_carried_along() -> None:
    clip = Noise(0, (0,)).uniform((1, 3, 1, 16, 16), "texture")
    clip = torch.cat([clip.roll(2 * i, 4) for i in range(4)], dim=2)  # two pixels to the right
    motion = MODEL.motion(clip)
    middle = (..., slice(4, -4), slice(4, -4))
    assert (motion.flow[:, 0][middle] == -2).all(), "the flow looks back: to the left"
    assert (motion.flow[:, 1][middle] == 0).all()
    assert motion.mask[middle].all()
    assert not motion.mask[..., 0].any(), "what comes in at the border was not seen before"


def test_warped_latents_lower_the_warp_error() -> None:
    motion = MODEL.motion(MOVING)
    free, warped = translated(MOVING), translated(MOVING, motion)

    def error(made: Tensor) -> float:
        frames = made[0].transpose(0, 1)
        return float(warp_error(frames[1:], frames[:-1], motion.flow, motion.mask).mean())

    assert error(warped) < 0.7 * error(free)


def test_at_full_size_flow_and_mask_are_those_of_latents() -> None:
    large = LatentWarp(full(), device="meta")
    pixels = Noise(0, (0,)).uniform((1, 3, 1, 64, 64), "texture")
    small = replace(large.config.flow, radius=8, block=5)
    large.config = replace(large.config, flow=small)
    motion = large.motion(torch.cat([pixels, pixels.roll(8, 3)], dim=2))
    assert motion.flow.shape == (1, 2, 8, 8)
    assert motion.mask.shape == (1, 1, 8, 8)
    torch.testing.assert_close(motion.flow[0, :, 3, 3], torch.tensor([0.0, -1.0]))
    assert motion.mask[0, 0, 3, 3]
    assert not motion.mask[0, 0, 0].any()


def test_edges_are_where_the_light_changes() -> None:
    clip = torch.full((1, 3, 2, 16, 16), -1.0)
    clip[0, 1, 1, :, 8:] = 1
    found = edges(clip)
    assert found.shape == clip.shape
    assert not found[:, :, 0].any()
    assert found[0, :, 1].unique().tolist() == [0, 1]
    assert found[0, 0, 1, 5].nonzero().flatten().tolist() == [7, 8]


def test_text_is_dropped_in_its_share_of_the_pictures() -> None:
    batch = {"clips": MOVING[:, :, :1].expand(64, -1, -1, -1, -1), "captions": [(PROMPT,)] * 64}
    noise = Noise(0, tuple(range(64)))
    empty = MODEL.prepare([""], edges(STANDING))["crossattn"].x
    for share, low, high in ((0.0, 0, 0), (0.3, 8, 32), (1.0, 64, 64)):
        part = prepare_batch(MODEL, share, batch, noise)
        assert torch.equal(part.x0, batch["clips"])
        texts = part.conditions["crossattn"].x
        dropped = sum(torch.allclose(x, empty[0], atol=1e-5) for x in texts)
        assert low <= dropped <= high


def test_a_clip_keeps_its_rate_and_its_sound_and_gets_the_size_of_the_model() -> None:
    frames = np.repeat(np.repeat(STILL.frames, 2, axis=1), 3, axis=2)
    sound = Sound(np.zeros((1, 800), np.float32), 8000)
    made = MODEL.run({"clip": Clip(frames, 7.0, sound), "prompt": Text(PROMPT)}, 0)["clip"]
    assert (made.num_frames, made.size, made.fps) == (1, (16, 16), 7.0)
    assert made.sound is sound


def test_what_cannot_be_translated_is_refused() -> None:
    long = Clip(np.repeat(STILL.frames, 5, axis=0), 12.0)
    with pytest.raises(InputError, match="clips of 4 frames at most, not 5; cut the clip"):
        MODEL.run({"clip": long, "prompt": Text(PROMPT)}, 0)
    with pytest.raises(InputError, match="knows no word of the prompt 'qwertz'"):
        MODEL.run({"clip": STILL, "prompt": Text("qwertz")}, 0)
    stage = MODEL.STAGES["image"]
    with pytest.raises(InputError, match="unknown world 'films'"):
        stage.read(MODEL, stage.recipes["nano"], "films")


def test_networks_must_fit_one_another() -> None:
    base = tiny()
    with pytest.raises(InputError, match="4 channels of latents"):
        replace(base, vae=full().vae)
    with pytest.raises(InputError, match="width 768; the U-Net reads 64"):
        replace(base, text=full().text)
    with pytest.raises(InputError, match="embedder makes it 2"):
        replace(base, unet=replace(base.unet, embedder_channels=(8, 8)))
    with pytest.raises(InputError, match="height must be a multiple of 4, not 30"):
        replace(base, sampling=replace(base.sampling, height=30))
    with pytest.raises(InputError, match=r"share of the steps, not 1\.5"):
        replace(base.sampling, warped=1.5)
    assert from_dict(LatentWarpConfig, json.loads(to_json(full()))) == full()


def test_full_is_stable_diffusion_with_its_control_branch() -> None:
    unet = LatentWarp(full(), device="meta").parts["unet"]
    count = sum(parameter.numel() for parameter in unet.parameters())
    assert count == 859_520_964 + 361_279_120
