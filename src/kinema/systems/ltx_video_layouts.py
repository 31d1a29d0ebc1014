"""LTX-Video in the files of its authors and of diffusers: what they hold and tell of themselves.

Paper, code and license: see `ltx_video.py`. A file of the authors holds transformer and VAE, and in
its metadata their arguments, the sampler and, for distilled models, the noise levels. A folder of
diffusers has a part for each network. The text encoder is a folder of its own.

Inferred: that the metadata of distilled models, and no others, have ``allowed_inference_steps``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from kinema.errors import InputError
from kinema.files import parse_json
from kinema.networks import ltx_diffusers, ltx_transformer, ltx_vae_config
from kinema.networks.ltx_transformer import LTXTransformer, LTXTransformerConfig
from kinema.networks.ltx_vae import LTXVAE
from kinema.networks.ltx_vae_config import LTXVAEConfig
from kinema.systems.ltx_video_versions import VERSIONS
from kinema.weights.files import open_checkpoint
from kinema.weights.keymap import KeyMap, Lazy, compare
from kinema.weights.manifests import shapes_of
from kinema.weights.maps import ltx_transformer as transformer_map
from kinema.weights.maps import ltx_vae as vae_map

NAME = "ltx_video"
INDEX = "model_index.json"  # of a folder
TRANSFORMER = "model.diffusion_model."  # before the names of a single file
ByRole = Mapping[str, Mapping[str, Lazy]]


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a checkpoint tells of itself.

    Attributes:
        path: the file or folder.
        transformer, codec: sizes of the networks.
        tensors: of both, by our names.
        text: where its text encoder lies, if it has one.
        causal: whether positions are causal; None if it does not say.
        distilled: whether it is; None if it does not say.
        scheduler: that of the authors or of diffusers; None if it has none.
    """

    path: Path
    transformer: LTXTransformerConfig
    codec: LTXVAEConfig
    tensors: Mapping[str, Lazy]
    text: Path
    causal: bool | None
    distilled: bool | None
    scheduler: Mapping[str, Any] | None


def in_file(path: Path) -> Found:
    """What a single file of the authors holds.

    Raises:
        InputError: it is damaged, or no LTX-Video.
    """
    checkpoint = open_checkpoint(path)
    tensors = checkpoint.tensors
    if not any(name.startswith(TRANSFORMER) for name in tensors):
        raise InputError(f"{path} holds no {NAME} model: no tensor is named {TRANSFORMER}*")
    by_role = {
        "transformer": _ours(path, tensors, transformer_map.SINGLE_FILE),
        "codec": _ours(path, tensors, vae_map.SINGLE_FILE),
    }
    told = checkpoint.config or {}
    if told:
        lacking = [part for part in ("transformer", "vae") if not isinstance(told.get(part), dict)]
        if lacking:
            raise InputError(f"the metadata entry 'config' of {path} lacks {', '.join(lacking)}")
        transformer = ltx_transformer.from_official(told["transformer"])
        codec = ltx_vae_config.from_official(told["vae"])
    else:
        transformer, codec = _sizes_by_shapes(path, by_role)
    return Found(
        path=path,
        transformer=transformer,
        codec=codec,
        tensors=_joined(by_role),
        text=path.parent,
        causal=bool(told["transformer"].get("causal_temporal_positioning")) if told else None,
        distilled=bool(told.get("allowed_inference_steps")) if told else None,
        scheduler=told.get("scheduler"),
    )


def in_folder(path: Path) -> Found:
    """What a folder of diffusers holds.

    Raises:
        InputError: a part is missing or damaged, or it is no LTX-Video.
    """
    if not (path / INDEX).is_file():
        raise InputError(f"{path} holds no {NAME} model: a folder of diffusers has a {INDEX}")
    transformer, codec = (open_checkpoint(path / part) for part in ("transformer", "vae"))
    for part in (transformer, codec):
        if part.config is None:
            raise InputError(f"{part.path} has no config.json")
    by_role = {
        "transformer": _ours(path, transformer.tensors, transformer_map.DIFFUSERS),
        "codec": _ours(path, codec.tensors, vae_map.find(codec.tensors)),
    }
    scheduler = path / "scheduler" / "scheduler_config.json"
    return Found(
        path=path,
        transformer=ltx_diffusers.transformer_from_diffusers(transformer.config or {}),
        codec=ltx_diffusers.vae_from_diffusers(codec.config or {}),
        tensors=_joined(by_role),
        text=path,
        causal=None,
        distilled=None,
        scheduler=read_json(scheduler) if scheduler.is_file() else None,
    )


def _ours(path: Path, tensors: Mapping[str, Lazy], keymap: KeyMap) -> dict[str, Lazy]:
    try:
        return keymap.lazy_to_ours(tensors)
    except InputError as error:
        raise InputError(f"{path} holds no {NAME} model: {error}") from None


def _joined(by_role: ByRole) -> dict[str, Lazy]:
    return {f"{role}.{k}": value for role, held in by_role.items() for k, value in held.items()}


def _sizes_by_shapes(path: Path, by_role: ByRole) -> tuple[LTXTransformerConfig, LTXVAEConfig]:
    """The sizes of a file without metadata, told by the shapes of all its tensors."""
    known = [make() for make in VERSIONS.values()]
    held = by_role["transformer"]
    sizes = (config.transformer for config in known)
    transformer = next(
        (size for size in sizes if _fits(LTXTransformer(size, device="meta"), held)), None
    )
    held = by_role["codec"]
    codec = next((c.codec for c in known if _fits(LTXVAE(c.codec, device="meta"), held)), None)
    if transformer is None or codec is None:
        which = "transformer" if transformer is None else "VAE"
        raise InputError(
            f"{path} has no metadata that tell sizes, and its {which} is of no published version"
        )
    return transformer, codec


def _fits(network: nn.Module, tensors: Mapping[str, Lazy]) -> bool:
    shapes = {name: value.shape for name, value in tensors.items()}
    return not compare(shapes, shapes_of(network))


def read_json(path: Path) -> dict[str, Any]:
    """A file that holds a JSON object; raises InputError if it does not."""
    value = parse_json(path.read_text(encoding="utf-8", errors="replace"), str(path))
    if not isinstance(value, dict):
        raise InputError(f"{path} must be a JSON object")
    return value
