"""Key maps of `kinema.networks.videomae`: the authors' classifiers and transformers' files.

Verified: every tensor, both ways, of VideoMAE V2's classifiers at all sizes and of transformers'
``VideoMAEForVideoClassification`` (5.23.0, as it saves files) at ViT-B.
"""

from __future__ import annotations

from collections.abc import Collection

from kinema.weights.keymap import KeyMap, Merge, Rename

BLOCK = "blocks.{i}"
OFFICIAL = KeyMap(
    Rename(f"{BLOCK}.attn.q_bias", f"{BLOCK}.attn.qkv.q_bias"),
    Rename(f"{BLOCK}.attn.v_bias", f"{BLOCK}.attn.qkv.v_bias"),
)

LAYER = "videomae.encoder.layer.{i}"
INNER = f"{LAYER}.attention.attention"
QKV = tuple(f"{INNER}.{name}.weight" for name in ("query", "key", "value"))
TRANSFORMERS = KeyMap(
    Rename("videomae.embeddings.patch_embeddings.projection.*", "patch_embed.proj.*"),
    Merge(QKV, f"{BLOCK}.attn.qkv.weight", dim=0),
    Rename(f"{INNER}.q_bias", f"{BLOCK}.attn.qkv.q_bias"),
    Rename(f"{INNER}.v_bias", f"{BLOCK}.attn.qkv.v_bias"),
    Rename(f"{LAYER}.attention.output.dense.*", f"{BLOCK}.attn.proj.*"),
    Rename(f"{LAYER}.layernorm_before.*", f"{BLOCK}.norm1.*"),
    Rename(f"{LAYER}.layernorm_after.*", f"{BLOCK}.norm2.*"),
    Rename(f"{LAYER}.intermediate.dense.*", f"{BLOCK}.mlp.fc1.*"),
    Rename(f"{LAYER}.output.dense.*", f"{BLOCK}.mlp.fc2.*"),
    Rename("classifier.*", "head.*"),
)


def find(names: Collection[str]) -> KeyMap:
    """The map for a file with these names."""
    return TRANSFORMERS if "classifier.weight" in names else OFFICIAL
