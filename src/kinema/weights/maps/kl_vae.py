"""Key maps of `kinema.networks.kl_vae`: the authors' files; ours are diffusers' names and shapes.

Verified: every tensor of the f=8 autoencoder, both ways, against the authors' manifest; the f=8 and
f=4 autoencoders against diffusers' ``AutoencoderKL`` (0.42.1).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from kinema.errors import InputError
from kinema.weights.keymap import KeyMap, Lazy, Rename, Rule, Tensors

ATTENTION = {"q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "to_out.0"}


@dataclass(frozen=True, slots=True)
class Squeeze:
    """Their 1x1 convolutions with these endings are our linear layers, (C', C, 1, 1) -> (C', C)."""

    endings: tuple[str, ...]

    def to_ours(self, tensors: Tensors) -> dict[str, Lazy]:
        """Towards our shapes."""

        def squeezed(key: str, value: Lazy) -> Lazy:
            if len(value.shape) != 4 or value.shape[2:] != (1, 1):
                raise InputError(f"{key} {value.shape} is no 1x1 convolution")
            return Lazy(value.shape[:2], lambda: value.read()[..., 0, 0])

        return self._changed(tensors, squeezed)

    def to_theirs(self, tensors: Tensors) -> dict[str, Lazy]:
        """Towards the authors' shapes."""
        return self._changed(
            tensors,
            lambda key, value: Lazy((*value.shape, 1, 1), lambda: value.read()[..., None, None]),
        )

    def _changed(self, tensors: Tensors, change: Callable[[str, Lazy], Lazy]) -> dict[str, Lazy]:
        return {
            key: change(key, value) if key.endswith(self.endings) else value
            for key, value in tensors.items()
        }


def side_rules(prefix: str) -> tuple[Rule, ...]:
    """What encoder and decoder have in common."""
    mid, ours = f"{prefix}mid", f"{prefix}mid_block"
    heads = [
        Rename(f"{mid}.attn_1.{theirs}.*", f"{ours}.attentions.0.{name}.*")
        for theirs, name in {"norm": "group_norm", **ATTENTION}.items()
    ]
    squeeze = Squeeze(tuple(f"{ours}.attentions.0.{name}.weight" for name in ATTENTION.values()))
    return (
        Rename(f"{mid}.block_1.*", f"{ours}.resnets.0.*"),
        Rename(f"{mid}.block_2.*", f"{ours}.resnets.1.*"),
        *heads,
        cast(Rule, squeeze),  # a rule like the others, for these maps only
        Rename(f"{prefix}norm_out.*", f"{prefix}conv_norm_out.*"),
        Rename(f"{prefix}*.nin_shortcut.*", f"{prefix}*.conv_shortcut.*"),
    )


def decoder_rules(prefix: str, levels: int) -> tuple[Rule, ...]:
    """The decoder's; the authors count its levels from the finest, diffusers in order of use."""
    up = [
        Rename(f"{prefix}up.{level}.{theirs}.*", f"{prefix}up_blocks.{levels - 1 - level}.{ours}.*")
        for level in range(levels)
        for theirs, ours in (("block.{j}", "resnets.{j}"), ("upsample", "upsamplers.0"))
    ]
    return (*up, *side_rules(prefix))


# Encoder and quant_conv: ``encoder.*`` and ``quant_conv.*``.
ENCODER = KeyMap(
    Rename("encoder.down.{i}.block.{j}.*", "encoder.down_blocks.{i}.resnets.{j}.*"),
    Rename("encoder.down.{i}.downsample.*", "encoder.down_blocks.{i}.downsamplers.0.*"),
    *side_rules("encoder."),
)


def official(levels: int) -> KeyMap:
    """The whole autoencoder, as below ``first_stage_model.`` of the authors' files."""
    return KeyMap(*ENCODER.rules, *decoder_rules("decoder.", levels))
