"""Key maps of `kinema.networks.svd_unet`: the authors' files, and Stable Diffusion's weights.

Our names are those of diffusers' ``UNetSpatioTemporalConditionModel``. Verified: every tensor of
both published forms, both ways, against the authors' manifests and diffusers' (0.42.1).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from kinema.weights.keymap import Drop, KeyMap, Prefix, Rename

# Layers of a residual block: the authors' name, ours.
_RESNET = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
_WITHIN = (
    *(
        Rename(f"*.resnets.{{i}}.{theirs}.*", f"*.resnets.{{i}}.spatial_res_block.{ours}.*")
        for theirs, ours in _RESNET.items()
    ),
    *(
        Rename(
            f"*.resnets.{{i}}.time_stack.{theirs}.*",
            f"*.resnets.{{i}}.temporal_res_block.{ours}.*",
        )
        for theirs, ours in _RESNET.items()
    ),
    Rename("*.attentions.{i}.time_stack.*", "*.attentions.{i}.temporal_transformer_blocks.*"),
    Rename("*.time_pos_embed.0.*", "*.time_pos_embed.linear_1.*"),
    Rename("*.time_pos_embed.2.*", "*.time_pos_embed.linear_2.*"),
)
_AROUND = (
    Rename("time_embed.0.*", "time_embedding.linear_1.*"),
    Rename("time_embed.2.*", "time_embedding.linear_2.*"),
    Rename("label_emb.0.0.*", "add_embedding.linear_1.*"),
    Rename("label_emb.0.2.*", "add_embedding.linear_2.*"),
    Rename("input_blocks.0.0.*", "conv_in.*"),
    Rename("middle_block.0.*", "mid_block.resnets.0.*"),
    Rename("middle_block.1.*", "mid_block.attentions.0.*"),
    Rename("middle_block.2.*", "mid_block.resnets.1.*"),
    Rename("out.0.*", "conv_norm_out.*"),
    Rename("out.2.*", "conv_out.*"),
)


def official(attention: Sequence[bool], blocks_per_level: int) -> KeyMap:
    """The map for the authors' ``VideoUNet``, which counts its blocks through all levels.

    Args:
        attention: which levels have transformers, from the finest to the coarsest.
        blocks_per_level: on the way down.
    """
    down, up = _down(attention, blocks_per_level), _up(attention, blocks_per_level + 1)
    return KeyMap(*_AROUND, *down, *up, *_WITHIN)


def _down(attention: Sequence[bool], blocks: int) -> list[Rename]:
    rules = []
    for level in range(len(attention)):
        first = 1 + level * (blocks + 1)
        for j in range(blocks):
            theirs, ours = f"input_blocks.{first + j}", f"down_blocks.{level}"
            rules.append(Rename(f"{theirs}.0.*", f"{ours}.resnets.{j}.*"))
            rules.append(Rename(f"{theirs}.1.*", f"{ours}.attentions.{j}.*"))
        step = f"down_blocks.{level}.downsamplers.0.conv.*"
        rules.append(Rename(f"input_blocks.{first + blocks}.0.op.*", step))
    return rules


def _up(attention: Sequence[bool], blocks: int) -> list[Rename]:
    rules = []
    for level, has_attention in enumerate(reversed(attention)):
        for j in range(blocks):
            theirs, ours = f"output_blocks.{level * blocks + j}", f"up_blocks.{level}"
            rules.append(Rename(f"{theirs}.0.*", f"{ours}.resnets.{j}.*"))
            if has_attention:
                rules.append(Rename(f"{theirs}.1.*", f"{ours}.attentions.{j}.*"))
        step = f"output_blocks.{level * blocks + blocks - 1}.{1 + has_attention}.conv.*"
        rules.append(Rename(step, f"up_blocks.{level}.upsamplers.0.conv.*"))
    return rules


# The published sizes: the authors' class, and the U-Net's part of a file that holds all networks.
OFFICIAL = official((True, True, True, False), 2)
SINGLE_FILE = KeyMap(
    Drop("first_stage_model.*", "the VAE's part of the file"),
    Drop("conditioner.*", "the encoders' part of the file"),
    Prefix("model.diffusion_model."),
    *OFFICIAL.rules,
)

# Stable Diffusion's weights in diffusers' names are the layers of frames.
STABLE_DIFFUSION = KeyMap(
    *(
        Rename(f"*.resnets.{{i}}.{name}.*", f"*.resnets.{{i}}.spatial_res_block.{name}.*")
        for name in _RESNET.values()
    )
)


def find(names: Collection[str]) -> KeyMap:
    """The map for a checkpoint with these tensors, told by names that only one layout has."""
    if any(name.startswith("model.diffusion_model.") for name in names):
        return SINGLE_FILE
    return KeyMap() if "conv_in.weight" in names else OFFICIAL
