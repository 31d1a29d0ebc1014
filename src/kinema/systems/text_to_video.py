"""What generators from text share: from a prompt to a clip, and which words count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from kinema.clip import Clip
from kinema.errors import InputError
from kinema.noise import Noise
from kinema.processes.process import Callback
from kinema.sample import Text
from kinema.systems.model import Job, Model


class TextToVideo(Model):
    """A model that makes clips from prompts; `kinema generate` serves any of them.

    A subclass writes `latent_shape`, `latents` and `decode`. It has a text encoder under the role
    ``text``, and its configuration has `sampling`, with `num_frames`, `height`, `width`, `fps`,
    `steps` and `guidance` and whatever else its sampler needs.
    """

    JOBS: ClassVar = {"generate": Job(takes={"prompt": Text}, gives={"clip": Clip})}

    def latent_shape(self, sampling: Any) -> tuple[int, ...]:
        """Of the latents of one clip; raises InputError if none of this size can be made."""
        raise NotImplementedError

    def latents(
        self,
        prompts: Sequence[str],
        *,
        noise: Noise,
        sampling: Any,
        negative: str,
        callback: Callback | None = None,
    ) -> Tensor:
        """What the sampler ends with, (B, ...); row b has the noise of ``noise.samples[b]``."""
        raise NotImplementedError

    def decode(self, latents: Tensor, *, noise: Noise, sampling: Any) -> Tensor:
        """Clips (B, 3, T, H, W), about [-1, 1]."""
        raise NotImplementedError

    def clip(self, pixels: Tensor, sampling: Any) -> Clip:
        """A decoded clip (3, T, H, W) as frames."""
        return Clip.from_float(pixels.float().cpu().numpy(), sampling.fps)

    @torch.inference_mode()
    def generate(
        self,
        prompt: str,
        *,
        seed: int,
        negative: str = "",
        sampling: Any = None,
        callback: Callback | None = None,
        output: Literal["clip", "tensor", "latents"] = "clip",
    ) -> Clip | Tensor:
        """The main job: one clip from a prompt.

        Args:
            prompt: what to show; words that the text encoder does not know are left out.
            seed: fixes the noise: the clip of a seed is the same in every batch that it is made in.
            negative: what guidance moves away from.
            sampling: size and sampler; the model's own if None.
            callback: called after each step.
            output: a `Clip`, the decoded tensor (3, T, H, W), or the latents.
        """
        sampling = sampling or self.config.sampling
        noise = Noise(0, (seed,))
        latents = self.latents(
            [prompt], noise=noise, sampling=sampling, negative=negative, callback=callback
        )
        if output == "latents":
            return latents[0]
        pixels = self.decode(latents, noise=noise, sampling=sampling)[0]
        return pixels if output == "tensor" else self.clip(pixels, sampling)

    def unknown_words(self, prompt: str) -> list[str]:
        """The words of a prompt that the text encoder does not know and leaves out.

        Raises:
            InputError: the prompt is empty or too long, or no word of it is known.
        """
        text: Any = self.parts["text"]
        text.ids([Text(prompt).text])
        known, unknown = text.split(prompt)
        if not known:
            raise InputError(f"this model knows no word of the prompt {prompt[:60]!r}")
        return unknown

    def run_generate(self, inputs: Mapping[str, Text], seed: int) -> dict[str, Any]:
        """One clip, sampled as the model's configuration says."""
        self.unknown_words(inputs["prompt"].text)
        return {"clip": self.generate(inputs["prompt"].text, seed=seed)}

    def example(self, job: str, folder: Path) -> dict[str, Any]:
        """A prompt of the world `shapes`."""
        return {"prompt": Text("a small red circle moves left on a navy background")}
