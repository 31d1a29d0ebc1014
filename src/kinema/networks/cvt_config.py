"""Sizes of CvT: published ones, and those of the authors' constructor.

Paper, code and license: see `cvt.py`. Letters: C channels of a stage, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kinema.config import config, from_dict
from kinema.errors import InputError
from kinema.networks.official import check_arguments
from kinema.networks.vit import check_heads

KERNEL = 3  # of the convolutions of queries, keys and values


@config
class CvTStageConfig:
    """One stage.

    Args:
        kernel, stride, padding: of the convolution that makes its tokens.
        width: C.
        num_heads: of its attentions.
        num_layers: blocks.
        kv_stride: of the convolutions of keys and values; 2 leaves a quarter of them.
        drop_path: share of residuals that are dropped in training by the last block; the others
            drop evenly fewer, the first none.
    """

    kernel: int
    stride: int
    padding: int
    width: int
    num_heads: int
    num_layers: int
    kv_stride: int
    drop_path: float

    def __post_init__(self) -> None:
        check_heads(self.width, self.num_heads)
        for name in ("kernel", "stride", "num_layers", "kv_stride"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, not {getattr(self, name)}")


@config
class CvTConfig:
    """Sizes.

    Args:
        stages: one after another.
        class_token: whether the last stage has one; features are the mean of its tokens if not.
        num_classes: K.
    """

    stages: tuple[CvTStageConfig, ...]
    class_token: bool
    num_classes: int

    def __post_init__(self) -> None:
        if not self.stages:
            raise InputError("CvT needs at least one stage")

    @property
    def width(self) -> int:
        """Channels of the last stage, and of the features."""
        return self.stages[-1].width


def cvt_13(num_classes: int) -> CvTConfig:
    """CvT-13: 19,997,480 parameters for 1000 classes."""
    return _published((64, 192, 384), (1, 3, 6), (1, 2, 10), 0.1, num_classes)


def cvt_21(num_classes: int) -> CvTConfig:
    """CvT-21: 31,622,696 parameters for 1000 classes."""
    return _published((64, 192, 384), (1, 3, 6), (1, 4, 16), 0.1, num_classes)


def cvt_w24(num_classes: int) -> CvTConfig:
    """CvT-W24: 277,196,392 parameters for 1000 classes."""
    return _published((192, 768, 1024), (3, 12, 16), (2, 2, 20), 0.3, num_classes)


def _published(
    widths: tuple[int, ...],
    heads: tuple[int, ...],
    layers: tuple[int, ...],
    drop_path: float,
    num_classes: int,
) -> CvTConfig:
    last = len(widths) - 1
    stages = tuple(
        stage(number, widths[number], heads[number], layers[number], drop_path * (number == last))
        for number in range(len(widths))
    )
    return CvTConfig(stages=stages, class_token=True, num_classes=num_classes)


def stage(
    number: int, width: int, num_heads: int, num_layers: int, drop_path: float
) -> CvTStageConfig:
    """A stage of these sizes, its convolutions as in every published model: a stride of 4, then 2.

    Args:
        number: of the stage, from 0.
        width, num_heads, num_layers, drop_path: see `CvTStageConfig`.
    """
    kernel, stride, padding = (7, 4, 2) if number == 0 else (3, 2, 1)
    return CvTStageConfig(
        kernel=kernel,
        stride=stride,
        padding=padding,
        width=width,
        num_heads=num_heads,
        num_layers=num_layers,
        kv_stride=2,
        drop_path=drop_path,
    )


SIZES = {
    "PATCH_SIZE": "kernel",
    "PATCH_STRIDE": "stride",
    "PATCH_PADDING": "padding",
    "DIM_EMBED": "width",
    "NUM_HEADS": "num_heads",
    "DEPTH": "num_layers",
    "STRIDE_KV": "kv_stride",
    "DROP_PATH_RATE": "drop_path",
}
# What all stages have in common.
SAME: dict[str, Any] = {
    "MLP_RATIO": 4.0,
    "QKV_BIAS": True,
    "QKV_PROJ_METHOD": "dw_bn",
    "KERNEL_QKV": KERNEL,
    "PADDING_Q": KERNEL // 2,
    "PADDING_KV": KERNEL // 2,
    "STRIDE_Q": 1,
    "DROP_RATE": 0.0,
    "ATTN_DROP_RATE": 0.0,
}
FIXED: dict[str, tuple[Any, ...]] = {
    "in_chans": (3,),
    "init": ("trunc_norm",),
    "act_layer": ("QuickGELU",),
    "norm_layer": ("LayerNorm eps 1e-5",),
}


def from_official(official: Mapping[str, Any]) -> CvTConfig:
    """Reads the constructor arguments of the authors' ``ConvolutionalVisionTransformer``.

    Raises:
        InputError: an argument is unknown or missing, or asks for what we leave out.
    """
    check_arguments("CvT", official, needed=("spec", "num_classes"), optional=(), fixed=FIXED)
    spec = official["spec"]
    if not isinstance(spec, Mapping) or not isinstance(spec.get("NUM_STAGES"), int):
        raise InputError(
            f"spec of CvT must be a mapping with a number NUM_STAGES, not {spec!r:.60}"
        )
    count = spec["NUM_STAGES"]
    fixed: dict[str, tuple[Any, ...]] = {name: ([value] * count,) for name, value in SAME.items()}
    # A class token before the last stage would be dropped by the next.
    fixed["CLS_TOKEN"] = tuple([*[False] * (count - 1), last] for last in (True, False))
    fixed["INIT"] = ("trunc_norm",)
    needed = ("NUM_STAGES", "CLS_TOKEN", *SIZES)
    check_arguments("spec of CvT", spec, needed=needed, optional=(), fixed=fixed)
    for name in SIZES:
        if len(spec[name]) != count:
            raise InputError(f"{name} of CvT has {len(spec[name])} values for {count} stages")
    stages = [{ours: spec[theirs][i] for theirs, ours in SIZES.items()} for i in range(count)]
    values = {
        "stages": stages,
        "class_token": spec["CLS_TOKEN"][-1],
        "num_classes": official["num_classes"],
    }
    return from_dict(CvTConfig, values, where="CvT")
