"""What LTX-Video does with a folder of clips before it trains on them: new words, latents.

Paper, code and license: see `ltx_video.py`. All of this is ours.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kinema.data.buckets import Bucket, Shaper
from kinema.networks.word_encoder import WordEncoder
from kinema.systems.ltx_video_recipes import GeneratorRecipe
from kinema.training.clip_folder import encode_folder, find_clips

if TYPE_CHECKING:
    from kinema.systems.ltx_video import LTXVideo

LOGGER = logging.getLogger(__name__)
MANY_WORDS = 12  # that are shown


def prepare_clips(
    model: LTXVideo, recipe: GeneratorRecipe, named: str | None, folder: Path
) -> str | None:
    """Encodes a folder of clips beside the run, after the model has learned its words.

    Returns:
        The folder of the latents; what was named where that is no folder of clips.

    Raises:
        InputError: nothing was named, or files of the folder cannot be used; each is named in the
            log.
    """
    clips = find_clips(named, captioned=True)
    if clips is None:
        return named
    learn_words(model, [caption for file in clips.files for caption in file.captions])
    size = model.config.sampling
    return encode_folder(
        model.encoded,
        model.codec,
        clips,
        folder,
        shaper=Shaper(Bucket(size.num_frames, size.height, size.width), model.codec.stride),
        fps=size.fps,
        stills=model.STILLS,
        pictures=True,
        check_caption=lambda caption: model.text.ids([caption]),
        skip_broken=recipe.skip_broken,
    )


def learn_words(model: LTXVideo, texts: Sequence[str]) -> tuple[str, ...]:
    """Adds the words of texts that the text encoder does not know to its vocabulary.

    Encoders of pieces of words, as T5 is, know all words.
    """
    new = tuple(dict.fromkeys(word for text in texts for word in model.text.split(text)[1]))
    if new:
        assert isinstance(model.text, WordEncoder), "no other leaves words out"
        model.learn_words(model.text.embeddings_for(new))
        more = f" and {len(new) - MANY_WORDS} more" if len(new) > MANY_WORDS else ""
        LOGGER.info("words: %d new: %s%s", len(new), ", ".join(new[:MANY_WORDS]), more)
    return new
