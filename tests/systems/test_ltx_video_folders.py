"""Folders of diffusers: it loads what we save and we load what it saves, with equal outputs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from published_files import (
    PROMPT,
    TRANSFORMER,
    small,
    small_model,
    told,
    write_single_file,
    write_t5,
)
from torch import Tensor

from kinema.cli.main import main
from kinema.clip import Clip
from kinema.condition import Conditions, Grid, Tokens
from kinema.errors import InputError
from kinema.networks import ltx_diffusers
from kinema.networks.ltx_vae_config import BlockConfig, v0_9_0, v0_9_1, v0_9_5
from kinema.noise import Noise
from kinema.systems.ltx_video import LTXVideo
from kinema.systems.ltx_video_presets import nano
from kinema.systems.ltx_video_versions import VERSIONS

diffusers = pytest.importorskip("diffusers")

FAMILIES = ("0.9.0-2b", "0.9.1-2b", "0.9.6-2b-distilled")


@pytest.fixture(scope="module")
def t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_t5(tmp_path_factory.mktemp("t5"))


def small_version(name: str, t5: Path) -> LTXVideo:
    version = VERSIONS[name]()
    if not version.sampling.sigmas:
        sampling = replace(version.sampling, steps=2, perturbed_blocks=(1,))
        version = replace(version, sampling=sampling)
    return small_model(version, t5)


def drawn(name: str, *shape: int) -> Tensor:
    return Noise(1, (0,)).normal((1, *shape), name)


@torch.inference_mode()
def assert_equal_outputs(ours: LTXVideo, transformer: Any, vae: Any) -> None:
    """Both networks of ours against those of diffusers, on the same inputs."""
    channels = ours.config.transformer.latent_channels
    x, text = drawn("x", 12, channels), drawn("text", 5, ours.config.transformer.caption_channels)
    positions = 4 * drawn("positions", 3, 12).abs()
    mask = torch.tensor([[1, 1, 1, 0, 0]])
    time = torch.linspace(0.1, 0.9, 12)[None]
    told = Conditions({"text": Tokens(x=text, mask=mask), "positions": Grid(x=positions)})
    theirs = transformer(
        hidden_states=x,
        encoder_hidden_states=text,
        timestep=1000 * time,
        encoder_attention_mask=mask,
        video_coords=positions,
        return_dict=False,
    )[0]
    torch.testing.assert_close(ours.transformer(x, time, told), theirs, rtol=1e-4, atol=1e-5)
    clip = drawn("clip", 3, 9, 64, 64)
    z = vae.encode(clip).latent_dist.mode()
    mean, std = (v.view(1, -1, 1, 1, 1) for v in (vae.latents_mean, vae.latents_std))
    encoded = ours.codec.encode(clip)
    torch.testing.assert_close(encoded, (z - mean) / std, rtol=1e-4, atol=1e-5)
    timed = ours.config.codec.timestep_conditioning
    level = torch.tensor([0.05]) if timed else None
    torch.manual_seed(0)  # of the noise maps of 0.9.1
    expected = vae.decode(z, temb=level, return_dict=False)[0]
    torch.manual_seed(0)
    decoded = ours.codec.decode(encoded, time=level, noise=torch.randn)
    torch.testing.assert_close(decoded, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("shard_bytes", [10**9, 100_000])
def test_diffusers_loads_what_we_save(
    tmp_path: Path, t5: Path, name: str, shard_bytes: int
) -> None:
    model, folder = small_version(name, t5), tmp_path / "saved"
    model.save_diffusers(folder, shard_bytes=shard_bytes)
    files = sorted((folder / "vae").glob("*.safetensors"))
    if shard_bytes < 10**9:
        assert len(files) > 1
        sizes = json.loads((folder / "vae" / f"{STEM}.safetensors.index.json").read_text())
        assert sizes["metadata"]["total_size"] == sum(
            v.numel() * v.element_size() for v in model.codec.state_dict().values()
        )
    else:
        assert [file.name for file in files] == [f"{STEM}.safetensors"]
    pipe = diffusers.DiffusionPipeline.from_pretrained(folder)
    kind = "LTXConditionPipeline" if model.config.causal_positions else "LTXPipeline"
    assert type(pipe).__name__ == kind
    assert_equal_outputs(model, pipe.transformer, pipe.vae)
    shifted = model.config.sampling.schedule == "shifted"
    assert pipe.scheduler.config.use_dynamic_shifting == shifted
    ids = model.text.ids([PROMPT])
    theirs = pipe.text_encoder(input_ids=ids, attention_mask=ids != 0).last_hidden_state
    torch.testing.assert_close(model.text(ids).x, theirs)
    again = LTXVideo.from_pretrained(folder)
    assert replace(again.config, text=model.config.text) == model.config
    assert again.config.text.folder == str(folder)
    for key, value in model.parts.state_dict().items():
        assert torch.equal(again.parts.state_dict()[key], value), key


STEM = "diffusion_pytorch_model"


def their_pipeline(name: str, t5: Path) -> Any:
    """A pipeline of diffusers' own classes with weights of its own."""
    from transformers import AutoTokenizer, T5EncoderModel

    version = VERSIONS[name]()
    torch.manual_seed(3)
    arguments = ltx_diffusers.transformer_to_diffusers(TRANSFORMER)
    transformer = diffusers.LTXVideoTransformer3DModel.from_config(arguments)
    vae = diffusers.AutoencoderKLLTXVideo.from_config(
        ltx_diffusers.vae_to_diffusers(small(version.codec))
    )
    vae.latents_mean += torch.linspace(-0.5, 0.5, len(vae.latents_mean))
    vae.latents_std *= 1.5
    for name, scale in vae.named_parameters():
        if "per_channel_scale" in name:  # of the noise maps; diffusers begins with 0
            torch.nn.init.normal_(scale)
    kind = diffusers.LTXConditionPipeline if version.causal_positions else diffusers.LTXPipeline
    return kind(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=False),
        vae=vae.eval(),
        text_encoder=T5EncoderModel.from_pretrained(t5),
        tokenizer=AutoTokenizer.from_pretrained(t5),
        transformer=transformer.eval(),
    )


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("size", ["10GB", "60KB"])
def test_we_load_what_diffusers_saves(tmp_path: Path, t5: Path, name: str, size: str) -> None:
    pipe, folder = their_pipeline(name, t5), tmp_path / "theirs"
    pipe.save_pretrained(folder, max_shard_size=size)
    assert (len(list((folder / "vae").glob("*.safetensors"))) > 1) == (size == "60KB")
    with pytest.raises(InputError, match="is of no published version; name the one that it is"):
        LTXVideo.from_pretrained(folder)
    ours = LTXVideo.from_pretrained(folder, preset="0.9.6-2b-distilled")
    assert ours.config.codec == small(VERSIONS[name]().codec)
    assert_equal_outputs(ours, pipe.transformer, pipe.vae)


def test_files_become_folders_become_clips(
    tmp_path: Path, t5: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = small_version("0.9.6-2b-distilled", t5)
    write_single_file(tmp_path / "single.safetensors", model, told(model.config))
    read = LTXVideo.from_pretrained(
        "single.safetensors", preset="0.9.6-2b-distilled", text_encoder=str(t5)
    )
    read.config = model.config
    read.save_diffusers("folder", dtype=torch.bfloat16)
    half = LTXVideo.from_pretrained("folder", dtype=torch.float32)
    for key, value in model.parts.state_dict().items():
        assert torch.equal(half.parts.state_dict()[key], value.bfloat16().float()), key
    words = ["generate", PROMPT, "--model", "folder", "--dtype", "float32"]
    for name in ("a.mp4", "b.mp4"):
        assert main([*words, "-o", name]) == 0
    assert Clip.read("a.mp4").num_frames == 9
    assert Path("a.mp4").read_bytes() == Path("b.mp4").read_bytes()
    assert half.generate(PROMPT, seed=0).write("c.mp4") is None
    assert Path("c.mp4").read_bytes() == Path("a.mp4").read_bytes()


def test_what_diffusers_has_no_words_for(tmp_path: Path, t5: Path) -> None:
    with pytest.raises(InputError, match="diffusers knows the published rotary table"):
        LTXVideo(nano()).save_diffusers(tmp_path / "a")
    model = small_version("0.9.0-2b", t5)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "x").write_text("")
    with pytest.raises(InputError, match="b exists and is not empty; choose another name"):
        model.save_diffusers(tmp_path / "b")
    with pytest.raises(InputError, match=r"a folder of diffusers has a model_index\.json"):
        LTXVideo.from_pretrained(tmp_path / "b")


@pytest.mark.parametrize(
    "change",
    [
        {"spatial_padding_mode": "replicate"},
        {"encoder_blocks": (*v0_9_5().encoder_blocks, BlockConfig(kind="compress_time_res")),
         "decoder_blocks": (BlockConfig(kind="compress_time"), *v0_9_5().decoder_blocks)},
    ],
)  # fmt: skip
def test_vaes_that_diffusers_does_not_have(change: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="diffusers"):
        ltx_diffusers.vae_to_diffusers(replace(v0_9_5(), **change))


@pytest.mark.parametrize("make", [v0_9_0, v0_9_1, v0_9_5])
def test_arguments_of_diffusers_lead_back(make: Any) -> None:
    told = json.loads(json.dumps(ltx_diffusers.vae_to_diffusers(make())))
    assert ltx_diffusers.vae_from_diffusers(told) == make()
    with pytest.raises(InputError, match="unknown argument of diffusers' LTX VAE 'colour'"):
        ltx_diffusers.vae_from_diffusers({**told, "colour": 1})
    with pytest.raises(InputError, match="do not fit one another"):
        ltx_diffusers.vae_from_diffusers({**told, "layers_per_block": [1]})
    with pytest.raises(InputError, match="says that it compresses by"):
        ltx_diffusers.vae_from_diffusers({**told, "spatial_compression_ratio": 16})


def test_a_configuration_of_other_networks_beside_a_folder(tmp_path: Path, t5: Path) -> None:
    model, folder = small_version("0.9.6-2b-distilled", t5), tmp_path / "saved"
    model.save_diffusers(folder)
    with pytest.raises(InputError, match="tells itself which version it is"):
        LTXVideo.from_pretrained(folder, preset="0.9.6-2b-distilled")
    place = folder / "kinema.json"
    said = json.loads(place.read_text())
    said["config"]["transformer"]["num_layers"] = 3
    place.write_text(json.dumps(said))
    with pytest.raises(InputError, match=r"kinema\.json tells of other networks than the folder"):
        LTXVideo.from_pretrained(folder)
    (folder / "model_index.json").unlink()
    with pytest.raises(InputError, match=r"a folder of diffusers has a model_index\.json"):
        LTXVideo.from_pretrained(folder)
