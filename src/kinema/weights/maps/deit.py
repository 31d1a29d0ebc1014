"""Key map of DeiT: the published files, where the tensors lie under ``model``."""

from __future__ import annotations

from kinema.weights.keymap import KeyMap, Rename

OFFICIAL = KeyMap(
    *(
        Rename(name, f"trunk.{name}")
        for name in ("cls_token", "pos_embed", "patch_embed.*", "blocks.*", "norm.*")
    )
)
