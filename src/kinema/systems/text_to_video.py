"""What generators from text share: from a prompt to a clip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from kinema.clip import Clip
from kinema.condition import Conditions
from kinema.data.clips import to_clip
from kinema.noise import Noise
from kinema.sample import Text
from kinema.systems.model import Model
from kinema.systems.system import Job
from kinema.weights import lora

EXAMPLE = "a small red circle moves left on a navy background"


class TextToVideo(Model):
    """A model that makes clips from prompts; `kinema generate` serves any of them.

    A subclass writes `latent_shape`, `prepare`, `sample` and `decode`. It has a text encoder under
    the role ``text``, and its configuration has `sampling`: a `ClipSize` with `steps` and
    `guidance` and whatever else its sampler needs.
    """

    JOBS: ClassVar = {"generate": Job(takes={"prompt": Text}, gives={"clip": Clip})}

    def latent_shape(self, sampling: Any) -> tuple[int, ...]:
        """Of the latents of one clip; raises InputError if none of this size can be made."""
        raise NotImplementedError

    def check(self, sampling: Any) -> None:
        """Says before long work that no such clip can be made; raises InputError."""
        self.latent_shape(sampling)

    def frame_rate(self, sampling: Any) -> float:
        """Frames per second of the clips that come of such sampling."""
        return sampling.fps

    def negative(self, said: str | None, sampling: Any) -> str:
        """What guidance moves away from: what was said, or else what the model itself has."""
        return said or ""

    def prepare(self, prompts: Sequence[str], negative: str, sampling: Any) -> Conditions:
        """What the sampler is told of a batch; once per sample, outside the step loop."""
        raise NotImplementedError

    def sample(self, conditions: Conditions, noise: Noise, sampling: Any) -> Tensor:
        """The latents (B, ...) of a batch; row b has the noise of ``noise.samples[b]``."""
        raise NotImplementedError

    def decode(self, latents: Tensor, *, noise: Noise, sampling: Any) -> Tensor:
        """Clips (B, 3, T, H, W), about [-1, 1]."""
        raise NotImplementedError

    @torch.inference_mode()
    def latents(
        self,
        prompts: Sequence[str],
        *,
        noise: Noise,
        sampling: Any,
        negative: str | None = None,
    ) -> Tensor:
        """What the sampler ends with, (B, ...).

        Args:
            prompts: what to show.
            noise: of their samples.
            sampling: size and sampler.
            negative: what guidance moves away from; if None, what the model itself has.

        Raises:
            InputError: no such clip can be made.
        """
        self.check(sampling)
        conditions = self.prepare(prompts, self.negative(negative, sampling), sampling)
        return self.sample(conditions, noise, sampling)

    @torch.inference_mode()
    def generate(
        self,
        prompt: str,
        *,
        seed: int,
        negative: str | None = None,
        sampling: Any = None,
        output: Literal["clip", "tensor", "latents"] = "clip",
    ) -> Clip | Tensor:
        """The main job: one clip from a prompt.

        Args:
            prompt: what to show; words that the text encoder does not know are left out.
            seed: fixes the noise: the clip of a seed is the same in every batch that it is made in.
            negative: what guidance moves away from; if None, what the model itself has.
            sampling: size and sampler; the model's own if None.
            output: a `Clip`, the decoded tensor (3, T, H, W), or the latents.
        """
        sampling = sampling or self.config.sampling
        noise = Noise(0, (seed,))
        latents = self.latents([prompt], noise=noise, sampling=sampling, negative=negative)
        return self.output(latents, noise, sampling, output)

    def rehearse(self, sampling: Any) -> None:
        """Makes one clip, up to its pixels: what `kinema plan` counts on the meta device."""
        noise = Noise(0, (0,))
        latents = self.latents([EXAMPLE], noise=noise, sampling=sampling)
        self.decode(latents, noise=noise, sampling=sampling)

    def output(
        self,
        latents: Tensor,
        noise: Noise,
        sampling: Any,
        kind: Literal["clip", "tensor", "latents"],
    ) -> Clip | Tensor:
        """The first of some latents, as `generate` gives it."""
        if kind == "latents":
            return latents[0]
        pixels = self.decode(latents, noise=noise, sampling=sampling)[0]
        return pixels if kind == "tensor" else to_clip(pixels, self.frame_rate(sampling))

    def learn_words(self, embeddings: Mapping[str, Tensor]) -> None:
        """Gives words these embeddings (D,); new ones join the vocabulary of the text encoder."""
        text: Any = self.parts["text"]
        text.learn(embeddings)
        self.config = replace(self.config, text=text.config)

    def adapters(self) -> tuple[dict[str, Tensor], tuple[str, ...]]:
        """As of any model, and the embeddings of the words that were learned with them."""
        tensors, words = super().adapters()
        if lora.ROWS in tensors:
            count = len(tensors[lora.ROWS])
            table: Tensor = self.parts.get_parameter("text.words.weight")
            tensors[lora.ROWS] = table.detach()[-count:] + tensors[lora.ROWS]
            words = self.config.text.vocabulary[-count:]
        return tensors, words

    def run_generate(self, inputs: Mapping[str, Text], seed: int) -> dict[str, Any]:
        """One clip, sampled as the model's configuration says."""
        return {"clip": self.generate(inputs["prompt"].text, seed=seed)}

    def example(self, job: str, folder: Path) -> dict[str, Any]:
        """A prompt of the world `shapes`."""
        return {"prompt": Text(EXAMPLE)}
