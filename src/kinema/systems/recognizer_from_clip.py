"""Files of recognizers that start from CLIP: their authors', and CLIP's; see `recognizer.py`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack, cast

from kinema.config import to_dict
from kinema.errors import InputError, unknown
from kinema.networks.clip import ImageTokens, image_tower, is_new
from kinema.nn.factory import Factory
from kinema.systems.recognizer_files import RecognizerFiles
from kinema.weights.files import Checkpoint, open_checkpoint
from kinema.weights.keymap import lazy
from kinema.weights.manifests import shapes_of

ROLE = "network"
CLIP_NAMES = ("visual.", "vision_model.")


@dataclass(frozen=True, kw_only=True)
class FromCLIP(RecognizerFiles):
    """As every recognizer is found in files; in one with a CLIP model it finds its beginning.

    The image tower is then that of the file, and what CLIP does not have starts afresh.
    """

    def read(self, path: Path, version: str | None, text_encoder: str | None) -> Checkpoint:
        """A file by our names, with our configuration.

        Args:
            path: a file of the authors, or a file or folder with a CLIP model.
            version: one of `versions`; needed where the sizes of several fit.
            text_encoder: none is read.

        Raises:
            InputError: it is damaged, or of no published size; several fit; or not the one named.
        """
        checkpoint = open_checkpoint(path)
        if not any(name.startswith(CLIP_NAMES) for name in checkpoint.tensors):
            return super().read(path, version, text_encoder)
        if text_encoder is not None:
            raise InputError(f"{self.name} reads no texts; do without a text encoder")
        if version not in (None, *self.versions):
            raise unknown(f"published version of {self.name}", str(version), self.versions)
        configs = {name: make() for name, make in self.versions.items()}
        fitting = [name for name, config in configs.items() if self._starts(config, checkpoint)]
        config = configs[self._one(path, version, fitting)]
        network = self._network(config)
        own = {k: v for k, v in lazy(network.state_dict()).items() if is_new(k, network)}
        tensors = own | image_tower(checkpoint, network)
        named = {f"{ROLE}.{name}": value for name, value in tensors.items()}
        metadata = {"system": self.name, "dtype": "float32"}
        return Checkpoint(path, named, to_dict(config), metadata)

    def _network(self, config: Any, **factory: Unpack[Factory]) -> ImageTokens:
        return cast(ImageTokens, self.parts[ROLE](config.network, **factory))

    def _starts(self, config: Any, checkpoint: Checkpoint) -> bool:
        """Whether a CLIP file has the image tower that a network needs."""
        network = self._network(config, device="meta")
        needed = {k: s for k, s in shapes_of(network).items() if not is_new(k, network)}
        return {k: v.shape for k, v in image_tower(checkpoint, network).items()} == needed
