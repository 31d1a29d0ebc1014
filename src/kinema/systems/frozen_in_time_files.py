"""Files of Frozen in Time: its authors', and an image ViT from which it begins.

Paper, code and license: see `frozen_in_time.py`. Names of an image ViT are those of timm's
``vit_base_patch16_224``, which are the video encoder's too.
"""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from torch import nn

from kinema.config import to_dict
from kinema.errors import InputError, unknown
from kinema.networks.clip import KERNEL
from kinema.networks.space_time_vit import SpaceTimeViT
from kinema.systems.recognizer_files import RecognizerFiles
from kinema.weights.files import Checkpoint, open_checkpoint
from kinema.weights.keymap import Tensors, lazy
from kinema.weights.manifests import shapes_of
from kinema.weights.maps.frozen_in_time import find_text

NEW = ("temporal_embed", "blocks.*.norm3.*", "blocks.*.timeattn.*")  # in no image ViT
HEADS = ("head.", "fc_norm.")  # which are in no video encoder


class FrozenInTimeFiles(RecognizerFiles):
    """As recognizers are found in files, by their sizes; in those of an image ViT a beginning.

    With the published `time_init` the video encoder gives of one frame what that ViT gives.
    """

    def read(self, path: Path, version: str | None, text_encoder: str | None) -> Checkpoint:
        """A file by our names, with our configuration.

        Args:
            path: a file of the authors without their code, or of an image ViT.
            version: one of `versions`; needed for an image ViT.
            text_encoder: folder of a DistilBERT: of its tokenizer, which is in no file, and where
                the file is an image ViT of its weights too.

        Raises:
            InputError: it is damaged, or of no published size; several fit, or not the one named;
                or an image ViT comes without a DistilBERT.
        """
        if version not in (None, *self.versions):
            raise unknown(f"published version of {self.name}", str(version), self.versions)
        theirs = open_checkpoint(path).tensors
        image = {f"video.{k}": v for k, v in theirs.items() if not k.startswith(HEADS)}
        begins = KERNEL in theirs
        tensors = image if begins else self.find(theirs).lazy_to_ours(theirs)
        configs = {name: make() for name, make in self.versions.items()}
        fitting = [name for name, config in configs.items() if self._fits(config, tensors)]
        config = configs[self._one(path, version, fitting)]
        if text_encoder is not None:
            config = replace(config, text=replace(config.text, folder=text_encoder))
        elif begins:
            raise InputError(f"{path} is an image ViT; name the folder of a text encoder beside it")
        if begins:
            tensors = {**self._new(config), **image, **words(config.text.folder)}
        metadata = {"system": self.name, "dtype": "float32"}
        return Checkpoint(path, tensors, to_dict(config), metadata)

    def _fits(self, config: Any, tensors: Tensors) -> bool:
        if any(name.startswith("text.") for name in tensors):
            return super()._fits(config, tensors)
        needed = shapes_of(SpaceTimeViT(config.video, device="meta"))
        image = {f"video.{name}": s for name, s in needed.items() if not is_new(name)}
        return {name: value.shape for name, value in tensors.items()} == image

    def _new(self, config: Any) -> Tensors:
        """First values of all but the text encoder."""
        made = {r: self.parts[r](getattr(config, r)) for r in ("video", "projections")}
        return lazy(nn.ModuleDict(made).state_dict())


def is_new(name: str) -> bool:
    """Whether the video encoder has this tensor for itself, and not from an image ViT."""
    return any(fnmatchcase(name, pattern) for pattern in NEW)


def words(folder: str) -> Tensors:
    """The tensors of a DistilBERT in a folder of transformers, by our names.

    Raises:
        InputError: the folder holds no weights as safetensors, or damaged ones.
    """
    theirs = open_checkpoint(folder).tensors
    found = find_text(theirs).lazy_to_ours(theirs)
    return {f"text.{name}": value for name, value in found.items()}
