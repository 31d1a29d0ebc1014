"""Reminders of what an LTX-Video model knows, mixed into its fine-tuning: clips of a world, latents
that were encoded before, or clips that the model makes itself.

Paper, code and license: see `ltx_video.py`. Clips that it makes before it is trained are the prior
preservation of DreamBooth (arXiv 2208.12242, section 3.2); they are of the folder's captions,
without the words that are new.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from kinema.config import to_dict
from kinema.data import latents
from kinema.data.latents import Encoded, LatentKey, in_batches
from kinema.data.media_folder import read_folder
from kinema.errors import InputError
from kinema.noise import Noise
from kinema.systems.ltx_video_finetuning_recipes import MODEL, FinetuneRecipe
from kinema.training.clip_folder import shown
from kinema.training.finetuning import AT_ONCE, KNOWN, draw_known
from kinema.weights.digest import digest

if TYPE_CHECKING:
    from kinema.systems.ltx_video import LTXVideo

LOGGER = logging.getLogger(__name__)
SAMPLES = 1_000_000  # the noise of reminders begins here: nobody's seed makes the same clips


def prompts_of(
    model: LTXVideo, recipe: FinetuneRecipe, named: str, new: Sequence[str]
) -> list[str]:
    """What the model is asked for to see what it knows.

    Raises:
        InputError: the file cannot be read, or nothing is left to ask for.
    """
    if recipe.replay_prompts:
        try:
            lines = Path(recipe.replay_prompts).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"cannot read {recipe.replay_prompts}: {error}") from error
    else:
        captions = [
            caption for file in read_folder(named, captioned=True)[0] for caption in file.captions
        ]
        lines = [" ".join(w for w in model.text.split(c)[0] if w not in new) for c in captions]
    prompts = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not prompts:
        raise InputError("no caption has a word that the model knows; set recipe.replay_prompts")
    return prompts


def write_known(
    model: LTXVideo, recipe: FinetuneRecipe, beside: Path, *, clips: str, new: Sequence[str]
) -> None:
    """Draws or makes reminders, unless they are there already.

    Args:
        beside: the folder of the latents that they are mixed with.
        clips: the folder of clips, whose captions are what the model is asked for.
        new: words that the model has just been given.

    Raises:
        InputError: there is no such world, or no prompt.
    """
    if recipe.replay_from == MODEL:
        make_known(model, recipe, prompts_of(model, recipe, clips, new), beside / KNOWN)
        return
    size, stills = model.config.sampling, model.STILLS
    draw_known(model.encoded, model.codec, recipe, str(beside), size=size, stills=stills)


def make_known(model: LTXVideo, recipe: FinetuneRecipe, prompts: list[str], into: Path) -> None:
    """Latents of clips that the model makes as it is, in one pass, from prompts in turn."""
    size, count = replace(model.config.sampling, second=None), recipe.replay_clips
    LOGGER.info("replay: the model makes %d clips from %d prompts", count, len(prompts))

    def make(samples: range) -> Iterator[Encoded]:
        for rows in shown(list(in_batches(samples, AT_ONCE)), "making clips to keep"):
            said = [prompts[row % len(prompts)] for row in rows]
            noise = Noise(0, tuple(SAMPLES + row for row in rows))
            made = model.latents(said, noise=noise, sampling=size)
            for z, text in zip(made.cpu(), said):
                yield Encoded(latents=z, captions=(text,), labels={})

    told = json.dumps([digest(model.parts), prompts, to_dict(size)])
    key = LatentKey(
        codec=digest(model.codec),
        source=f"the model, {hashlib.blake2b(told.encode(), digest_size=8).hexdigest()}",
        num_frames=size.num_frames,
        height=size.height,
        width=size.width,
        fps=size.fps,
    )
    latents.write(into, key, count, make)
