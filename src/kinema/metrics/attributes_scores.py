"""How often the attributes of clips of the world `shapes` are right; see `attributes.py`."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from kinema.config import config
from kinema.errors import InputError
from kinema.metrics.attributes import Scene
from kinema.worlds.world import World, WorldSample

QUOTAS: dict[Scene, int] = {"one": 320, "pair": 96, "story": 96}  # the measured distribution
RARE = 200  # samples that are drawn for each that is wanted, at most
Z = 1.959964  # of a two-sided interval of 95 %
READER = ("", "_ground", "_objects", "_outlines", "_paths")


@config
class Share:
    """How many of some clips are right."""

    right: int
    clips: int

    @property
    def value(self) -> float:
        """In [0, 1]; of no clips 0."""
        return self.right / max(self.clips, 1)

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's score interval of 95 % (Wilson 1927, J. Am. Stat. Assoc. 22)."""
        if not self.clips:
            return 0.0, 1.0
        n, p = self.clips, self.value
        middle = (p + Z * Z / (2 * n)) / (1 + Z * Z / n)
        half = Z / (1 + Z * Z / n) * math.sqrt(p * (1 - p) / n + Z * Z / (4 * n * n))
        return max(0.0, middle - half), min(1.0, middle + half)


@config
class Score:
    """One line of a table: an attribute in one kind of scene, or in "every"."""

    scene: str
    attribute: str
    share: Share


def tally(results: Iterable[tuple[Scene, Mapping[str, bool]]]) -> tuple[Score, ...]:
    """Counts what `attributes.agrees` says of clips of these scenes, for each kind and for all."""
    counts: dict[tuple[str, str], list[bool]] = {}
    for scene, right in results:
        for attribute, value in right.items():
            for kind in ("every", scene):
                counts.setdefault((kind, attribute), []).append(value)
    kinds = ("every", *QUOTAS)
    return tuple(
        Score(scene=scene, attribute=name, share=Share(right=sum(all_), clips=len(all_)))
        for (scene, name), all_ in sorted(counts.items(), key=lambda item: kinds.index(item[0][0]))
    )


def measured(world: World, quotas: Mapping[Scene, int]) -> Iterator[tuple[Scene, WorldSample]]:
    """The first samples of a world that fill the quotas of scenes, in the order of the world.

    Captions that came before are left out.

    Raises:
        InputError: the world does not draw scenes of some kind, or hardly ever.
    """
    most = RARE * sum(quotas.values())
    left, said, index = {scene: count for scene, count in quotas.items() if count}, set(), 0
    while left:
        if index >= most:
            raise InputError(f"{most} samples of this world lack scenes: {', '.join(left)}")
        sample = world.sample(index)
        index += 1
        kind, caption = sample.labels["scene"], sample.captions[0]
        for scene in [scene for scene in left if scene == kind and caption not in said]:
            said.add(caption)
            left[scene] -= 1
            if not left[scene]:
                del left[scene]
            yield scene, sample


def reader_digest() -> str:
    """A digest over the source of the reader: scores of different readers are not compared."""
    here = Path(__file__).parent
    sources = (here / f"attributes{part}.py" for part in READER)
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:16]
