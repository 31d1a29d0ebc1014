"""What a codec makes of a world."""

from __future__ import annotations

import json

import pytest
import torch
from nano_stage import fresh

from kinema.errors import InputError
from kinema.training.encode import encode_world, latent_key, untold
from kinema.weights.digest import digest
from kinema.worlds.shapes import Shapes

OPTIONS = {"num_frames": 9, "height": 32, "width": 32, "fps": 12.0}
WORLD = Shapes(seed=4, split="train", **OPTIONS)


def test_the_key_names_codec_world_and_options() -> None:
    codec = fresh().codec
    key = latent_key(codec, WORLD, 3)
    assert key.codec == digest(codec)
    assert json.loads(key.source) == {"world": "shapes", "seed": 4, "split": "train", **OPTIONS}
    assert (key.num_frames, key.height, key.width, key.fps, key.stills) == (9, 32, 32, 12.0, 3)


@torch.no_grad()
def test_samples_come_in_order_whatever_the_batch() -> None:
    model = fresh()
    codec = model.codec
    one, three = (
        list(encode_world(model.encoded, untold, WORLD, range(2, 7), batch_size=size))
        for size in (1, 3)
    )
    assert len(one) == len(three) == 5
    for index, a, b in zip(range(2, 7), one, three):
        sample = WORLD.sample(index)
        assert a.captions == b.captions == sample.captions
        assert a.labels == sample.labels
        clip = torch.from_numpy(sample.clip.to_float())[None]
        torch.testing.assert_close(a.latents, codec.encode(clip)[0])
        torch.testing.assert_close(a.latents, b.latents, rtol=1e-5, atol=1e-5)


def test_a_size_that_the_codec_cannot_take_is_refused() -> None:
    world = Shapes(seed=0, split="train", **{**OPTIONS, "num_frames": 8})
    with pytest.raises(InputError, match="frames must be a multiple of 8 plus 1"):
        list(encode_world(fresh().encoded, untold, world, range(1), batch_size=1))


@torch.no_grad()
def test_stills_are_frames_that_were_encoded_alone() -> None:
    model = fresh()
    codec = model.codec
    one, three = (
        list(encode_world(model.encoded, untold, WORLD, range(2, 7), batch_size=size))
        for size in (1, 3)
    )
    chosen = set()
    for index, a, b in zip(range(2, 7), one, three):
        numbers = a.beside["still_frames"].tolist()
        assert numbers == b.beside["still_frames"].tolist()
        assert len(set(numbers)) == 3
        assert all(1 <= number < 9 for number in numbers), "the first latent frame is that of 0"
        chosen.add(tuple(numbers))
        clip = torch.from_numpy(WORLD.sample(index).clip.to_float())[None]
        for number, still, again in zip(numbers, a.beside["stills"], b.beside["stills"]):
            expected = codec.encode(clip[:, :, number : number + 1])[0, :, 0]
            torch.testing.assert_close(still, expected, rtol=1e-5, atol=1e-5)
            torch.testing.assert_close(still, again, rtol=1e-5, atol=1e-5)
    assert len(chosen) == 5, "every clip has the same frames"


def test_clips_with_too_few_frames_have_no_stills() -> None:
    assert list(fresh().encoded(torch.zeros(1, 3, 1, 32, 32), (0,))) == ["latents"]
