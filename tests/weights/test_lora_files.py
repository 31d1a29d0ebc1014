"""Files of adapters in the layouts that people share, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from kinema.errors import InputError
from kinema.noise import Noise
from kinema.weights import files, lora
from kinema.weights.keymap import KeyMap, Rename
from kinema.weights.lora import Layout

LAYOUTS = {
    "transformer.": Layout("net", KeyMap(Rename("in.*", "first.*"))),
    "diffusion_model.": Layout("net", KeyMap()),
}


def parts() -> nn.ModuleDict:
    """A system of one network with two linear layers."""
    net = nn.ModuleDict({"first": nn.Linear(4, 6), "last": nn.Linear(6, 3)})
    for name, parameter in net.named_parameters():
        parameter.data = Noise(0, (0,)).normal((1, *parameter.shape), name)[0]
    return nn.ModuleDict({"net": net})


def drawn(name: str, *shape: int) -> Tensor:
    return Noise(1, (0,)).normal((1, *shape), name)[0]


A, B, A2, B2 = drawn("a", 2, 4), drawn("b", 6, 2), drawn("a2", 1, 6), drawn("b2", 3, 1)
DIFFUSERS = {
    "transformer.in.lora_A.weight": A,
    "transformer.in.lora_B.weight": B,
    "transformer.last.lora_A.weight": A2,
    "transformer.last.lora_B.weight": B2,
}
COMFY = {
    "diffusion_model.first.lora_down.weight": A,
    "diffusion_model.first.lora_up.weight": B,
    "diffusion_model.first.alpha": torch.tensor(1.0),
    "diffusion_model.last.lora_A.weight": A2,
    "diffusion_model.last.lora_B.weight": B2,
}


def saved(folder: Path, tensors: dict[str, Tensor], **metadata: str) -> Path:
    path = folder / "lora.safetensors"
    files.save(path, tensors, metadata, overwrite=True)
    return path


@pytest.mark.parametrize(
    ("tensors", "alphas", "scales"),
    [
        (DIFFUSERS, {}, (1.0, 1.0)),
        (DIFFUSERS, {"transformer.lora_alpha": 4, "transformer.r": 2}, (2.0, 4.0)),
        (
            DIFFUSERS,
            {"transformer.lora_alpha": 4, "transformer.alpha_pattern": {"last": 3}},
            (2.0, 3.0),
        ),
        (COMFY, {}, (0.5, 1.0)),
    ],
)
def test_both_layouts_are_read(
    tmp_path: Path,
    tensors: dict[str, Tensor],
    alphas: dict[str, object],
    scales: tuple[float, float],
) -> None:
    path = saved(tmp_path, tensors, lora_adapter_metadata=json.dumps(alphas))
    read = lora.read(path, LAYOUTS)
    assert read.words == {}
    assert list(read.adapters) == ["net.first", "net.last"]
    assert tuple(adapter.scale for adapter in read.adapters.values()) == scales
    merged, base = parts(), parts()
    lora.merge(merged, read, scale=0.5, where="x", reversible=False)
    for name, a, b, scale in (("first", A, B, scales[0]), ("last", A2, B2, scales[1])):
        expected = base["net"][name].weight + 0.5 * scale * b @ a
        torch.testing.assert_close(merged["net"][name].weight, expected, rtol=1e-6, atol=1e-6)


def test_merged_and_unmerged_the_weights_are_what_they_were(tmp_path: Path) -> None:
    read = lora.read(saved(tmp_path, DIFFUSERS), LAYOUTS)
    changed, base = parts(), parts()
    lora.merge(changed, read, scale=0.7, where="x", reversible=True)
    assert (changed["net"]["first"].weight - base["net"]["first"].weight).abs().max() > 0.1
    lora.merge(changed, read, scale=-0.7, where="x", reversible=True)
    for one, other in zip(changed.parameters(), base.parameters()):
        assert (one - other).abs().max() <= 1e-6


@pytest.mark.parametrize("reversible", [True, False])
def test_weights_of_16_bits_are_what_they_were_where_that_is_asked(
    tmp_path: Path, reversible: bool
) -> None:
    read = lora.read(saved(tmp_path, DIFFUSERS), LAYOUTS)
    changed, base = parts().bfloat16(), parts().bfloat16()
    for weight in (*changed.parameters(), *base.parameters()):
        weight.data *= 0.1  # about as large as those of networks are
    for scale in (0.07, -0.07, 0.07, 0.1, -0.07, -0.1):
        lora.merge(changed, read, scale=scale, where="x", reversible=reversible)
        with lora.merged(changed, read, scale=0.3, where="x"):
            pass
    pairs = zip(changed.parameters(), base.parameters())
    off = max(float((one - other).detach().abs().max()) for one, other in pairs)
    assert off <= 1e-6 if reversible else off > 1e-4
    assert changed.state_dict().keys() == base.state_dict().keys()


def test_what_is_written_is_read(tmp_path: Path) -> None:
    rows = drawn("rows", 2, 5)
    ours = {
        "transformer.first.lora_A.weight": A,
        "transformer.first.lora_B.weight": B,
        lora.ROWS: rows,
    }
    path = tmp_path / "mine.safetensors"
    lora.write(path, ours, words=("zig", "zag"), overwrite=False)
    described = json.loads(files.open_checkpoint(path).metadata["lora_adapter_metadata"])
    assert described == {
        "transformer.r": 2,
        "transformer.lora_alpha": 2,
        "transformer.target_modules": ["first"],
    }
    read = lora.read(path, {"transformer.": Layout("net", KeyMap())})
    assert torch.equal(read.adapters["net.first"].a, A)
    assert torch.equal(read.adapters["net.first"].b, B)
    assert read.adapters["net.first"].scale == 1
    assert list(read.words) == ["zig", "zag"]
    assert torch.equal(torch.stack(list(read.words.values())), rows)
    with pytest.raises(InputError, match="exists"):
        lora.write(path, ours, words=(), overwrite=False)


@pytest.mark.parametrize(
    ("tensors", "metadata", "said"),
    [
        ({}, {}, "holds no adapters"),
        ({"transformer.in.weight": A}, {}, "holds transformer.in.weight, which is no adapter"),
        ({"transformer.in.lora_B.bias": A[0]}, {}, "which is no adapter of a linear layer"),
        ({"transformer.in.dora_scale": A}, {}, "holds transformer.in.dora_scale, which is no"),
        ({"transformer.in.lora_A.weight": A}, {}, "lacks one of the two matrices of transformer"),
        (
            {"unet.in.lora_A.weight": A, "unet.in.lora_B.weight": B},
            {},
            "adapter of unet.in; names here begin with transformer., diffusion_model.",
        ),
        (
            {"transformer.in.lora_A.weight": A, "transformer.in.lora_B.weight": B2},
            {},
            r"transformer.in has matrices \(2, 4\) and \(3, 1\), which are no adapter",
        ),
        (
            {"transformer.in.lora_A.weight": A * torch.nan, "transformer.in.lora_B.weight": B},
            {},
            "holds NaN or infinity",
        ),
        (DIFFUSERS, {"lora_adapter_metadata": "{"}, "lora_adapter_metadata of .* is no JSON"),
        (
            DIFFUSERS,
            {"lora_adapter_metadata": '{"transformer.use_dora": true}'},
            "was trained with use_dora",
        ),
        (
            {**DIFFUSERS, lora.ROWS: drawn("rows", 2, 5)},
            {"new_words": '["one"]'},
            "names 1 words and has 2 embeddings",
        ),
    ],
)
def test_what_is_no_file_of_adapters_is_refused(
    tmp_path: Path, tensors: dict[str, Tensor], metadata: dict[str, str], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        lora.read(saved(tmp_path, tensors, **metadata), LAYOUTS)


def test_adapters_of_another_model_change_nothing(tmp_path: Path) -> None:
    for tensors, said in (
        (
            {"diffusion_model.middle.lora_A.weight": A, "diffusion_model.middle.lora_B.weight": B},
            "does not have",
        ),
        (
            {"diffusion_model.last.lora_A.weight": A, "diffusion_model.last.lora_B.weight": B},
            r"\(6, 4\), not \(3, 6\)",
        ),
    ):
        first = {k: v for k, v in COMFY.items() if ".first." in k}
        read = lora.read(saved(tmp_path, {**first, **tensors}), LAYOUTS)
        changed, base = parts(), parts()
        with pytest.raises(InputError, match=said):
            lora.merge(changed, read, scale=1.0, where="x", reversible=False)
        assert all(torch.equal(a, b) for a, b in zip(changed.parameters(), base.parameters()))
