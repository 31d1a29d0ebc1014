"""What recognizers share: a clip goes in, classes with their probabilities come out.

A recognizer has the part ``network``: a module whose ``forward_features`` gives what its linear
layer ``head`` reads, and whose ``forward_head`` is the rest. It may have other parts beside it.

Letters: B clips, T frames, S side of a frame, D features, K classes, V views.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from kinema.clip import Clip
from kinema.config import config
from kinema.data.clips import ClipSize, split_of
from kinema.data.preprocessing import normalized
from kinema.data.views import ClipFile, Views
from kinema.errors import InputError
from kinema.noise import Noise
from kinema.sample import Table
from kinema.systems.model import Model
from kinema.systems.system import Job
from kinema.weights.export import Exportable

HEAD_STD = 0.02  # of the weights of a new head
VIEWS_AT_ONCE = 4
SHOWN = 10  # classes of an answer
EXPORTED = (0, 1)  # samples of the clips on which an exported model is tried
EXAMPLE_FRAMES, EXAMPLE_FPS = 16, 8.0


@config
class RecognizerConfig:
    """What every recognizer's configuration has; a subclass adds ``network``, whose configuration
    has ``num_classes``.

    Args:
        labels: names of the classes, in the order of the logits.
        views: how clips are seen in a test, and the size in which they are trained on.

    Raises:
        InputError: the labels are not as many as the classes, or two are alike.
    """

    labels: tuple[str, ...]
    views: Views

    def __post_init__(self) -> None:
        check_labels(self.labels)
        network: Any = getattr(self, "network")  # noqa: B009 (of subclasses)
        if len(self.labels) != network.num_classes:
            raise InputError(
                f"there are {len(self.labels)} labels, but network.num_classes is "
                f"{network.num_classes}"
            )


def check_labels(labels: Sequence[str]) -> None:
    """Raises InputError unless there are two labels or more, all different."""
    if len(labels) < 2:
        raise InputError(f"a recognizer tells 2 classes or more apart, not {len(labels)}")
    if twice := [label for label in dict.fromkeys(labels) if labels.count(label) > 1]:
        raise InputError(f"the label {twice[0]!r} is there twice; name every class once")


def numbered(count: int) -> tuple[str, ...]:
    """Labels of classes whose names are not known: "class 0", "class 1" and so on."""
    return tuple(f"class {number}" for number in range(count))


class Recognizer(Model):
    """A model that tells what a clip shows, with a network of clips."""

    JOBS: ClassVar = {"classify": Job(takes={"clip": ClipFile}, gives={"classes": Table})}
    config: Any
    network: Any

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the logits."""
        return self.config.labels

    def forward_features(self, clips: Tensor) -> Tensor:
        """What the head reads (B, D), of clips (B, 3, T, S, S) in [-1, 1]."""
        return self.network.forward_features(self._normalized(clips))

    def forward_head(self, features: Tensor) -> Tensor:
        """Logits (B, K) of features (B, D)."""
        return self.network.forward_head(features)

    def logits(self, clips: Tensor) -> Tensor:
        """Logits (B, K) of clips (B, 3, T, S, S) in [-1, 1]."""
        return self.forward_head(self.forward_features(clips))

    def views(self, clip: Clip | ClipFile) -> Tensor:
        """What is looked at in a test, (V, 3, T, S, S) in [-1, 1].

        Raises:
            InputError: the file cannot be read.
        """
        return self.config.views.of(clip)

    @torch.inference_mode()
    def probabilities(self, clip: Clip | ClipFile) -> Tensor:
        """(K,) float32 on the CPU: the mean over all views of the softmax of their logits."""
        parts = self.views(clip).split(VIEWS_AT_ONCE)
        chances = [self.logits(part).float().softmax(1).cpu() for part in parts]
        return torch.cat(chances).mean(0)

    def classify(self, clip: Clip | ClipFile) -> Table:
        """The most probable classes with their probabilities, the best first."""
        found = self.probabilities(clip)
        order = found.sort(descending=True, stable=True).indices[:SHOWN].tolist()
        rows = tuple((self.labels[i], round(float(found[i]), 6)) for i in order)
        return Table(("label", "probability"), rows)

    def run_classify(self, inputs: Mapping[str, Any], seed: int) -> dict[str, Table]:
        """Says what a video or a picture shows."""
        return {"classes": self.classify(inputs["clip"])}

    def name_classes(self, labels: Sequence[str]) -> None:
        """Calls the same classes by other names, in the order of the logits.

        Raises:
            InputError: there are more or fewer than classes, or two are alike.
        """
        self.config = replace(self.config, labels=tuple(labels))

    def reset_classifier(self, labels: Sequence[str]) -> None:
        """Gives the network a new head for other classes; all else stays as it is.

        Weights are normal with a deviation of 0.02, biases zero, the same for the same labels.

        Raises:
            InputError: there are fewer than two labels, or two are alike.
        """
        check_labels(labels)
        network, old = self.network, self.network.head
        assert isinstance(old, nn.Linear), "the head of a recognizer is one linear layer"
        w = old.weight
        head = nn.Linear(old.in_features, len(labels), device=w.device, dtype=w.dtype)
        if not head.weight.is_meta:
            with torch.no_grad():
                shape = (1, *head.weight.shape)
                head.weight.copy_(HEAD_STD * Noise(0, (0,)).normal(shape, "head")[0])
                head.bias.zero_()
        network.head = head
        network.config = replace(network.config, num_classes=len(labels))
        self.config = replace(self.config, labels=tuple(labels), network=network.config)

    def start_from(self, other: Model, roles: tuple[str, ...]) -> None:
        """As for every model, but the other one may tell other classes apart.

        The head of this one is then made anew, for the classes of its configuration.
        """
        if "network" in roles and other.config.labels != self.labels:
            own = self.labels
            self.reset_classifier(other.config.labels)
            super().start_from(other, roles)
            self.reset_classifier(own)
        else:
            super().start_from(other, roles)

    def exportable(self) -> Exportable:
        """Clips (B, 3, T, S, S) in [-1, 1] -> logits (B, K), as a module of its own."""
        views = self.config.views
        shape = (len(EXPORTED), 3, views.num_frames, views.size, views.size)
        clips = Noise(0, EXPORTED).uniform(shape, "clips") * 2 - 1
        return Exportable(ClipLogits(self), {"clips": clips.to(self.device)}, "logits")

    def example(self, job: str, folder: Path) -> dict[str, Any]:
        """A clip of the world `motions`."""
        side = max(self.config.views.size, 32)
        size = ClipSize(num_frames=EXAMPLE_FRAMES, height=side, width=side, fps=EXAMPLE_FPS)
        path = folder / "clip.mp4"
        split_of("motions", "held_out", size).sample(0).clip.write(path, overwrite=True)
        return {"clip": ClipFile.given(path)}

    def _normalized(self, clips: Tensor) -> Tensor:
        x = clips.to(next(self.network.parameters()))  # its device and type
        return normalized(x, self.config.views.mean, self.config.views.std)


class ClipLogits(nn.Module):
    """The networks of a recognizer as one module."""

    def __init__(self, model: Recognizer) -> None:
        super().__init__()
        self.parts, self.model = model.parts, model

    def forward(self, clips: Tensor) -> Tensor:
        """Clips (B, 3, T, S, S) in [-1, 1] -> logits (B, K)."""
        return self.model.logits(clips)


class FrameRecognizer(Recognizer):
    """A recognizer with a network of images, which reads a clip frame by frame.

    The features of a clip are the mean of those of its frames, and so, behind a linear head, are
    its logits. A picture is a clip of one frame.
    """

    def forward_features(self, clips: Tensor) -> Tensor:
        """What the head reads (B, D), of clips (B, 3, T, S, S) in [-1, 1]."""
        x = self._normalized(clips)
        frames = x.transpose(1, 2).flatten(0, 1)
        features = self.network.forward_features(frames)
        return features.unflatten(0, (-1, x.shape[2])).mean(1)

    def views(self, clip: Clip | ClipFile) -> Tensor:
        """As of every recognizer, but of a picture the one frame."""
        seen = super().views(clip)
        return seen[:, :, :1] if clip.num_frames == 1 else seen
