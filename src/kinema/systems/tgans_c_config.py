"""Configuration and presets of TGANs-C.

Paper, code and license: see `tgans_c.py`. The full sizes are those of the re-implementation; the
others are ours, for the world `shapes`.
"""

from __future__ import annotations

from kinema.config import config
from kinema.data.clips import ClipSize
from kinema.errors import InputError
from kinema.networks.lstm_text import LSTMTextConfig, lstm_256
from kinema.networks.tgans_c import CriticsConfig, GeneratorConfig, critics_48, generator_48
from kinema.worlds.shapes import VOCABULARY


@config
class Sampling(ClipSize):
    """The clips: their size is that of the generator's layers, which make them in one step."""

    steps: int = 1
    guidance: float = 1.0


@config
class TGANsCConfig:
    """Networks by role, and the clips.

    Raises:
        InputError: the networks do not fit one another.
    """

    text: LSTMTextConfig
    generator: GeneratorConfig
    critics: CriticsConfig
    sampling: Sampling

    def __post_init__(self) -> None:
        widths = {self.text.sentence, self.generator.sentence, self.critics.sentence}
        if len(widths) > 1:
            raise InputError(f"text, generator and critics have sentences of widths {widths}")
        judged = (self.critics.num_frames, self.critics.side)
        if self.generator.clip_size != judged:
            raise InputError(
                f"the generator makes clips of {self.generator.clip_size} frames and pixels, the "
                f"critics judge {judged}"
            )


def full() -> TGANsCConfig:
    """The published size: 16 frames of 48x48."""
    return TGANsCConfig(
        text=lstm_256(VOCABULARY),
        generator=generator_48(),
        critics=critics_48(),
        sampling=Sampling(num_frames=16, height=48, width=48, fps=12.0),
    )


def small(
    *, noise: int, sentence: int, generator: tuple[int, ...], critics: tuple[int, ...]
) -> TGANsCConfig:
    """16 frames of 32x32, with these widths and channels."""
    return TGANsCConfig(
        text=LSTMTextConfig(
            vocabulary=VOCABULARY,
            max_words=24,
            embedding=sentence,
            sentence=sentence,
            num_layers=2,
        ),
        generator=GeneratorConfig(noise=noise, sentence=sentence, channels=generator, start=(2, 4)),
        critics=CriticsConfig(
            num_frames=16,
            side=32,
            channels=critics,
            sentence=sentence,
            width=critics[-1],
            frame_kernel=2,
        ),
        sampling=Sampling(num_frames=16, height=32, width=32, fps=12.0),
    )


def tiny() -> TGANsCConfig:
    """Trains on two cores in minutes."""
    return small(noise=32, sentence=64, generator=(96, 48, 24, 12), critics=(16, 32, 64, 128))


def nano() -> TGANsCConfig:
    """The real classes at under 200,000 parameters, for contract tests."""
    return small(noise=8, sentence=16, generator=(24, 16, 8, 8), critics=(4, 8, 16, 24))


PRESETS = {preset.__name__: preset for preset in (full, tiny, nano)}
