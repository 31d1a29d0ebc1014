"""What measures say of the clips of a folder, and of pairs of clips; each clip is computed once.

A clip that cannot be used is left out and told, or ends the run where the caller is strict.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from kinema.errors import InputError
from kinema.metrics.clip_sets import View, caption_of, digest_of, find_clips, read_view
from kinema.metrics.feature_cache import FeatureCache
from kinema.metrics.measures import Key, Measure

SIZE: Key = ("size and frame rate", "", "")
SAME_RATE = 0.01  # GIF files round how long a frame is shown


class Rows:
    """Tensors of one shape in one allocation of this many rows.

    Thousands of small tensors, kept among large ones that come and go, would hold gigabytes: memory
    between them is not given back.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity, self.count = capacity, 0
        self.x = torch.empty(0)

    def append(self, row: Tensor) -> None:
        """Adds one."""
        if self.count == 0:
            self.x = torch.empty(self.capacity, *row.shape, dtype=row.dtype)
        self.x[self.count] = row
        self.count += 1


@dataclass
class ClipSet:
    """The clips of a folder that can be used, by name.

    Attributes:
        paths: name without ending -> file or folder of pictures.
        digests: name -> hash of the content.
        capacity: how many clips there may be.
        features: key of a measure -> a row for each name, in their order.
        skipped: why others were left out.
        size: (height, width) of all; zeros while there is none.
        fps: of all; None where the files do not say.
    """

    capacity: int = 0
    paths: dict[str, Path] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    features: dict[Key, Rows] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    size: tuple[int, int] = (0, 0)
    fps: float | None = None

    def stacked(self, measure: Measure) -> Tensor:
        """Features (N, ...) of a measure."""
        rows = self.features[measure.key]
        return rows.x[: rows.count]

    def add(self, key: Key, row: Tensor) -> None:
        """Adds what a measure says of the last clip."""
        self.features.setdefault(key, Rows(self.capacity)).append(row)


@dataclass(kw_only=True)
class Reader:
    """Reads clips and computes measures of them, or takes them from the cache.

    Attributes:
        view: the part of each clip that is looked at.
        cache: folder of all caches.
        made_by: versions and device, by which the features of a clip may differ.
        strict: whether a clip that cannot be used is an error.
        progress: told how many clips are done, each time one is.
    """

    view: View
    cache: Path
    made_by: Mapping[str, str]
    strict: bool
    progress: Callable[[int], None]

    def clips(self, folder: Path, measures: Sequence[Measure]) -> ClipSet:
        """Measures of each clip in a folder.

        Raises:
            InputError: there is no clip, or one cannot be used and the reader is strict.
        """
        paths = find_clips(folder)
        found = ClipSet(capacity=len(paths))
        with self._caches(measures) as caches:
            for path in paths:
                try:
                    self._take(found, path, measures, caches)
                except InputError as error:
                    self._skip(found, str(error))
                self.progress(1)
        return found

    def pairs(self, real: ClipSet, generated: ClipSet, measures: Sequence[Measure]) -> ClipSet:
        """Measures of each generated clip and the real one of its name. Raises as `clips`."""
        found = ClipSet(capacity=len(generated.paths), size=generated.size, fps=generated.fps)
        with self._caches(measures) as caches:
            for name, path in generated.paths.items():
                if name in real.paths:
                    self._take_pair(found, name, real, generated, measures, caches)
                else:
                    self._skip(found, f"{path} has no real clip of its name")
                self.progress(1)
        self.progress(len(generated.skipped))  # nothing to be paired with either
        return found

    @contextmanager
    def _caches(self, measures: Sequence[Measure]) -> Iterator[Mapping[Key, FeatureCache]]:
        """The caches of measures; whatever ends the block, what was computed is written."""
        caches = {key: self._cache(key) for key in (SIZE, *(m.key for m in measures))}
        try:
            yield caches
        finally:
            for cache in caches.values():
                cache.flush()

    def _cache(self, key: Key) -> FeatureCache:
        name, weights, preprocessing = key
        said = {"name": name, "weights": weights, "preprocessing": preprocessing}
        return FeatureCache(self.cache, {**said, "view": str(self.view), "made_by": self.made_by})

    def _take(
        self,
        found: ClipSet,
        path: Path,
        measures: Sequence[Measure],
        caches: Mapping[Key, FeatureCache],
    ) -> None:
        name, content = path.stem, digest_of(path)
        if name in found.paths:
            raise InputError(f"{path} has the name of {found.paths[name]}; rename one")
        caption = caption_of(path) if any(measure.reads_caption for measure in measures) else ""
        entries = {m.key: _entry(content, caption if m.reads_caption else "") for m in measures}
        missing = [
            measure for measure in measures if entries[measure.key] not in caches[measure.key]
        ]
        if missing or content not in caches[SIZE]:
            shown = read_view(path, self.view)
            sides = (*shown.frames.shape[-2:], shown.fps or 0)
            caches[SIZE][content] = torch.tensor(sides, dtype=torch.float64)
            for measure in missing:
                said = (caption,) if measure.reads_caption else ()
                caches[measure.key][entries[measure.key]] = measure.run(shown.frames, *said)
        height, width, fps = caches[SIZE][content].tolist()
        if not found.paths:
            found.size = int(height), int(width)
        if found.size != (height, width):
            first = "{}x{}".format(*found.size)
            raise InputError(f"{path} is {height:.0f}x{width:.0f}, not {first}; pass --size")
        if rates_differ(found.fps, fps):
            raise InputError(
                f"{path} has {fps:g} frames per second, not {found.fps:g}; pass --fps {found.fps:g}"
            )
        found.fps = found.fps or fps or None
        found.paths[name], found.digests[name] = path, content
        for key, entry in entries.items():
            found.add(key, caches[key][entry])

    def _take_pair(
        self,
        found: ClipSet,
        name: str,
        real: ClipSet,
        generated: ClipSet,
        measures: Sequence[Measure],
        caches: Mapping[Key, FeatureCache],
    ) -> None:
        content = f"{real.digests[name]}-{generated.digests[name]}"
        missing = [measure for measure in measures if content not in caches[measure.key]]
        if missing:
            clips = [read_view(side.paths[name], self.view).frames for side in (real, generated)]
            for measure in missing:
                caches[measure.key][content] = measure.run(*clips)
        found.paths[name], found.digests[name] = generated.paths[name], real.digests[name]
        for measure in measures:
            found.add(measure.key, caches[measure.key][content])

    def _skip(self, found: ClipSet, reason: str) -> None:
        if self.strict:
            raise InputError(f"{reason} (--strict)")
        found.skipped.append(reason)


def rates_differ(a: float | None, b: float | None) -> bool:
    """Whether two frame rates are known and are not the same."""
    return bool(a and b and abs(a / b - 1) > SAME_RATE)


def _entry(content: str, caption: str) -> str:
    """The name of a clip in a cache; with a caption, of both."""
    if not caption:
        return content
    return f"{content}-{hashlib.blake2b(caption.encode(), digest_size=8).hexdigest()}"
