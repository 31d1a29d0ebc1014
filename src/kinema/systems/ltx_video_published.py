"""LTX-Video as its authors and diffusers publish it: which version a checkpoint is.

Paper, code and license: see `ltx_video.py`. What it holds: see `ltx_video_layouts.py`. A version is
told by the networks and what else a checkpoint says, never by the name of a file.
"""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import torch

from kinema.conditions.text import T5Config, encoder_folders
from kinema.config import from_dict, to_dict
from kinema.data.clips import ClipSize
from kinema.errors import InputError, unknown
from kinema.processes.schedules import TokenShift
from kinema.systems.ltx_video_config import LTXVideoConfig
from kinema.systems.ltx_video_layouts import NAME, Found, in_file, in_folder, read_json
from kinema.systems.ltx_video_versions import VERSIONS, full
from kinema.weights.files import Checkpoint

OURS = "kinema.json"  # our configuration in a folder of diffusers
FEW_BITS = (torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2)


def read(path: Path, version: str | None, text_encoder: str | None) -> Checkpoint:
    """A published checkpoint by our names, with our configuration; hardly a value is read.

    Args:
        path: a single file, or a folder of diffusers.
        version: one of `VERSIONS`, where it does not tell itself.
        text_encoder: folder of the T5 encoder, where it is not with the checkpoint.

    Raises:
        InputError: it is damaged, or no LTX-Video; it does not tell which version it is; or it is
            another than was named.
    """
    found = in_folder(path) if path.is_dir() else in_file(path)
    config = _own(found) if path.is_dir() else None
    if config is None:
        config = _configuration(found, version)
    elif version is not None:
        raise InputError(f"{path} tells itself which version it is; name it {NAME}@{path}")
    assert isinstance(config.text, T5Config), "so are all versions, and `_own` has checked it"
    folder = str(text_encoder or found.text)
    encoder_folders(folder)
    config = replace(config, text=replace(config.text, folder=folder))
    table = found.tensors.get("transformer.scale_shift_table")
    few = table is not None and table.read().dtype in FEW_BITS
    metadata = {"system": NAME, "dtype": "bfloat16" if few else "float32"}
    return Checkpoint(path, found.tensors, to_dict(config), metadata)


def _own(found: Found) -> LTXVideoConfig | None:
    """What we wrote beside a folder, if it is of ours."""
    place = found.path / OURS
    if not place.is_file():
        return None
    config = from_dict(LTXVideoConfig, read_json(place).get("config"), where=str(place))
    if not _same_networks(config, found) or not isinstance(config.text, T5Config):
        raise InputError(f"{place} tells of other networks than the folder holds; remove it")
    return config


def _configuration(found: Found, version: str | None) -> LTXVideoConfig:
    """The published version, with what the checkpoint tells of itself."""
    alike = [name for name, make in VERSIONS.items() if _same_networks(make(), found)]
    if version is not None:
        if version not in VERSIONS:
            raise unknown(f"published version of {NAME}", version, VERSIONS)
        if alike and version not in alike:
            raise InputError(f"{found.path} holds {' or '.join(alike)}, not {version}")
        return _scheduled(_with_networks(VERSIONS[version](), found), found, named=True)
    named = [name for name in alike if _agrees(VERSIONS[name](), found)]
    if not named:
        raise InputError(
            f"{found.path} is of no published version; name the one that it is sampled as: "
            f"{NAME}:{alike[0] if alike else next(iter(VERSIONS))}@{found.path}"
        )
    first, *others = named
    if any(_sampler(VERSIONS[name]()) != _sampler(VERSIONS[first]()) for name in others):
        mend = " or ".join(f"{NAME}:{name}@{found.path}" for name in named)
        raise InputError(f"{found.path} does not tell which version it is; name it {mend}")
    return _scheduled(_with_networks(VERSIONS[first](), found), found, named=False)


def _sampler(config: LTXVideoConfig) -> LTXVideoConfig:
    """All but the size of clips: of versions that differ in that alone, the first is taken."""
    same = {field.name: getattr(full().sampling, field.name) for field in fields(ClipSize)}
    return replace(config, sampling=replace(config.sampling, **same))


def _same_networks(config: LTXVideoConfig, found: Found) -> bool:
    return (config.transformer, config.codec) == (found.transformer, found.codec)


def _agrees(config: LTXVideoConfig, found: Found) -> bool:
    """Whether a version is what a checkpoint says beside its networks."""
    distilled = bool(config.sampling.sigmas)
    positions = found.causal in (None, config.causal_positions)
    return positions and found.distilled in (None, distilled)


def _with_networks(config: LTXVideoConfig, found: Found) -> LTXVideoConfig:
    text = replace(config.text, width=found.transformer.caption_channels)
    causal = config.causal_positions if found.causal is None else found.causal
    return replace(
        config,
        text=text,
        transformer=found.transformer,
        codec=found.codec,
        causal_positions=causal,
    )


def _scheduled(config: LTXVideoConfig, found: Found, *, named: bool) -> LTXVideoConfig:
    """With the noise levels of the checkpoint, where it tells them.

    A version that was named keeps its own where those of the checkpoint are not known here.
    """
    told = found.scheduler
    if told is None or config.sampling.sigmas:
        return config
    unshifted = told.get("sampler") == "LinearQuadratic" and told.get("shifting") is None
    if unshifted or told.get("use_dynamic_shifting") is False:
        return replace(config, sampling=replace(config.sampling, schedule="linear_quadratic"))
    as_sd3 = told.get("shifting") == "SD3" and told.get("sampler", "Uniform") == "Uniform"
    terminal = told.get("target_shift_terminal", told.get("shift_terminal"))
    if as_sd3 and terminal is not None:
        shift = config.shift
    elif told.get("use_dynamic_shifting") and terminal is not None:
        tokens = (told.get("base_image_seq_len"), told.get("max_image_seq_len"))
        line = {"tokens": tokens, "mu": (told.get("base_shift"), told.get("max_shift"))}
        shift = from_dict(TokenShift, line, where=f"the scheduler of {found.path}")
    elif named:
        return config
    else:
        raise InputError(
            f"{found.path} has a scheduler that is not known here: {json.dumps(dict(told)):.200}; "
            f"name a version, as {NAME}:{next(iter(VERSIONS))}@{found.path}, to take its own"
        )
    values = {**to_dict(config.sampling), "schedule": "shifted", "terminal": terminal}
    if values["second"] is not None:
        values["second"]["schedule"] = "shifted"
    sampling = from_dict(type(config.sampling), values, where=f"the scheduler of {found.path}")
    return replace(config, shift=shift, sampling=sampling)
