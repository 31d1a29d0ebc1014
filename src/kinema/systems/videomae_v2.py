"""VideoMAE V2 pre-trained on unlabeled public clips (arXiv 2402.08875, model of arXiv 2303.16727).

Authors' code: none for the first paper; github.com/OpenGVLab/VideoMAEv2 (MIT) for the model. A ViT
learns from clips without labels, by making good what is hidden from it; then a few labels suffice.
What is verified is in the card.

Letters: B clips, T frames, S side of a frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from kinema.card import Card
from kinema.clip import Clip
from kinema.data.clips import to_clip
from kinema.data.views import ClipFile
from kinema.media.reading import probe
from kinema.networks.videomae import VideoMAE
from kinema.networks.videomae_pretraining import (
    MaskedAutoencoder,
    VideoMAEDecoder,
    color_first,
    from_tubelets,
    targets,
    tubelets,
)
from kinema.noise import Noise
from kinema.systems.model import Part
from kinema.systems.recognizer import Recognizer
from kinema.systems.system import Job
from kinema.systems.videomae_v2_files import VideoMAEFiles, find
from kinema.systems.videomae_v2_presets import PRESETS, VERSIONS, VideoMAEV2Config
from kinema.systems.videomae_v2_training import STAGES
from kinema.training.masked_autoencoding import tubes

CARD = Card(
    name="videomae_v2",
    number=49,
    title="Advancing Human Action Recognition with Foundation Models trained on Unlabeled Public "
    "Videos",
    arxiv="2402.08875",
    year=2024,
    kind="recognizer",
    job="a clip gets a class, by a model that learned from clips without labels",
    code="github.com/OpenGVLab/VideoMAEv2",
    code_license="MIT",
    weights_license="not stated",
    claim="quality of unlabeled clips counts more than their number, which soon helps no more",
    applies=("full", "weights", "parity", "tiny", "run", "claim"),
    verified=(
        "by recorded cases: classifier, pre-training network with both masks, targets and loss, "
        "both kinds of masks",
        "names and counts of parameters of all five sizes, pre-trained and as classifiers",
        "classifier and pre-training against transformers, and the loss where all is decoded",
        "recipes, by the scripts of VideoMAE V2",
    ),
    inferred=(
        "how long the paper pre-trains: it tells no schedule, so VideoMAE V2's epochs are taken",
        "epochs of fine-tuning in steps, from a size of the data set that is recalled",
        "recipes of ViT-S, which are those of ViT-B",
    ),
    deviations=(
        "no RandAugment and random erasing; several views of a clip are clips of a larger batch",
        "stretches of clips are cut out at random sizes, not at four",
        "the learning rate falls in a line, not as a cosine; positions are no parameters",
        "clips are not cut into scenes or searched for people: name a folder of clean clips",
    ),
    dead={
        "autoencoder.encoder.fc_norm.*": "pre-training has no classes",
        "autoencoder.encoder.head.*": "pre-training has no classes",
    },
)
HIDDEN = 0.75  # share of the places, of what is shown


class VideoMAEV2(Recognizer):
    """The system: `classify` names what a clip shows, `reconstruct` guesses what is hidden.

    The stage `pretraining` learns from clips without labels, `classifier` goes on from its model.
    """

    CARD = CARD
    CONFIG = VideoMAEV2Config
    PRESETS = PRESETS
    STAGES = STAGES
    JOBS: ClassVar = {
        **Recognizer.JOBS,
        "reconstruct": Job(takes={"clip": ClipFile}, gives={"seen": Clip, "restored": Clip}),
    }
    PUBLISHED = VideoMAEFiles(
        name=CARD.name,
        parts={"network": VideoMAE, "decoder": VideoMAEDecoder},
        versions=VERSIONS,
        find=find,
        fresh=("decoder",),
    ).published()
    config: VideoMAEV2Config
    network = Part(VideoMAE)
    decoder = Part(VideoMAEDecoder)

    def normalized(self, clips: Tensor) -> Tensor:
        """Clips (B, 3, T, S, S) in [-1, 1] as the encoder reads them."""
        return self._normalized(clips)

    def reconstructed(self, clips: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
        """Clips (B, 3, T, S, S) in [-1, 1] -> what is seen of them, gray elsewhere; and with what
        is hidden made good.

        The network says how a hidden tubelet looks once it is normalized; mean and deviation of
        each color are the true ones, as the papers show it.
        """
        grid, patch_size = self.config.network.grid, self.config.network.patch_size
        time, rows, columns = grid
        lots = noise.uniform((len(clips), rows * columns), "tubes")
        hidden = tubes(lots, HIDDEN, time).to(self.device)
        pixels = (clips.to(self.device).float() + 1) / 2
        wanted = targets(pixels, patch_size)
        autoencoder = MaskedAutoencoder(self.network, self.decoder)
        guessed = color_first(autoencoder(self.normalized(clips), hidden, hidden).float())
        wanted.x[hidden] = guessed.flatten(0, 1)
        gray = tubelets(pixels, patch_size).masked_fill(hidden[..., None, None], 0.5)
        seen, restored = (
            2 * from_tubelets(values, grid, patch_size) - 1
            for values in (gray, wanted.restored(wanted.x))
        )
        return seen, restored

    @torch.inference_mode()
    def run_reconstruct(self, inputs: Mapping[str, Any], seed: int) -> dict[str, Clip]:
        """Hides most of the middle of a clip, and makes it good, at the speed of the file."""
        file, shown = inputs["clip"], self.config.views
        views = self.views(file)
        middle = views[len(views) // 2 : len(views) // 2 + 1]
        made = self.reconstructed(middle, Noise(seed, (0,)))
        # Where the file has fewer frames than are shown, they stand still in between.
        apart = shown.stride or max(1.0, file.num_frames / shown.num_frames)
        fps = probe(file.path).fps / apart
        return {name: to_clip(x[0], fps) for name, x in zip(("seen", "restored"), made)}

    def example(self, job: str, folder: Path) -> dict[str, Any]:
        """A clip of the world `motions`."""
        return super().example("classify", folder)


SYSTEM = VideoMAEV2
