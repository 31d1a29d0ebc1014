"""Stable Video Diffusion learns from latents, and from a folder of clips without captions."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from kinema.clip import Clip
from kinema.condition import Grid
from kinema.data.latents import LatentCache
from kinema.errors import InputError
from kinema.noise import Noise
from kinema.systems.svd import SVD
from kinema.systems.svd_conditions import first_frames, motion_bucket
from kinema.systems.svd_config import nano
from kinema.training import stage
from kinema.training.log import read_log
from kinema.weights.digest import digest

FINETUNE = SVD.STAGES["finetune"]
RECIPE = replace(FINETUNE.recipes["nano"], steps=4, held_out=2)
ROWS = (0, 1)


def fresh() -> SVD:
    """Weights that are nowhere zero."""
    torch.manual_seed(0)
    model = SVD(nano())
    for name, parameter in model.parts.named_parameters():
        noise = Noise(0, (0,)).normal((1, *parameter.shape), name)[0]
        parameter.data.add_(noise, alpha=0.05)
    return model


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three clips in two shapes, of which nothing is said."""
    folder = tmp_path_factory.mktemp("clips")
    for index, size in enumerate(((16, 16), (20, 20), (16, 40))):
        shade = np.linspace(60 * index, 255, 6).astype(np.uint8)
        frames = np.broadcast_to(shade[:, None, None, None], (6, *size, 3)).copy()
        Clip(frames, 8.0).write(folder / f"{index}.mp4")
    return folder


def train(model: SVD, recipe: object, data: Path, folder: Path) -> None:
    run = {"data": str(data), "folder": folder, "seed": 0, "device": "cpu"}
    stage.train(model, FINETUNE, recipe, **run)  # type: ignore[arg-type]


def animated(model: SVD) -> Tensor:
    still = torch.linspace(-1, 1, 3 * 16 * 16).view(1, 3, 16, 16)
    return model.animate(still, noise=Noise(0, (0,)), sampling=model.config.sampling)


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return all(torch.equal(one[name], value) for name, value in other.items())


def test_of_a_clip_latents_first_frame_and_motion_are_kept() -> None:
    model = fresh()
    clips = 1.9 * Noise(0, ROWS).uniform((2, 3, 4, 16, 16), "clips") - 0.95
    kept = model.encoded(clips, ROWS)
    with torch.no_grad():
        assert torch.equal(kept["latents"], model.vae.encode(clips))
    assert kept["stills"].shape == (2, model.STILLS, 3, 16, 16)
    assert (first_frames(kept["stills"]) - clips[:, :, 0]).abs().max() < 1 / 255
    assert (kept["motion"].float() - motion_bucket(clips)).abs().max() <= 0.5


def test_all_weights_learn_from_files_without_captions(clips: Path, tmp_path: Path) -> None:
    model, base = fresh(), fresh()
    recipe = replace(RECIPE, steps=30, learning_rate=5e-3, ema=0.9)
    train(model, recipe, clips, tmp_path / "run")
    assert same(model.vae.state_dict(), base.vae.state_dict())
    losses = [line["generator/loss"] for line in read_log(tmp_path / "run") if "seconds" in line]
    assert len(losses) == 30
    assert np.mean(losses[-8:]) < 0.9 * np.mean(losses[:8])
    into = FINETUNE.prepare(model, RECIPE, str(clips), tmp_path / "run")
    data = FINETUNE.read(model, RECIPE, into)
    assert {said[0] for said in data.held_out["captions"]} <= {"0", "1", "2"}
    sizes = {tuple(data.source((4 * i, 4 * i + 1))["stills"].shape[-2:]) for i in range(4)}
    assert sizes == {(16, 16), (8, 24)}


def test_adapters_move_attention_over_time_alone(clips: Path, tmp_path: Path) -> None:
    model, base, path = fresh(), fresh(), tmp_path / "lora.safetensors"
    recipe = RECIPE.with_lora(2)
    trained = FINETUNE.objective(fresh(), recipe).trained("generator")
    assert trained
    assert all(".temporal_transformer_blocks.0.attn1.to_" in name for name in trained)
    train(model, recipe, clips, tmp_path / "run")
    assert same(model.parts.state_dict(), base.parts.state_dict())
    moved = (animated(model) - animated(base)).abs().max()
    assert moved > 1e-5
    model.save_lora(path, overwrite=False)
    other = fresh()
    other.merge_lora(path, scale=1.0)
    assert (animated(other) - animated(model)).abs().max() < 0.05 * moved
    assert list(other.parts.state_dict()) == list(base.parts.state_dict())


def test_a_world_reminds_the_model_of_what_it_knows(clips: Path, tmp_path: Path) -> None:
    model = fresh()
    recipe = replace(RECIPE, replay=0.5, replay_clips=6, batch_size=2)
    into = FINETUNE.prepare(model, recipe, str(clips), tmp_path)
    source = FINETUNE.read(model, recipe, into).source
    known = LatentCache(tmp_path / "latents" / "known", codec=digest(model.vae), seed=1)
    assert "shapes" in known.key.source
    for step in range(6):
        batch = source((2 * step, 2 * step + 1))
        assert (batch["captions"][0][0] in ("0", "1", "2")) == (step % 2 == 0)
        loss, _ = FINETUNE.objective(model, recipe).loss("generator", batch, 0, Noise(0, ROWS))
        assert torch.isfinite(loss)


def test_the_still_of_a_latent_is_the_first_frame_of_its_clip() -> None:
    model = fresh()
    clips = 2 * Noise(0, ROWS).uniform((2, 3, 4, 16, 16), "clips") - 1
    batch = {**model.encoded(clips, ROWS), "fps": 8.0}
    made = SVD.STAGES["unet"].objective(model, replace(SVD.STAGES["unet"].recipes["nano"], drop=0))
    told = made.prepare(batch, Noise(0, ROWS)).conditions  # type: ignore[operator]
    with torch.no_grad():
        clean, _ = model.vae.posterior(clips[:, :, :1])
    error = (told.of(Grid, "concat").x - clean).abs().mean()
    other = (told.of(Grid, "concat").x - clean.flip(0)).abs().mean()
    assert error < other


@pytest.mark.parametrize(
    ("data", "said"), [(None, "name what to learn from"), ("missing", "there is no folder missing")]
)
def test_what_cannot_be_prepared(tmp_path: Path, data: str | None, said: str) -> None:
    with pytest.raises(InputError, match=said):
        FINETUNE.prepare(fresh(), RECIPE, data, tmp_path)


def test_a_picture_has_no_motion_to_learn(
    clips: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "clips"
    shutil.copytree(clips, folder)
    Image.fromarray(np.full((30, 30, 3), 200, np.uint8)).save(folder / "still.png")
    with pytest.raises(InputError, match="1 of 4 files cannot be used"):
        FINETUNE.prepare(fresh(), RECIPE, str(folder), tmp_path / "run")
    assert f"{folder / 'still.png'} is a picture; this model learns from clips alone" in caplog.text
    left = replace(RECIPE, skip_broken=True)
    assert FINETUNE.prepare(fresh(), left, str(folder), tmp_path / "run")


def test_words_are_not_for_this_model(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="svd reads no words"):
        fresh().learn_words({"zig": torch.zeros(3)})
