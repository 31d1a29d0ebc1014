"""Small LTX-Video files for tests of the command line: of two passes, and of latent upsamplers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import torch

from kinema.networks.ltx_latent_upsampler import LatentUpsampler, LatentUpsamplerConfig
from kinema.systems.ltx_video import LTXVideo
from kinema.systems.ltx_video_config import SecondPass
from kinema.weights.files import save


def write_two_passes(path: str | Path) -> None:
    """A model that makes its clips in two passes, of 3 and 2 steps, with a table of guidance."""
    torch.manual_seed(0)
    base = LTXVideo.PRESETS["nano"]()
    second = SecondPass(
        share=0.67,
        steps=4,
        skip_first=2,
        guidance=1.0,
        perturbed=0.0,
        perturbed_blocks=(),
        rescale=0.0,
    )
    size = {"height": 48, "width": 48, "levels": (0.9, 0.5), "guidance": (1.0, 3.0)}
    sampling = replace(base.sampling, second=second, **size)
    LTXVideo(replace(base, sampling=sampling)).save_pretrained(path)


def write_upsampler(path: str | Path, upsample: str) -> None:
    """A latent upsampler of space or of time, in the file that its authors publish."""
    torch.manual_seed(1)
    axes = {"spatial_upsample": upsample == "space", "temporal_upsample": upsample == "time"}
    sizes = {"in_channels": 8, "mid_channels": 32, "num_blocks_per_stage": 1}
    network = LatentUpsampler(LatentUpsamplerConfig(**sizes, upsample=upsample))
    told = {"_class_name": "LatentUpsampler", "dims": 3, **sizes, **axes}
    save(path, network.state_dict(), {"config": json.dumps(told)}, overwrite=False)
