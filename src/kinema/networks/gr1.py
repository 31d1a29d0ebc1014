"""The policy of GR-1: Unleashing Large-Scale Video Generative Pre-training (arXiv 2312.13139).

Authors' code: github.com/bytedance/GR-1 (Apache-2.0), ``GR1``. A GPT reads language, states and
images of some steps; query tokens that nobody reads ask it for actions and for frames to come.
Verified by a recorded case: everything but what differs. Different: no dropout (0.1 there); steps
that are not there are left out instead of padded, which changes nothing that is read.

Letters: B batch, L steps, N tokens of all steps, M tokens of a group in a step, D width, E width of
the language, F width of the image features, P patches of an image, A numbers of the arm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Unpack

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kinema.config import config, from_dict
from kinema.errors import InputError
from kinema.networks.official import check_arguments
from kinema.networks.patch_decoder import PatchDecoder
from kinema.networks.perceiver_resampler import PerceiverResampler, ResamplerConfig
from kinema.networks.vit import (
    ImageFeatures,
    ViTConfig,
    check_heads,
    plain_block,
    vit_b_16,
)
from kinema.nn.checkpointing import Checkpointed
from kinema.nn.factory import Factory
from kinema.prediction import Prediction

Target = Literal["action", "image", "wrist"]
EPS = 1e-5
PATCH = 16  # pixels a side


@config
class GR1TransformerConfig:
    """Sizes of the policy.

    Args:
        image_size, patch_size: of the images that it predicts, in pixels.
        feature_width: F.
        language_width: E.
        arm_width: A, of states and of actions.
        max_steps: the longest window, L at most.
        width, num_layers, num_heads: of the trunk.
        resampler: from patches to the latents of an image.
        decoder_layers, decoder_heads: of the decoder of frames.
    """

    image_size: int
    patch_size: int
    feature_width: int
    language_width: int
    arm_width: int
    max_steps: int
    width: int
    num_layers: int
    num_heads: int
    resampler: ResamplerConfig
    decoder_layers: int
    decoder_heads: int

    def __post_init__(self) -> None:
        if self.image_size % self.patch_size:
            raise InputError(
                f"image_size {self.image_size} is not divisible by patch_size {self.patch_size}"
            )
        check_heads(self.width, self.num_heads)
        check_heads(self.width, self.decoder_heads)
        if self.width % 4:
            raise InputError(f"width must be divisible by 4 for the positions, not {self.width}")


def gr1() -> GR1TransformerConfig:
    """The published policy: 45,988,039 trained parameters."""
    return GR1TransformerConfig(
        image_size=224,
        patch_size=16,
        feature_width=768,
        language_width=512,
        arm_width=6,
        max_steps=10,
        width=384,
        num_layers=12,
        num_heads=12,
        resampler=ResamplerConfig(num_latents=9, num_layers=3, num_heads=4, head_width=128),
        decoder_layers=2,
        decoder_heads=16,
    )


# What the authors' arguments hold beside the sizes; any other value makes another network.
FIXED: Mapping[str, tuple[Any, ...]] = {
    "use_hand_rgb": (True,),
    "without_norm_pixel_loss": (False,),
    "activation_function": ("relu",),
    "mae.mlp_ratio": (4,),
    "mae.qkv_bias": (True,),
    "mae.patch_size": (PATCH,),
    "resampler_params.num_media_embeds": (1,),
}
SIZES = {
    "image_size": "image_size",
    "lang_feat_dim": "language_width",
    "img_feat_dim": "feature_width",
    "sequence_length": "max_steps",
    "hidden_size": "width",
    "n_layer": "num_layers",
    "n_head": "num_heads",
    "resampler_params.num_latents": "resampler.num_latents",
    "resampler_params.depth": "resampler.num_layers",
    "resampler_params.heads": "resampler.num_heads",
    "resampler_params.dim_head": "resampler.head_width",
}
MAE = {"mae.embed_dim": "width", "mae.depth": "num_layers", "mae.num_heads": "num_heads"}
WIDTHS = ("state_dim", "act_dim", "patch_feat_dim", "n_inner")  # they follow from the sizes
# No size of any tensor, and nothing of what is computed in eval.
IDLE = ("n_positions", "resid_pdrop", "attn_pdrop", "embd_pdrop")
TARGETS: Mapping[str, Target] = {
    "act_pred": "action",
    "fwd_pred": "image",
    "fwd_pred_hand": "wrist",
}


@dataclass(frozen=True)
class Official:
    """The authors' arguments in our words: both networks, and what the policy is asked for."""

    policy: GR1TransformerConfig
    image: ViTConfig
    asked: tuple[Target, ...]


def from_official(official: Mapping[str, Any]) -> Official:
    """Reads the constructor arguments of the authors' ``GR1``.

    Beside them ``image_size`` (224 if missing) and the arguments ``mae`` of the image encoder
    (ViT-B/16 if missing). Dropout is not read: it is off.

    Raises:
        InputError: an argument is unknown or missing, or has a value that makes another network.
    """
    given = _flat({"image_size": 224, **official})
    optional = ("training_target", *MAE, *WIDTHS, *IDLE)
    check_arguments("GR-1", given, needed=SIZES, optional=optional, fixed=FIXED)
    asked = tuple(_known_target(name) for name in given.get("training_target", ()))
    image = vit_b_16()
    if "mae" in official:
        sizes = {ours: given[theirs] for theirs, ours in MAE.items() if theirs in given}
        sizes |= {"image_size": given["image_size"], "patch_size": PATCH, "eps": EPS}
        image = from_dict(ViTConfig, sizes, where="mae of GR-1")
    arms = {given.get("state_dim"), given.get("act_dim")}
    features = {given["img_feat_dim"], given.get("patch_feat_dim"), image.width}
    if len(arms) > 1 or None in arms or len(features) > 1:
        raise InputError("GR-1 has one width of arms, and one of image features")
    arm = arms.pop()  # with the gripper
    ours: dict[str, Any] = {"arm_width": arm - 1 if isinstance(arm, int) else arm}
    ours |= {"resampler": {}, "patch_size": PATCH, "decoder_layers": 2, "decoder_heads": 16}
    for theirs, path in SIZES.items():
        group, _, name = path.rpartition(".")
        (ours[group] if group else ours)[name] = given[theirs]
    policy = from_dict(GR1TransformerConfig, ours, where="GR-1")
    if given.get("n_inner") not in (None, 4 * policy.width):
        raise InputError("n_inner of GR-1 is 4 times its hidden_size")
    return Official(policy, image, asked)


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    groups = {name: value for name, value in values.items() if isinstance(value, Mapping)}
    inner = {f"{group}.{name}": v for group, held in groups.items() for name, v in held.items()}
    return {**{name: v for name, v in values.items() if name not in groups}, **inner}


def _known_target(name: str) -> Target:
    if name not in TARGETS:
        raise InputError(f"GR-1 has no training target {name!r}; it has {', '.join(TARGETS)}")
    return TARGETS[name]


@dataclass(frozen=True, kw_only=True)
class Felt:
    """What a robot feels: numbers of the arm (B, L, A) and gripper (B, L, 2), one-hot."""

    arm: Tensor
    gripper: Tensor


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A window of steps as the policy reads it; a film without a robot has image alone.

    Args:
        language: features of the instruction (B, E); their length does not matter.
        image: features of the static camera, (B, L, F) and (B, L, P, F).
        wrist: of the camera at the hand.
        felt: states.
        real: (B, L) bool, steps that are there; the others follow them and are not read.
    """

    language: Tensor
    image: ImageFeatures
    wrist: ImageFeatures | None
    felt: Felt | None
    real: Tensor


def readable(real: Tensor, *, read: int, queries: int) -> Tensor:
    """The mask (B, 1, N, N), true to attend: causal, and nobody reads a query, not even itself.

    Args:
        real: (B, L) bool; the first step is always there.
        read, queries: tokens of a step that are read, and those behind them that are not.
    """
    keys = F.pad(real[..., None].expand(-1, -1, read), (0, queries)).flatten(1)
    count = keys.shape[1]
    causal = torch.ones(count, count, dtype=torch.bool, device=real.device).tril()
    return (causal & keys[:, None])[:, None]


class Trunk(Checkpointed):
    """GPT-2 with ReLU and without positions: embedded tokens (B, N, D) -> (B, N, D)."""

    def __init__(self, name: str, config: GR1TransformerConfig, **factory: Unpack[Factory]) -> None:
        super().__init__()
        # The published files hold the table of a vocabulary of one word, which nothing reads.
        self.wte = nn.Embedding(1, config.width, **factory)
        self.h = nn.ModuleList(
            plain_block(
                f"{name}.h.{i}",
                config.width,
                config.num_heads,
                activation=F.relu,
                eps=EPS,
                **factory,
            )
            for i in range(config.num_layers)
        )
        self.ln_f = nn.LayerNorm(config.width, eps=EPS, **factory)

    def forward(self, x_BND: Tensor, mask: Tensor) -> Tensor:
        """See the class; the mask is that of `readable`."""
        return self.ln_f(self.through(self.h, x_BND, mask))


class GR1Transformer(Checkpointed):
    """Features of a window of steps -> actions and frames to come, as far as they are asked for.

    Tokens of a step, in order: language, state, latents and class of the image, of the wrist's
    image, then the queries. A learned time is added to all but the queries.
    """

    def __init__(self, config: GR1TransformerConfig, **factory: Unpack[Factory]) -> None:
        super().__init__()
        width, features, arm = config.width, config.feature_width, config.arm_width
        self.config = config
        self.transformer = Trunk("transformer", config, **factory)
        self.perceiver_resampler = PerceiverResampler(
            "perceiver_resampler", config.resampler, features, **factory
        )
        self.embed_arm_state = nn.Linear(arm, width, **factory)
        self.embed_gripper_state = nn.Linear(2, width, **factory)
        self.embed_state = nn.Linear(2 * width, width, **factory)
        self.embed_timestep = nn.Embedding(config.max_steps, width, **factory)
        self.embed_lang = nn.Linear(config.language_width, width, **factory)
        self.embed_hand_img = nn.Linear(features, width, **factory)
        self.embed_img = nn.Linear(features, width, **factory)
        self.embed_hand_patch = nn.Linear(features, width, **factory)
        self.embed_patch = nn.Linear(features, width, **factory)
        self.embed_ln = nn.LayerNorm(width, eps=EPS, **factory)
        count = config.resampler.num_latents + 1
        self.action_queries = nn.Embedding(1, width, **factory)
        self.obs_queries = nn.Embedding(count, width, **factory)
        self.obs_hand_queries = nn.Embedding(count, width, **factory)
        half = width // 2
        self.pred_act_mlps = nn.ModuleList(
            [nn.Linear(width, half, **factory), nn.Linear(half, half, **factory)]
        )
        self.pred_arm_act = nn.Linear(half, arm, **factory)
        self.pred_gripper_act = nn.Linear(half, 1, **factory)
        self.decoder = PatchDecoder(
            "decoder",
            width=width,
            num_layers=config.decoder_layers,
            num_heads=config.decoder_heads,
            side=config.image_size // config.patch_size,
            patch_size=config.patch_size,
            **factory,
        )

    def forward(self, seen: Seen, asked: Sequence[Target]) -> Prediction:
        """What is asked for, for every step; what one target is does not depend on the others.

        Returns:
            ``action``: (B, L, A + 1), the motion of the arm and the logit of an open gripper;
            ``image``, ``wrist``: normalized patches (B, L, P, C) of a frame to come.
        """
        assert asked, "nothing was asked for"
        read = self.tokens(seen)
        queries = {name: self._queries(name, seen.real) for name in asked}
        x = torch.cat([read, *queries.values()], 2)
        mask = readable(seen.real, read=read.shape[2], queries=x.shape[2] - read.shape[2])
        x = self.transformer(self.embed_ln(x.flatten(1, 2)), mask)
        x = x.unflatten(1, (seen.real.shape[1], -1))[:, :, read.shape[2] :]
        answers = x.split([tokens.shape[2] for tokens in queries.values()], 2)
        first, *others = (
            (name, self.act(answer) if name == "action" else self.draw(answer))
            for name, answer in zip(asked, answers)
        )
        return Prediction(first[1], dict(others))

    def tokens(self, seen: Seen) -> Tensor:
        """The tokens (B, L, M, D) that are read, with their times."""
        steps = seen.real.shape[1]
        language = seen.language / (seen.language.norm(dim=1, keepdim=True) + 1e-6)
        groups = [self.embed_lang(language)[:, None, None].expand(-1, steps, -1, -1)]
        if seen.felt is not None:
            arm = self.embed_arm_state(seen.felt.arm)
            state = torch.cat([arm, self.embed_gripper_state(seen.felt.gripper)], -1)
            groups.append(self.embed_state(state)[:, :, None])
        groups += self._image_tokens(seen.image, self.embed_patch, self.embed_img)
        if seen.wrist is not None:
            groups += self._image_tokens(seen.wrist, self.embed_hand_patch, self.embed_hand_img)
        return torch.cat(groups, 2) + self.embed_timestep.weight[:steps, None]

    def act(self, answer: Tensor) -> Tensor:
        """The token of the action query (B, L, 1, D) -> (B, L, A + 1)."""
        h = answer[:, :, 0]
        for layer in self.pred_act_mlps:  # no activation between them, as the authors have it
            h = layer(h)
        return torch.cat([self.pred_arm_act(h), self.pred_gripper_act(h)], -1)

    def draw(self, answer: Tensor) -> Tensor:
        """The tokens of the queries for a frame (B, L, M, D) -> patches (B, L, P, C)."""
        return self.decoder(answer.flatten(0, 1)).unflatten(0, answer.shape[:2])

    def _image_tokens(
        self, image: ImageFeatures, patch: nn.Linear, summary: nn.Linear
    ) -> list[Tensor]:
        latents = self.perceiver_resampler(image.patches.flatten(0, 1))
        latents = latents.unflatten(0, image.patches.shape[:2])
        return [patch(latents), summary(image.summary)[:, :, None]]

    def _queries(self, name: Target, real: Tensor) -> Tensor:
        tables = {
            "action": self.action_queries,
            "image": self.obs_queries,
            "wrist": self.obs_hand_queries,
        }
        return tables[name].weight.expand(*real.shape, -1, -1)
