"""Sizes of ZeroI2V, published ones among them; for paper and code see `zeroi2v.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from kinema.config import config
from kinema.errors import InputError
from kinema.networks.clip import EPS
from kinema.networks.official import check_arguments
from kinema.networks.vit import ViTConfig

Layer = Literal["qkv", "proj", "fc1", "fc2"]
Within = Literal["width", "head", "class token"]
LAYERS: tuple[Layer, ...] = ("qkv", "proj", "fc1", "fc2")
FRONT: tuple[Layer, ...] = ("qkv", "fc1")
"""Adapters stand before these layers, and behind the others."""


@config
class Shift:
    """A group of channels whose keys and values come from another frame.

    Args:
        frames: how many frames earlier, or later if it is negative.
        channels: how many, next to those of the group before.
    """

    frames: int
    channels: int

    def __post_init__(self) -> None:
        if not self.frames or self.channels < 1:
            raise InputError(f"a shift needs frames other than 0 and channels, not {self}")


@config
class AdapterConfig:
    """Adapters of a block, as they are trained; they can be merged unless they have a GELU.

    Args:
        hidden: their inner width.
        scale: of what they add.
        dropout: share of inner values that are dropped.
        layers: those that have an adapter.
        gelu: whether they bend: an ablation.
        separate: whether queries, keys and values have one each: an ablation.
    """

    hidden: int
    scale: float
    dropout: float
    layers: tuple[Layer, ...]
    gelu: bool
    separate: bool

    def __post_init__(self) -> None:
        if self.hidden < 1:
            raise InputError(f"hidden must be at least 1, not {self.hidden}")


@config
class ZeroI2VConfig(ViTConfig):
    """Sizes of CLIP's image tower, and of what lets it see time.

    Args:
        num_classes: K.
        num_frames: T.
        shifts: groups of channels, from the first channel on.
        within: what has these channels: all heads side by side, each head, or all heads of the
            class token alone. The last two are ablations.
        adapters: None once they are merged.
        dropout: before the head.
    """

    num_classes: int
    num_frames: int
    shifts: tuple[Shift, ...]
    within: Within
    adapters: AdapterConfig | None
    dropout: float

    def __post_init__(self) -> None:
        ViTConfig.__post_init__(self)
        for name in ("num_classes", "num_frames"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, not {getattr(self, name)}")
        shifted = sum(shift.channels for shift in self.shifts)
        if shifted > (there := _channels(self.within, self.width, self.num_heads)):
            raise InputError(f"the shifts take {shifted} channels of {there}")


def b_16(num_classes: int, num_frames: int) -> ZeroI2VConfig:
    """B/16 of Kinetics-400 and the small sets; for 8 frames 100,007,424 parameters and the head.

    One head looks back, one ahead. Merged it has 85,805,568 and the head.
    """
    shifts = (Shift(frames=1, channels=64), Shift(frames=-1, channels=64))
    return ZeroI2VConfig(
        eps=EPS,
        num_classes=num_classes,
        num_frames=num_frames,
        image_size=224,
        patch_size=16,
        width=768,
        num_layers=12,
        num_heads=12,
        shifts=shifts,
        within="width",
        adapters=_linear(192, scale=0.5),
        dropout=0.5,
    )


def b_16_two_frames(num_classes: int, num_frames: int) -> ZeroI2VConfig:
    """B/16 of UCF-101 and HMDB-51 with 32 frames: two more heads look two frames back and ahead."""
    base = b_16(num_classes, num_frames)
    more = (Shift(frames=2, channels=64), Shift(frames=-2, channels=64))
    return replace(base, shifts=base.shifts + more)


def b_16_something(num_classes: int) -> ZeroI2VConfig:
    """B/16 of Something-Something V2, 16 frames: 100,013,568 parameters and the head.

    Merged it has 85,811,712 and the head.
    """
    adapters = replace(_linear(192, scale=1.0), dropout=0.0)
    return replace(b_16_two_frames(num_classes, 16), adapters=adapters)


def l_14(num_classes: int) -> ZeroI2VConfig:
    """L/14 of Kinetics-400, 8 frames: 353,642,496 parameters and the head.

    Two heads look back, two ahead. Merged it has 303,187,968 and the head.
    """
    return replace(
        b_16(num_classes, 8),
        patch_size=14,
        width=1024,
        num_layers=24,
        num_heads=16,
        shifts=(Shift(frames=1, channels=128), Shift(frames=-1, channels=128)),
        adapters=_linear(256, scale=0.5),
    )


def l_14_long(num_classes: int) -> ZeroI2VConfig:
    """L/14 of Kinetics-400, 32 frames: 353,667,072 parameters and the head.

    Two more heads look two frames back. Merged it has 303,212,544 and the head.
    """
    base = l_14(num_classes)
    return replace(base, num_frames=32, shifts=(*base.shifts, Shift(frames=2, channels=128)))


def l_14_something(num_classes: int) -> ZeroI2VConfig:
    """L/14 of Something-Something V2, 32 frames: as many parameters as `l_14_long`."""
    far = (
        Shift(frames=2, channels=64),
        Shift(frames=-2, channels=64),
        Shift(frames=3, channels=64),
    )
    base = l_14(num_classes)
    return replace(base, num_frames=32, shifts=base.shifts + far, adapters=_linear(256, scale=1.0))


def _linear(hidden: int, *, scale: float) -> AdapterConfig:
    return AdapterConfig(
        hidden=hidden, scale=scale, dropout=0.1, layers=LAYERS, gelu=False, separate=False
    )


def _channels(within: Within, width: int, num_heads: int) -> int:
    return width // num_heads if within == "head" else width


# The authors' classes: for training, for inference, with longer shifts, of the ablations.
Official = Literal["train", "merged", "long", "ablation"]
NEEDED = ("input_resolution", "num_frames", "patch_size", "width", "layers", "heads")
ADAPTING = ("dropout_rate", "num_tadapter", "adapter_scale", "mlp_ratio")
NEAR_AND_FAR = ("shift_div", "shift_stride", "long_shift_div")
SHIFTING: dict[Official, tuple[str, ...]] = {
    "train": NEAR_AND_FAR,
    "merged": NEAR_AND_FAR[:2],
    "long": (
        *("shift1_div", "shift2_div", "shift3_div", "shift4_div"),
        *("shift3_right", "shift4_right"),
    ),
    "ablation": (*NEAR_AND_FAR, "long_shift_right"),
}
# What a class is given but does not read; its inference drops the far shifts of its training.
UNREAD: dict[Official, tuple[str, ...]] = {
    "train": ("long_shift_right",),
    "merged": ("long_shift_div", "long_shift_right"),
    "long": (),
    "ablation": ("divide_head",),
}
OPERATIONS: dict[str, Within] = {"stdha": "width", "tcs": "head", "token_shift": "class token"}


def from_official(
    kind: Official, official: Mapping[str, Any], *, num_classes: int
) -> ZeroI2VConfig:
    """Reads the constructor arguments of the authors' backbones, which have no head.

    Args:
        kind: which of their classes.
        official: its arguments; configurations of the ablations that leave out ``ops_type``, as the
            published ones do, mean ``stdha``.
        num_classes: of the head.

    Raises:
        InputError: an argument is unknown or missing, or has a value that theirs refuses or ours
            does not have, as shifted queries.
    """
    merged = kind == "merged"
    fixed: dict[str, tuple[Any, ...]] = {"final_ta_cfg": ({},)}
    if kind == "long":
        fixed |= {"adapter_type": ("rep",), "attn_adapter_type": ("share",)}
    elif kind == "ablation":
        fixed |= {"adapter_type": ("linear", "gelu"), "attn_adapter_type": ("share", "qkv")}
    else:
        fixed |= {"adapter_type": ("linear",)}
    check_arguments(
        f"ZeroI2V ({kind})",
        official,
        needed=NEEDED,
        optional=("stdha_cfg", *(("freeze_all",) if merged else (*ADAPTING, "pretrained"))),
        fixed={} if merged else fixed,
    )
    width, heads = official["width"], official["heads"]
    shifting = official.get("stdha_cfg", {})
    operation = shifting.get("ops_type", "stdha") if kind == "ablation" else "stdha"
    return ZeroI2VConfig(
        image_size=official["input_resolution"],
        patch_size=official["patch_size"],
        width=width,
        num_layers=official["layers"],
        num_heads=heads,
        eps=EPS,
        num_classes=num_classes,
        num_frames=official["num_frames"],
        shifts=shifts_from_official(kind, shifting, width=width, num_heads=heads),
        within=OPERATIONS[operation],
        adapters=None if merged else _adapters(kind, official),
        dropout=0.5,
    )


def _adapters(kind: Official, official: Mapping[str, Any]) -> AdapterConfig:
    count = official.get("num_tadapter", 1)
    layers = LAYERS if count == 2 else LAYERS[:-1]
    return AdapterConfig(
        hidden=int(official["width"] * official.get("mlp_ratio", 0.25)),
        scale=float(official.get("adapter_scale", 0.5)),
        dropout=float(official.get("dropout_rate", 0.1)),
        layers=FRONT if count == -1 and kind != "train" else layers,
        gelu=official.get("adapter_type") == "gelu",
        separate=official.get("attn_adapter_type") == "qkv",
    )


def shifts_from_official(
    kind: Official, official: Mapping[str, Any], *, width: int, num_heads: int
) -> tuple[Shift, ...]:
    """Reads the arguments of their attention, ``stdha_cfg``.

    Groups that do not fit are cut off, as theirs are.

    Raises:
        InputError: as `from_official`.
    """
    fixed: dict[str, tuple[Any, ...]] = {"divide_head": (False,)}
    if kind in ("long", "ablation"):
        fixed["shift_pattern"] = ("kv",)
    if kind == "ablation":
        fixed = {"ops_type": tuple(OPERATIONS), "shift_pattern": ("kv",)}
    name = f"the attention of ZeroI2V ({kind})"
    optional = (*SHIFTING[kind], *UNREAD[kind])
    check_arguments(name, official, needed=(), optional=optional, fixed=fixed)
    within = OPERATIONS[official.get("ops_type", "stdha")]
    left = _channels(within, width, num_heads)
    groups = _long(official, width) if kind == "long" else _short(kind, official, width, left)
    found = []
    for frames, channels in groups:
        if channels := min(channels, left):
            found.append(Shift(frames=frames, channels=channels))
        left -= channels
    return tuple(found)


def _short(
    kind: Official, official: Mapping[str, Any], width: int, channels: int
) -> list[tuple[int, int]]:
    """(frames, channels) of the groups, of which the near ones divide `channels`."""
    near = int(channels // official.get("shift_div", 4 if kind == "merged" else 12))
    if official.get("ops_type") == "token_shift":
        return [(1, near), (-1, near)]
    stride, far = official.get("shift_stride", 1), official.get("long_shift_div", -1)
    groups = [(stride, near), (-stride, near)]
    if far > 0 and kind != "merged":
        sides = (2, -2) if kind == "ablation" and official.get("long_shift_right") else (2,)
        groups += [(side, width // far) for side in sides]
    return groups


def _long(official: Mapping[str, Any], width: int) -> list[tuple[int, int]]:
    """The same, of the class with shifts over up to four frames."""
    groups = []
    for frames in (1, 2, 3, 4):
        divisor = official.get(f"shift{frames}_div", 12 if frames == 1 else -1)
        if divisor > 0:
            both = frames < 3 or official.get(f"shift{frames}_right", False)
            groups += [(side, width // divisor) for side in (frames, -frames)[: 1 + both]]
    return groups
