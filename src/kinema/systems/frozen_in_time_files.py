"""Files of Frozen in Time: its authors', and an image ViT from which it begins.

Paper, code and license: see `frozen_in_time.py`. The image ViT is timm's ``vit_base_patch16_224``,
whose names are the video encoder's too, or ``google/vit-base-patch16-224`` of transformers.
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
from kinema.networks.distilbert import DistilBERTConfig
from kinema.networks.space_time_vit import SpaceTimeViT
from kinema.systems.recognizer_files import RecognizerFiles
from kinema.weights.files import Checkpoint, open_checkpoint
from kinema.weights.keymap import Tensors, lazy
from kinema.weights.manifests import shapes_of
from kinema.weights.maps import vit
from kinema.weights.maps.frozen_in_time import find_text

NEW = ("temporal_embed", "blocks.*.norm3.*", "blocks.*.timeattn.*")  # in no image ViT
HEADS = ("head.", "fc_norm.")  # which are in no video encoder
SIZED = (
    "embeddings.word_embeddings.weight",
    "embeddings.position_embeddings.weight",
    "transformer.layer.0.ffn.lin1.weight",
)
HEAD_WIDTH = 64  # of published text encoders, where nothing tells the number of heads


class FrozenInTimeFiles(RecognizerFiles):
    """As recognizers are found in files, by their sizes; in those of an image ViT a beginning.

    With the published `time_init` the video encoder gives of one frame what that ViT gives.
    """

    def read(self, path: Path, version: str | None, text_encoder: str | None) -> Checkpoint:
        """A file by our names, with our configuration.

        Args:
            path: a file of the authors without their code, or of an image ViT.
            version: one of `versions`; needed for an image ViT.
            text_encoder: folder of the text encoder: of its tokenizer, which is in no file, and
                where the file is an image ViT of its weights too, which may be a BERT's.

        Raises:
            InputError: it is damaged, or of no published size; several fit, or not the one named;
                or an image ViT comes without a text encoder.
        """
        if version not in (None, *self.versions):
            raise unknown(f"published version of {self.name}", str(version), self.versions)
        theirs = open_checkpoint(path).tensors
        plain = vit.find(theirs).lazy_to_ours(theirs)
        image = {f"video.{k}": v for k, v in plain.items() if not k.startswith(HEADS)}
        begins = KERNEL in plain
        tensors = image if begins else self.find(theirs).lazy_to_ours(theirs)
        configs = {name: make() for name, make in self.versions.items()}
        fitting = [name for name, config in configs.items() if self._fits(config, tensors)]
        config = configs[self._one(path, version, fitting)]
        if begins and text_encoder is None:
            raise InputError(f"{path} is an image ViT; name the folder of a text encoder beside it")
        if begins:
            text, spoken = words(str(text_encoder))
            projections = replace(config.projections, text_width=text.width)
            config = replace(config, text=text, projections=projections)
            tensors = {**self._new(config), **image, **spoken}
        elif text_encoder is not None:
            config = replace(config, text=replace(config.text, folder=text_encoder))
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


def words(folder: str) -> tuple[DistilBERTConfig, Tensors]:
    """Sizes and tensors, by our names, of a DistilBERT or BERT in a folder of transformers.

    Raises:
        InputError: the folder holds neither as safetensors, or a damaged one.
    """
    checkpoint = open_checkpoint(folder)
    found = find_text(checkpoint.tensors).lazy_to_ours(checkpoint.tensors)
    told = checkpoint.config or {}
    try:
        (vocabulary, width), (places, _), (hidden, _) = (found[name].shape for name in SIZED)
    except (KeyError, ValueError):
        raise InputError(f"{folder} holds no DistilBERT or BERT") from None
    types = found.get("embeddings.token_type_embeddings.weight")
    config = DistilBERTConfig(
        folder=folder,
        vocabulary=vocabulary,
        max_tokens=places,
        width=width,
        hidden=hidden,
        num_layers=sum(name.endswith(".ffn.lin1.weight") for name in found),
        num_heads=told.get("n_heads", told.get("num_attention_heads", width // HEAD_WIDTH)),
        token_types=0 if types is None else types.shape[0],
    )
    return config, {f"text.{name}": value for name, value in found.items()}
