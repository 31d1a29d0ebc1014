"""TGANs-C: To Create What You Tell: Generating Videos from Captions (arXiv 1804.08264), Pan, Qiu,
Yao, Li and Mei, 2017.

No code of the authors is public; the sizes are those of the re-implementation
github.com/miguelmartin75/txt2vid (no license; read for facts). A caption becomes a sentence vector,
vector and noise become a clip in one step; in training three critics judge clip, frames and motion.

Letters: B batch, T frames, H, W pixels, S width of a sentence.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from kinema.card import Card
from kinema.condition import Conditions, Vector
from kinema.errors import InputError
from kinema.networks.lstm_text import LSTMText
from kinema.networks.tgans_c import Critics, Generator
from kinema.noise import Noise
from kinema.processes.steps import Report, Step, told
from kinema.systems.model import Part
from kinema.systems.text_to_video import TextToVideo
from kinema.systems.tgans_c_config import PRESETS, Sampling, TGANsCConfig
from kinema.systems.tgans_c_training import STAGES

CARD = Card(
    name="tgans_c",
    number=37,
    title="To Create What You Tell: Generating Videos from Captions",
    arxiv="1804.08264",
    year=2017,
    kind="generator",
    job="a caption becomes a clip of 16 frames",
    code="",
    code_license="none is public; numbers are those of github.com/miguelmartin75/txt2vid",
    weights_license="",
    claim="critics that also see real clips with wrong captions make clips follow their captions",
    applies=("full", "weights", "parity", "tiny", "run", "claim"),
    verified=(
        "by recorded cases of the re-implementation: generator, critics, caption encoder",
        "parameter counts and names of the re-implementation",
    ),
    inferred=(
        "every size, which is the re-implementation's",
        "losses, their equal weights and Adam's numbers, which are recalled, not read",
        "that the motion critic (the adversarial form of coherence) is the final one",
    ),
    deviations=(
        "one score for each clip; the re-implementation gives the mean of the batch",
        "the last kernel of frame and motion critic covers the whole map, not a corner of it",
        "norms of the frames' critics take statistics over all frames at once",
        "initial weights keep the spread of activations at any width, instead of N(0, 0.02)",
        "the decoder that trains the caption encoder is one LSTM layer that starts from the vector",
        "trained on the world shapes instead of bouncing digits and cooking clips",
    ),
    coupled="norms take statistics over the batch, and wrong clips are its other rows",
)


class TGANsC(TextToVideo):
    """The system: from a caption to a clip in one step."""

    CARD = CARD
    CONFIG = TGANsCConfig
    PRESETS = PRESETS
    STAGES = STAGES
    config: TGANsCConfig
    text = Part(LSTMText)
    generator = Part(Generator)
    critics = Part(Critics)

    def latent_shape(self, sampling: Sampling) -> tuple[int, ...]:
        """Of a clip (3, T, H, W).

        Raises:
            InputError: another size, more than one step or guidance is asked for.
        """
        frames, side = self.config.generator.clip_size
        if (sampling.num_frames, sampling.height, sampling.width) != (frames, side, side):
            raise InputError(f"this model makes clips of {frames} frames of {side}x{side} only")
        if sampling.steps != 1 or sampling.guidance != 1:
            raise InputError("this model makes a clip in 1 step with guidance 1; leave both out")
        return (3, frames, side, side)

    def prepare(self, prompts: Sequence[str], negative: str, sampling: Sampling) -> Conditions:
        """Sentences (B, S); raises InputError for a negative prompt, which needs guidance."""
        if negative:
            raise InputError(f"this model has no use for the negative prompt {negative[:60]!r}")
        return Conditions({"text": Vector(x=self.text.encode(prompts))})

    def sample(self, conditions: Conditions, noise: Noise, sampling: Sampling) -> Tensor:
        """Clips (B, 3, T, H, W) in [-1, 1]; nothing lies between noise and pixels."""
        clips = self.generator.make(conditions.of(Vector, "text").x, noise)
        told(Report(Step(index=0, total=1, sigma=1.0, sigma_next=0.0), clips, clips))
        return clips

    def decode(self, latents: Tensor, *, noise: Noise, sampling: Sampling) -> Tensor:
        """Clips are made as clips."""
        return latents


SYSTEM = TGANsC
