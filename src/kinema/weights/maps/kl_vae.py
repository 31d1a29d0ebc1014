"""Key maps of `kinema.networks.kl_vae`: the authors' files; ours are diffusers' names and shapes.

Verified: every tensor of the f=8 autoencoder, both ways, against the authors' manifest; the f=8 and
f=4 autoencoders against diffusers' ``AutoencoderKL`` (0.42.1).
"""

from __future__ import annotations

from kinema.weights.keymap import KeyMap, Rename, Rule, Squeeze

ATTENTION = {"q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "to_out.0"}


def side_rules(prefix: str) -> tuple[Rule, ...]:
    """What encoder and decoder have in common."""
    mid, ours = f"{prefix}mid", f"{prefix}mid_block"
    heads = [
        Rename(f"{mid}.attn_1.{theirs}.*", f"{ours}.attentions.0.{name}.*")
        for theirs, name in {"norm": "group_norm", **ATTENTION}.items()
    ]
    squeezed = [Squeeze(f"{ours}.attentions.0.{name}.weight") for name in ATTENTION.values()]
    return (
        Rename(f"{mid}.block_1.*", f"{ours}.resnets.0.*"),
        Rename(f"{mid}.block_2.*", f"{ours}.resnets.1.*"),
        *heads,
        *squeezed,
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
