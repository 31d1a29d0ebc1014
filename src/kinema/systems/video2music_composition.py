"""How the transformer of Video2Music writes chords; see `video2music.py`.

Letters: B batch, L chords so far, T seconds that the network reads, F features.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from kinema.condition import Conditions, Tokens
from kinema.media import chords
from kinema.noise import Noise
from kinema.systems.video2music_config import Sampling

if TYPE_CHECKING:
    from kinema.systems.video2music import Video2Music

LEVELS = np.array([chords.levels(chord) for chord in range(chords.NUM_CHORDS)])


@torch.inference_mode()
def compose(
    model: Video2Music,
    features: Tensor,
    *,
    minor: Tensor,
    primer: Tensor,
    count: int,
    noise: Noise,
) -> Tensor:
    """Ids (B, count) of chords, drawn one after another behind the primer.

    Args:
        model: whose transformer writes, as its configuration's sampling says.
        features: (B, T, F).
        minor: (B, 1), 1 for A minor, 0 for C major.
        primer: (B, P), the ids of the first chords.
        count: how many chords with those of the primer, at most T.
        noise: row b is drawn with that of its sample b.
    """
    network, like = model.transformer, next(model.transformer.parameters())
    key, levels = minor.to(like), torch.from_numpy(LEVELS).to(like.device)
    video = network.encode(Conditions({"video": Tokens(x=features.to(like))}))
    draws = noise.uniform((len(features), count), "chords").to(like.device).double()
    found = primer.to(like.device)
    for second in range(primer.shape[1], count):
        logits = network.decode(levels[found].mT, key, video)[:, -1, : chords.END].double()
        logits = logits.masked_fill(forbidden(found, model.config.sampling), -math.inf)
        odds = logits.softmax(-1).cumsum(-1)
        drawn = (odds <= draws[:, second, None] * odds[:, -1:]).sum(-1, keepdim=True)
        found = torch.cat([found, drawn], 1)
    return found


def forbidden(found: Tensor, sampling: Sampling) -> Tensor:
    """Which chords may not come after those found (B, L): (B, 157) bool."""
    barred = torch.zeros((len(found), chords.END), dtype=torch.bool, device=found.device)
    barred[:, chords.SILENCE] = not sampling.silence
    last = found[:, -sampling.most_equal :]
    if last.shape[1] == sampling.most_equal:
        stuck = (last == last[:, -1:]).all(1)
        barred[stuck, last[stuck, -1]] = True
    return barred
