"""Sizes of UniFormerV2, published ones among them; for paper and code see `uniformerv2.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from kinema.config import config
from kinema.errors import InputError
from kinema.networks.clip import EPS
from kinema.networks.official import check_arguments
from kinema.networks.vit import ViTConfig, check_heads


@config
class UniFormerV2Config(ViTConfig):
    """Sizes of CLIP's image tower, and of what it is armed with.

    Args:
        num_classes: K.
        tube_frames: frames of a patch: 1, or 3 of which every second clip frame is a middle one.
        tube_stride: frames from patch to patch.
        num_local: local aggregators of each block: none, 1 before attention, 2 before the MLP too.
        local_width: channels inside a local aggregator.
        read_after: numbers of the blocks, from 0, after which the video token reads.
        read_heads: heads of that attention.
        read_hidden: width inside the MLPs behind it.
        frozen: the tower is not trained; features are then those of the video token alone, with no
            part of the class tokens.
        drop_path: share of frames, or clips, that skip a path of the last block; it rises from 0 at
            the first.
        read_drop_path: the same of the readers.
        dropout: inside the MLPs of the readers, and before the head.
    """

    num_classes: int
    tube_frames: int
    tube_stride: int
    num_local: int
    local_width: int
    read_after: tuple[int, ...]
    read_heads: int
    read_hidden: int
    frozen: bool
    drop_path: float
    read_drop_path: float
    dropout: float

    def __post_init__(self) -> None:
        ViTConfig.__post_init__(self)
        check_heads(self.width, self.read_heads)
        if self.num_local not in (0, 1, 2):
            raise InputError(f"num_local must be 0, 1 or 2, not {self.num_local}")
        for name in ("num_classes", "tube_frames", "tube_stride", "local_width", "read_hidden"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.read_after != tuple(i for i in range(self.num_layers) if i in self.read_after):
            raise InputError(
                f"read_after must be rising numbers below {self.num_layers}, not {self.read_after}"
            )


def b_16(num_classes: int) -> UniFormerV2Config:
    """B/16: 114,552,208 parameters for 400 classes, 114,790,598 for 710."""
    return UniFormerV2Config(
        image_size=224,
        patch_size=16,
        width=768,
        num_layers=12,
        num_heads=12,
        eps=EPS,
        num_classes=num_classes,
        tube_frames=1,
        tube_stride=1,
        num_local=0,
        local_width=512,
        read_after=(8, 9, 10, 11),
        read_heads=12,
        read_hidden=3072,
        frozen=False,
        drop_path=0.0,
        read_drop_path=0.0,
        dropout=0.5,
    )


def l_14(num_classes: int) -> UniFormerV2Config:
    """L/14 at 224 pixels: 354,099,600 parameters for 400 classes."""
    return replace(
        b_16(num_classes),
        patch_size=14,
        width=1024,
        num_layers=24,
        num_heads=16,
        local_width=682,
        read_after=(20, 21, 22, 23),
        read_heads=16,
        read_hidden=4096,
    )


def l_14_336(num_classes: int) -> UniFormerV2Config:
    """L/14 at 336 pixels: 354,427,280 parameters for 400 classes."""
    return replace(l_14(num_classes), image_size=336)


def l_14_336_frozen(num_classes: int) -> UniFormerV2Config:
    """L/14 at 336 pixels whose tower is CLIP's: 354,744,006 parameters for 710 classes."""
    return replace(l_14_336(num_classes), frozen=True)


def b_16_local(num_classes: int) -> UniFormerV2Config:
    """B/16 of Something-Something: 162,992,814 parameters for 174 classes."""
    return _with_local(b_16(num_classes), first=4)


def l_14_local(num_classes: int) -> UniFormerV2Config:
    """L/14 of Something-Something: 573,949,966 parameters for 174 classes."""
    return _with_local(l_14(num_classes), first=8)


def _with_local(base: UniFormerV2Config, *, first: int) -> UniFormerV2Config:
    """Local aggregators, every second frame, and readers from block `first` on."""
    return replace(
        base,
        tube_frames=3,
        tube_stride=2,
        num_local=2,
        read_after=tuple(range(first, base.num_layers)),
        drop_path=0.2,
        read_drop_path=0.4,
    )


NEEDED = ("input_resolution", "patch_size", "width", "layers", "heads")
# The other arguments of the authors' class, with their defaults.
DEFAULTS = {
    "backbone_drop_path_rate": 0.0,
    "kernel_size": 3,
    "dw_reduction": 1.5,
    "temporal_downsample": True,
    "no_lmhra": False,
    "double_lmhra": True,
    "return_list": tuple(range(12)),
    "n_layers": 12,
    "n_dim": 768,
    "n_head": 12,
    "mlp_factor": 4.0,
    "drop_path_rate": 0.0,
    "mlp_dropout": (0.5,) * 12,
    "cls_dropout": 0.5,
    "num_classes": 400,
    "frozen": False,
}
# No tensor and no result depends on these. The number of frames is that of the clip.
IDLE = ("output_dim", "use_checkpoint", "checkpoint_num", "t_size")


def from_official(official: Mapping[str, Any]) -> UniFormerV2Config:
    """Reads the constructor arguments of the authors' ``VisionTransformer``.

    Raises:
        InputError: an argument is unknown or missing, or asks for what theirs cannot build or ours
            does not have: readers of another width, or with several shares of dropout.
    """
    check_arguments("UniFormerV2", official, needed=NEEDED, optional=(*DEFAULTS, *IDLE), fixed={})
    given = {**DEFAULTS, **official}
    width, after = given["width"], tuple(sorted(given["return_list"]))
    shares = {given["cls_dropout"], *given["mlp_dropout"][: len(after)]}
    for name, value, wanted in (
        ("n_dim", given["n_dim"], width),
        ("n_layers", given["n_layers"], len(after)),
        ("mlp_dropout", shares, {given["cls_dropout"]}),
    ):
        if value != wanted:
            raise InputError(f"UniFormerV2 of these arguments has {name} {wanted}, not {value}")
    tube_frames, tube_stride = (given["kernel_size"], 2) if given["temporal_downsample"] else (1, 1)
    return UniFormerV2Config(
        image_size=given["input_resolution"],
        patch_size=given["patch_size"],
        width=width,
        num_layers=given["layers"],
        num_heads=given["heads"],
        eps=EPS,
        num_classes=given["num_classes"],
        tube_frames=tube_frames,
        tube_stride=tube_stride,
        num_local=0 if given["no_lmhra"] else 1 + given["double_lmhra"],
        local_width=int(width // given["dw_reduction"]),
        read_after=after,
        read_heads=given["n_head"],
        read_hidden=round(given["mlp_factor"] * width),
        frozen=given["frozen"],
        drop_path=given["backbone_drop_path_rate"],
        read_drop_path=given["drop_path_rate"],
        dropout=given["cls_dropout"],
    )
