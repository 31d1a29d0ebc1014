"""Key maps of `kinema.networks.dinov2`: the authors' names are ours; transformers' files.

Verified: every tensor, both ways, of the authors' class and of transformers' ``Dinov2Model``
(5.23.0, as it saves files), at all sizes.
"""

from __future__ import annotations

from collections.abc import Collection

from kinema.weights.keymap import KeyMap, Merge, Rename

OFFICIAL = KeyMap()

LAYER, BLOCK = "encoder.layer.{i}", "blocks.{i}"
QKV = tuple(f"{LAYER}.attention.attention.{name}.*" for name in ("query", "key", "value"))
TRANSFORMERS = KeyMap(
    Rename("embeddings.cls_token", "cls_token"),
    Rename("embeddings.mask_token", "mask_token"),
    Rename("embeddings.position_embeddings", "pos_embed"),
    Rename("embeddings.patch_embeddings.projection.*", "patch_embed.proj.*"),
    Merge(QKV, f"{BLOCK}.attn.qkv.*", dim=0),
    Rename(f"{LAYER}.attention.output.dense.*", f"{BLOCK}.attn.proj.*"),
    Rename(f"{LAYER}.layer_scale1.lambda1", f"{BLOCK}.ls1.gamma"),
    Rename(f"{LAYER}.layer_scale2.lambda1", f"{BLOCK}.ls2.gamma"),
    Rename(f"{LAYER}.mlp.weights_in.*", f"{BLOCK}.mlp.w12.*"),
    Rename(f"{LAYER}.mlp.weights_out.*", f"{BLOCK}.mlp.w3.*"),
    *(Rename(f"{LAYER}.{name}.*", f"{BLOCK}.{name}.*") for name in ("norm1", "norm2")),
    *(Rename(f"{LAYER}.mlp.{name}.*", f"{BLOCK}.mlp.{name}.*") for name in ("fc1", "fc2")),
    Rename("layernorm.*", "norm.*"),
)


def find(names: Collection[str]) -> KeyMap:
    """The map for a file with these names."""
    return TRANSFORMERS if "layernorm.weight" in names else OFFICIAL
