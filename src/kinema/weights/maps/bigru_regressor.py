"""Key map of `kinema.networks.bigru_regressor`: the authors' state dict.

Verified: every tensor of the published size towards us, and those that we carry towards the
authors.
"""

from __future__ import annotations

from kinema.weights.keymap import Drop, KeyMap

NEVER_RUN = "built by the authors' class whatever kind is asked for, and never run"
OFFICIAL = KeyMap(*(Drop(f"{name}.*", NEVER_RUN) for name in ("bilstm", "lstm", "gru", "fc")))
