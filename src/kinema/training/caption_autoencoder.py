"""The objective of caption encoders: a decoder writes the caption again from its sentence.

Source: TGANs-C (arXiv 1804.08264), section 3.1: the encoder is trained before the generator, by
reconstruction, and then fixed. The form of the decoder is ours.

Letters: B batch, L words, V words of the vocabulary.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from kinema.networks.lstm_text import CaptionDecoder, LSTMText
from kinema.networks.word_encoder import PAD
from kinema.noise import Noise
from kinema.training.captions import draw_captions
from kinema.training.objective import Batch, Logs, Objective


class CaptionAutoencoder(Objective):
    """One player, ``text``: the encoder and the decoder, which is forgotten afterwards.

    A batch holds ``captions``, several for each row.
    """

    equal_calls = True

    def __init__(self, text: LSTMText) -> None:
        super().__init__()
        self.text, self.decoder = text, CaptionDecoder(text.config)
        self.players = {"text": ("text.*", "decoder.*")}

    def loss(self, player: str, batch: Batch, step: int, noise: Noise) -> tuple[Tensor, Logs]:
        """Nats per word, the mean over each caption's words and then over captions."""
        logits, ids = self._rewritten(draw_captions(batch, noise, drop=0.0))
        given = ids != PAD
        nats = F.cross_entropy(logits.float().flatten(0, 1), ids.flatten(), reduction="none")
        loss = ((nats.view_as(given) * given).sum(1) / given.sum(1)).mean()
        return loss, {"loss": loss.detach()}

    def held_out(self, batch: Batch, noise: Noise) -> Logs:
        """The loss, that of a decoder that knows only how often each word occurs in this batch, and
        the share of the words that are found.
        """
        logits, ids = self._rewritten(draw_captions(batch, noise, drop=0.0))
        words = ids[ids != PAD]
        counts = torch.bincount(words, minlength=logits.shape[-1]).float()
        right = logits.argmax(-1)[ids != PAD] == words
        return {
            "loss": self.loss("text", batch, 0, noise)[0],
            "trivial": F.cross_entropy(counts.log().expand(len(words), -1), words),
            "words": right.float().mean(),
        }

    def _rewritten(self, captions: list[str]) -> tuple[Tensor, Tensor]:
        """Logits (B, L, V) of all words after the first, and their ids (B, L)."""
        ids = self.text.ids(captions).to(self.text.embed.weight.device)
        return self.decoder(self.text.encode(captions), ids[:, :-1]), ids[:, 1:]
