"""CLIP's text encoder (arXiv 2103.00020) behind the face that all text encoders have."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kinema.condition import Tokens
from kinema.config import config
from kinema.errors import InputError


@config
class CLIPTextConfig:
    """A text encoder of CLIP: a local folder of transformers, and the width of its projection."""

    folder: str
    width: int


class CLIPText(nn.Module):
    """Texts -> one token each (B, 1, D), the projected sentence; read at first use, never trained.

    The weights belong to the folder: they are no part of this module's state.

    Raises:
        InputError: at first use, if the package is missing or the folder holds no such encoder.
    """

    def __init__(self, config: CLIPTextConfig, *, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.config, self._dtype = config, dtype

    @functools.cached_property
    def _loaded(self) -> tuple[Any, Any]:
        place = f"the folder {self.config.folder!r} of CLIP's text encoder"
        if not Path(self.config.folder).is_dir():
            raise InputError(f"{place} is not there; pass --set text.folder=PATH")
        try:
            import transformers

            read: dict[str, Any] = {"local_files_only": True}
            tokenizer = transformers.AutoTokenizer.from_pretrained(self.config.folder, **read)
            model = transformers.CLIPTextModelWithProjection.from_pretrained(
                self.config.folder, dtype=self._dtype, **read
            )
        except ImportError as error:
            raise InputError(f"{place} needs a package: pip install kinema[hub]") from error
        except (OSError, ValueError) as error:
            raise InputError(f"{place} cannot be read: {str(error).splitlines()[0]}") from error
        if model.config.projection_dim != self.config.width:
            raise InputError(f"{place} has another width than {self.config.width}")
        return tokenizer, model.eval()

    def split(self, text: str) -> tuple[list[str], list[str]]:
        """All words of a text are known: tokens are pieces of words and spell every text."""
        return text.split(), []

    def ids(self, texts: Sequence[str]) -> Tensor:
        """Token ids (B, L) on the CPU, padded to the longest that CLIP reads.

        Raises:
            InputError: a text has more tokens.
        """
        tokenizer, model = self._loaded
        longest = model.config.max_position_embeddings
        rows = tokenizer(list(texts), padding="max_length", max_length=longest)["input_ids"]
        if too_long := [text for text, row in zip(texts, rows) if len(row) > longest]:
            raise InputError(f"CLIP reads {longest} tokens; shorten {too_long[0][:60]!r}")
        return torch.tensor(rows, device="cpu")

    @torch.no_grad()
    def forward(self, ids: Tensor) -> Tokens:
        """Ids (B, L) -> the sentence as the one token of (B, 1, D)."""
        return Tokens(x=self._loaded[1].to(ids.device)(input_ids=ids).text_embeds[:, None])
