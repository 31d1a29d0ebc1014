"""What generators share that are given frames: pictures, clips that go on or are made anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from kinema.clip import Clip
from kinema.condition import Conditions
from kinema.data.clips import split_of
from kinema.errors import InputError
from kinema.noise import Noise
from kinema.sample import Text
from kinema.systems.keyframes import Extension, Keyframe, Source, held_frames
from kinema.systems.system import Job
from kinema.systems.text_to_video import TextToVideo

STRENGTH = 0.6  # of a clip that is made anew


class ImageToVideo(TextToVideo):
    """A model whose clips can be given some of their frames.

    A subclass writes `prepare` and `sample` so that they take keyframes; it has a codec under the
    role ``codec``.
    """

    JOBS: ClassVar = {
        **TextToVideo.JOBS,
        "animate": Job(takes={"prompt": Text, "clip": Clip}, gives={"clip": Clip}),
    }

    @torch.inference_mode()
    def latents(
        self,
        prompts: Sequence[str],
        *,
        keyframes: Sequence[Keyframe] = (),
        source: Source | None = None,
        noise: Noise,
        sampling: Any,
        negative: str | None = None,
    ) -> Tensor:
        """As `TextToVideo.latents`, with frames that are given, or a clip that is made anew."""
        self.check(sampling)
        conditions = self.prepare(prompts, self.negative(negative, sampling), sampling, keyframes)
        return self.sample(conditions, noise, sampling, keyframes, source)

    def prepare(
        self,
        prompts: Sequence[str],
        negative: str,
        sampling: Any,
        keyframes: Sequence[Keyframe] = (),
    ) -> Conditions:
        """What the sampler is told of a batch whose clips are given some frames."""
        raise NotImplementedError

    def sample(
        self,
        conditions: Conditions,
        noise: Noise,
        sampling: Any,
        keyframes: Sequence[Keyframe] = (),
        source: Source | None = None,
    ) -> Tensor:
        """The latents (B, ...) of a batch whose clips are given frames, or made from another."""
        raise NotImplementedError

    def check_extends(self, sampling: Any) -> None:
        """Raises InputError if clips come at another frame rate than they are given frames at."""
        if self.frame_rate(sampling) != sampling.fps:
            raise InputError(
                f"clips of {self.frame_rate(sampling):g} fps that are sampled at "
                f"{sampling.fps:g} cannot go on from others; leave out the temporal upsampler"
            )

    def extension(self, clip: Clip, sampling: Any, *, before: bool = False) -> Extension:
        """A clip to go on from, with as many held frames as it and the new clip have room for.

        Args:
            clip: at any frame rate and size.
            sampling: size of the new clip.
            before: whether the new frames lead up to it.

        Raises:
            InputError: the new clip would have no frame of its own, or cannot go on from another.
        """
        self.check_extends(sampling)
        if clip.num_frames > 1:  # a picture has no frame rate
            clip = clip.resampled(sampling.fps)
        held = held_frames(clip.num_frames, sampling.num_frames, self.codec_stride[0])
        given = replace(clip.covering(sampling.height, sampling.width), fps=sampling.fps)
        return Extension(given=given, held=held, ahead=before * (sampling.num_frames - held))

    def source(self, clip: Clip, sampling: Any, strength: float) -> Source:
        """A clip to make anew, as long as the new one.

        Args:
            clip: at any frame rate and size; what is too long is cut off.
            sampling: length and frame rate of the new clip.
            strength: see `Source`.

        Raises:
            InputError: the clip is too short, or the strength out of its range.
        """
        clip = clip.resampled(sampling.fps)
        if clip.num_frames < sampling.num_frames:
            stride = self.codec_stride[0]
            fitting = (clip.num_frames - 1) // stride * stride + 1
            raise InputError(
                f"the clip gives {clip.num_frames} of the {sampling.num_frames} frames that are to "
                f"be made at {sampling.fps:g} fps; make at most {fitting}"
            )
        return Source(clip=clip[: sampling.num_frames], strength=strength)

    @torch.inference_mode()
    def generate(
        self,
        prompt: str,
        *,
        image: Clip | str | Path | None = None,
        keyframes: Sequence[Keyframe] = (),
        seed: int,
        negative: str | None = None,
        extend: Clip | str | Path | None = None,
        before: bool = False,
        video: Clip | str | Path | None = None,
        strength: float = STRENGTH,
        sampling: Any = None,
        output: Literal["clip", "tensor", "latents"] = "clip",
    ) -> Clip | Tensor:
        """As `TextToVideo.generate`, from a prompt and frames that are given.

        ``model.generate("a red ball falls", seed=0, image="ball.png")`` starts with a picture.

        Args:
            image: a picture, or its file: the first frame.
            keyframes: frames at other times, or held less firmly.
            extend: a clip, or its file, that goes on. The result begins with it, and frames of
                `keyframes` are counted from its start; a tensor or latents are of the new clip
                alone, whose first frames are the last of the given one.
            before: the new frames lead up to the clip that is extended. The result ends with it; a
                tensor or latents are of the new clip alone, whose last frames are the first of it.
            video: a clip, or its file, that is made anew.
            strength: in (0, 1], how much of `video` becomes new.

        Raises:
            InputError: a file cannot be read, or the frames do not fit into the clip.
        """
        sampling = sampling or self.config.sampling
        given = list(keyframes)
        if image is not None:
            given = [Keyframe(clip=_read(image)), *given]
        extension = None
        if extend is not None:
            extension = self.extension(_read(extend), sampling, before=before)
            given = extension.keyframes(given)
        source = None if video is None else self.source(_read(video), sampling, strength)
        noise = Noise(0, (seed,))
        latents = self.latents(
            [prompt],
            noise=noise,
            sampling=sampling,
            negative=negative,
            keyframes=given,
            source=source,
        )
        made = self.output(latents, noise, sampling, output)
        return extension.joined(made) if extension and isinstance(made, Clip) else made

    def run_animate(self, inputs: Mapping[str, Any], seed: int) -> dict[str, Any]:
        """A picture or a clip, followed by what the prompt says."""
        prompt = inputs["prompt"].text
        return {"clip": self.generate(prompt, seed=seed, extend=inputs["clip"])}

    def example(self, job: str, folder: Path) -> dict[str, Any]:
        """A prompt of the world `shapes`, and a clip of it to go on from."""
        prompt = super().example(job, folder)
        if job != "animate":
            return prompt
        return {**prompt, "clip": split_of("shapes", "train", self.config.sampling).sample(0).clip}

    @property
    def codec_stride(self) -> tuple[int, int, int]:
        """Pixels to one latent in time, height and width."""
        codec: Any = self.parts["codec"]
        return codec.stride


def _read(given: Clip | str | Path) -> Clip:
    return given if isinstance(given, Clip) else Clip.read(given)
