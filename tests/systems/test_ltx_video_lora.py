"""Low-rank adapters of the published layout: trained, exchanged with diffusers and ComfyUI."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from published_files import PROMPT, small_model, told, write_single_file, write_t5
from torch import Tensor, nn

from kinema.cli.main import main
from kinema.clip import Clip
from kinema.networks.ltx_transformer import LTXTransformer, ltx_2b
from kinema.systems.ltx_video import LTXVideo
from kinema.systems.ltx_video_versions import VERSIONS
from kinema.weights import files
from kinema.weights.maps import ltx_transformer

VERSION, SINGLE = "0.9.6-2b-distilled", "model.safetensors"
SIZE = ("sampling.num_frames=9", "sampling.height=64", "sampling.width=64")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model as a folder of diffusers; beside it the same as a single file."""
    t5 = write_t5(tmp_path_factory.mktemp("t5"))
    folder = tmp_path_factory.mktemp("saved") / "model"
    model = small_model(VERSIONS[VERSION](), t5)
    model.save_diffusers(folder)
    write_single_file(folder.with_name(SINGLE), model, told(model.config))
    return folder


@pytest.fixture(scope="module")
def trained(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Adapters that the command line trained on two clips, from the single file."""
    clips, run = tmp_path_factory.mktemp("clips"), tmp_path_factory.mktemp("run")
    for number in range(2):
        shade = np.linspace(60 * number, 255, 9).astype(np.uint8)
        frames = np.broadcast_to(shade[:, None, None, None], (9, 64, 64, 3)).copy()
        Clip(frames, 30.0).write(clips / f"{number}.mp4")
        (clips / f"{number}.txt").write_text(PROMPT)
    settings = (
        "steps=3",
        "warmup=0",
        "report_every=3",
        "save_every=3",
        "held_out=1",
        "lora_rate=0.01",
    )
    model = f"ltx_video:{VERSION}@{folder.with_name(SINGLE)}"
    words = ["train", model, "--data", str(clips), "--lora", "2"]
    words += ["--preset", "nano", "--output", str(run)]
    for setting in (*settings, "precision=float32", "learning_rate=0.01"):
        words += ["--set", f"recipe.{setting}"]
    for setting in (f"text.folder={folder}", *SIZE):
        words += ["--set", setting]
    assert main(words) == 0
    return run / "lora.safetensors"


def latents(model: LTXVideo) -> Tensor:
    made = model.generate(PROMPT, seed=0, output="latents")
    assert isinstance(made, Tensor)
    return made


def test_the_adapters_were_trained(folder: Path, trained: Path) -> None:
    checkpoint = files.open_checkpoint(trained)
    ups = [value.read() for name, value in checkpoint.tensors.items() if ".lora_B" in name]
    assert len(ups) == 2 * 10
    assert all(up.abs().max() > 0 for up in ups)
    model = LTXVideo.from_pretrained(folder)
    before = latents(model)
    model.merge_lora(trained, scale=1.0)
    assert (latents(model) - before).abs().max() > 1e-4


def test_behind_the_block_the_weights_are_the_old_ones(folder: Path, trained: Path) -> None:
    for dtype in (torch.float32, torch.bfloat16):
        model = LTXVideo.from_pretrained(folder, dtype=dtype)
        old = {name: value.clone() for name, value in model.parts.state_dict().items()}
        before = latents(model)
        with model.adapted(trained, scale=3.0), model.adapted(trained, scale=-0.7):
            assert not torch.equal(latents(model), before)
        for name, value in model.parts.state_dict().items():
            assert torch.equal(value, old[name]), name
        with pytest.raises(ZeroDivisionError), model.adapted(trained, scale=3.0):
            raise ZeroDivisionError
        assert torch.equal(latents(model), before)


@pytest.mark.parametrize("flat", [False, True], ids=["diffusion_model.", "lora_unet_"])
def test_adapters_of_comfyui_are_the_same(
    folder: Path, trained: Path, tmp_path: Path, flat: bool
) -> None:
    """The authors' names of the layers, down and up, and alpha as a tensor: here half the rank."""
    tensors = {name: value.read() for name, value in files.open_checkpoint(trained).tensors.items()}
    comfy: dict[str, Tensor] = {}
    for name, value in tensors.items():
        layer, _, side = name.removeprefix("transformer.").rpartition(".lora_")
        ours = ltx_transformer.DIFFUSERS.to_ours({f"{layer}.weight": value})
        layer = next(iter(ours)).removesuffix(".weight")
        layer = f"lora_unet_{layer.replace('.', '_')}" if flat else f"diffusion_model.{layer}"
        comfy[f"{layer}.lora_{'down' if side.startswith('A') else 'up'}.weight"] = value
        comfy[f"{layer}.alpha"] = torch.tensor(1.0)
    path = tmp_path / "comfy.safetensors"
    files.save(path, comfy, {}, overwrite=False)
    one, other = (LTXVideo.from_pretrained(folder) for _ in range(2))
    one.merge_lora(trained, scale=0.5)
    other.merge_lora(path, scale=1.0)
    for name, value in one.parts.state_dict().items():
        assert torch.equal(other.parts.state_dict()[name], value), name


def test_every_linear_layer_has_a_name_without_dots() -> None:
    network = LTXTransformer(ltx_2b(), device="meta")
    for name, module in network.named_modules():
        if isinstance(module, nn.Linear):
            flat = {f"{name.replace('.', '_')}.weight": (1, 1)}
            assert list(ltx_transformer.KOHYA.to_ours(flat)) == [f"{name}.weight"]


@pytest.mark.slow
def test_diffusers_makes_the_same_of_them(folder: Path, trained: Path) -> None:
    diffusers = pytest.importorskip("diffusers")
    pytest.importorskip("peft")
    pipe = diffusers.DiffusionPipeline.from_pretrained(folder)
    pipe.load_lora_weights(trained)
    pipe.fuse_lora()
    pipe.unload_lora_weights()
    fused = ltx_transformer.DIFFUSERS.to_ours(pipe.transformer.state_dict())
    model = LTXVideo.from_pretrained(folder)
    model.merge_lora(trained, scale=1.0)
    for name, value in model.transformer.state_dict().items():
        torch.testing.assert_close(value, fused[name], rtol=1e-6, atol=1e-6)
