"""The objective of generators from text against critics who also judge whether the text fits.

Source: TGANs-C (arXiv 1804.08264), section 3.3. Each critic (of the clip, of its frames, of their
changes) tells a real clip with its caption from two others: a generated clip with that caption,
and a real clip with a caption that is not its own. The form with a critic for motion is the
paper's adversarial temporal coherence (TGANs-C-A); the generator's loss is the non-saturating one.

Letters: B batch, T frames, S width of a sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from kinema.errors import InputError
from kinema.networks.tgans_c import Critics, Generator
from kinema.noise import Noise
from kinema.training.objective import Batch, Logs, Objective

Prepare = Callable[[Batch, Noise], tuple[Tensor, Tensor]]
Scores = Mapping[str, Tensor]


class MatchingGAN(Objective):
    """Players: ``critics``, then ``generator``, on the same generated clips.

    A batch holds ``subjects``, one for each row: rows of different subjects have no caption in
    common that is true of both.

    Args:
        generator: from noise and sentences to clips.
        critics: score clips under sentences.
        prepare: ``(batch, noise) -> (clips (B, 3, T, H, W), sentences (B, S))``.
    """

    couples_batch = "norms take statistics over the batch, and wrong clips are its other rows"

    def __init__(self, generator: Generator, critics: Critics, *, prepare: Prepare) -> None:
        super().__init__()
        self.generator, self.critics, self.prepare = generator, critics, prepare
        self.players = {"critics": ("critics.*",), "generator": ("generator.*",)}

    def loss(self, player: str, batch: Batch, step: int, noise: Noise) -> tuple[Tensor, Logs]:
        """The loss of one player.

        The logs have the loss of each critic; those of the critics have ``read/<critic>`` too: for
        how many clips the right caption scores higher than the wrong one (0.5 by chance).
        """
        clips, sentences = self.prepare(batch, noise)
        made = self.generator.make(sentences, noise)
        read: dict[str, Tensor] = {}
        if player == "generator":
            losses = generator_losses(self.critics(made, sentences))
        else:
            real = self.critics.maps(clips)
            other = real.rows(mismatched(batch["subjects"], noise).to(clips.device))
            matched, wrong = (self.critics.scores(maps, sentences) for maps in (real, other))
            losses = critics_losses(
                matched=matched, wrong=wrong, made=self.critics(made, sentences)
            )
            read = {f"read/{k}": higher(matched[k], wrong[k]) for k in matched}
        loss = torch.stack(list(losses.values())).sum()
        return loss, {"loss": loss.detach(), **{k: v.detach() for k, v in losses.items()}, **read}

    def held_out(self, batch: Batch, noise: Noise) -> Logs:
        """What can be measured without believing the critics.

        Returns:
            ``color``: mean squared error of a clip's mean color, most of which its caption tells,
            and ``trivial``, that of the mean color of all real clips; ``change``: mean difference
            of neighboring frames, and ``change/real``.
        """
        clips, sentences = self.prepare(batch, noise)
        made = self.generator.make(sentences, noise)
        color, truth = (x.mean((2, 3, 4)) for x in (made, clips))
        return {
            "color": F.mse_loss(color, truth),
            "trivial": F.mse_loss(truth.mean(0).expand_as(truth), truth),
            "change": made.diff(dim=2).abs().mean(),
            "change/real": clips.diff(dim=2).abs().mean(),
        }


def critics_losses(*, matched: Scores, wrong: Scores, made: Scores) -> dict[str, Tensor]:
    """Of each critic, a third of the cross-entropies of its logits (B,) or (B, T).

    Args:
        matched: real clips with their captions; true.
        wrong: real clips with captions of others; false.
        made: generated clips with the captions that they were made from; false.
    """
    return {
        critic: (
            F.softplus(-matched[critic]).mean()
            + F.softplus(wrong[critic]).mean()
            + F.softplus(made[critic]).mean()
        )
        / 3
        for critic in matched
    }


def generator_losses(made: Scores) -> dict[str, Tensor]:
    """A third of -log D for each critic, from its logits (B,) or (B, T) of generated clips."""
    return {critic: F.softplus(-logits).mean() / 3 for critic, logits in made.items()}


def mismatched(subjects: Sequence[Hashable], noise: Noise) -> Tensor:
    """For each row the index of a row with another subject, drawn at random: (B,) int64.

    Raises:
        InputError: all rows of the batch have one subject.
    """
    places = noise.uniform((len(noise),), "mismatched").tolist()
    rows = []
    for own, place in zip(subjects, places):
        others = [row for row, subject in enumerate(subjects) if subject != own]
        if not others:
            raise InputError(
                f"all {len(subjects)} clips of a batch show {own}, so none is a wrong one for its "
                "caption; use a larger recipe.batch_size"
            )
        rows.append(others[int(place * len(others))])
    return torch.tensor(rows, device="cpu")


def higher(matched: Tensor, wrong: Tensor) -> Tensor:
    """The share of the clips whose mean logit, of (B,) or (B, T), is higher in the first."""
    better = (matched - wrong).detach().reshape(len(matched), -1).mean(1)
    return (better > 0).float().mean()
