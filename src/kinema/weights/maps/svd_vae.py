"""Key maps of `kinema.networks.svd_vae`: the authors' files; ours are diffusers' names and shapes.

Verified: every tensor, both ways, against the authors' manifests of encoder and decoder and against
diffusers' ``AutoencoderKLTemporalDecoder`` (0.42.1).
"""

from __future__ import annotations

from kinema.weights.keymap import KeyMap, Rename, Rule
from kinema.weights.maps.kl_vae import ENCODER, decoder_rules

TIME_LAYERS = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
}
IMAGE_LAYERS = ("norm1", "conv1", "norm2", "conv2", "conv_shortcut")


def video_decoder_rules(prefix: str, levels: int) -> tuple[Rule, ...]:
    """The image decoder's, and those of the layers over time."""
    block = f"{prefix}*resnets.{{j}}."
    return (
        *decoder_rules(prefix, levels),
        *(
            Rename(f"{block}time_stack.{theirs}.*", f"{block}temporal_res_block.{ours}.*")
            for theirs, ours in TIME_LAYERS.items()
        ),
        *(
            Rename(f"{block}{name}.*", f"{block}spatial_res_block.{name}.*")
            for name in IMAGE_LAYERS
        ),
        Rename(f"{block}mix_factor", f"{block}time_mixer.mix_factor"),
        Rename(f"{prefix}conv_out.time_mix_conv.*", f"{prefix}time_conv_out.*"),
    )


def decoder(levels: int) -> KeyMap:
    """The decoder alone, as below ``first_stage_model.decoder.`` of the authors' files."""
    return KeyMap(*video_decoder_rules("", levels))


def official(levels: int) -> KeyMap:
    """The whole autoencoder: ``encoder.*``, ``quant_conv.*`` and ``decoder.*``."""
    return KeyMap(*ENCODER.rules, *video_decoder_rules("decoder.", levels))
