"""Configuration of LTX-Video.

Paper, code and license: see `ltx_video.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from itertools import pairwise
from typing import Any, Literal

from kinema.conditions.text import T5Config
from kinema.config import config
from kinema.data.clips import ClipSize
from kinema.errors import InputError
from kinema.networks.ltx_transformer import LTXTransformerConfig
from kinema.networks.ltx_vae_config import LTXVAEConfig
from kinema.networks.word_encoder import WordEncoderConfig
from kinema.processes.schedules import TokenShift

SHIFT = TokenShift(tokens=(1024, 4096), mu=(0.95, 2.05))  # of all published versions

Numbers = float | tuple[float, ...]
Blocks = tuple[int, ...] | tuple[tuple[int, ...], ...]
Schedule = Literal["shifted", "linear_quadratic"]


@config
class SecondPass:
    """The pass after a first one in a smaller size, whose latents a network has enlarged.

    Args:
        share: of height and width, in the first pass; rounded down to what the codec takes. The
            second is twice as large as the first, and its clip is resized to what was asked for.
        others: as in `Sampling`; it begins below the level of pure noise.
    """

    share: float
    steps: int
    guidance: Numbers
    perturbed: Numbers
    perturbed_blocks: Blocks
    rescale: Numbers
    levels: tuple[float, ...] = ()
    star: bool = False
    schedule: Schedule = "shifted"
    sigmas: tuple[float, ...] = ()
    skip_first: int = 0
    skip_last: int = 0
    renoise: float = 0.0
    tone_map: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise InputError(
                f"the share of the first pass lies between 0 and 1, not at {self.share}"
            )
        _check(self)
        if not self.skip_first and (not self.sigmas or self.sigmas[0] >= 1):
            raise InputError(
                "a second pass begins with what the first made: leave out its first steps, or "
                "list sigmas below 1"
            )


@config
class Sampling(ClipSize):
    """How clips are made: their size, and the defaults of a model's sampler.

    Where a number is a tuple, it is a table with a row for each of `levels`: a row holds down to
    its noise level, the last one to the end.

    Args:
        steps: of the schedule, before some are left out.
        guidance: scale of classifier-free guidance; 1 is none.
        perturbed: weight of the branch in which the attention of `perturbed_blocks` returns values.
        rescale: how far the spread of the guided prediction is brought back.
        negative: the prompt that guidance moves away from where no other is given.
        terminal: the last noise level that is predicted from.
        decode_time, decode_noise: what a timed decoder is told, and the level of noise added before
            it.
        keyframe_noise: given frames are shown with keyframe_noise t^2 of noise at time t.
        levels: the noise levels at which the rows of tables end, falling.
        star: the unconditional prediction is scaled towards the conditional one (CFG-star).
        schedule: shifted by the number of tokens and stretched to the terminal, or neither.
        sigmas: the noise levels of a distilled model, instead of a schedule; without the last, 0.
        skip_first, skip_last: steps of the schedule that are left out. Sampling that skips its
            first ones begins with a clip; one that skips its last ends with a longer step.
        renoise: how much of the noise a step draws anew, from none (0) to all (1), see `renoise`.
        tone_map: how far large latents are pulled in before they are decoded, in [0, 1].
        second: another pass at a larger size.
    """

    steps: int
    guidance: Numbers
    perturbed: Numbers
    perturbed_blocks: Blocks
    rescale: Numbers
    terminal: float
    decode_time: float
    decode_noise: float
    negative: str = ""
    keyframe_noise: float = 0.0
    levels: tuple[float, ...] = ()
    star: bool = False
    schedule: Schedule = "shifted"
    sigmas: tuple[float, ...] = ()
    skip_first: int = 0
    skip_last: int = 0
    renoise: float = 0.0
    tone_map: float = 0.0
    second: SecondPass | None = None

    def __post_init__(self) -> None:
        _check(self)
        if not 0 < self.terminal < 1:
            raise InputError(
                f"the terminal noise level lies between 0 and 1, not at {self.terminal}"
            )

    def from_clip(self, strength: float) -> Sampling:
        """Sampling that begins with a clip, and takes only the last of its steps.

        Args:
            strength: the share of the steps that are taken, one at least, as in diffusers.
        """
        own = self.steps - self.skip_first - self.skip_last
        return replace(self, skip_first=self.skip_first + own - max(1, int(own * strength)))

    def passes(self, stride: tuple[int, int, int]) -> tuple[Sampling, ...]:
        """The single pass, or the two of which the second begins with what the first made.

        Args:
            stride: of the codec, pixels to a latent over time, height and width.

        Raises:
            InputError: the first pass would be smaller than a latent.
        """
        if self.second is None:
            return (self,)
        height, width = (
            int(length * self.second.share) // step * step
            for length, step in zip((self.height, self.width), stride[1:])
        )
        if not height or not width:
            raise InputError(
                f"{self.height} x {self.width} (height x width) is too small for two passes"
            )
        own = {name: getattr(self.second, name) for name in _SECOND if name != "share"}
        once = replace(self, second=None)
        return (
            replace(once, height=height, width=width),
            replace(once, height=2 * height, width=2 * width, **own),
        )


_SECOND = [field.name for field in fields(SecondPass)]


def _check(one: Sampling | SecondPass) -> None:
    """Raises InputError unless the steps, levels and tables of a pass fit together."""
    if one.steps < 1:
        raise InputError(f"sampling needs 1 step or more, not {one.steps}")
    if one.sigmas and len(one.sigmas) != one.steps:
        raise InputError(
            f"this model takes {len(one.sigmas)} steps, at fixed noise levels, not {one.steps}"
        )
    for name in ("levels", "sigmas"):
        listed = getattr(one, name)
        if any(not 0 <= x <= 1 for x in listed) or any(a <= b for a, b in pairwise(listed)):
            raise InputError(f"{name} fall from at most 1 to at least 0, not {listed}")
    if min(one.skip_first, one.skip_last) < 0 or one.skip_first + one.skip_last >= one.steps:
        raise InputError(
            f"of {one.steps} steps {one.skip_first} and {one.skip_last} cannot be left out"
        )
    for name in ("guidance", "perturbed", "perturbed_blocks", "rescale"):
        rows = getattr(one, name)
        is_table = isinstance(rows, tuple) and (name != "perturbed_blocks" or nested(rows))
        if is_table and len(rows) != len(one.levels):
            raise InputError(f"{name} needs {len(one.levels)} rows, one for each level, not {rows}")
    for name in ("tone_map", "renoise"):
        if not 0 <= (share := getattr(one, name)) <= 1:
            raise InputError(f"{name} lies in [0, 1], not at {share}")


def nested(blocks: Sequence[Any]) -> bool:
    """Whether blocks are those of a table, not of every step."""
    return any(isinstance(row, tuple) for row in blocks)


def used_blocks(one: Sampling | SecondPass) -> set[int]:
    """All blocks that are perturbed with a weight other than 0."""
    tables = one.perturbed_blocks if nested(one.perturbed_blocks) else (one.perturbed_blocks,)
    weights = one.perturbed if isinstance(one.perturbed, tuple) else (one.perturbed,)
    length = max(len(tables), len(weights))
    rows = zip(_repeated(tables, length), _repeated(weights, length))
    return {block for row, weight in rows if weight for block in row}


def _repeated(row: tuple[Any, ...], length: int) -> tuple[Any, ...]:
    return row if len(row) == length else row * length


@config
class LTXVideoConfig:
    """Networks and sampling of one LTX-Video model.

    Args:
        text, transformer, codec: the networks.
        causal_positions: the first latent frame lies at second 0 and is one pixel frame long.
        shift: of the noise levels, in training and sampling.
        sampling: how clips are made.
    """

    text: WordEncoderConfig | T5Config
    transformer: LTXTransformerConfig
    codec: LTXVAEConfig
    causal_positions: bool
    sampling: Sampling
    shift: TokenShift = SHIFT

    def __post_init__(self) -> None:
        layers = self.transformer.num_layers
        for one in (self.sampling, self.sampling.second):
            for block in used_blocks(one) if one else ():
                if not 0 <= block < layers:
                    raise InputError(
                        f"perturbed_blocks has {block}; the transformer has {layers} layers"
                    )
        if self.text.width != self.transformer.caption_channels:
            raise InputError("caption_channels of the transformer must equal the width of the text")
        if self.codec.latent_channels != self.transformer.latent_channels:
            raise InputError("transformer and codec must have the same latent_channels")
