"""Low-rank adapters: they start as nothing, train alone, and merge into the weights."""

from __future__ import annotations

import copy
from fnmatch import fnmatchcase

import pytest
import torch
from torch import nn

from kinema.nn import lora
from kinema.noise import Noise


class Net(nn.Module):
    """Two layers to adapt and one to leave."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(7, 12)
        self.blocks = nn.ModuleList(nn.Linear(12, 12) for _ in range(2))
        self.out = nn.Linear(12, 5, bias=False)
        for name, parameter in self.named_parameters():
            parameter.data = 0.3 * Noise(0, (0,)).normal((1, *parameter.shape), name)[0]

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.words(ids)
        for block in self.blocks:
            x = torch.tanh(block(x))
        return self.out(x)


IDS = torch.tensor([[0, 3, 6], [5, 1, 1]])
PATTERNS = ("blocks.*", "no such layer")


def adapted() -> Net:
    """With adapters, and its last two words trained, that have learned something."""
    net = Net()
    lora.attach(net, PATTERNS, rank=3, seed=0)
    lora.attach_rows(net.words, 2)
    for name, parameter in net.named_parameters():
        if ".lora_" in name:
            parameter.data += 0.2 * Noise(1, (0,)).normal((1, *parameter.shape), name)[0]
    return net


def test_at_first_the_network_computes_what_it_did() -> None:
    net, base = Net(), Net()
    assert lora.attach(net, PATTERNS, rank=3, seed=0) == ["blocks.0", "blocks.1"]
    lora.attach_rows(net.words, 2)
    assert torch.equal(net(IDS), base(IDS))
    state = net.state_dict()
    assert all(torch.equal(state[name], value) for name, value in base.state_dict().items())


def test_a_is_drawn_as_torch_draws_a_linear_layer_and_fixed_by_the_seed() -> None:
    first, same, other = (Net() for _ in range(3))
    for net, seed in ((first, 0), (same, 0), (other, 1)):
        lora.attach(net, PATTERNS, rank=50, seed=seed)
    a = first.blocks[0].lora_A.weight
    assert a.shape == (50, 12)
    assert first.blocks[0].lora_B.weight.shape == (12, 50)
    assert float(a.detach().abs().max()) == pytest.approx(12**-0.5, rel=0.05)
    assert torch.equal(a, same.blocks[0].lora_A.weight)
    assert not torch.equal(a, other.blocks[0].lora_A.weight)
    assert not torch.equal(a, first.blocks[1].lora_A.weight)


def test_only_what_was_added_gets_the_name_of_what_is_trained() -> None:
    names = [n for n, _ in adapted().named_parameters() if fnmatchcase(n, lora.TRAINED)]
    assert names == [
        "words.lora_rows",
        "blocks.0.lora_A.weight",
        "blocks.0.lora_B.weight",
        "blocks.1.lora_A.weight",
        "blocks.1.lora_B.weight",
    ]


def test_merged_it_is_the_same_function_and_a_plain_network() -> None:
    net = adapted()
    expected, base = net(IDS), Net()
    assert not torch.allclose(expected, base(IDS), atol=1e-2)
    lora.merge(net)
    torch.testing.assert_close(net(IDS), expected, rtol=1e-6, atol=1e-6)
    assert list(net.state_dict()) == list(base.state_dict())
    assert [type(m) for m in net.modules()] == [type(m) for m in base.modules()]
    assert torch.equal(net.words.weight[:5], base.words.weight[:5])
    assert not torch.equal(net.words.weight[5:], base.words.weight[5:])


def test_the_old_words_get_no_gradient_through_the_new_rows() -> None:
    net = adapted()
    net(IDS[:, :2]).sum().backward()  # words 0, 3, 5, 1; 5 is the first of the last two
    gradient = net.words.lora_rows.grad
    assert gradient is not None
    assert gradient[0].any()
    assert not gradient[1].any()


def test_a_copy_is_a_network_of_its_own() -> None:
    net = adapted()
    twin = copy.deepcopy(net)
    before = net(IDS)
    for parameter in twin.parameters():
        parameter.data.zero_()
    assert torch.equal(net(IDS), before)
    assert not twin(IDS).any()


def test_it_computes_in_the_type_of_the_layer() -> None:
    net = Net().to(torch.bfloat16)
    lora.attach(net, PATTERNS, rank=2, seed=0)
    assert {p.dtype for p in net.parameters()} == {torch.bfloat16}
    with torch.autocast("cpu", torch.bfloat16):
        assert adapted()(IDS).dtype == torch.bfloat16


@pytest.mark.slow
def test_peft_computes_the_same() -> None:
    import peft

    net, theirs = adapted(), Net()
    lora.attach_rows(theirs.words, 2)
    theirs.words.lora_rows.data = net.words.lora_rows.data.clone()
    config = peft.LoraConfig(r=3, lora_alpha=3, target_modules=["blocks.0", "blocks.1"])
    theirs = peft.inject_adapter_in_model(config, theirs)
    state = {n: v for n, v in net.state_dict().items() if ".lora_A" in n or ".lora_B" in n}
    assert state.keys() == peft.get_peft_model_state_dict(theirs).keys()
    peft.set_peft_model_state_dict(theirs, state)
    torch.testing.assert_close(net(IDS), theirs(IDS), rtol=1e-6, atol=1e-6)
