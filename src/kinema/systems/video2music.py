"""Video2Music: Suitable Music Generation from Videos using an Affective Multimodal Transformer
model (arXiv 2311.00968), Kang, Poria and Herremans 2023.

Authors' code: github.com/AMAAI-Lab/Video2Music (MIT). A transformer writes one chord a second after
features of the video, a regressor gives the density of notes and the loudness of each second, and
an arrangement makes a score of them.

Letters: B batch, S seconds, T seconds that the networks read, F features.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from kinema.card import Card
from kinema.clip import Clip
from kinema.condition import Conditions, Tokens
from kinema.conditions.video_features import color_features
from kinema.errors import InputError
from kinema.media import chords
from kinema.media.score import Score
from kinema.networks.affective_music_transformer import AffectiveMusicTransformer
from kinema.networks.bigru_regressor import BiGRURegressor
from kinema.noise import Noise
from kinema.sample import Artefact, Features, Sound
from kinema.systems.model import Model, Part
from kinema.systems.system import Job
from kinema.systems.video2music_arrangement import arrange
from kinema.systems.video2music_composition import compose
from kinema.systems.video2music_config import PRESETS, Video2MusicConfig
from kinema.systems.video2music_training import STAGES
from kinema.worlds.songs import Songs

CARD = Card(
    name="video2music",
    number=7,
    title="Video2Music: Suitable Music Generation from Videos using an Affective Multimodal "
    "Transformer model",
    arxiv="2311.00968",
    year=2023,
    kind="sounder",
    job="a clip gets music: a score in a key, and its sound",
    code="github.com/AMAAI-Lab/Video2Music",
    code_license="MIT",
    weights_license="MIT",
    claim="features of the video and a loss on chords that suit its mood make music that suits it",
    applies=("full", "weights", "parity", "tiny", "run", "claim"),
    verified=(
        "by recorded cases: the transformer and the regressor",
        "parameter counts and names of the published checkpoints",
        "against the authors' scripts: chords, moods, loss, motion, scene offset, broken chords",
    ),
    inferred=("the cuts: PySceneDetect's AdaptiveDetector from its description",),
    deviations=(
        "tiny and nano read statistics of color in the place of CLIP, which stand in for it only",
        "CLIP itself is not run here: the full size takes its features from a file",
        "the density of notes follows the density, in the authors' script the loudness",
        "chords of four notes sound whole, and dim7 and hdim7 as they are named",
        "a chord of the primer without quality has the quality maj, as in training",
        "the sound is a simple tone, not a sound font",
        "no dropout in the transformer; the learning rate falls linearly",
    ),
    dead={
        "*.embedding.weight": "in the authors' files, never used",
        "*.condition_linear.*": "in the authors' files, never used",
        "*.Wout_root.*": "in the authors' files, used by another variant only",
        "*.Wout_attr.*": "in the authors' files, used by another variant only",
    },
)
GIVES = {"score": Score, "sound": Sound}
EXAMPLE_SECONDS = 12


class Video2Music(Model):
    """The system: features, then chords and curves, then a score and its sound."""

    CARD = CARD
    CONFIG = Video2MusicConfig
    PRESETS = PRESETS
    STAGES = STAGES
    JOBS: ClassVar = {
        "accompany": Job(takes={"clip": Clip}, gives=GIVES),
        "accompany_features": Job(takes={"features": Features}, gives=GIVES),
    }
    config: Video2MusicConfig
    transformer = Part(AffectiveMusicTransformer)
    regressor = Part(BiGRURegressor)

    def run_accompany(self, inputs: Mapping[str, Any], seed: int) -> dict[str, Artefact]:
        """{"clip": Clip} -> score and sound, in the key of the configuration's sampling.

        Raises:
            InputError: the model reads features of CLIP, or the clip is too long.
        """
        if self.config.features != "colors":
            raise InputError(
                "this model reads features of CLIP, which is not run here: use the job "
                f"accompany_features with a file of {self.config.transformer.num_features} "
                "numbers a second"
            )
        return self.accompany(color_features(inputs["clip"]), seed)

    def run_accompany_features(self, inputs: Mapping[str, Any], seed: int) -> dict[str, Artefact]:
        """{"features": Features}, one row a second -> score and sound, as `run_accompany`."""
        return self.accompany(inputs["features"], seed)

    def accompany(self, features: Features, seed: int) -> dict[str, Artefact]:
        """Score and sound for the features (S, F) of a video.

        Raises:
            InputError: there are too many or too few features or seconds, or they are not one
                second apart.
        """
        self.config.expect(features)
        sampling, seconds = self.config.sampling, len(features.x)
        semitones, minor = chords.read_key(sampling.key)
        missing = self.config.transformer.max_seconds - seconds
        x = F.pad(torch.from_numpy(features.x), (0, 0, 0, missing))[None]
        key = torch.tensor([[float(minor)]])
        primer = torch.tensor([sampling.begins_with[:seconds]])
        ids = compose(self, x, minor=key, primer=primer, count=seconds, noise=Noise(0, (seed,)))
        density, loudness = self.curves(x)[0, :seconds].T.tolist()
        score = arrange(ids[0].tolist(), density, loudness, semitones=semitones)
        return {"score": score, "sound": score.sound(sampling.sample_rate_hz)}

    @torch.inference_mode()
    def curves(self, features: Tensor) -> Tensor:
        """Density and loudness (B, T, 2) from features (B, T, F)."""
        like = next(self.regressor.parameters())
        return self.regressor(Conditions({"video": Tokens(x=features.to(like))})).float().cpu()

    def example(self, job: str, folder: Path) -> dict[str, Any]:
        """A clip of the world `songs`, or its features."""
        clip = (
            Songs(seed=2, num_seconds=EXAMPLE_SECONDS, height=32, width=32, fps=4.0).sample(0).clip
        )
        return {"clip": clip} if job == "accompany" else {"features": color_features(clip)}


SYSTEM = Video2Music
