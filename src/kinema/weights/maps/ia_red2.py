"""Key maps of IA-RED^2: a transformer and its interpreters in one file, or the transformer alone.

Ours are two parts, ``network`` and ``policy``. The authors' files hold every block twice, by itself
and in its group; the second is passed over. Verified: names and shapes of a recorded case.
"""

from __future__ import annotations

from collections.abc import Collection

from kinema.weights.keymap import Drop, KeyMap, Rename
from kinema.weights.maps import deit, vit

OFFICIAL = KeyMap(
    Drop("groups.{g}.block_list.*", "the blocks under a second name"),
    Rename("groups.{g}.agent.*", "policy.agents.{g}.*"),
    *(
        Rename(name, f"network.trunk.{name}")
        for name in ("cls_token", "pos_embed", "patch_embed.*", "blocks.*", "norm.*")
    ),
    Rename("head.*", "network.head.*"),
)


def find(names: Collection[str]) -> KeyMap:
    """The map for a file with these names; without interpreters it is one of a DeiT, or a ViT."""
    if any(name.startswith("groups.") for name in names):
        return OFFICIAL
    return KeyMap(*vit.find(names).rules, *deit.OFFICIAL.rules, Rename("*", "network.*"))
