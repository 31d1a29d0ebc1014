"""Key maps of a plain ViT: timm's files, whose names are ours, and those of transformers.

``google/vit-*`` and ``facebook/deit-*`` are published as ``ViTForImageClassification`` of
transformers or, without a head, as its ``ViTModel``. Verified: every tensor of ViT-B/16 and, of
both at a small size, equal logits and states (5.23.0, as it saves files). Theirs adds 1e-12 to
variances unless told otherwise, timm's 1e-6. A DeiT with a distillation token is another network.
"""

from __future__ import annotations

from collections.abc import Collection

from kinema.weights.keymap import Drop, KeyMap, Merge, Rename, Rule


def trunk(theirs: str) -> tuple[Rule, ...]:
    """All but the head, whose names begin with `theirs` in transformers' files."""
    layer, block = f"{theirs}encoder.layer.{{i}}", "blocks.{i}"
    qkv = tuple(f"{layer}.attention.attention.{name}.*" for name in ("query", "key", "value"))
    return (
        Drop(f"{theirs}pooler.*", "a layer behind the class token, which no classifier has"),
        Rename(f"{theirs}embeddings.cls_token", "cls_token"),
        Rename(f"{theirs}embeddings.position_embeddings", "pos_embed"),
        Rename(f"{theirs}embeddings.patch_embeddings.projection.*", "patch_embed.proj.*"),
        Merge(qkv, f"{block}.attn.qkv.*", dim=0),
        Rename(f"{layer}.attention.output.dense.*", f"{block}.attn.proj.*"),
        Rename(f"{layer}.layernorm_before.*", f"{block}.norm1.*"),
        Rename(f"{layer}.layernorm_after.*", f"{block}.norm2.*"),
        Rename(f"{layer}.intermediate.dense.*", f"{block}.mlp.fc1.*"),
        Rename(f"{layer}.output.dense.*", f"{block}.mlp.fc2.*"),
        Rename(f"{theirs}layernorm.*", "norm.*"),
    )


TIMM = KeyMap()
CLASSIFIER = KeyMap(*trunk("vit."), Rename("classifier.*", "head.*"))
HEADLESS = KeyMap(*trunk(""))


def find(names: Collection[str]) -> KeyMap:
    """The map for a file with these names."""
    if "vit.layernorm.weight" in names:
        return CLASSIFIER
    return HEADLESS if "layernorm.weight" in names else TIMM
