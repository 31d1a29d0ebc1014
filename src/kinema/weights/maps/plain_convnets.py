"""Key maps of `kinema.networks.plain_convnets`: torchvision's files of AlexNet and VGG16.

Verified by manifests both ways; a trunk leaves the fully connected layers of a file out.
"""

from __future__ import annotations

from kinema.weights.keymap import Drop, KeyMap, Rename


def _classifier(*numbers: int) -> KeyMap:
    names = ("fc6", "fc7", "fc8")
    return KeyMap(*(Rename(f"classifier.{n}.*", f"{name}.*") for n, name in zip(numbers, names)))


ALEX = _classifier(1, 4, 6)  # dropout comes first
VGG = _classifier(0, 3, 6)
TRUNK = KeyMap(Drop("classifier.*", "the trunk ends before the fully connected layers"))
