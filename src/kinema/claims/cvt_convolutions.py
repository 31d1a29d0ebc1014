"""CvT (arXiv 2103.15808): with convolutions a transformer of pictures needs no positions.

Two networks learn pictures of 48 pixels (`kinema.claims.pictures`) from nothing, with the same
pictures, recipe and seeds:

- ``cvt``: three stages of convolved tokens, queries, keys and values, at 4, 8 and 16 pixels, most
  of the blocks in the last, as in the published sizes; it has no positions;
- ``vit``: a plain ViT with patches of 12 pixels and learned positions, which costs as much.

``top1`` is the share of held-out pictures that are told rightly, ``loss`` their cross-entropy.

The pilots of the baseline are those of `tnt_words`. 1,500 steps of about 0.13 s: about 20 minutes
on one thread in all.
"""

from __future__ import annotations

import functools

from kinema.claims import pictures
from kinema.claims.claim import Claim, Experiment
from kinema.claims.figure import draw_pairs
from kinema.networks.cvt import CvT
from kinema.networks.cvt_config import CvTConfig, stage
from kinema.systems.recognizer_frames import COLORS

CLAIM = Claim(
    name="cvt_convolutions",
    system="cvt",
    primary=True,
    statement="a transformer with convolutions and without positions tells more pictures rightly "
    "than a plain ViT with positions that costs as much",
    measure="top1",
    better="higher",
    margin=0.05,
    tested="cvt",
    baseline="vit",
    tolerance=0.05,
    budget=40.0,
)


def cvt() -> CvT:
    """Maps of 12, 6 and 3 places a side; 546,170 parameters."""
    stages = (stage(0, 16, 1, 1, 0.0), stage(1, 48, 2, 1, 0.0), stage(2, 96, 4, 4, 0.0))
    return CvT(CvTConfig(stages=stages, class_token=True, num_classes=len(COLORS)))


arms = functools.partial(pictures.arms, {"cvt": cvt, "vit": pictures.plain_vit})
EXPERIMENT = Experiment(claim=CLAIM, arms=arms(pictures.FULL), draw=draw_pairs)
