"""Named attentions, and the hooks that look at them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from kinema.nn.sites import Site, attend, hooked
from kinema.noise import Noise

SITE = Site("blocks.0.attn", "self")
Q, K, V = (
    Noise(0, (0, 1)).normal((2, 2, n, 4), name) for n, name in ((3, "q"), (5, "k"), (5, "v"))
)
MASK = torch.tensor([[0.0, 0.0, -torch.inf, 0.0, -torch.inf]])


def constant(value: float) -> object:
    """A hook that puts one value everywhere."""
    return lambda site, q, k, v, mask: torch.full_like(q, value)


def test_attention_is_a_softmax_over_the_keys() -> None:
    for mask, bias in ((None, torch.zeros(5)), (MASK, MASK), (MASK == 0, MASK)):
        weights = (Q @ K.mT / 4**0.5 + bias).softmax(-1)
        torch.testing.assert_close(attend(SITE, Q, K, V, mask), weights @ V)


def test_a_hook_sees_what_attention_gets() -> None:
    seen = []

    def record(site: Site, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> None:
        seen.append((site, q, k, v, mask))

    plain = attend(SITE, Q, K, V, MASK)
    with hooked(record):
        assert torch.equal(attend(SITE, Q, K, V, MASK), plain)
    attend(SITE, Q, K, V, None)
    assert seen == [(SITE, Q, K, V, MASK)]


def test_the_innermost_hook_is_asked_first() -> None:
    plain = attend(SITE, Q, K, V, None)
    with hooked(constant(1)):
        with hooked(constant(2)), hooked(lambda site, q, k, v, mask: None):
            assert (attend(SITE, Q, K, V, None) == 2).all()
        assert (attend(SITE, Q, K, V, None) == 1).all()
    assert torch.equal(attend(SITE, Q, K, V, None), plain)


def test_a_hook_ends_with_its_block_also_when_it_fails() -> None:
    with pytest.raises(RuntimeError, match="stop"), hooked(constant(1)):
        raise RuntimeError("stop")
    assert not (attend(SITE, Q, K, V, None) == 1).any()


def test_compiled_attention_obeys_hooks_that_come_and_go() -> None:
    compiled = torch.compile(attend, backend="eager", fullgraph=True)
    plain = attend(SITE, Q, K, V, None)
    assert torch.equal(compiled(SITE, Q, K, V, None), plain)
    with hooked(constant(3)):
        assert (compiled(SITE, Q, K, V, None) == 3).all()
    assert torch.equal(compiled(SITE, Q, K, V, None), plain)
