"""Key maps of CvT: the authors' files and those of transformers.

Verified: every tensor of CvT-13, CvT-21 and CvT-W24, both ways; transformers' class of a small
size, both ways. The weights on the hub were trained with QuickGELU, as ours compute, though
transformers' class computes with an exact GELU.
"""

from __future__ import annotations

from collections.abc import Collection

from kinema.weights.keymap import KeyMap, Rename

OFFICIAL = KeyMap(Rename("stage{i}.*", "stages.{i}.*"))

_STAGE = "cvt.encoder.stages.{s}"
_LAYER = f"{_STAGE}.layers.{{b}}"
_BLOCK = "stages.{s}.blocks.{b}"
_CONVS = "convolution_projection"


def _projections(letter: str, name: str) -> tuple[Rename, ...]:
    """Those of queries, keys or values."""
    conv = f"{_LAYER}.attention.attention.{_CONVS}_{name}.{_CONVS}"
    return (
        Rename(f"{conv}.convolution.*", f"{_BLOCK}.attn.conv_proj_{letter}.conv.*"),
        Rename(f"{conv}.normalization.*", f"{_BLOCK}.attn.conv_proj_{letter}.bn.*"),
        Rename(
            f"{_LAYER}.attention.attention.projection_{name}.*", f"{_BLOCK}.attn.proj_{letter}.*"
        ),
    )


TRANSFORMERS = KeyMap(
    Rename(f"{_STAGE}.cls_token", "stages.{s}.cls_token"),
    Rename(
        f"{_STAGE}.embedding.convolution_embeddings.projection.*", "stages.{s}.patch_embed.proj.*"
    ),
    Rename(
        f"{_STAGE}.embedding.convolution_embeddings.normalization.*",
        "stages.{s}.patch_embed.norm.*",
    ),
    *_projections("q", "query"),
    *_projections("k", "key"),
    *_projections("v", "value"),
    Rename(f"{_LAYER}.attention.output.dense.*", f"{_BLOCK}.attn.proj.*"),
    Rename(f"{_LAYER}.layernorm_before.*", f"{_BLOCK}.norm1.*"),
    Rename(f"{_LAYER}.layernorm_after.*", f"{_BLOCK}.norm2.*"),
    Rename(f"{_LAYER}.intermediate.dense.*", f"{_BLOCK}.mlp.fc1.*"),
    Rename(f"{_LAYER}.output.dense.*", f"{_BLOCK}.mlp.fc2.*"),
    Rename("layernorm.*", "norm.*"),
    Rename("classifier.*", "head.*"),
)


def find(names: Collection[str]) -> KeyMap:
    """The map for a file with these names."""
    return TRANSFORMERS if any(name.startswith("cvt.") for name in names) else OFFICIAL
