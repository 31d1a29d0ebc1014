"""Frozen in Time: A Joint Video and Image Encoder for End-to-End Retrieval (arXiv 2104.00650).

Authors' code: github.com/m-bain/frozen-in-time (MIT). A text encoder and a space-time ViT put texts
and clips into one space; a picture is a clip of one frame. What is verified is in the card.

Letters: B batch, F frames, S side of a frame, E width of the embeddings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kinema.card import Card
from kinema.clip import Clip
from kinema.conditions.encoders import build_text
from kinema.data.batches import segment_frames
from kinema.data.clips import split_of
from kinema.data.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from kinema.media.pixels import cover
from kinema.media.reading import probe, read_frames
from kinema.networks.space_time_vit import SpaceTimeViT, fit_frames
from kinema.sample import Folder, Text
from kinema.systems.frozen_in_time_config import (
    PRESETS,
    VERSIONS,
    FrozenInTimeConfig,
    Projections,
)
from kinema.systems.frozen_in_time_files import FrozenInTimeFiles
from kinema.systems.frozen_in_time_training import CLIP_FRAMES, STAGES, clip_size
from kinema.systems.model import Model, Part
from kinema.systems.retriever import Retriever
from kinema.systems.retriever_index import Index, IndexPlace
from kinema.weights.maps.frozen_in_time import find

CARD = Card(
    name="frozen_in_time",
    number=51,
    title="Frozen in Time: A Joint Video and Image Encoder for End-to-End Retrieval",
    arxiv="2104.00650",
    year=2021,
    kind="retriever",
    job="a text finds clips in a folder",
    code="github.com/m-bain/frozen-in-time",
    code_license="MIT",
    weights_license="MIT",
    claim="one frame first and several at the end find clips better, at equal cost, than several",
    applies=("full", "weights", "parity", "tiny", "run", "claim"),
    verified=(
        "by recorded cases: video encoder, fewer frames, growth of positions, both losses",
        "names and counts of parameters with 4 and 8 frames",
        "DistilBERT and BERT against transformers",
        "with the published time_init, queries and keys of the attention over time stay zero",
    ),
    inferred=(
        "batch sizes of the paper's curriculum, here one for all phases",
        "shares of the steps with 4 and 8 frames, of the model with 8",
    ),
    deviations=(
        "tiny reads text with a small word encoder of our own instead of DistilBERT",
        "gradients are clipped at norm 1; no dropout in the text encoder",
        "random frames of a clip may be the last of their stretch, which the authors' never are",
        "a clip with fewer frames than the model reads is not filled up with black ones: in an "
        "index it has these, in training they are repeated",
        "where a folder has no pictures, stills are frames of its clips",
    ),
    coupled="every other clip of the batch is a negative",
)


class FrozenInTime(Retriever):
    """The system: `index` looks at a folder of clips, `search` ranks them for a text.

    A file of an image ViT, named with a version and the folder of a DistilBERT or BERT, is a
    beginning.
    """

    CARD = CARD
    CONFIG = FrozenInTimeConfig
    PRESETS = PRESETS
    STAGES = STAGES
    PUBLISHED = FrozenInTimeFiles(
        name=CARD.name,
        parts={"text": build_text, "video": SpaceTimeViT, "projections": Projections},
        versions=VERSIONS,
        find=find,
        fresh=(),
    ).published()
    config: FrozenInTimeConfig
    text = Part(build_text)
    video = Part(SpaceTimeViT)
    projections = Part(Projections)

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Embeddings (B, E); the first state of the text encoder stands for the text."""
        states = self.text(self.text.ids(texts).to(self.device)).x
        return self.projections.text(states[:, 0])

    def embed_clips(self, clips: Tensor) -> Tensor:
        """Embeddings (B, E) of clips (B, 3, F, height, width) in [-1, 1]."""
        x = clips.to(next(self.parts.parameters()))  # its device and type
        mean, std = x.new_tensor((IMAGENET_MEAN, IMAGENET_STD))[..., None, None, None]
        return self.projections.video(self.video(((x + 1) / 2 - mean) / std))

    @property
    def seen(self) -> tuple[int, int]:
        """How many frames of a file `look` takes, at most, and S."""
        return self.config.video.num_frames, self.config.video.image_size

    @torch.inference_mode()
    def embed_file(self, path: Path) -> Tensor:
        """The embedding (E,) of what `look` sees of a file, float32 on the CPU."""
        return self.embed_clips(self.look(path)[None])[0].float().cpu()

    def look(self, path: Path) -> Tensor:
        """A file as a clip (3, F, S, S) in [-1, 1]: the middle frame of each of F stretches.

        Of a file with fewer frames than the model reads all are taken.
        """
        length, side = probe(path).num_frames, self.config.video.image_size
        numbers = segment_frames(length, min(length, self.config.video.num_frames), None)
        frames = [cover(frame, side, side) for frame in read_frames(path, numbers.tolist())]
        return torch.from_numpy(Clip(np.stack(frames), fps=1.0).to_float())

    def start_from(self, other: Model, roles: tuple[str, ...]) -> None:
        """As for every model, but the other one may read another number of frames.

        Temporal positions are then cut, or grow as the configuration says.
        """
        ours, theirs = self.config.video, other.config.video
        same = replace(theirs, num_frames=ours.num_frames, time_init=ours.time_init)
        if "video" in roles and ours == same:
            state = other.parts["video"].state_dict()
            table = state["temporal_embed"]
            state["temporal_embed"] = fit_frames(table, ours.num_frames, self.config.growth)
            self.parts["video"].load_state_dict(state)
            roles = tuple(role for role in roles if role != "video")
        super().start_from(other, roles)

    def example(self, job: str, folder: Path) -> dict[str, Any]:
        """A few drawn clips, a text about one of them."""
        world = split_of("shapes", "held_out", clip_size(self, CLIP_FRAMES))
        samples = [world.sample(index) for index in range(4)]
        for i, sample in enumerate(samples):
            sample.clip.write(folder / f"{i}.mp4", overwrite=True)
        place = IndexPlace(folder / "index")
        clips = {"clips": Folder(folder), "index": place}
        if job == "index":
            return clips
        self.run_index(clips, 0)
        return {"index": Index.given(place.path), "query": Text(samples[2].captions[0])}


SYSTEM = FrozenInTime
