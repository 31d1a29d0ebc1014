"""Stores a trained model as the weights that ship with Kinema, and prints what its card must say.

python bench/ship.py runs/generator/model.safetensors
"""

from __future__ import annotations

import hashlib
import sys
from dataclasses import replace

import torch

import kinema
from kinema.registry import SHIPPED


def main() -> None:
    """Weights in bf16, configuration in the metadata, the sampling of the preset."""
    path = SHIPPED / "ltx_video.shapes.safetensors"
    model = kinema.load(f"ltx_video@{sys.argv[1]}")
    sampling = type(model).PRESETS["shapes"]().sampling  # chosen once the model was trained
    model.config = replace(model.config, sampling=sampling)
    model.save_pretrained(path, dtype=torch.bfloat16, overwrite=True)
    content = path.read_bytes()
    print(f"{path.name}: {len(content) / 1e6:.1f} MB, sha256 {hashlib.sha256(content).hexdigest()}")


if __name__ == "__main__":
    main()
