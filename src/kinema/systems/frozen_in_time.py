"""Frozen in Time: A Joint Video and Image Encoder for End-to-End Retrieval (arXiv 2104.00650).

Authors' code: github.com/m-bain/frozen-in-time (MIT). A text encoder and a space-time ViT put texts
and clips into one space; a picture is a clip of one frame. What is verified is in the card.

Letters: B batch, F frames, S side of a frame, E width of the embeddings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from kinema.card import Card
from kinema.clip import Clip
from kinema.conditions.encoders import build_text
from kinema.data.batches import segment_frames
from kinema.data.clips import split_of
from kinema.data.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from kinema.errors import InputError
from kinema.media.pixels import cover
from kinema.media.reading import probe, read_frames
from kinema.networks.space_time_vit import SpaceTimeViT, fit_frames
from kinema.sample import Folder, Table, Text
from kinema.systems.frozen_in_time_config import PRESETS, FrozenInTimeConfig, Projections
from kinema.systems.frozen_in_time_index import Index, files_of
from kinema.systems.frozen_in_time_training import CLIP_FRAMES, STAGES, clip_size
from kinema.systems.model import Model, Part
from kinema.systems.system import Job
from kinema.weights.digest import digest

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
    claim="training on stills and clips together finds clips better than training on clips alone",
    applies=("full", "weights", "parity", "tiny", "run", "claim"),
    verified=(
        "by recorded cases: video encoder, fewer frames, growth of positions, both losses",
        "names and counts of parameters with 4 and 8 frames; DistilBERT against transformers",
        "with the published time_init, queries and keys of the attention over time stay zero",
    ),
    inferred=("batch sizes of the paper's curriculum",),
    deviations=(
        "tiny reads text with a small word encoder of our own instead of DistilBERT",
        "gradients are clipped at norm 1; no dropout in the text encoder",
        "random frames of a clip may be the last of their stretch, which the authors' never are",
        "a clip with fewer frames than the model reads is not filled up with black ones",
    ),
    coupled="every other clip of the batch is a negative",
)
# Of ImageNet's pixels in [0, 1].


class FrozenInTime(Model):
    """The system: `index` looks at a folder of clips once, `search` ranks them for a text."""

    CARD = CARD
    CONFIG = FrozenInTimeConfig
    PRESETS = PRESETS
    STAGES = STAGES
    JOBS: ClassVar = {
        "index": Job(takes={"clips": Folder}, gives={"index": Index}),
        "search": Job(takes={"index": Index, "query": Text}, gives={"ranking": Table}),
    }
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

    def look(self, path: Path) -> Tensor:
        """A file as a clip (3, F, S, S) in [-1, 1]: the middle frame of each of F stretches.

        Of a file with fewer frames than the model reads all are taken.
        """
        length, side = probe(path).num_frames, self.config.video.image_size
        numbers = segment_frames(length, min(length, self.config.video.num_frames), None)
        frames = [cover(frame, side, side) for frame in read_frames(path, numbers.tolist())]
        return torch.from_numpy(Clip(np.stack(frames), fps=1.0).to_float())

    @torch.inference_mode()
    def run_index(self, inputs: Mapping[str, Folder], seed: int) -> dict[str, Index]:
        """Embeds every video and picture in a folder and below it, in the order of their names."""
        folder = inputs["clips"].path
        paths = files_of(folder)
        rows = [self.embed_clips(self.look(path)[None]) for path in paths]
        files = tuple(path.relative_to(folder).as_posix() for path in paths)
        embeddings = torch.cat(rows).float().cpu().numpy()
        return {"index": Index(embeddings, files, digest(self.parts))}

    @torch.inference_mode()
    def run_search(self, inputs: Mapping[str, Any], seed: int) -> dict[str, Table]:
        """The files that are nearest to a text, with their cosines, the nearest first."""
        index, query = inputs["index"], inputs["query"].text
        if index.model != digest(self.parts):
            raise InputError("the index was made by another model; index the clips with this one")
        return {"ranking": index.ranking(self.embed_texts([query]).float(), self.config.shown)}

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
        clips = {"clips": Folder(folder)}
        if job == "index":
            return clips
        return {**self.run_index(clips, 0), "query": Text(samples[2].captions[0])}


SYSTEM = FrozenInTime
