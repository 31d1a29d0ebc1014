"""Key maps of `kinema.networks.zeroi2v`: the authors' backbones, and their checkpoints around them.

Verified: every tensor of the published sizes with adapters and merged, both ways.
"""

from __future__ import annotations

from collections.abc import Collection

from kinema.weights.keymap import KeyMap, Rename, Rule
from kinema.weights.maps.clip import OFFICIAL_BLOCK, block_rules

ADAPTERS = {
    "T_Adapter_in": "attn.qkv.adapters.0",
    "S_Adapter": "attn.proj.adapters.0",
    "MLP_Adapter": "mlp.fc1.adapters.0",
    "MLP_Adapter_out": "mlp.fc2.adapters.0",
}
# Of the ablation with one adapter each for queries, keys and values.
SEPARATE_ADAPTERS = {
    **{f"T_Adapter_in_{name}": f"attn.qkv.adapters.{i}" for i, name in enumerate("qkv")},
    **{theirs: ours for theirs, ours in ADAPTERS.items() if theirs != "T_Adapter_in"},
}


def rules(prefix: str, adapters: dict[str, str]) -> tuple[Rule, ...]:
    """The map of a network whose names all have a prefix; a merged one has no adapters."""
    blocks = f"{prefix}transformer.resblocks"
    inside = {
        f"{theirs}.D_fc{number}.*": f"{ours}.{layer}.*"
        for theirs, ours in adapters.items()
        for number, layer in ((1, "down"), (2, "up"))
    }
    return (
        Rename(f"{prefix}class_embedding", "class_embedding"),
        Rename(f"{prefix}positional_embedding", "pos_embed"),
        Rename(f"{prefix}temporal_embedding", "temporal_embed"),
        Rename(f"{prefix}conv1.*", "patch_embed.proj.*"),
        Rename(f"{prefix}ln_pre.*", "norm_pre.*"),
        *block_rules(blocks, "blocks", OFFICIAL_BLOCK | inside),
        Rename(f"{prefix}ln_post.*", "norm.*"),
        Rename("cls_head.fc_cls.*", "head.*"),
    )


OFFICIAL = KeyMap(*rules("", ADAPTERS))
SEPARATE = KeyMap(*rules("", SEPARATE_ADAPTERS))
CHECKPOINT = KeyMap(*rules("backbone.", ADAPTERS))


def find(names: Collection[str]) -> KeyMap:
    """The map for a file with these names."""
    return CHECKPOINT if any(name.startswith("backbone.") for name in names) else OFFICIAL
