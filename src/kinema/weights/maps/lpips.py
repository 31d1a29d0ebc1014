"""Key maps of `kinema.networks.lpips`: the authors' whole class, and the files that it reads.

`ALEX` and `VGG` are the state dict of the class, which holds every head twice. A person has two
files: the heads of the package ``lpips`` (`HEADS`, for the network's ``heads``), and the trunk as
torchvision publishes it (`plain_convnets.TRUNK`, for its ``trunk``).

Verified by manifests, but for the second copy of the heads, which we do not carry.
"""

from __future__ import annotations

from collections.abc import Mapping

from kinema.weights.keymap import Drop, KeyMap, Rename

HEADS = KeyMap(Rename("lin{i}.model.1.weight", "{i}.weight"))


def _whole(slices: Mapping[int, tuple[int, ...]]) -> KeyMap:
    """The map of the class whose slice i of the trunk has the layers of torchvision's numbers."""
    trunk = (
        Rename(f"net.slice{i}.{layer}.*", f"trunk.features.{layer}.*")
        for i, layers in slices.items()
        for layer in layers
    )
    return KeyMap(
        Drop("lins.{i}.model.1.weight", "the heads a second time"),
        Rename("lin{i}.model.1.weight", "heads.{i}.weight"),
        *trunk,
    )


ALEX = _whole({1: (0,), 2: (3,), 3: (6,), 4: (8,), 5: (10,)})
VGG = _whole({1: (0, 2), 2: (5, 7), 3: (10, 12, 14), 4: (17, 19, 21), 5: (24, 26, 28)})
