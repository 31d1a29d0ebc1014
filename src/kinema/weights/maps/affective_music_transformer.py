"""Key map of `kinema.networks.affective_music_transformer`: the authors' state dict.

Our names are the authors'. Verified: every tensor of the published size, both ways, against the
authors' manifest.
"""

from __future__ import annotations

from kinema.weights.keymap import KeyMap

OFFICIAL = KeyMap()
