"""Cross-frame attention: queries of a frame, keys and values of the first and the one before."""

from __future__ import annotations

import pytest
import torch

from kinema.hooks.cross_frame import CrossFrame
from kinema.nn.attention import attention
from kinema.nn.sites import Site, attend, hooked
from kinema.noise import Noise

NOISE = Noise(0, tuple(range(8)))  # two clips of four frames
Q, K, V = (NOISE.normal((8, 2, 5, 3), name) for name in "qkv")
SELF, CROSS = Site("block.attn1", "self"), Site("block.attn2", "cross")


def test_a_frame_sees_the_first_and_the_previous_frame_of_its_clip() -> None:
    out = CrossFrame(num_frames=4)(SELF, Q, K, V, None)
    for frame, (first, previous) in enumerate(
        [(0, 0), (0, 0), (0, 1), (0, 2), (4, 4), (4, 4), (4, 5), (4, 6)]
    ):
        k, v = (torch.cat([x[first], x[previous]], 1)[None] for x in (K, V))
        torch.testing.assert_close(out[frame], attention(Q[frame][None], k, v, None)[0])


def test_the_first_frame_and_single_frames_are_as_without_it() -> None:
    plain = attention(Q, K, V, None)
    out = CrossFrame(num_frames=4)(SELF, Q, K, V, None)
    torch.testing.assert_close(out[[0, 4]], plain[[0, 4]])
    assert ((out - plain).abs().amax((1, 2, 3)) > 1e-2).tolist() == 2 * [False, True, True, True]
    torch.testing.assert_close(CrossFrame(num_frames=1)(SELF, Q, K, V, None), plain)


def test_equal_queries_give_equal_frames() -> None:
    q, k, v = (x[:1].expand(4, -1, -1, -1) for x in (Q, K, V))
    out = CrossFrame(num_frames=4)(SELF, q, k, v, None)
    torch.testing.assert_close(out, out[:1].expand_as(out))


def test_it_acts_on_self_attention_only_and_while_it_is_active() -> None:
    plain = attend(SELF, Q, K, V, None)
    with hooked(CrossFrame(num_frames=4)):
        assert not torch.allclose(attend(SELF, Q, K, V, None), plain)
        assert torch.equal(attend(CROSS, Q, K, V, None), plain)
    assert torch.equal(attend(SELF, Q, K, V, None), plain)


def test_a_masked_self_attention_is_refused() -> None:
    with pytest.raises(AssertionError, match=r"block\.attn1 has a mask"):
        CrossFrame(num_frames=4)(SELF, Q, K, V, torch.ones(8, 1, 1, 5, dtype=torch.bool))
