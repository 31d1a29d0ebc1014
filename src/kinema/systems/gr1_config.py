"""Configuration, presets and recipes of GR-1.

Paper, code and license: see `gr1.py`. Sizes of tiny and nano are ours; the numbers of the full
recipes are the paper's as far as its text tells them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from kinema.conditions.clip_text import CLIPTextConfig
from kinema.config import config
from kinema.errors import InputError
from kinema.networks.gr1 import GR1TransformerConfig, gr1
from kinema.networks.perceiver_resampler import ResamplerConfig
from kinema.networks.vit import ViTConfig, vit_b_16
from kinema.networks.word_encoder import WordEncoderConfig
from kinema.training.imitation import ImitationWeights
from kinema.training.recipe import Recipe
from kinema.worlds.tabletop import VOCABULARY

R = TypeVar("R", bound="VideoRecipe")


@config
class Rollout:
    """An episode of the policy: at most `steps` control steps, `fps` of them in a second."""

    steps: int
    fps: float


@config
class GR1Config:
    """Networks of one policy, and how it acts."""

    text: WordEncoderConfig | CLIPTextConfig
    image: ViTConfig
    policy: GR1TransformerConfig
    rollout: Rollout

    def __post_init__(self) -> None:
        pairs = {
            "width of text and language_width": (self.text.width, self.policy.language_width),
            "width of image and feature_width": (self.image.width, self.policy.feature_width),
            "image_size of image": (self.image.image_size, self.policy.image_size),
        }
        for what, (one, other) in pairs.items():
            if one != other:
                raise InputError(f"{what} of policy must be equal, not {one} and {other}")


def full() -> GR1Config:
    """The published model, with CLIP ViT-B/32 and MAE ViT-B/16."""
    return GR1Config(
        text=CLIPTextConfig(folder="clip-vit-base-patch32", width=512),
        image=vit_b_16(),
        policy=gr1(),
        rollout=Rollout(steps=360, fps=30.0),
    )


def tiny() -> GR1Config:
    """For the world tabletop; trains on two cores in minutes."""
    return GR1Config(
        text=WordEncoderConfig(
            vocabulary=VOCABULARY, max_words=6, width=64, num_layers=1, num_heads=4
        ),
        image=ViTConfig(image_size=32, patch_size=8, width=64, num_layers=2, num_heads=4),
        policy=GR1TransformerConfig(
            image_size=32,
            patch_size=8,
            feature_width=64,
            language_width=64,
            arm_width=2,
            max_steps=5,
            width=96,
            num_layers=4,
            num_heads=4,
            resampler=ResamplerConfig(num_latents=4, num_layers=2, num_heads=4, head_width=16),
            decoder_layers=1,
            decoder_heads=4,
        ),
        rollout=Rollout(steps=40, fps=8.0),
    )


def nano() -> GR1Config:
    """The real classes at under 200,000 parameters, for contract tests."""
    base = tiny()
    return replace(
        base,
        text=replace(base.text, width=32),
        image=replace(base.image, width=32, num_layers=1),
        policy=replace(
            base.policy,
            feature_width=32,
            language_width=32,
            max_steps=4,
            width=48,
            num_layers=1,
            resampler=ResamplerConfig(num_latents=2, num_layers=1, num_heads=2, head_width=16),
        ),
        rollout=Rollout(steps=6, fps=8.0),
    )


PRESETS = {preset.__name__: preset for preset in (full, tiny, nano)}


@config
class VideoRecipe(Recipe):
    """Numbers of the stage `video`.

    Args:
        ahead: steps between a frame and the one that is predicted from it.
        episodes: how many different ones are trained on.
        frozen: roles of networks that stay as they are.
    """

    ahead: int
    episodes: int
    frozen: tuple[str, ...]


@config
class PolicyRecipe(VideoRecipe):
    """Numbers of the stage `policy`."""

    weights: ImitationWeights


def small(recipe: R, *, steps: int) -> R:
    """For networks that learn from nothing in minutes."""
    return replace(
        recipe,
        steps=steps,
        batch_size=16,
        optimizer="muon",
        learning_rate=3e-3,
        warmup=30,
        decay=0.4,
        ema=0.99,
        precision="bfloat16",
        report_every=250,
        save_every=250,
        episodes=4000,
        frozen=(),
    )


FULL_VIDEO = VideoRecipe(
    steps=390_000,  # 50 epochs of 8 million frames
    batch_size=1024,
    learning_rate=3.6e-4,
    warmup=7800,
    decay=1.0,
    ahead=1,
    episodes=800_000,
    frozen=("image",),
)
FULL_POLICY = PolicyRecipe(
    steps=40_000,
    batch_size=512,
    learning_rate=1e-3,
    warmup=2000,
    decay=1.0,
    ahead=3,
    episodes=20_000,
    frozen=("image",),
    weights=ImitationWeights(arm=1.0, gripper=1.0, frames=1.0),
)
TINY_VIDEO = small(FULL_VIDEO, steps=1000)
# In a short run frames would be all that is learned, were the arm not counted ten times.
TINY_POLICY = replace(
    small(FULL_POLICY, steps=2000),
    ahead=2,
    weights=ImitationWeights(arm=10.0, gripper=1.0, frames=0.3),
)
VIDEO = {"full": FULL_VIDEO, "tiny": TINY_VIDEO, "nano": TINY_VIDEO.nano(batch_size=4)}
POLICY = {"full": FULL_POLICY, "tiny": TINY_POLICY, "nano": TINY_POLICY.nano(batch_size=4)}
