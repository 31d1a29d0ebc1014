"""Key maps of Frozen in Time: its video and text encoder alone, and its whole checkpoint.

Names in the two encoders are the authors'. Verified: every tensor of the model with 4 and with 8
frames, both ways. The published checkpoint is a pickle that holds code of its project, so it is
refused; convert its ``state_dict`` where it is trusted (docs/retrieval.md). A training may begin
with a BERT in the place of DistilBERT; see `bert.py`.
"""

from __future__ import annotations

from collections.abc import Collection

from kinema.weights.keymap import Drop, KeyMap, Prefix, Rename
from kinema.weights.maps import bert

VIDEO = KeyMap()

# Older versions of transformers stored the numbers 0 ... 511.
TEXT = KeyMap(Drop("embeddings.position_ids", "a count, no weights"))
# As it is published by itself.
MASKED = KeyMap(Drop("vocab_*", "the head that guesses words"), Prefix("distilbert."), *TEXT.rules)

CHECKPOINT = (
    Drop("text_model.embeddings.position_ids", "a count, no weights"),
    Rename("text_model.*", "text.*"),
    Rename("video_model.*", "video.*"),
    Rename("txt_proj.*", "projections.txt_proj.*"),
    Rename("vid_proj.*", "projections.vid_proj.*"),
)
WHOLE = KeyMap(*CHECKPOINT)
PARALLEL = KeyMap(Prefix("module."), *CHECKPOINT)


def find_text(names: Collection[str]) -> KeyMap:
    """The map for a DistilBERT or a BERT, with the head that it was trained with or without."""
    if any(name.endswith(bert.QUERY) for name in names):
        return bert.find(names)
    return MASKED if any(name.startswith("distilbert.") for name in names) else TEXT


def find(names: Collection[str]) -> KeyMap:
    """The map for a whole checkpoint; training on several devices leaves a prefix in its names."""
    return PARALLEL if any(name.startswith("module.") for name in names) else WHOLE
