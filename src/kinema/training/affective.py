"""The objective of Video2Music (arXiv 2311.00968): the next chord, and chords that suit the mood.

The loss of logits over the chords of each second is ``w CE + (1 - w) BCE``: cross-entropy with the
chord that comes, and binary cross-entropy with all chords that suit the mood of that second.
Verified against the authors' training script; their batches have one row, ours are averaged by row.

Letters: B batch, L chords to predict, T seconds of video, F features, V chords of the vocabulary.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from kinema.condition import Conditions, Tokens, Vector
from kinema.media.chords import END, PAD
from kinema.networks.affective_music_transformer import AffectiveMusicTransformer
from kinema.noise import Noise
from kinema.training.objective import Batch, Logs, Objective

CONFIDENT = 0.8  # the mood of a second counts for correspondence from this probability on
HITS = (1, 3, 5)


class AffectiveObjective(Objective):
    """One player, ``chords``.

    A batch holds ``features`` (B, T, F), ``key`` (B, 1), ``ids`` (B, 2, L), roots and qualities;
    ``targets`` (B, L), the chords after them; ``suiting`` (B, L, V), ones where a chord suits the
    mood of the target's second; ``likely`` (B, L), the probability of that mood.

    Args:
        network: the transformer.
        chord_weight: w.
    """

    equal_calls = True

    def __init__(self, network: AffectiveMusicTransformer, *, chord_weight: float) -> None:
        super().__init__()
        self.network, self.chord_weight = network, chord_weight
        self.players = {"chords": ("network.*",)}

    def loss(self, player: str, batch: Batch, step: int, noise: Noise) -> tuple[Tensor, Logs]:
        """The weighted sum, with both parts in the log."""
        _, targets, suiting, logits = self._predicted(batch)
        return self._weighted(logits, targets, suiting)

    def held_out(self, batch: Batch, noise: Noise) -> Logs:
        """Losses, hits at 1, 3 and 5, correspondence, and what knowing nothing would reach.

        Correspondence is the share of seconds with a confident mood (not neutral) whose likeliest
        chord suits it. ``trivial`` is no more than the loss of any constant prediction.
        """
        likely, targets, suiting, logits = self._predicted(batch)
        _, logs = self._weighted(logits, targets, suiting)
        counted = targets != PAD
        found = {**logs, **_hits(logits[counted], targets[counted])}
        moody = suiting[..., 1:END].any(-1) & (likely >= CONFIDENT)
        best = logits.argmax(-1, keepdim=True)
        suits = suiting.gather(-1, best)[..., 0] > 0
        found["correspondence"] = (suits & moody).sum() / moody.sum().clamp(min=1)
        shares = targets[counted].bincount(minlength=logits.shape[-1]) / counted.sum()
        rates = suiting.mean((0, 1))
        found["hits@1/most frequent chord"] = shares.max()
        surprise = torch.special.entr(shares).sum()
        doubt = (torch.special.entr(rates) + torch.special.entr(1 - rates)).mean()
        found["trivial"] = self.chord_weight * surprise + (1 - self.chord_weight) * doubt
        return found

    def _predicted(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Likelihood of the moods, targets, suiting chords, logits in float32."""
        device = self.network.Wout.weight.device
        names = ("features", "key", "ids", "likely", "targets", "suiting")
        features, key, ids, likely, targets, suiting = (batch[n].to(device) for n in names)
        given = Conditions({"video": Tokens(x=features), "key": Vector(x=key)})
        return likely, targets, suiting, self.network(ids, given).float()

    def _weighted(self, logits: Tensor, targets: Tensor, suiting: Tensor) -> tuple[Tensor, Logs]:
        w, length = self.chord_weight, (targets != PAD).sum(1)
        by_chord = F.cross_entropy(logits.mT, targets, ignore_index=PAD, reduction="none")
        chord = (by_chord.sum(1) / length).mean()
        mood = F.binary_cross_entropy_with_logits(logits, suiting)
        loss = w * chord + (1 - w) * mood
        return loss, {"loss": loss.detach(), "chord": chord.detach(), "mood": mood.detach()}


def _hits(logits: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """The share of targets (N,) among the k likeliest chords of logits (N, V)."""
    is_hit = logits.topk(max(HITS), -1).indices == targets[:, None]
    return {f"hits@{k}": is_hit[:, :k].any(-1).float().mean() for k in HITS}
