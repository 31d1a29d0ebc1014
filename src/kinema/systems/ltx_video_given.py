"""Frames that training gives LTX-Video: which, how firmly, and the loss on the others.

Paper (section 2.4), code and license: see `ltx_video.py`. A given token has a noise level of its
own and takes no part in the loss. The share of clips that are given some is ours.

Letters: B batch, N tokens, C latent channels; h, w latent rows and columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch
from einops import rearrange
from torch import Tensor

from kinema.networks.ltx_transformer import LTXTransformer, patchify
from kinema.noise import Noise
from kinema.systems.keyframes import HELD_LATENTS
from kinema.systems.ltx_video_recipes import GeneratorRecipe
from kinema.training.captions import draw_captions
from kinema.training.denoising import DenoisingObjective, Prepared
from kinema.training.objective import Batch, Logs
from kinema.training.shown import Shown, heard

if TYPE_CHECKING:
    from kinema.systems.ltx_video import LTXVideo

STILLS = 3  # single frames that training appends, at most


@dataclass(frozen=True, kw_only=True)
class GivenTokens(Prepared):
    """Rows with equally many tokens.

    Args:
        strength: (B, N) in [0, 1], how firmly each token of x0 is given: noise makes up at most
            1 - strength of it, and above 0 it takes no part in the loss. None where nothing is
            given.
        shown: what the tokens of the clip show; see `kinema.worlds.shown`. None if no loss asks.
    """

    strength: Tensor | None
    shown: Tensor | None


class GivenFrames(DenoisingObjective[GivenTokens]):
    """Transformer and text encoder together, on clips of which some frames are given.

    Rows with appended frames have more tokens than others, so rows of one length go through the
    transformer at a time, and none is padded.
    """

    def __init__(self, model: LTXVideo, recipe: GeneratorRecipe) -> None:
        networks = {role: model.parts[role] for role in ("transformer", "text")}
        prepare = partial(prepare_rows, model, recipe)
        super().__init__(networks, predict="transformer", process=model.process, prepare=prepare)
        self.recipe = recipe
        if recipe.shown:
            self.networks["shown"] = Shown(model.transformer.config.width)

    def loss(self, player: str, batch: Batch, step: int, noise: Noise) -> tuple[Tensor, Logs]:
        """The flow's loss at random times, the mean over the rows."""
        losses, logs, counts = [], [], []
        for part, own in self.parts(batch, noise):
            loss, log = super().loss(player, part, step, own)
            losses.append(loss)
            logs.append(log)
            counts.append(len(own))
        return mean(losses, counts), mean_logs(logs, counts)

    def held_out(self, batch: Batch, noise: Noise) -> Logs:
        """As `DenoisingObjective` has it, the mean over the rows."""
        logs, counts = [], []
        for part, own in self.parts(batch, noise):
            logs.append(super().held_out(part, own))
            counts.append(len(own))
        return mean_logs(logs, counts)

    def parts(self, batch: Batch, noise: Noise) -> list[tuple[Batch, Noise]]:
        """A batch in rows of equal lengths."""
        groups = rows_alike(draw_given(self.recipe, batch, noise))
        return [rows_of(batch, noise, rows) for rows in groups]

    def loss_at(self, prepared: GivenTokens, time: Tensor) -> tuple[Tensor, Logs]:
        """The flow's loss at times (B,), and what the middle of the transformer tells of tokens."""
        if prepared.shown is None:
            return self.flow_loss_at(prepared, time)
        blocks = cast(LTXTransformer, self.predict).transformer_blocks
        with heard(blocks[(len(blocks) - 1) // 2]) as tokens:
            loss, logs = self.flow_loss_at(prepared, time)
        second = self.networks["shown"](tokens[0], prepared.shown)
        return loss + self.recipe.shown * second, {**logs, "shown": second.detach()}

    def flow_loss_at(self, prepared: GivenTokens, time: Tensor) -> tuple[Tensor, Logs]:
        """The flow's loss at times (B,); with given tokens, over those that are not.

        Every row counts as much, however many of its tokens are given.
        """
        if prepared.strength is None:
            return super().loss_at(prepared, time)
        x0, strength = prepared.x0, prepared.strength
        time = torch.minimum(time.to(x0.device)[:, None], self.process.level(1 - strength))
        errors = self.process.errors(self.predict, x0, prepared.conditions, prepared.noise, time)
        free = strength == 0
        own, trivial = (
            (error.mean(2).masked_fill(~free, 0).sum(1) / free.sum(1)).mean() for error in errors
        )
        return own, {"loss": own.detach(), "trivial": trivial}


@torch.no_grad()
def encode(model: LTXVideo, clips: Tensor, samples: Sequence[int]) -> dict[str, Tensor]:
    """Latents of clips (B, 3, T, H, W), and of single frames where they have so many.

    Returns:
        ``latents`` (B, C, t, h, w), ``stills`` (B, S, C, h, w), and their numbers ``still_frames``
        (B, S), which the numbers of the clips say.
    """
    tensors = {"latents": model.codec.encode(clips.to(model.device)).cpu()}
    if clips.shape[2] > STILLS:
        frames = still_frames(samples, clips.shape[2])
        chosen = torch.stack([clip[:, own] for clip, own in zip(clips, frames)])
        single = rearrange(chosen, "b c s h w -> (b s) c 1 h w").to(model.device)
        alone = model.codec.encode(single).cpu()
        tensors["stills"] = rearrange(alone, "(b s) c 1 h w -> b s c h w", b=len(clips))
        tensors["still_frames"] = frames
    return tensors


def still_frames(samples: Sequence[int], num_frames: int) -> Tensor:
    """Numbers (B, S) of different frames after the first, drawn for each clip."""
    orders = [Noise(0, (index,)).permutation(num_frames - 1, "stills") for index in samples]
    return 1 + torch.stack(orders)[:, :STILLS]


def rows_of(batch: Batch, noise: Noise, rows: list[int]) -> tuple[Batch, Noise]:
    """Some rows of a batch, and their noise; what belongs to no row stays as it is."""

    def chosen(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value[rows]
        return [value[row] for row in rows] if isinstance(value, list) else value

    own = Noise(noise.seed, tuple(noise.samples[row] for row in rows))
    return {name: chosen(value) for name, value in batch.items()}, own


def mean(values: Sequence[Tensor], counts: Sequence[int]) -> Tensor:
    """The mean over all rows of what is a mean over so many rows each."""
    weights = torch.tensor(counts, device=values[0].device)
    return (weights / weights.sum() * torch.stack(list(values))).sum()


def mean_logs(logs: Sequence[Logs], counts: Sequence[int]) -> Logs:
    """`mean` of each number."""
    return {name: mean([log[name] for log in logs], counts) for name in logs[0]}


def prepare_rows(
    model: LTXVideo, recipe: GeneratorRecipe, batch: Batch, noise: Noise
) -> GivenTokens:
    """Tokens and conditions from cached latents of rows that are given equally many single frames.

    One caption of each clip is drawn, and dropped now and then, as are the frames that are given.
    """
    latents = batch["latents"].to(model.device)
    text = model.text(
        model.text.ids(draw_captions(batch, noise, drop=recipe.text_drop)).to(model.device)
    )
    x0, (t, h, w) = patchify(latents), latents.shape[2:]
    given = draw_given(recipe, batch, noise)
    stills, frames = single_frames(batch, given[0].stills)
    firm = strength_of(given, x0.shape[1], h * w).to(x0.device) if given[0].anything else None
    return GivenTokens(
        x0=torch.cat((x0, stills.to(x0)), 1),
        conditions=model.conditions(text, (t, h, w), batch["fps"], frames.to(model.device)),
        noise=noise,
        strength=firm,
        shown=batch["shown"].to(x0.device) if recipe.shown else None,
    )


class Given(NamedTuple):
    """What training gives of a clip.

    `start` latent frames from the first and `stills` single frames, all at noise level `level`.
    """

    start: int
    stills: int
    level: float

    @property
    def anything(self) -> bool:
        """Whether there is any of both."""
        return self.start + self.stills > 0


def draw_given(recipe: GeneratorRecipe, batch: Batch, noise: Noise) -> list[Given]:
    """What is given of each clip of a batch; single frames only where the batch holds them."""
    drawn = []
    for start, still, count, level in noise.uniform((len(noise), 4), "given").tolist():
        first, more = start < recipe.first_given, start < recipe.first_given + recipe.start_given
        frames = 1 if first else HELD_LATENTS * more
        stills = 1 + int(STILLS * count) if still < recipe.stills_given and "stills" in batch else 0
        drawn.append(Given(frames, stills, recipe.given_level * level))
    return drawn


def rows_alike(drawn: Sequence[Given]) -> list[list[int]]:
    """The rows of a batch in groups that have equally many tokens, those given nothing apart."""
    groups: dict[tuple[int, bool], list[int]] = {}
    for row, given in enumerate(drawn):
        groups.setdefault((given.stills, given.anything), []).append(row)
    return [groups[key] for key in sorted(groups)]


def single_frames(batch: Batch, count: int) -> tuple[Tensor, Tensor]:
    """Tokens (B, S h w, C) and numbers (B, S) of S = `count` single frames of each row."""
    if count == 0:
        none = torch.zeros(len(batch["latents"]), 0, dtype=torch.long, device="cpu")
        return patchify(batch["latents"][:, :, :0]), none
    return patchify(batch["stills"][:, :count].transpose(1, 2)), batch["still_frames"][:, :count]


def strength_of(drawn: Sequence[Given], num_tokens: int, frame_tokens: int) -> Tensor:
    """How firmly each token is given, (B, N + S h w); the last latent frame never is.

    Args:
        drawn: for each row, with equally many single frames S.
        num_tokens: N, of the clip.
        frame_tokens: h w, of a latent frame.
    """
    m = torch.zeros(len(drawn), num_tokens + drawn[0].stills * frame_tokens, device="cpu")
    for row, given in zip(m, drawn):
        row[: min(given.start * frame_tokens, num_tokens - frame_tokens)] = 1 - given.level
        row[num_tokens:] = 1 - given.level
    return m
