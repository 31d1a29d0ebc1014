"""Reminders of what an LTX-Video model knows, mixed into its fine-tuning: clips of a world, latents
that were encoded before, or clips that the model makes itself.

Paper, code and licence: see `ltx_video.py`. Clips that it makes before it is trained are the prior
preservation of DreamBooth (arXiv 2208.12242, section 3.2); they are of the folder's captions,
without the words that are new.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from kinema.config import to_dict
from kinema.data import latents
from kinema.data.latents import Encoded, LatentCache, LatentKey, in_batches
from kinema.data.media_folder import read_folder
from kinema.errors import InputError
from kinema.noise import Noise
from kinema.systems.ltx_video_clips import is_latents
from kinema.systems.ltx_video_finetuning_recipes import MODEL, FinetuneRecipe
from kinema.systems.ltx_video_keyframes import STILLS
from kinema.training.clip_folder import shown
from kinema.training.encode import encode_world, latent_key
from kinema.weights.digest import digest
from kinema.worlds import load as load_world

if TYPE_CHECKING:
    from kinema.systems.ltx_video import LTXVideo

LOGGER = logging.getLogger(__name__)
KNOWN = "known"
AT_ONCE = 8  # clips that are made or encoded together
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
        captions = [caption for file in read_folder(named)[0] for caption in file.captions]
        lines = [" ".join(w for w in model.text.split(c)[0] if w not in new) for c in captions]
    prompts = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not prompts:
        raise InputError("no caption has a word that the model knows; set recipe.replay_prompts")
    return prompts


def known(model: LTXVideo, recipe: FinetuneRecipe, beside: Path) -> LatentCache:
    """The reminders, as batches.

    Args:
        beside: the folder of the latents that they are mixed with.
    """
    cached = is_latents(recipe.replay_from)
    place = Path(recipe.replay_from) / "train" if cached else beside / KNOWN
    return LatentCache(place, codec=digest(model.codec), seed=1)


def write_known(
    model: LTXVideo, recipe: FinetuneRecipe, beside: Path, *, clips: str, new: Sequence[str]
) -> None:
    """Draws or makes reminders, unless they are there already or were encoded before.

    Args:
        beside: the folder of the latents that they are mixed with.
        clips: the folder of clips, whose captions are what the model is asked for.
        new: words that the model has just been given.

    Raises:
        InputError: there is no such world, or no prompt.
    """
    if is_latents(recipe.replay_from):
        return
    if recipe.replay_from == MODEL:
        make_known(model, recipe, prompts_of(model, recipe, clips, new), beside / KNOWN)
    else:
        draw_known(model, recipe, beside / KNOWN)


def draw_known(model: LTXVideo, recipe: FinetuneRecipe, into: Path) -> None:
    """Latents of clips of the world that the model knows."""
    size = model.config.sampling
    names = ("num_frames", "height", "width", "fps")
    options = {name: getattr(size, name) for name in names}
    world = load_world(recipe.replay_from, seed=0, split="train", **options)
    LOGGER.info("replay: %d clips of the world %s", recipe.replay_clips, recipe.replay_from)
    encode = partial(
        encode_world,
        model.codec,
        world,
        stills=STILLS,
        batch_size=AT_ONCE,
        device=str(model.device),
    )
    key = latent_key(model.codec, world, STILLS)
    latents.write(into, key, recipe.replay_clips, encode, progress=lambda done: None)


def make_known(model: LTXVideo, recipe: FinetuneRecipe, prompts: list[str], into: Path) -> None:
    """Latents of clips that the model makes as it is, from prompts in turn."""
    size, count = model.config.sampling, recipe.replay_clips
    LOGGER.info("replay: the model makes %d clips from %d prompts", count, len(prompts))

    def make(samples: range) -> Iterator[Encoded]:
        for rows in shown(list(in_batches(samples, AT_ONCE)), "making clips to keep"):
            said = [prompts[row % len(prompts)] for row in rows]
            noise = Noise(0, tuple(SAMPLES + row for row in rows))
            made = model.latents(said, noise=noise, sampling=size, negative="")
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
    latents.write(into, key, count, make, progress=lambda done: None)
