"""The latent cache: what goes in comes out, each sample once an epoch, and damage is mended."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from kinema.data import latents
from kinema.data.latents import SHARD, Encoded, LatentCache, LatentKey, in_batches, write
from kinema.errors import InputError
from kinema.noise import Noise

KEY = LatentKey(codec="c0dec", source="world", num_frames=9, height=32, width=32, fps=12.0)
COUNT = SHARD + 44


def encode(samples: range) -> Iterator[Encoded]:
    values = Noise(0, tuple(samples)).normal((len(samples), 2, 1, 1, 2), "z")
    for index, z in zip(samples, values):
        yield Encoded(latents=z, captions=(f"clip {index}", "brief"), labels={"color": "red"})


def written(folder: Path, count: int = COUNT, key: LatentKey = KEY) -> list[range]:
    """Writes a cache and returns the ranges that had to be encoded."""
    asked = []

    def counted(samples: range) -> Iterator[Encoded]:
        asked.append(samples)
        return encode(samples)

    write(folder, key, count, counted)
    return asked


def cache(folder: Path) -> LatentCache:
    return LatentCache(folder, codec=KEY.codec, seed=3)


def indices(batch: dict) -> list[int]:
    return [int(captions[0].removeprefix("clip ")) for captions in batch["captions"]]


def test_round_trip(tmp_path: Path) -> None:
    write(tmp_path, KEY, COUNT, encode)
    read = cache(tmp_path)
    assert len(read) == COUNT
    batch = read(tuple(range(COUNT)))
    order = indices(batch)
    expected = torch.stack([encoded.latents for encoded in encode(range(COUNT))])
    torch.testing.assert_close(batch["latents"], expected[order], rtol=2**-8, atol=0)
    assert batch["latents"].dtype == torch.float32
    assert batch["captions"][0] == [f"clip {order[0]}", "brief"]
    assert batch["fps"] == 12.0


def with_stills(samples: range) -> Iterator[Encoded]:
    """As `encode`, with two single frames of each clip."""
    values = Noise(1, tuple(samples)).normal((len(samples), 2, 2, 1, 2), "stills")
    for index, sample, pair in zip(samples, encode(samples), values):
        numbers = torch.tensor([1 + index % 4, 5 + index % 3])
        yield replace(sample, beside={"stills": pair, "still_frames": numbers})


def test_single_frames_stay_with_their_clips(tmp_path: Path) -> None:
    key = replace(KEY, stills=2)
    write(tmp_path, key, COUNT, with_stills)
    batch = cache(tmp_path)(tuple(range(COUNT)))
    order = indices(batch)
    expected = [*with_stills(range(COUNT))]
    numbers = torch.stack([expected[index].beside["still_frames"] for index in order])
    assert torch.equal(batch["still_frames"], numbers)
    stills = torch.stack([expected[index].beside["stills"] for index in order])
    torch.testing.assert_close(batch["stills"], stills, rtol=2**-8, atol=0)
    assert batch["stills"].dtype == torch.float32
    with pytest.raises(InputError, match="stills=2, not 0; use another folder"):
        written(tmp_path)


def test_a_cache_without_single_frames_is_read_as_before(tmp_path: Path) -> None:
    written(tmp_path, 4)
    path = tmp_path / "index.json"
    index = json.loads(path.read_text())
    del index["key"]["stills"]  # as it was written before there were any
    path.write_text(json.dumps(index))
    assert set(cache(tmp_path)((0, 1))) == {"latents", "captions", "fps"}


def test_every_epoch_is_another_permutation(tmp_path: Path) -> None:
    written(tmp_path, 40)
    read = cache(tmp_path)
    epochs = [indices(read(tuple(range(40 * epoch, 40 * epoch + 40)))) for epoch in range(3)]
    assert all(sorted(epoch) == list(range(40)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert epochs[0] != list(range(40))
    across = indices(read(tuple(range(35, 45))))
    assert across == epochs[0][35:] + epochs[1][:5]
    assert indices(LatentCache(tmp_path, codec=KEY.codec, seed=4)(tuple(range(40)))) != epochs[0]


def test_whole_shards_are_kept(tmp_path: Path) -> None:
    assert written(tmp_path) == [range(SHARD), range(SHARD, COUNT)]
    assert written(tmp_path) == []


def test_a_cache_grows_and_a_smaller_count_loses_nothing(tmp_path: Path) -> None:
    written(tmp_path, 10)
    before = cache(tmp_path)
    assert written(tmp_path, 30) == [range(30)]
    assert written(tmp_path, 20) == []
    read = cache(tmp_path)
    assert len(read) == 20
    assert sorted(indices(read(tuple(range(20))))) == list(range(20))
    assert torch.equal(read.tensors["latents"][:10], before.tensors["latents"])
    assert written(tmp_path, 30) == []


@pytest.mark.parametrize("length", [0, 1, 8, 100, 300, -400, -1])
def test_a_cut_shard_is_seen_and_written_again(tmp_path: Path, length: int) -> None:
    written(tmp_path)
    path = tmp_path / "shard-00001.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:length])
    with pytest.raises(InputError, match=r"lacks samples in shard-00001\.safetensors"):
        cache(tmp_path)
    assert written(tmp_path) == [range(SHARD, COUNT)]
    assert path.read_bytes() == whole
    assert len(cache(tmp_path)) == COUNT


def test_a_missing_or_foreign_shard_is_seen(tmp_path: Path) -> None:
    written(tmp_path)
    path = tmp_path / "shard-00000.safetensors"
    path.unlink()
    with pytest.raises(InputError, match="lacks samples in shard-00000"):
        cache(tmp_path)
    latents.files.save(path, {"other": torch.zeros(SHARD)}, {}, overwrite=False)
    with pytest.raises(InputError, match="lacks samples in shard-00000"):
        cache(tmp_path)


def test_an_encoding_that_was_stopped_goes_on(tmp_path: Path) -> None:
    def stopped(samples: range) -> Iterator[Encoded]:
        if samples.start:
            raise KeyboardInterrupt
        return encode(samples)

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, KEY, COUNT, stopped)
    with pytest.raises(InputError, match="lacks samples in shard-00001"):
        cache(tmp_path)
    assert written(tmp_path) == [range(SHARD, COUNT)]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"codec": "other"}, "codec=c0dec, not other"),
        ({"source": "folder"}, "source=world, not folder"),
        ({"num_frames": 17}, "num_frames=9, not 17"),
        ({"fps": 24.0}, "fps=12.0, not 24.0"),
    ],
)
def test_latents_of_something_else_are_not_written_over(
    tmp_path: Path, change: dict, said: str
) -> None:
    written(tmp_path, 4)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(InputError, match=said):
        written(tmp_path, 4, replace(KEY, **change))
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_latents_of_another_codec_are_refused(tmp_path: Path) -> None:
    written(tmp_path, 4)
    with pytest.raises(InputError, match="come from codec c0dec, not other: encode again"):
        LatentCache(tmp_path, codec="other", seed=0)


@pytest.mark.parametrize("index", [None, "", "{", "[]", '{"key": {}}', '{"key": {"codec": 1}}'])
def test_a_folder_that_is_no_cache_is_refused(tmp_path: Path, index: str | None) -> None:
    if index is not None:
        (tmp_path / "index.json").write_text(index)
    with pytest.raises(InputError, match="holds no latents; `kinema encode` writes them"):
        cache(tmp_path)


def test_the_index_names_what_the_latents_depend_on(tmp_path: Path) -> None:
    written(tmp_path, 4)
    index = json.loads((tmp_path / "index.json").read_text())
    assert index == {
        "key": {
            "codec": "c0dec",
            "source": "world",
            "num_frames": 9,
            "height": 32,
            "width": 32,
            "fps": 12.0,
            "stills": 0,
        },
        "count": 4,
    }


def test_in_batches() -> None:
    assert list(in_batches(range(5), 2)) == [(0, 1), (2, 3), (4,)]
    assert list(in_batches((), 2)) == []
