"""Files of VideoMAE V2: classifiers, and what is pre-trained; see `videomae_v2.py`."""

from __future__ import annotations

from collections.abc import Collection
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from torch import nn

from kinema.config import to_dict
from kinema.errors import InputError
from kinema.systems.recognizer_files import RecognizerFiles
from kinema.weights.files import Checkpoint, open_checkpoint
from kinema.weights.keymap import KeyMap, Rename, lazy
from kinema.weights.manifests import shapes_of
from kinema.weights.maps import videomae as maps

MASK = "mask_token"  # in every file of what is pre-trained
NEW = ("network.fc_norm.*", "network.head.*")  # which begin with the classifier


def find(names: Collection[str]) -> KeyMap:
    """The map for a file with these names."""
    theirs = "encoder.*" if MASK in names else "*"
    return KeyMap(*maps.find(names).rules, Rename(theirs, "network.*"))


class VideoMAEFiles(RecognizerFiles):
    """As every recognizer is found in files; in one that is pre-trained it finds its beginning."""

    def read(self, path: Path, version: str | None, text_encoder: str | None) -> Checkpoint:
        """A file by our names, with the configuration of the version whose sizes it has.

        Raises:
            InputError: as for every recognizer.
        """
        opened = open_checkpoint(path)
        if MASK not in opened.tensors or version not in (None, *self.versions):
            return super().read(path, version, text_encoder)
        if text_encoder is not None:
            raise InputError(f"{self.name} reads no texts; leave the text encoder out")
        found = self.find(opened.tensors).lazy_to_ours(opened.tensors)
        shapes = {name: value.shape for name, value in found.items()}
        configs = {name: make() for name, make in self.versions.items()}
        fitting = [
            name
            for name, config in configs.items()
            if shapes == {k: s for k, s in self._shapes(config).items() if not is_new(k)}
        ]
        config = configs[self._one(path, version, fitting)]
        begun = lazy(self._parts(config).state_dict())
        whole = {**{k: v for k, v in begun.items() if is_new(k)}, **found}
        return Checkpoint(path, whole, to_dict(config), {"system": self.name, "dtype": "float32"})

    def _parts(self, config: Any, **factory: Any) -> nn.ModuleDict:
        made = {r: build(getattr(config, r), **factory) for r, build in self.parts.items()}
        return nn.ModuleDict(made)

    def _shapes(self, config: Any) -> dict[str, tuple[int, ...]]:
        return shapes_of(self._parts(config, device="meta"))


def is_new(name: str) -> bool:
    """Whether a classifier has this tensor for itself, and not from pre-training."""
    return any(fnmatchcase(name, pattern) for pattern in NEW)
