"""Gives a model of the world `shapes` the layer that tells tokens their place, as yet zero.

    python bench/add_positions.py runs/generator/model.safetensors runs/placed.safetensors

It predicts what it did before. Noise levels of its training are those of the preset.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import torch

import kinema
from kinema.systems.ltx_video import LTXVideo


def main() -> None:
    """Reads a file and writes the other."""
    source, target = map(Path, sys.argv[1:])
    model = kinema.load(f"ltx_video@{source}", dtype=torch.float32)
    assert isinstance(model, LTXVideo)
    shift = LTXVideo.PRESETS["shapes"]().shift
    sizes = replace(model.config.transformer, absolute_positions=True)
    placed = LTXVideo(replace(model.config, transformer=sizes, shift=shift))
    for role, part in placed.parts.items():
        part.load_state_dict(model.parts[role].state_dict(), strict=role != "transformer")
    placed.save_pretrained(target, dtype=torch.float32)


if __name__ == "__main__":
    main()
