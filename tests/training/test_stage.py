"""What a stage reads, refuses and leaves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from nano_stage import fresh, recipe_of, write_latents

from kinema.errors import InputError
from kinema.training.log import read_log
from kinema.training.stage import train


def test_a_run_that_cannot_learn_leaves_nothing_but_an_error(tmp_path: Path) -> None:
    model = fresh()
    write_latents(tmp_path / "latents", model)
    for parameter in model.transformer.proj_out.parameters():
        parameter.data.fill_(0.0)
    # A rate this small moves nothing within the check.
    recipe = replace(recipe_of("generator"), learning_rate=1e-12)
    with pytest.raises(InputError, match="one batch cannot be overfitted"):
        train(
            model,
            model.STAGES["generator"],
            recipe,
            data=str(tmp_path / "latents"),
            folder=tmp_path / "run",
            seed=0,
            device="cpu",
        )
    assert not (tmp_path / "run").exists()


def test_the_system_holds_the_average_afterwards(tmp_path: Path) -> None:
    model, start = fresh(), fresh()
    write_latents(tmp_path / "latents", model)
    recipe = replace(recipe_of("generator"), steps=2, report_every=2, ema=0.0)
    run = {"data": str(tmp_path / "latents"), "folder": tmp_path / "run", "seed": 0}
    train(model, model.STAGES["generator"], recipe, device="cpu", **run)
    assert not model.transformer.training
    assert len(read_log(tmp_path / "run")) == 3
    moved = model.transformer.patchify_proj.weight != start.transformer.patchify_proj.weight
    assert moved.any()
    kept = zip(model.codec.state_dict().values(), start.codec.state_dict().values())
    assert all(torch.equal(a, b) for a, b in kept), "the generator's stage touched the codec"


def test_a_stage_reads_its_world_with_options() -> None:
    model = fresh()
    stage, recipe = type(model).STAGES["codec"], recipe_of("codec")
    plain, second = (stage.read(model, recipe, name) for name in ("shapes", "shapes:level=2"))
    assert not torch.equal(plain.held_out["clips"], second.held_out["clips"])
    with pytest.raises(InputError, match="unknown option of the world shapes 'levle'"):
        stage.read(model, recipe, "shapes:levle=2")
    with pytest.raises(InputError, match="unknown world 'songs:level=2'"):
        stage.read(model, recipe, "songs:level=2")


def test_a_name_that_is_no_world_may_be_meant_for_a_folder(tmp_path) -> None:
    model = fresh()
    stage, recipe = type(model).STAGES["codec"], recipe_of("codec")
    with pytest.raises(InputError, match=r"\(there is no folder of that name\)"):
        stage.read(model, recipe, str(tmp_path / "clips"))
    (tmp_path / "clips").mkdir()
    with pytest.raises(InputError, match="there is nothing to read in the folder of that name"):
        stage.read(model, recipe, str(tmp_path / "clips"))
