"""Stores a trained model as the weights that ship with Kinema, and prints what its card must say.

    python bench/ship.py runs/generator/model.safetensors

The weights are stored in bf16, with the sampling of the preset `shapes`.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

import kinema
from kinema.registry import SHIPPED


def main(arguments: Sequence[str]) -> int:
    """Weights in bf16, configuration in the metadata, the sampling of the preset."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, help="the file that the training left")
    place = SHIPPED / "ltx_video.shapes.safetensors"
    parser.add_argument(
        "--to", type=Path, default=place, help="replaced; the shipped file if absent"
    )
    options = parser.parse_args(arguments)
    model = kinema.load(f"ltx_video@{options.model}")
    sampling = type(model).PRESETS["shapes"]().sampling  # chosen once the model was trained
    model.config = replace(model.config, sampling=sampling)
    model.save_pretrained(options.to, dtype=torch.bfloat16, overwrite=True)
    content = options.to.read_bytes()
    size, digest = len(content) / 1e6, hashlib.sha256(content).hexdigest()
    print(f"{options.to.name}: {size:.1f} MB, sha256 {digest}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
