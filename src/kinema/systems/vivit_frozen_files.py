"""A frozen ViViT that starts from a file of an image ViT; see `vivit_frozen.py`.

Such as ``vit_base_patch16_224`` and ``vit_large_patch16_224`` of timm, whose names are ours, or
``google/vit-base-patch16-224`` of transformers.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kinema.config import to_dict
from kinema.errors import InputError, unknown
from kinema.networks.clip import KERNEL, inflated
from kinema.networks.vivit import SpatialTransformer, TemporalTransformer
from kinema.networks.vivit_config import TUBELET
from kinema.systems.recognizer_files import RecognizerFiles
from kinema.weights.files import Checkpoint, open_checkpoint
from kinema.weights.keymap import Lazy, lazy
from kinema.weights.manifests import shapes_of


class FromImageViT(RecognizerFiles):
    """Both transformers begin as an image ViT.

    The spatial one is that ViT, whose kernel reads the second frame of a tubelet and not the first
    (ViViT's central frame); the temporal one has its last blocks. All else starts afresh. No file
    of the authors is read: theirs are Flax's.
    """

    def read(self, path: Path, version: str | None, text_encoder: str | None) -> Checkpoint:
        """The beginning of the version that fits an image ViT.

        Raises:
            InputError: the file is damaged or holds no such ViT, several versions fit it, or not
                the one named.
        """
        if text_encoder is not None:
            raise InputError(f"{self.name} has no text encoder; leave it out")
        if version is not None and version not in self.versions:
            raise unknown(f"published version of {self.name}", version, self.versions)
        theirs = open_checkpoint(path).tensors
        image = self.find(theirs).lazy_to_ours(theirs)
        if KERNEL not in image or len(image[KERNEL].shape) != 4:
            raise InputError(f"{path} holds no image ViT with the names of timm or transformers")
        spatial = {k: v for k, v in image.items() if not k.startswith(("head.", "fc_norm."))}
        spatial[KERNEL] = inflated(image[KERNEL], TUBELET)
        shapes = {name: value.shape for name, value in spatial.items()}
        configs = {name: make() for name, make in self.versions.items()}
        fitting = [
            name
            for name, config in configs.items()
            if shapes_of(SpatialTransformer(config.spatial, device="meta")) == shapes
        ]
        config = configs[self._one(path, version, fitting)]
        tensors = {f"spatial.{name}": value for name, value in spatial.items()}
        tensors |= {f"network.{k}": v for k, v in begun(config, image).items()}
        metadata = {"system": self.name, "dtype": "float32"}
        return Checkpoint(path, tensors, to_dict(config), metadata)


def begun(config: Any, image: Mapping[str, Lazy]) -> dict[str, Lazy]:
    """The temporal transformer at first values, with the last blocks of an image ViT."""
    network = TemporalTransformer(config.network)
    first = config.spatial.num_layers - config.network.num_layers
    own = lazy(network.state_dict())
    blocks = [name for name in own if name.startswith("blocks.")]
    for name in blocks:
        number, _, rest = name.removeprefix("blocks.").partition(".")
        own[name] = image[f"blocks.{first + int(number)}.{rest}"]
    return own
