"""T5 v1.1 encoders by their published sizes, without weights: for what is planned, not computed.

Source: arXiv 1910.10683 and the configurations that Google published with version 1.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import Tensor, nn

from kinema.conditions.text import T5, T5Config
from kinema.errors import InputError

VOCABULARY = 32_128
HEAD_WIDTH = 64
# {width: layers, heads, width of the feed-forward layers}
SIZES = {
    512: (8, 6, 1024),
    768: (12, 12, 2048),
    1024: (24, 16, 2816),
    2048: (24, 32, 5120),
    4096: (24, 64, 10_240),
}


class PlannedT5(T5):
    """A T5 encoder on the meta device, which needs no folder.

    Attributes:
        encoder: the network; as with any `T5` no part of this module's state.

    Args:
        config: of the width of a published encoder, or with a folder that says its sizes.
        dtype: of the weights; float32 if None.

    Raises:
        InputError: no published encoder has this width, or transformers is missing.
    """

    def __init__(self, config: T5Config, *, dtype: torch.dtype | None) -> None:
        super().__init__(config, dtype=dtype)
        try:
            from transformers import AutoConfig, T5EncoderModel
            from transformers import T5Config as Sizes
        except ImportError as error:
            raise InputError(
                "T5 needs the package transformers: pip install kinema[hub]"
            ) from error
        if Path(config.folder).is_dir():
            sizes = AutoConfig.from_pretrained(config.folder, local_files_only=True)
        elif config.width in SIZES:
            layers, heads, inner = SIZES[config.width]
            sizes = Sizes(
                d_model=config.width,
                d_kv=HEAD_WIDTH,
                d_ff=inner,
                num_layers=layers,
                num_heads=heads,
                vocab_size=VOCABULARY,
                feed_forward_proj="gated-gelu",
            )
        else:
            widths = ", ".join(map(str, SIZES))
            raise InputError(
                f"no published T5 encoder has the width {config.width} (they have {widths}); "
                "pass --set text.folder=PATH"
            )
        with torch.device("meta"):
            encoder = T5EncoderModel(sizes).to(dtype or torch.float32).eval()
        self._loaded = SimpleNamespace(pad_token_id=0), encoder

    @property
    def encoder(self) -> nn.Module:
        """The network, on the meta device."""
        return self._loaded[1]

    def ids(self, texts: Sequence[str]) -> Tensor:
        """Ids (B, max_tokens) on the CPU; a plan does not depend on them."""
        return torch.ones(len(texts), self.config.max_tokens, dtype=torch.int64, device="cpu")
