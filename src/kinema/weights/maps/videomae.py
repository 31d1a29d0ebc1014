"""Key maps of `kinema.networks.videomae`: the authors' classifiers and transformers' files.

Verified: every tensor, both ways, of VideoMAE V2's classifiers and pre-training networks at all
sizes, and of transformers' ``VideoMAEForVideoClassification`` (5.23.0, as it saves files) at ViT-B;
its ``VideoMAEForPreTraining`` at a small size.

Of what is pre-trained ours are two parts, ``encoder`` and ``decoder``; see
`kinema.networks.videomae_pretraining`.
"""

from __future__ import annotations

from collections.abc import Collection

from kinema.weights.keymap import KeyMap, Merge, Rename, Rule

BLOCK = "blocks.{i}"


def biases(part: str) -> tuple[Rule, ...]:
    """The biases of queries and values of the blocks in a part of a file."""
    return tuple(
        Rename(f"{part}{BLOCK}.attn.{name}", f"{part}{BLOCK}.attn.qkv.{name}")
        for name in ("q_bias", "v_bias")
    )


OFFICIAL = KeyMap(*biases(""))
PRETRAINING = KeyMap(
    *biases("encoder."),
    *biases("decoder."),
    Rename("encoder.norm.*", "decoder.encoder_norm.*"),
    Rename("encoder_to_decoder.*", "decoder.embed.*"),
    Rename("mask_token", "decoder.mask_token"),
)


def layers(theirs: str, ours: str) -> tuple[Rule, ...]:
    """The blocks of a part of transformers' files, and of ours."""
    layer, block = f"{theirs}.{{i}}", f"{ours}{BLOCK}"
    inner = f"{layer}.attention.attention"
    qkv = tuple(f"{inner}.{name}.weight" for name in ("query", "key", "value"))
    return (
        Merge(qkv, f"{block}.attn.qkv.weight", dim=0),
        Rename(f"{inner}.q_bias", f"{block}.attn.qkv.q_bias"),
        Rename(f"{inner}.v_bias", f"{block}.attn.qkv.v_bias"),
        Rename(f"{layer}.attention.output.dense.*", f"{block}.attn.proj.*"),
        Rename(f"{layer}.layernorm_before.*", f"{block}.norm1.*"),
        Rename(f"{layer}.layernorm_after.*", f"{block}.norm2.*"),
        Rename(f"{layer}.intermediate.dense.*", f"{block}.mlp.fc1.*"),
        Rename(f"{layer}.output.dense.*", f"{block}.mlp.fc2.*"),
    )


PATCHES = "videomae.embeddings.patch_embeddings.projection.*"
TRANSFORMERS = KeyMap(
    Rename(PATCHES, "patch_embed.proj.*"),
    *layers("videomae.encoder.layer", ""),
    Rename("classifier.*", "head.*"),
)
TRANSFORMERS_PRETRAINING = KeyMap(
    Rename(PATCHES, "encoder.patch_embed.proj.*"),
    *layers("videomae.encoder.layer", "encoder."),
    *layers("decoder.decoder_layers", "decoder."),
    Rename("videomae.layernorm.*", "decoder.encoder_norm.*"),
    Rename("encoder_to_decoder.*", "decoder.embed.*"),
    Rename("mask_token", "decoder.mask_token"),
)


def find(names: Collection[str]) -> KeyMap:
    """The map for a file with these names."""
    if "mask_token" in names:
        transformers = any(name.startswith("videomae.") for name in names)
        return TRANSFORMERS_PRETRAINING if transformers else PRETRAINING
    return TRANSFORMERS if "classifier.weight" in names else OFFICIAL
