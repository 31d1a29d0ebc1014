"""Stores a trained model as the weights that ship with Kinema, and prints what its card must say.

python bench/ship.py runs/generator/model.safetensors
"""

from __future__ import annotations

import hashlib
import sys

import torch

import kinema
from kinema.registry import SHIPPED


def main() -> None:
    """Weights in bf16, configuration in the metadata."""
    path = SHIPPED / "ltx_video.shapes.safetensors"
    kinema.load(f"ltx_video@{sys.argv[1]}").save_pretrained(
        path, dtype=torch.bfloat16, overwrite=True
    )
    content = path.read_bytes()
    print(f"{path.name}: {len(content) / 1e6:.1f} MB, sha256 {hashlib.sha256(content).hexdigest()}")


if __name__ == "__main__":
    main()
