"""Key maps of TNT. Verified: every tensor of the published sizes S and B, both ways."""

from __future__ import annotations

from collections.abc import Collection

from kinema.weights.keymap import KeyMap, Prefix, Rename

OFFICIAL = KeyMap(
    Rename("proj_norm1.*", "fold.norm1.*"),
    Rename("proj.*", "fold.proj.*"),
    Rename("proj_norm2.*", "fold.norm2.*"),
    Rename("blocks.{i}.proj_norm1.*", "blocks.{i}.fold.norm1.*"),
    Rename("blocks.{i}.proj.*", "blocks.{i}.fold.proj.*"),
    Rename("blocks.{i}.proj_norm2.*", "blocks.{i}.fold.norm2.*"),
    *(
        rule
        for which in ("inner", "outer")
        for rule in (
            Rename(f"blocks.{{i}}.{which}_norm1.*", f"blocks.{{i}}.{which}.norm1.*"),
            Rename(f"blocks.{{i}}.{which}_attn.qk.*", f"blocks.{{i}}.{which}.attn.qkv.qk.*"),
            Rename(f"blocks.{{i}}.{which}_attn.v.*", f"blocks.{{i}}.{which}.attn.qkv.v.*"),
            Rename(f"blocks.{{i}}.{which}_attn.proj.*", f"blocks.{{i}}.{which}.attn.proj.*"),
            Rename(f"blocks.{{i}}.{which}_norm2.*", f"blocks.{{i}}.{which}.norm2.*"),
            Rename(f"blocks.{{i}}.{which}_mlp.*", f"blocks.{{i}}.{which}.mlp.*"),
        )
    ),
)
PARALLEL = KeyMap(Prefix("module."), *OFFICIAL.rules)


def find(names: Collection[str]) -> KeyMap:
    """The map for a file; training on several devices leaves a prefix in its names."""
    return PARALLEL if all(name.startswith("module.") for name in names) else OFFICIAL
