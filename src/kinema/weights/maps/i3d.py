"""Key map of `kinema.networks.i3d`: ``i3d_pretrained_400.pt``, the PyTorch file behind FVD.

Verified by a manifest both ways.
"""

from __future__ import annotations

from kinema.weights.keymap import KeyMap, Rename

OFFICIAL = KeyMap(Rename("logits.conv3d.*", "logits.*"))
