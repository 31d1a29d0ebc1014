"""World `songs`: pictures with a mood, and music that follows it.

A song is a row of scenes. Each has a mood, which nobody is told: it gives the scene its color, the
disc in it its speed, the music its density and loudness, and the chords their quality. Their roots
follow a grammar of the key. So the chord after the next can be told from the chords before it and
from the picture, and better than from either alone.

Music and moods are in the vocabulary of `kinema.media.chords`, in C major or A minor. The moods'
qualities are those of Video2Music (arXiv 2311.00968); everything else here is our own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from kinema.clip import Clip
from kinema.errors import InputError
from kinema.media import chords
from kinema.worlds.world import Draws

MOODS = tuple(chords.MOODS)
COLORS = {
    "exciting": (225, 120, 40),
    "fearful": (40, 20, 60),
    "tense": (130, 20, 25),
    "sad": (60, 80, 120),
    "relaxing": (110, 180, 130),
    "neutral": (135, 135, 130),
}
ENERGY = {
    "exciting": 0.9,
    "fearful": 0.5,
    "tense": 0.7,
    "sad": 0.15,
    "relaxing": 0.3,
    "neutral": 0.45,
}
TRIADS = {0: "maj", 2: "min", 4: "min", 5: "maj", 7: "maj", 9: "min", 11: "dim"}  # of both keys
FOLLOWING = {  # which root may come after which
    False: {0: (5, 7, 9), 2: (7, 11), 4: (9, 5), 5: (0, 7, 2), 7: (0, 9), 9: (5, 2, 4), 11: (0,)},
    True: {9: (2, 4, 5), 11: (4,), 0: (5, 7), 2: (4, 9, 11), 4: (9, 5), 5: (0, 2), 7: (0, 4)},
}
TONIC = {False: 0, True: 9}
SCENE_SECONDS = (4, 9)  # shortest and longest
COLOR_JITTER = 25.0
ENERGY_JITTER = 0.1
LIGHTER = 40.0  # the disc, than the ground
SMALLEST_SIDE = 8
LOWEST_FPS = 2.0


@dataclass(frozen=True, eq=False, kw_only=True)
class Song:
    """One clip with the music that goes with it.

    Attributes:
        clip: frames without sound, S seconds long.
        minor: whether the music is in A minor; else it is in C major.
        moods: (S,) int64, the mood of each second as a number in `MOODS`.
        chords: (S,) int64, one chord each second; never three equal ones in a row within a scene.
        density: (S,) float32, notes a second, 0 to 40.
        loudness: (S,) float32, 0 to 0.5.
    """

    clip: Clip
    minor: bool
    moods: np.ndarray
    chords: np.ndarray
    density: np.ndarray
    loudness: np.ndarray


@dataclass(frozen=True, slots=True)
class _Scene:
    seconds: int
    mood: str
    energy: float
    color: np.ndarray
    phase: float


class Songs:
    """The world `songs`.

    Args:
        seed: worlds of different seeds draw different songs.
        num_seconds: of the longest song; the shortest has two thirds of it.
        height, width: of every frame in pixels, 8 or more.
        fps: frames per second, 2 or more.

    Raises:
        InputError: an option is out of range.
    """

    name = "songs"

    def __init__(self, *, seed: int, num_seconds: int, height: int, width: int, fps: float) -> None:
        if num_seconds < SCENE_SECONDS[0]:
            raise InputError(f"a song needs {SCENE_SECONDS[0]} seconds or more, not {num_seconds}")
        if min(height, width) < SMALLEST_SIDE:
            raise InputError(
                f"frames of {height}x{width} are too small to show a disc; "
                f"take {SMALLEST_SIDE} pixels or more on either side"
            )
        if not (math.isfinite(fps) and fps >= LOWEST_FPS):
            raise InputError(f"fps is {fps}; the motion of songs needs at least {LOWEST_FPS:g}")
        self.seed, self.num_seconds = seed, num_seconds
        self.height, self.width, self.fps = height, width, fps

    @property
    def options(self) -> dict[str, str | int | float]:
        """The options it was made with."""
        names = ("seed", "num_seconds", "height", "width", "fps")
        return {name: getattr(self, name) for name in names}

    def sample(self, index: int) -> Song:
        """Draws one song.

        Raises:
            InputError: the index is negative.
        """
        if index < 0:
            raise InputError(f"sample {index} of the world songs does not exist; count from 0")
        draws = Draws(self.name, self.seed, index)
        minor = draws.choice((False, True))
        scenes = self._scenes(draws)
        energy = np.concatenate([np.full(s.seconds, s.energy, np.float32) for s in scenes])
        since_cut = np.concatenate([np.arange(s.seconds, dtype=np.float32) for s in scenes])
        swell = 0.7 + 0.3 * np.minimum(since_cut / 4, 1)
        return Song(
            clip=Clip(frames=self._frames(scenes), fps=self.fps, sound=None),
            minor=minor,
            moods=np.repeat([MOODS.index(s.mood) for s in scenes], [s.seconds for s in scenes]),
            chords=_progression(scenes, minor, draws),
            density=np.rint(2 + 26 * energy).astype(np.float32),
            loudness=((0.04 + 0.36 * energy) * swell).astype(np.float32),
        )

    def _scenes(self, draws: Draws) -> list[_Scene]:
        left = int(draws.uniform(max(self.num_seconds * 2 // 3, 1), self.num_seconds + 1))
        scenes: list[_Scene] = []
        while left:
            seconds = int(draws.uniform(SCENE_SECONDS[0], SCENE_SECONDS[1] + 1))
            if left - seconds < SCENE_SECONDS[0]:
                seconds = left  # a last scene would be too short
            others = tuple(mood for mood in MOODS if not scenes or mood != scenes[-1].mood)
            mood = draws.choice(others)
            jitter = [draws.uniform(-COLOR_JITTER, COLOR_JITTER) for _ in range(3)]
            energy = ENERGY[mood] + draws.uniform(-ENERGY_JITTER, ENERGY_JITTER)
            color = np.clip(np.add(COLORS[mood], jitter), 0, 255)
            scenes.append(_Scene(seconds, mood, energy, color, draws.uniform(0, math.tau)))
            left -= seconds
        return scenes

    def _frames(self, scenes: list[_Scene]) -> np.ndarray:
        """A lighter disc that circles over the ground of each scene, (T, H, W, 3) uint8."""
        ends = np.cumsum([scene.seconds for scene in scenes])
        times = np.arange(round(float(ends[-1]) * self.fps)) / self.fps
        scene = np.searchsorted(ends, times, side="right")
        speed = np.array([0.3 + 2.2 * s.energy for s in scenes])  # radians a second
        angle = np.array([s.phase for s in scenes])[scene] + speed[scene] * times
        side = min(self.height, self.width)
        x = self.width / 2 + 0.25 * side * np.cos(angle)
        y = self.height / 2 + 0.25 * side * np.sin(angle)
        columns, rows = np.arange(self.width) + 0.5, np.arange(self.height) + 0.5
        square = (rows - y[:, None])[:, :, None] ** 2 + (columns - x[:, None])[:, None] ** 2
        inside = square < (0.22 * side) ** 2
        ground = np.stack([s.color for s in scenes])
        disc = np.minimum(ground + LIGHTER, 255)
        pair = np.rint(np.stack([ground, disc])).astype(np.uint8)
        return pair[inside.astype(np.intp), scene[:, None, None]]


def _progression(scenes: list[_Scene], minor: bool, draws: Draws) -> np.ndarray:
    """One chord each second: roots by the grammar of the key, qualities by the mood.

    A root stays for one or two seconds; a scene that begins while it stays changes its quality.
    """
    root, stays, found = TONIC[minor], 1, []
    for scene in scenes:
        for _ in range(scene.seconds):
            found.append(chords.chord_id(root, quality_of(scene.mood, root)))
            if stays == 1 and draws.uniform(0, 1) < 0.5:
                stays = 2
            else:
                root, stays = draws.choice(FOLLOWING[minor][root]), 1
    return np.array(found, np.int64)


def quality_of(mood: str, root: int) -> str:
    """The quality that a chord on this root of the key has in a mood; one that suits it."""
    suiting = chords.MOODS[mood]
    return suiting[tuple(TRIADS).index(root) % len(suiting)] if suiting else TRIADS[root]
