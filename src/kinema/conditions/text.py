"""The text encoder of published models behind the face that all text encoders have.

``ids(texts)`` gives token ids (B, L) on the CPU; calling the encoder on ids gives `Tokens` with
their null.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kinema.condition import Tokens
from kinema.config import config
from kinema.errors import InputError

ENCODER, TOKENIZER = "text_encoder", "tokenizer"  # where diffusers puts them


def encoder_folders(folder: str | Path) -> tuple[Path, Path]:
    """Where text encoder and tokenizer lie: in a folder, or in two of a folder of diffusers.

    Raises:
        InputError: there is no such folder.
    """
    place = Path(folder)
    if not place.is_dir():
        raise InputError(
            f"no folder {str(folder)!r} with a T5 encoder; name one with --text-encoder FOLDER "
            "(of a training: --set text.folder=FOLDER)"
        )
    if (place / ENCODER).is_dir():
        return place / ENCODER, place / TOKENIZER
    return place, place


@config
class T5Config:
    """The T5 v1.1 encoder of a published model.

    Args:
        folder: a local folder in the layout of transformers, or one of diffusers in which they lie
            as ``text_encoder`` and ``tokenizer``.
        width: D of its states.
        max_tokens: prompts are padded to this number of tokens.
    """

    folder: str
    width: int
    max_tokens: int


class T5(nn.Module):
    """A T5 encoder through transformers, read from a local folder at first use, never trained here.

    The null is the encoded empty text. The weights belong to the folder: they are no part of this
    module's state.

    Args:
        config: folder and padding.
        dtype: of its weights and states; if None, weights are as they are stored, states float32.

    Raises:
        InputError: at first use, if the package is missing or the folder holds no such encoder.
    """

    def __init__(
        self,
        config: T5Config,
        *,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.config, self._dtype = config, dtype

    @functools.cached_property
    def _loaded(self) -> tuple[Any, Any]:
        try:
            from transformers import AutoTokenizer, T5EncoderModel
        except ImportError as error:
            raise InputError(
                "T5 needs the package transformers: pip install kinema[hub]"
            ) from error
        folder = self.config.folder
        encoder, words = encoder_folders(folder)
        pieces = (words / "spiece.model").is_file() and not (words / "tokenizer.json").is_file()
        if pieces and find_spec("sentencepiece") is None:
            raise InputError(
                f"the tokenizer in {str(words)!r} needs the package sentencepiece: "
                "pip install kinema[hub]"
            )
        try:
            tokenizer = AutoTokenizer.from_pretrained(words, local_files_only=True)
            model = T5EncoderModel.from_pretrained(
                encoder, local_files_only=True, dtype=self._dtype
            )
        except (OSError, ValueError) as error:
            reason = str(error).partition("\n")[0]
            raise InputError(f"the folder {folder!r} holds no T5 encoder: {reason}") from error
        if model.config.d_model != self.config.width:
            raise InputError(
                f"the T5 encoder in {folder!r} has the width {model.config.d_model}; "
                f"this model reads {self.config.width}"
            )
        return tokenizer, model.eval()

    def save(self, folder: Path) -> str:
        """Copies it into a folder of diffusers, as ``text_encoder`` and ``tokenizer``.

        Returns:
            The name of the tokenizer's class.
        """
        tokenizer, model = self._loaded
        model.save_pretrained(folder / ENCODER)
        tokenizer.save_pretrained(folder / TOKENIZER)
        return type(tokenizer).__name__

    def split(self, text: str) -> tuple[list[str], list[str]]:
        """All words of a text are known: tokens are pieces of words and spell every text."""
        return text.split(), []

    def ids(self, texts: Sequence[str]) -> Tensor:
        """Token ids (B, max_tokens) on the CPU, padded.

        Raises:
            InputError: a text has more tokens.
        """
        tokenizer, longest = self._loaded[0], self.config.max_tokens
        rows = tokenizer(list(texts))["input_ids"]
        for row in rows:
            if len(row) > longest:
                raise InputError(
                    f"the prompt has {len(row)} tokens; this model reads {longest}: shorten it"
                )
        return torch.tensor(
            [row + [tokenizer.pad_token_id] * (longest - len(row)) for row in rows], device="cpu"
        )

    @torch.no_grad()
    def forward(self, ids: Tensor) -> Tokens:
        """Ids (B, L) -> states (B, L, D) with their mask, on the device of the ids."""
        x, mask = self._encode(ids)
        empty = self.ids([""])[:, : ids.shape[1]]
        null_x, null_mask = self._encode(empty.to(ids.device))
        null = Tokens(x=null_x.expand_as(x), mask=null_mask.expand_as(mask))
        return Tokens(x=x, mask=mask, null=null)

    def _encode(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        tokenizer, model = self._loaded
        mask = ids != tokenizer.pad_token_id
        states = model.to(ids.device)(input_ids=ids, attention_mask=mask).last_hidden_state
        return states.to(self._dtype or torch.float32), mask
