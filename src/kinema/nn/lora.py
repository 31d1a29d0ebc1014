"""Low-rank adapters: y = W x + B A x, where W stays as it is (LoRA, arXiv 2106.09685, section 4.1).

The paper's factor alpha / R is 1, so that the matrices alone say what an adapter does.

Why not peft, which does the same: it renames W to ``base_layer.weight``, so that checkpoints,
averages and key maps would need a second set of names; it draws A from the global generator; and it
brings transformers and accelerate along, which `kinema generate --lora` would then need. Its files
and ours are the same, and a test compares the two.

Letters: R rank, I inputs, O outputs, D width of an embedding, K rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import skip_init

from kinema.noise import Noise
from kinema.weights.lora import add

TRAINED = "*.lora_*"
"""Matches the names of all that adapters train, and of nothing else."""


class AdaptedLinear(nn.Linear):
    """A linear layer with an adapter beside it; its weight keeps its name."""

    lora_A: nn.Linear  # noqa: N815 (the name in every file of adapters)
    lora_B: nn.Linear  # noqa: N815

    def forward(self, x: Tensor) -> Tensor:
        """(..., I) -> (..., O)."""
        return super().forward(x) + self.lora_B(self.lora_A(x))


class AdaptedEmbedding(nn.Embedding):
    """An embedding whose last rows are trained, as a difference, while all others stay."""

    lora_rows: nn.Parameter

    def forward(self, ids: Tensor) -> Tensor:
        """(...) -> (..., D)."""
        place = ids - (self.num_embeddings - len(self.lora_rows))
        change = F.embedding(place.clamp(min=0), self.lora_rows)
        return super().forward(ids) + change * (place >= 0)[..., None]


def attach(network: nn.Module, patterns: Sequence[str], *, rank: int, seed: int) -> list[str]:
    """Puts an adapter beside linear layers, in place. B is 0: the network computes what it did.

    A is uniform as torch draws a linear layer, from keyed noise.

    Args:
        network: has no adapters yet.
        patterns: of the names of the layers; a layer whose weight others read directly, as
            `nn.TransformerEncoderLayer` does when it is not trained, may not be among them.
        rank: R.
        seed: of A.

    Returns:
        The names of the layers.
    """
    found = {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear) and any(fnmatchcase(name, p) for p in patterns)
    }
    assert found, f"no linear layer is named {' or '.join(patterns)}"
    for name, linear in found.items():
        assert type(linear) is nn.Linear, f"{name} is a {type(linear).__name__}"
        out, inner = linear.weight.shape
        factory = {"device": linear.weight.device, "dtype": linear.weight.dtype}
        a = skip_init(nn.Linear, inner, rank, bias=False, **factory)
        b = skip_init(nn.Linear, rank, out, bias=False, **factory)
        drawn = Noise(seed, (0,)).uniform((1, rank, inner), name)[0]
        with torch.no_grad():
            a.weight.copy_((2 * drawn - 1) * inner**-0.5)
            b.weight.zero_()
        linear.__class__ = AdaptedLinear
        linear.lora_A, linear.lora_B = a, b
    return list(found)


def attach_rows(embedding: nn.Embedding, count: int) -> None:
    """Trains the last K rows of an embedding, which computes what it did until then."""
    assert type(embedding) is nn.Embedding, type(embedding).__name__
    embedding.__class__ = AdaptedEmbedding
    embedding.lora_rows = nn.Parameter(torch.zeros_like(embedding.weight[-count:]))


def merge(network: nn.Module) -> None:
    """Adds all adapters to the weights beside which they stand, and takes them away."""
    for module in list(network.modules()):
        kind: type[nn.Module] = type(module)
        if isinstance(module, AdaptedLinear):
            a, b = module.lora_A.weight, module.lora_B.weight
            add(module, a, b, scale=1.0, reversible=False)
            del module.lora_A, module.lora_B
            kind = nn.Linear
        elif isinstance(module, AdaptedEmbedding):
            with torch.no_grad():
                module.weight[-len(module.lora_rows) :] += module.lora_rows
            del module.lora_rows
            kind = nn.Embedding
        module.__class__ = kind
