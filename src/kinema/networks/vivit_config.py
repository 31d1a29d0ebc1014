"""Sizes of a ViViT with a factorized encoder, and of its adapters; see `vivit.py`."""

from __future__ import annotations

from typing import Literal

from kinema.config import config
from kinema.errors import InputError
from kinema.networks.vit import ViTConfig, check_heads

TUBELET = 2  # frames
TEMPORAL_LAYERS = 4  # of both published sizes
AdapterName = Literal["class token", "pooling", "blocks"]


@config
class SpatialConfig(ViTConfig):
    """Sizes of the transformer of tubelets of one step; `drop_path` is that of its last block."""

    drop_path: float = 0.0


@config
class TemporalConfig:
    """Sizes of what reads all steps.

    Args:
        width: D, that of the spatial transformer.
        num_layers, num_heads: of the transformer.
        num_steps: T.
        num_patches: P.
        num_classes: K.
        adapter: what makes one token of the tokens of a step: its class token as it is; that, and
            what it picks from the others; or a block that lets all of them attend once more.
        drop_path: rate of the last block in training; it rises evenly from 0.
        eps: of the norms.
    """

    width: int
    num_layers: int
    num_heads: int
    num_steps: int
    num_patches: int
    num_classes: int
    adapter: AdapterName
    drop_path: float = 0.0
    eps: float = 1e-6

    def __post_init__(self) -> None:
        check_heads(self.width, self.num_heads)
        if self.num_steps < 1:
            raise InputError(f"num_steps must be at least 1, not {self.num_steps}")


def spatial_b_16() -> SpatialConfig:
    """B/16x2: 86,388,480 parameters."""
    return SpatialConfig(image_size=224, patch_size=16, width=768, num_layers=12, num_heads=12)


def spatial_l_16() -> SpatialConfig:
    """L/16x2: 304,088,064 parameters."""
    return SpatialConfig(image_size=224, patch_size=16, width=1024, num_layers=24, num_heads=16)


def temporal_of(
    spatial: SpatialConfig, *, num_frames: int, num_classes: int, adapter: AdapterName
) -> TemporalConfig:
    """The published temporal transformer beside a spatial one: B/16x2 28,366,848 parameters, L/16x2
    50,405,376, and a head; for 32 frames, without an adapter.
    """
    return TemporalConfig(
        width=spatial.width,
        num_layers=TEMPORAL_LAYERS,
        num_heads=spatial.num_heads,
        num_steps=num_frames // TUBELET,
        num_patches=spatial.num_patches,
        num_classes=num_classes,
        adapter=adapter,
    )


def check_fit(spatial: SpatialConfig, temporal: TemporalConfig) -> None:
    """Raises InputError unless a temporal transformer reads the tokens of a spatial one."""
    for name in ("width", "num_patches"):
        own, other = getattr(temporal, name), getattr(spatial, name)
        if own != other:
            raise InputError(f"the temporal transformer has {name} {own}, the spatial one {other}")
