"""Key maps of `kinema.networks.uniformerv2`: the authors' class, and their checkpoints around it.

Verified: every tensor of the published sizes, both ways.
"""

from __future__ import annotations

from collections.abc import Collection

from kinema.weights.keymap import KeyMap, Merge, Rename, Rule, Split
from kinema.weights.maps.clip import OFFICIAL_BLOCK, block_rules

READER = {
    "attn.out_proj.*": "to_out.*",
    "ln_1.*": "norm1.*",
    "ln_2.*": "norm2.*",
    "ln_3.*": "norm_seen.*",
    "mlp.c_fc.*": "fc1.*",
    "mlp.c_proj.*": "fc2.*",
}
QKV = tuple(f"readers.{{i}}.to_{name}.*" for name in "qkv")


def rules(prefix: str) -> tuple[Rule, ...]:
    """The map of a network whose names all have a prefix."""
    inner = f"{prefix}transformer."
    return (
        Rename(f"{prefix}class_embedding", "class_embedding"),
        Rename(f"{prefix}positional_embedding", "pos_embed"),
        Rename(f"{prefix}conv1.*", "patch_embed.proj.*"),
        Rename(f"{prefix}ln_pre.*", "norm_pre.*"),
        *block_rules(f"{inner}resblocks", "blocks", OFFICIAL_BLOCK),
        Rename(f"{inner}resblocks.{{i}}.lmhra1.pos_embed.*", "blocks.{i}.local.0.*"),
        Rename(f"{inner}resblocks.{{i}}.lmhra2.pos_embed.*", "blocks.{i}.local.1.*"),
        Rename(f"{inner}temporal_cls_token", "video_token"),
        Rename(f"{inner}balance", "balance"),
        Rename(f"{inner}dpe.{{i}}.*", "readers.{i}.places.*"),
        Split(f"{inner}dec.{{i}}.attn.in_proj_*", QKV, dim=0),
        Merge(QKV[1:], "readers.{i}.to_kv.*", dim=0),
        *block_rules(f"{inner}dec", "readers", READER),
        Rename(f"{inner}proj.0.*", "norm.*"),
        Rename(f"{inner}proj.2.*", "head.*"),
    )


OFFICIAL = KeyMap(*rules(""))
CHECKPOINT = KeyMap(*rules("backbone."))


def find(names: Collection[str]) -> KeyMap:
    """The map for a file with these names."""
    return CHECKPOINT if any(name.startswith("backbone.") for name in names) else OFFICIAL
