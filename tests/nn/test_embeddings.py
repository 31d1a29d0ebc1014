"""Embeddings of time."""

from __future__ import annotations

import math

import torch

from kinema.nn.embeddings import TimeEmbedder, sinusoids


def test_cosines_come_first_and_frequencies_fall_from_one() -> None:
    time = torch.tensor([[0.0, 1.0], [50.0, 999.5]])
    got = sinusoids(time, 4)
    frequencies = [10_000.0 ** (-i / 4) for i in range(4)]
    rows = [
        [f(t * w) for f in (math.cos, math.sin) for w in frequencies]
        for t in time.flatten().tolist()
    ]
    torch.testing.assert_close(got.view(4, 8), torch.tensor(rows), rtol=0, atol=1e-4)


def test_angles_are_float32_whatever_the_time_is() -> None:
    time = torch.tensor([512.0])
    assert torch.equal(sinusoids(time.bfloat16(), 128), sinusoids(time, 128))


def test_one_embedding_per_time_in_the_type_of_the_weights() -> None:
    embedder = TimeEmbedder(12, dtype=torch.float64)
    times = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    got = embedder(times)
    assert got.dtype == torch.float64
    assert got.shape == (2, 3, 12)
    torch.testing.assert_close(embedder(times[1, 2]), got[1, 2])
    assert not torch.allclose(got[0, 0], got[0, 1])
