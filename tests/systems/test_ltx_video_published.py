"""Published checkpoints of LTX-Video: which version they are, single files and folders, memory."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from published_files import (
    PROMPT,
    TRANSFORMER,
    single_file_shapes,
    small_model,
    told,
    write_single_file,
    write_t5,
    write_without_values,
)
from torch import Tensor

import kinema
from kinema.cli.main import main
from kinema.clip import Clip
from kinema.config import from_dict
from kinema.errors import InputError
from kinema.processes import schedules
from kinema.systems.ltx_video import LTXVideo
from kinema.systems.ltx_video_config import LTXVideoConfig
from kinema.systems.ltx_video_published import read
from kinema.systems.ltx_video_versions import DISTILLED, VERSIONS
from kinema.weights.files import open_checkpoint, save

SIZE = ("--size", "64x64", "--num-frames", "9")


@pytest.fixture(scope="module")
def t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_t5(tmp_path_factory.mktemp("t5"))


def latents(model: LTXVideo) -> Tensor:
    sampling = replace(model.config.sampling, num_frames=9, height=64, width=64, second=None)
    made = model.generate(PROMPT, seed=0, sampling=sampling, output="latents")
    assert isinstance(made, Tensor)
    return made


# -- versions -------------------------------------------------------------------------------


def test_the_tables_lie_on_linear_quadratic_levels() -> None:
    """What the versions' schedules were inferred from."""
    levels = VERSIONS["0.9.8-13b-dev"]().sampling.levels
    falling = schedules.linear_quadratic(30)
    assert all((falling - level).abs().min() < 1e-4 for level in (levels[0], *levels[2:]))
    assert torch.allclose(schedules.linear_quadratic(8), torch.tensor(DISTILLED), atol=1e-4)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A file with the header of a version, without values; made once for each."""
    folder, made = tmp_path_factory.mktemp("published"), {}

    def path(version: str, *, with_metadata: bool) -> Path:
        key = version, with_metadata
        if key not in made:
            config = VERSIONS[version]()
            made[key] = folder / f"{version}-{with_metadata}.safetensors"
            metadata = told(config) if with_metadata else None
            write_without_values(made[key], single_file_shapes(config), metadata)
        return made[key]

    return path


def config_of(path: Path, version: str | None) -> LTXVideoConfig:
    checkpoint = read(path, version, None)
    config = from_dict(LTXVideoConfig, checkpoint.config)
    assert config.text.folder == str(path.parent)
    return replace(config, text=replace(config.text, folder="t5-v1_1-xxl"))


ALIKE = (
    ("0.9.6-2b-distilled", "0.9.8-2b-distilled"),
    ("0.9.7-13b-distilled", "0.9.8-13b-distilled"),
)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_file_tells_its_version_by_its_metadata(published: Any, version: str) -> None:
    path = published(version, with_metadata=True)
    alike = next((names for names in ALIKE if version in names), None)
    if alike is None:  # 0.9.6 was the first to make larger clips by default, and nothing else
        told_as = "0.9.5-2b" if version == "0.9.6-2b-dev" else version
        assert config_of(path, None) == VERSIONS[told_as]()
    else:  # their files differ in the weights alone
        with pytest.raises(InputError) as error:
            read(path, None, None)
        said = f"name it ltx_video:{alike[0]}@{path} or ltx_video:{alike[1]}@{path}"
        assert str(error.value) == f"{path} does not tell which version it is; {said}"
    assert config_of(path, version) == VERSIONS[version]()


@pytest.mark.parametrize(
    ("version", "others"),
    [
        ("0.9.0-2b", ()),
        ("0.9.1-2b", ()),
        ("0.9.5-2b", ("0.9.6-2b-dev", "0.9.6-2b-distilled", "0.9.8-2b-distilled")),
    ],
)
def test_a_file_without_metadata_is_told_by_its_shapes(
    published: Any, version: str, others: tuple[str, ...]
) -> None:
    path = published(version, with_metadata=False)
    assert config_of(path, version) == VERSIONS[version]()
    if not others:
        assert config_of(path, None) == VERSIONS[version]()
        return
    with pytest.raises(InputError, match="does not tell which version it is") as error:
        read(path, None, None)
    assert [name for name in VERSIONS if f"ltx_video:{name}@" in str(error.value)] == [
        version,
        *others,
    ]


def test_another_version_than_was_named(published: Any) -> None:
    path = published("0.9.1-2b", with_metadata=True)
    with pytest.raises(InputError, match=r"holds 0\.9\.1-2b, not 0\.9\.5-2b"):
        kinema.load(f"ltx_video:0.9.5-2b@{path}")
    with pytest.raises(InputError, match="unknown published version of ltx_video"):
        kinema.load(f"ltx_video:0.9.2-2b@{path}")
    with pytest.raises(InputError, match=r"no weights .* ship; name a file: ltx_video:0\.9\.1-2b@"):
        kinema.load("ltx_video:0.9.1-2b")


def test_noise_levels_are_those_of_the_file(tmp_path: Path) -> None:
    shapes, full = single_file_shapes(VERSIONS["0.9.0-2b"]()), told(VERSIONS["0.9.0-2b"]())
    full["scheduler"]["target_shift_terminal"] = 0.2
    write_without_values(tmp_path / "a.safetensors", shapes, full)
    for version in (None, "0.9.0-2b"):
        assert config_of(tmp_path / "a.safetensors", version).sampling.terminal == 0.2
    full["scheduler"] = {"sampler": "LinearQuadratic"}
    write_without_values(tmp_path / "b.safetensors", shapes, full)
    assert config_of(tmp_path / "b.safetensors", None).sampling.schedule == "linear_quadratic"
    shapes_13b, full_13b = (
        make(VERSIONS["0.9.8-13b-dev"]()) for make in (single_file_shapes, told)
    )
    full_13b["scheduler"] = full["scheduler"] | {"sampler": "Uniform", "shifting": "SD3"}
    full_13b["scheduler"]["target_shift_terminal"] = 0.1
    write_without_values(tmp_path / "d.safetensors", shapes_13b, full_13b)
    sampling = config_of(tmp_path / "d.safetensors", None).sampling
    assert (sampling.schedule, sampling.second.schedule) == ("shifted", "shifted")


@pytest.mark.parametrize(
    "scheduler",
    [
        {"sampler": "Constant", "shift": 3.0},
        {"sampler": "LinearQuadratic", "shifting": "SD3", "target_shift_terminal": 0.1},
        {"sampler": "Uniform", "shifting": "SD3", "target_shift_terminal": None},
    ],
)
def test_a_version_that_is_named_stands_for_noise_levels_that_are_not_known(
    tmp_path: Path, scheduler: dict[str, Any]
) -> None:
    base, path = VERSIONS["0.9.0-2b"](), tmp_path / "a.safetensors"
    write_without_values(path, single_file_shapes(base), {**told(base), "scheduler": scheduler})
    with pytest.raises(InputError, match=r"that is not known here: .*sampler") as error:
        read(path, None, None)
    assert f"name a version, as ltx_video:0.9.0-2b@{path}" in str(error.value)
    assert config_of(path, "0.9.0-2b") == base


# -- single files ---------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["0.9.0-2b", "0.9.1-2b", "0.9.8-2b-distilled"])
def test_a_single_file_makes_what_the_networks_make(tmp_path: Path, t5: Path, version: str) -> None:
    model = small_model(VERSIONS["0.9.6-2b-distilled"](), t5)
    if version != "0.9.8-2b-distilled":
        sampling = replace(VERSIONS[version]().sampling, steps=2, perturbed_blocks=(1,))
        model = small_model(replace(VERSIONS[version](), sampling=sampling), t5)
    path = tmp_path / "model.safetensors"
    metadata = told(model.config)
    write_single_file(path, model, metadata)
    with pytest.raises(InputError, match="is of no published version; name the one that it is"):
        LTXVideo.from_pretrained(path)
    loaded = LTXVideo.from_pretrained(path, preset="0.9.6-2b-distilled", text_encoder=str(t5))
    assert loaded.config.transformer == model.config.transformer
    assert loaded.config.codec == model.config.codec
    assert loaded.config.causal_positions == model.config.causal_positions
    assert loaded.config.sampling == VERSIONS["0.9.6-2b-distilled"]().sampling
    for name, value in model.parts.state_dict().items():
        assert torch.equal(loaded.parts.state_dict()[name], value), name
    model.config = replace(model.config, sampling=loaded.config.sampling)
    assert torch.equal(latents(loaded), latents(model))


def test_what_is_no_published_file(tmp_path: Path, t5: Path) -> None:
    model = small_model(VERSIONS["0.9.6-2b-distilled"](), t5)
    metadata = told(model.config)
    path = tmp_path / "model.safetensors"
    write_single_file(path, model, metadata)
    whole = dict(open_checkpoint(path).tensors)
    cases: list[tuple[dict[str, Any], dict[str, Any] | None, str]] = [
        ({}, {"transformer": metadata["transformer"]}, "'config' of .* lacks vae"),
        ({}, None, "no metadata that tell sizes, and its transformer is of no published version"),
        ({"text.weight": (3,)}, metadata, "1 .*text.weight without the prefix|text.weight"),
        ({"model.diffusion_model.more": (3,)}, metadata, "1 unexpected: transformer.more"),
        ({"model.diffusion_model.proj_out.bias": None}, metadata, "1 missing: transformer.proj_o"),
        ({"vae.encoder.conv_in.conv.bias": (5,)}, metadata, r"is \(5\) instead of \(4\)"),
    ]
    for number, (change, says, match) in enumerate(cases):
        shapes = {name: value.shape for name, value in whole.items()} | change
        other = tmp_path / f"{number}.safetensors"
        write_without_values(other, {k: v for k, v in shapes.items() if v is not None}, says)
        with pytest.raises(InputError, match=match):
            LTXVideo.from_pretrained(other, preset="0.9.6-2b-distilled")


def test_the_text_encoder_may_lie_beside_the_file(tmp_path: Path, t5: Path) -> None:
    model = small_model(VERSIONS["0.9.6-2b-distilled"](), t5)
    model.text.save(tmp_path)
    path = tmp_path / "model.safetensors"
    write_single_file(path, model, told(model.config))
    loaded = kinema.load(f"ltx_video:0.9.6-2b-distilled@{path}")
    ids = model.text.ids([PROMPT])
    assert torch.equal(loaded.text.ids([PROMPT])[:, : ids.shape[1]], ids)
    assert torch.equal(loaded.text(ids).x, model.text(ids).x)


def test_a_clip_from_the_command_line(
    tmp_path: Path, t5: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = small_model(VERSIONS["0.9.6-2b-distilled"](), t5)
    path, clip = tmp_path / "model.safetensors", tmp_path / "clip.mp4"
    write_single_file(path, model, told(model.config))
    named = f"ltx_video:0.9.6-2b-distilled@{path}"
    words = ["generate", PROMPT, "--model", named, *SIZE, "-o", str(clip)]
    assert main(words) == 2
    assert "holds no T5 encoder" in capsys.readouterr().err
    assert main([*words, "--text-encoder", str(tmp_path / "nowhere")]) == 2
    assert "--text-encoder FOLDER" in capsys.readouterr().err
    assert main([*words, "--text-encoder", str(t5)]) == 0
    assert Clip.read(clip).num_frames == 9
    record = json.loads(clip.with_suffix(".json").read_text())
    assert f"--text-encoder {t5}" in record["command"]
    own = tmp_path / "own.safetensors"
    model.save_pretrained(own)
    other = tmp_path / "other.mp4"
    again = ["generate", PROMPT, "--model", str(own), *SIZE, "-o", str(other)]
    assert main([*again, "--text-encoder", str(t5)]) == 0
    assert other.read_bytes() == clip.read_bytes()


def test_the_command_line_tells_what_a_file_is_and_writes_a_folder(
    published: Any, tmp_path: Path, t5: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = published("0.9.8-13b-dev", with_metadata=True)
    assert main(["weights", str(path)]) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert lines["published"].split()[1] == "0.9.7-13b-dev"
    assert lines["dtype"] == "bfloat16"
    assert lines["parameters"].startswith("transformer 13,042,569,344, codec 1,246,913,")
    model = small_model(VERSIONS["0.9.6-2b-distilled"](), t5)
    file, folder = tmp_path / "model.safetensors", tmp_path / "folder"
    write_single_file(file, model, told(model.config))
    named = f"ltx_video:0.9.6-2b-distilled@{file}"
    assert main(["weights", named, "--text-encoder", str(t5), "-o", str(folder)]) == 0
    again = LTXVideo.from_pretrained(folder)
    for name, value in model.parts.state_dict().items():
        assert torch.equal(again.parts.state_dict()[name], value), name


def test_weights_of_eight_bits_are_read(tmp_path: Path, t5: Path) -> None:
    model = small_model(VERSIONS["0.9.6-2b-distilled"](), t5)
    whole, small = tmp_path / "model.safetensors", tmp_path / "fp8.safetensors"
    write_single_file(whole, model, told(model.config))
    checkpoint = open_checkpoint(whole)
    held = {name: value.read() for name, value in checkpoint.tensors.items()}
    for name, value in held.items():
        if name.startswith("model."):
            held[name] = value.to(torch.float8_e4m3fn)
    save(small, held, checkpoint.metadata, overwrite=False)
    preset = "0.9.6-2b-distilled"
    loaded = LTXVideo.from_pretrained(small, preset=preset, dtype=torch.float32)
    for name, value in model.transformer.state_dict().items():
        expected = value.to(torch.float8_e4m3fn).float()
        assert torch.equal(loaded.transformer.state_dict()[name], expected), name


# -- memory ---------------------------------------------------------------------------------

LOAD = """
import sys
import torch
from kinema.systems.ltx_video import LTXVideo

def peak():
    (line,) = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024

LTXVideo(LTXVideo.PRESETS["nano"](), device="meta")  # what torch imports for it is not counted
before = peak()
model = LTXVideo.from_pretrained(sys.argv[1], preset="0.9.6-2b-distilled")
sizes = [value.numel() * value.element_size() for value in model.parts.state_dict().values()]
print(peak() - before, sum(sizes), max(sizes))
"""
ALLOWANCE = 16 * 2**20  # Python's own, and what the allocator keeps


def test_loading_takes_the_model_and_one_tensor(tmp_path: Path, t5: Path) -> None:
    model = small_model(VERSIONS["0.9.6-2b-distilled"](), t5)
    wide = replace(TRANSFORMER, num_layers=8, num_heads=12, head_width=64)
    model = LTXVideo(replace(model.config, transformer=wide))
    path = tmp_path / "model.safetensors"
    write_single_file(path, model, told(model.config))
    size = path.stat().st_size
    assert size > 250 * 2**20
    answer = subprocess.run(
        [sys.executable, "-c", LOAD, str(path)], capture_output=True, text=True, check=True
    )
    used, whole, largest = map(int, answer.stdout.split())
    assert abs(whole - size) < 0.01 * size
    assert whole < used < whole + largest + ALLOWANCE


ONE_LAYER = """
import sys
import torch
from kinema.networks.ltx_transformer import Block, ltx_13b, rotary_table
from kinema.weights.files import load_tensors, open_checkpoint
from kinema.weights.keymap import KeyMap
from kinema.weights.layouts import below
from kinema.weights.maps.ltx_transformer import SINGLE_FILE

config = ltx_13b()
tensors = SINGLE_FILE.lazy_to_ours(open_checkpoint(sys.argv[1]).tensors)
block = Block("transformer_blocks.7", config, device="meta", dtype=torch.bfloat16)
load_tensors(block, below(tensors, "transformer_blocks.7."), KeyMap(), where=sys.argv[1])
positions = torch.arange(32.0).expand(1, 3, 32)
table = rotary_table(
    positions, config.width, theta=config.theta, max_position=config.max_position
)
x = torch.linspace(-1, 1, 32 * config.width).view(1, 32, -1).bfloat16()
time = torch.zeros(1, 1, 6, config.width, dtype=torch.bfloat16)
with torch.inference_mode():
    out = block(x, time, table, x[:, :8], None)
(line,) = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
peak = int(line.split()[1]) * 1024
print(sum(p.numel() for p in block.parameters()), peak, float((out - x).float().std()))
"""


@pytest.mark.slow
def test_one_layer_of_the_13b_file_runs_alone(tmp_path: Path) -> None:
    config = VERSIONS["0.9.8-13b-dev"]()
    path = tmp_path / "13b.safetensors"
    shapes = single_file_shapes(config)
    places = write_without_values(path, shapes, told(config))
    whole = path.stat().st_size
    assert whole > 2 * 13_042_569_344
    drawn = torch.randn(2**20, generator=torch.Generator().manual_seed(0)).bfloat16()
    values = (0.02 * drawn).view(torch.uint8).numpy().tobytes()
    with path.open("r+b") as file:
        for name in shapes:
            if name.startswith("model.diffusion_model.transformer_blocks.7."):
                size = 2 * torch.Size(shapes[name]).numel()
                file.seek(places[name])
                file.write((values * (size // len(values) + 1))[:size])
    answer = subprocess.run(
        [sys.executable, "-c", ONE_LAYER, str(path)], capture_output=True, text=True, check=True
    )
    count, peak, spread = answer.stdout.split()
    assert int(count) == 268_529_664
    assert float(spread) > 0.01
    assert int(peak) < whole / 15
