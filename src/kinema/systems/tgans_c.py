"""TGANs-C: To Create What You Tell: Generating Videos from Captions (arXiv 1804.08264), Pan, Qiu,
Yao, Li and Mei, 2017.

No code of the authors is public; the sizes are those of the re-implementation
github.com/miguelmartin75/txt2vid (no license; read for facts). A caption becomes a sentence vector,
vector and noise become a clip in one step; in training three critics judge clip, frames and motion.

Letters: B batch, T frames, H, W pixels, S width of a sentence.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, cast

import torch
from torch import Tensor

from kinema.card import Card
from kinema.errors import InputError
from kinema.networks.lstm_text import LSTMText
from kinema.networks.tgans_c import Critics, Generator
from kinema.noise import Noise
from kinema.processes.process import Callback, Report, Step
from kinema.systems.text_to_video import TextToVideo
from kinema.systems.tgans_c_config import PRESETS, TGANsCConfig
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
    PARTS: ClassVar = {"text": LSTMText, "generator": Generator, "critics": Critics}
    config: TGANsCConfig

    @property
    def text(self) -> LSTMText:
        """The caption encoder."""
        return cast(LSTMText, self.parts["text"])

    @property
    def generator(self) -> Generator:
        """The network that makes clips."""
        return cast(Generator, self.parts["generator"])

    @property
    def critics(self) -> Critics:
        """The networks that judge them in training."""
        return cast(Critics, self.parts["critics"])

    def make(self, prompts: Sequence[str], noise: Noise) -> Tensor:
        """Clips (B, 3, T, H, W) in [-1, 1]; row b has the noise of ``noise.samples[b]``."""
        return self.generator.make(self.text.encode(prompts), noise)

    def latent_shape(self, sampling: Any) -> tuple[int, ...]:
        """Of a clip (3, T, H, W), for nothing lies between noise and pixels.

        Raises:
            InputError: another size, more than one step or guidance is asked for.
        """
        frames, side = self.config.generator.clip_size
        if (sampling.num_frames, sampling.height, sampling.width) != (frames, side, side):
            raise InputError(f"this model makes clips of {frames} frames of {side}x{side} only")
        if sampling.steps != 1 or sampling.guidance != 1:
            raise InputError("this model makes a clip in 1 step with guidance 1; leave both out")
        return (3, frames, side, side)

    @torch.inference_mode()
    def latents(
        self,
        prompts: Sequence[str],
        *,
        noise: Noise,
        sampling: Any,
        negative: str,
        callback: Callback | None = None,
    ) -> Tensor:
        """The clips themselves; raises InputError for a negative prompt, which needs guidance."""
        self.latent_shape(sampling)
        if negative:
            raise InputError(f"this model has no use for the negative prompt {negative[:60]!r}")
        clips = self.make(prompts, noise)
        if callback is not None:
            callback(Report(Step(index=0, total=1, sigma=1.0, sigma_next=0.0), clips, clips))
        return clips

    def decode(self, latents: Tensor, *, noise: Noise, sampling: Any) -> Tensor:
        """Clips are made as clips."""
        return latents


SYSTEM = TGANsC
