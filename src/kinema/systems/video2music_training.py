"""The training plan of Video2Music: chords and curves, each from the features of videos.

Paper, code and license: see `video2music.py`. Losses are the authors'; their rate of the chords is
warmed up and falls with the square root of the step, ours falls linearly. Small presets train on
the world `songs`; sizes and lengths are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from kinema.conditions.video_features import NUM_COLOR_FEATURES, color_features
from kinema.config import config
from kinema.data.batches import Source
from kinema.data.clips import SPLITS
from kinema.errors import InputError
from kinema.media import chords, write_contact_sheet
from kinema.noise import Noise
from kinema.systems.video2music_composition import LEVELS, compose
from kinema.training.affective import AffectiveObjective
from kinema.training.curves import CurveObjective
from kinema.training.objective import Batch
from kinema.training.recipe import Recipe
from kinema.training.stage import Stage
from kinema.worlds.songs import Song, Songs

if TYPE_CHECKING:
    from kinema.systems.video2music import Video2Music

CURVES = ("density", "loudness")
PICTURE: dict[str, Any] = {"height": 16, "width": 16, "fps": 4.0}
ON_A_SHEET, SECONDS_ON_A_SHEET = 4, 20
SUITING = np.stack([chords.suiting(mood) for mood in range(len(chords.MOODS))])


@config
class ChordRecipe(Recipe):
    """How the chords are learned.

    Args:
        chord_weight: of the chord that comes; the rest is for those that suit the mood.
    """

    chord_weight: float


@config
class CurveRecipe(Recipe):
    """How density and loudness are learned.

    Args:
        feature_drop: share of the features that are left out in training.
    """

    feature_drop: float


FULL_CHORDS = ChordRecipe(
    steps=120_000,
    batch_size=1,
    learning_rate=7e-4,  # the highest of the authors': 512^-0.5 * 4000^-0.5
    warmup=4000,
    decay=1.0,
    weight_decay=0.0,
    betas=(0.9, 0.98),
    report_every=5000,
    chord_weight=0.4,
)
TINY_CHORDS = replace(
    FULL_CHORDS,
    steps=600,
    batch_size=16,
    learning_rate=2e-3,
    warmup=50,
    decay=0.6,
    ema=0.98,
    report_every=200,
    save_every=200,
)
FULL_CURVES = CurveRecipe(
    steps=60_000,
    batch_size=1,
    learning_rate=1e-3,
    warmup=1,
    decay=0.0,
    weight_decay=1e-5,
    report_every=5000,
    feature_drop=0.1,
)
TINY_CURVES = replace(
    FULL_CURVES,
    steps=400,
    batch_size=16,
    learning_rate=1e-2,
    warmup=20,
    decay=0.5,
    ema=0.98,
    report_every=200,
    save_every=200,
)


def chord_objective(model: Video2Music, recipe: ChordRecipe) -> AffectiveObjective:
    """The transformer under the affective loss."""
    return AffectiveObjective(model.transformer, chord_weight=recipe.chord_weight)


def curve_objective(model: Video2Music, recipe: CurveRecipe) -> CurveObjective:
    """The regressor."""
    return CurveObjective(model.regressor, names=CURVES, feature_drop=recipe.feature_drop)


class SongBatches:
    """Batches of the world `songs`, padded to `seconds`: the fields that both objectives read."""

    def __init__(self, world: Songs, seconds: int) -> None:
        self.world, self.seconds = world, seconds

    def __call__(self, samples: tuple[int, ...]) -> dict[str, Any]:
        """The batch of some sample indices, with the songs themselves."""
        songs = [self.world.sample(index) for index in samples]
        rows = [self.row(song) for song in songs]
        fields = {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
        return {**fields, "songs": songs}

    def row(self, song: Song) -> dict[str, Tensor]:
        """One song as tensors: after its last chord comes END, then PAD; features are then 0."""
        length, seconds = len(song.chords), self.seconds
        features = np.zeros((seconds, NUM_COLOR_FEATURES), np.float32)
        features[:length] = color_features(song.clip).x
        ids = np.full(seconds, chords.PAD)
        ids[:length], ids[length : length + 1] = song.chords, chords.END
        moods = features[:, -len(chords.MOODS) :]
        suiting = SUITING[moods.argmax(1)]
        over = ids >= chords.END
        suiting[over] = np.eye(chords.NUM_CHORDS, dtype=np.float32)[ids[over]]
        curves = np.zeros((seconds, len(CURVES)), np.float32)
        curves[:length] = np.stack([song.density, song.loudness], 1)
        arrays = {
            "features": features,
            "key": np.array([song.minor], np.float32),
            "ids": LEVELS[ids[:-1]].T.copy(),
            "targets": ids[1:],
            "suiting": suiting[1:],
            "likely": moods.max(1)[1:],
            "curves": curves,
        }
        return {name: torch.from_numpy(array) for name, array in arrays.items()}


def data(model: Video2Music, recipe: Recipe, world: str) -> tuple[Source, Source]:
    """Songs that the world draws; others are held out."""
    if model.config.features != "colors":
        raise InputError(
            "this size reads features of CLIP, which the world songs does not have; train tiny"
        )
    seconds = model.config.transformer.max_seconds
    train, unseen = (
        SongBatches(Songs(seed=seed, num_seconds=seconds, **PICTURE), seconds)
        for seed in SPLITS.values()
    )
    return train, unseen


def chord_sheet(model: Video2Music, held_out: Batch, path: Path) -> None:
    """Held-out clips over their own chords and those that the model makes up for them."""
    songs = held_out["songs"][:ON_A_SHEET]
    made = compose(
        model,
        held_out["features"][: len(songs)],
        minor=held_out["key"][: len(songs)],
        primer=torch.tensor([song.chords[:1].tolist() for song in songs]),
        count=model.config.transformer.max_seconds,
        noise=Noise(0, tuple(range(len(songs)))),
    )
    labels = [
        f"{listed(song.chords, chords.name_of)} | model: {listed(ids, chords.name_of)}"
        for song, ids in zip(songs, made.tolist())
    ]
    draw_sheet(songs, labels, path)


def curve_sheet(model: Video2Music, held_out: Batch, path: Path) -> None:
    """Held-out clips over their density of notes and the one that the model predicts."""
    songs = held_out["songs"][:ON_A_SHEET]
    made = model.curves(held_out["features"][: len(songs)])[..., 0].tolist()
    labels = [
        f"{listed(song.density, round)} | model: {listed(density, round)}"
        for song, density in zip(songs, made)
    ]
    draw_sheet(songs, labels, path)


def listed(values: Iterable[float], shown: Callable[[Any], object]) -> str:
    """The values of the first seconds as text, each as `shown` gives it."""
    return " ".join(str(shown(value)) for value in list(values)[:SECONDS_ON_A_SHEET])


def draw_sheet(songs: Sequence[Song], labels: Sequence[str], path: Path) -> None:
    """A contact sheet of the clips of some songs."""
    clips = [song.clip for song in songs]
    write_contact_sheet(path, clips, labels, columns=1, frames_per_clip=12, overwrite=True)


STAGES = {
    "chords": Stage(
        trains=("transformer",),
        recipes={
            "full": FULL_CHORDS,
            "tiny": TINY_CHORDS,
            "nano": TINY_CHORDS.nano(batch_size=2, warmup=1),
        },
        objective=chord_objective,
        data=data,
        sheet=chord_sheet,
        worlds=("songs",),
    ),
    "curves": Stage(
        trains=("regressor",),
        recipes={
            "full": FULL_CURVES,
            "tiny": TINY_CURVES,
            "nano": TINY_CURVES.nano(batch_size=2, warmup=1),
        },
        objective=curve_objective,
        data=data,
        sheet=curve_sheet,
        worlds=("songs",),
    ),
}
