"""Key maps of `kinema.networks.ltx_vae`: the authors' files and diffusers' folders.

Our names are the authors', except for the two latent statistics. Verified: every tensor of the
published versions, both ways, against the authors' manifests and against diffusers'
``AutoencoderKLLTXVideo`` (0.42.1).
"""

from __future__ import annotations

from collections.abc import Collection

from kinema.weights.keymap import Drop, KeyMap, Prefix, Rename, Rule, Shape

STATISTICS = (
    Rename("per_channel_statistics.mean-of-means", "mean_of_means"),
    Rename("per_channel_statistics.std-of-means", "std_of_means"),
)
UNUSED = "a statistic that neither encoding nor decoding uses"

# The VAE alone, as the authors' class names its tensors.
OFFICIAL = KeyMap(
    Drop("per_channel_statistics.channel", UNUSED),
    Drop("per_channel_statistics.mean-of-stds*", UNUSED),
    *STATISTICS,
)

# The VAE's part of a single file that holds the transformer too.
SINGLE_FILE = KeyMap(
    Drop("model.diffusion_model.*", "the transformer's part of the file"),
    Prefix("vae."),
    *OFFICIAL.rules,
)


def statistics(latent_channels: int) -> dict[str, Shape]:
    """The authors' tensors of the latent statistics, which the manifests name only in a note."""
    return {rule.theirs: (latent_channels,) for rule in STATISTICS}


# diffusers counts levels where the authors count blocks. The order matters: a number is taken only
# after the block that had it was moved on.
_ENCODER = (
    Rename("encoder.mid_block.*", "encoder.down_blocks.9.*"),
    Rename("encoder.down_blocks.3.*", "encoder.down_blocks.8.*"),
    Rename("encoder.down_blocks.2.downsamplers.0.*", "encoder.down_blocks.7.*"),
    Rename("encoder.down_blocks.2.*", "encoder.down_blocks.6.*"),
    Rename("encoder.down_blocks.1.conv_out.*", "encoder.down_blocks.5.*"),
    Rename("encoder.down_blocks.1.downsamplers.0.*", "encoder.down_blocks.4.*"),
    Rename("encoder.down_blocks.1.*", "encoder.down_blocks.3.*"),
    Rename("encoder.down_blocks.0.conv_out.*", "encoder.down_blocks.2.*"),
    Rename("encoder.down_blocks.0.downsamplers.0.*", "encoder.down_blocks.1.*"),
)
_ENCODER_0_9_5 = (
    Rename("encoder.mid_block.*", "encoder.down_blocks.8.*"),
    Rename("encoder.down_blocks.3.downsamplers.0.*", "encoder.down_blocks.7.*"),
    Rename("encoder.down_blocks.3.*", "encoder.down_blocks.6.*"),
    Rename("encoder.down_blocks.2.downsamplers.0.*", "encoder.down_blocks.5.*"),
    Rename("encoder.down_blocks.2.*", "encoder.down_blocks.4.*"),
    Rename("encoder.down_blocks.1.downsamplers.0.*", "encoder.down_blocks.3.*"),
    Rename("encoder.down_blocks.1.*", "encoder.down_blocks.2.*"),
    Rename("encoder.down_blocks.0.downsamplers.0.*", "encoder.down_blocks.1.*"),
)
_DECODER_0_9_0 = (
    Rename("decoder.up_blocks.3.upsamplers.0.*", "decoder.up_blocks.8.*"),
    Rename("decoder.up_blocks.3.conv_in.*", "decoder.up_blocks.7.*"),
    Rename("decoder.up_blocks.3.*", "decoder.up_blocks.9.*"),
    Rename("decoder.up_blocks.2.upsamplers.0.*", "decoder.up_blocks.5.*"),
    Rename("decoder.up_blocks.2.conv_in.*", "decoder.up_blocks.4.*"),
    Rename("decoder.up_blocks.2.*", "decoder.up_blocks.6.*"),
    Rename("decoder.up_blocks.1.upsamplers.0.*", "decoder.up_blocks.2.*"),
    Rename("decoder.up_blocks.1.*", "decoder.up_blocks.3.*"),
    Rename("decoder.up_blocks.0.*", "decoder.up_blocks.1.*"),
    Rename("decoder.mid_block.*", "decoder.up_blocks.0.*"),
)
_DECODER = (
    Rename("decoder.time_embedder.*", "decoder.last_time_embedder.*"),
    Rename("decoder.scale_shift_table", "decoder.last_scale_shift_table"),
    Rename("decoder.up_blocks.2.upsamplers.0.*", "decoder.up_blocks.5.*"),
    Rename("decoder.up_blocks.2.*", "decoder.up_blocks.6.*"),
    Rename("decoder.up_blocks.1.upsamplers.0.*", "decoder.up_blocks.3.*"),
    Rename("decoder.up_blocks.1.*", "decoder.up_blocks.4.*"),
    Rename("decoder.up_blocks.0.upsamplers.0.*", "decoder.up_blocks.1.*"),
    Rename("decoder.up_blocks.0.*", "decoder.up_blocks.2.*"),
    Rename("decoder.mid_block.*", "decoder.up_blocks.0.*"),
)
_WITHIN = (
    Rename("*.resnets.{i}.*", "*.res_blocks.{i}.*"),
    Rename("latents_mean", "mean_of_means"),
    Rename("latents_std", "std_of_means"),
)
# The shortcut of a block that changes the number of channels.
_SHORTCUT: tuple[Rule, ...] = (
    Rename("*.conv_shortcut.conv.*", "*.conv_shortcut.*"),
    Rename("*.norm3.*", "*.norm3.norm.*"),
)

DIFFUSERS_0_9_0 = KeyMap(*_ENCODER, *_DECODER_0_9_0, *_SHORTCUT, *_WITHIN)
DIFFUSERS_0_9_1 = KeyMap(*_ENCODER, *_DECODER, *_SHORTCUT, *_WITHIN)
DIFFUSERS_0_9_5 = KeyMap(*_ENCODER_0_9_5, *_DECODER, *_WITHIN)


def find(names: Collection[str]) -> KeyMap:
    """The map for a checkpoint with these tensors, told by names that only one layout has."""
    if any(name.startswith("vae.") for name in names):
        return SINGLE_FILE
    if "latents_mean" not in names:
        return KeyMap() if "mean_of_means" in names else OFFICIAL
    if "encoder.down_blocks.0.conv_out.conv1.conv.weight" not in names:
        return DIFFUSERS_0_9_5
    return DIFFUSERS_0_9_1 if "decoder.scale_shift_table" in names else DIFFUSERS_0_9_0
