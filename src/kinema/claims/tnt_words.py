"""TNT (arXiv 2103.00112): attention inside patches finds details that a ViT of equal cost misses.

Two networks learn pictures of 48 pixels (`kinema.claims.pictures`) from nothing, with the same
pictures, recipe and seeds:

- ``tnt``: 16 patches of 12 pixels with 16 words each, words a sixteenth as wide as sentences, as in
  the published sizes;
- ``vit``: a plain ViT with the same patches, widened from 96 to 100, which costs as much.

``top1`` is the share of held-out pictures that are told rightly, ``loss`` their cross-entropy.

Pilots of the baseline with one seed: 400 steps led to 60 % of 512 pictures, so there is room. Where
the class was the shape of the object, whatever its color, it stayed at chance, after 500 steps with
these frames, 300 with frames of the world `shapes` and 300 with windows around the object; so the
class was changed, and the pictures were not.

1,500 steps of about 0.1 s: about 15 minutes on one thread in all.
"""

from __future__ import annotations

import functools
from dataclasses import replace

from kinema.claims import pictures
from kinema.claims.claim import Claim, Experiment
from kinema.claims.figure import draw_pairs
from kinema.claims.pictures import PATCH, SIDE
from kinema.networks.tnt import TNT, tnt_s
from kinema.systems.recognizer_frames import COLORS

CLAIM = Claim(
    name="tnt_words",
    system="tnt",
    primary=True,
    statement="a transformer that attends inside its patches too tells more pictures rightly than "
    "a plain ViT that costs as much",
    measure="top1",
    better="higher",
    margin=0.03,
    tested="tnt",
    baseline="vit",
    tolerance=0.07,
    budget=40.0,
)


def tnt() -> TNT:
    """Words of 3x3 pixels, six numbers each; 500,146 parameters."""
    config = replace(
        tnt_s(len(COLORS)),
        image_size=SIDE,
        patch_size=PATCH,
        width=96,
        num_layers=4,
        num_heads=4,
        word_width=6,
        word_heads=2,
        word_stride=3,
        drop_path=0.0,
    )
    return TNT(config)


arms = functools.partial(pictures.arms, {"tnt": tnt, "vit": pictures.plain_vit})
EXPERIMENT = Experiment(claim=CLAIM, arms=arms(pictures.FULL), draw=draw_pairs)
