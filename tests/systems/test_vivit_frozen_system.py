"""A frozen ViViT as a system: what is trained and kept, image models, features that are cached."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from kinema.data.clips import ClipSize, split_of
from kinema.errors import InputError
from kinema.networks.vit import ViT, ViTConfig
from kinema.networks.vivit import SpatialTransformer, TemporalTransformer
from kinema.noise import Noise
from kinema.planning.meters import flops, saved_activations
from kinema.systems.videomae_v2 import SYSTEM as VIDEOMAE
from kinema.systems.videomae_v2_presets import nano as videomae_nano
from kinema.systems.vivit_frozen import SYSTEM, ViViTFrozen
from kinema.systems.vivit_frozen_features import Stored
from kinema.systems.vivit_frozen_files import FromImageViT
from kinema.systems.vivit_frozen_presets import CACHED, RECIPES, VERSIONS, nano
from kinema.systems.vivit_frozen_training import STAGES
from kinema.training.log import read_log
from kinema.training.objective import Objective
from kinema.training.stage import train
from kinema.weights.export import export
from kinema.weights.keymap import KeyMap
from kinema.weights.maps.vit import CLASSIFIER, TIMM, find
from kinema.worlds.motion_classes import CLASSES

PIXELS = Noise(0, (0, 1)).uniform((2, 3, 6, 32, 32), "pixels") * 2 - 1
BATCH = {"clips": PIXELS, "classes": torch.tensor([0, 3])}


@torch.no_grad()
def model() -> ViViTFrozen:
    """A nano model whose adapter and head do something."""
    torch.manual_seed(0)
    made = SYSTEM(nano())
    for index, parameter in enumerate(made.network.parameters()):
        parameter += 0.1 * Noise(0, (index,)).normal((1, *parameter.shape), "weights")[0]
    return made


def objective_of(stage: str, made: ViViTFrozen) -> Objective:
    plan = STAGES[stage]
    return plan.objective(made, plan.recipes["nano"])


@pytest.mark.parametrize("name", VERSIONS)
def test_versions_say_how_many_parameters_they_have(name: str) -> None:
    parts = SYSTEM(VERSIONS[name](), device="meta").parts
    count = sum(parameter.numel() for parameter in parts.parameters())
    assert f"{count:,} parameters" in str(VERSIONS[name].__doc__)
    if name != "plain":
        own = sum(parameter.numel() for parameter in parts["network"].parameters())
        assert f"{own:,} of them" in str(VERSIONS[name].__doc__)


# -- what freezing saves --------------------------------------------------------------------


def test_frozen_and_whole_say_the_same() -> None:
    made = model()
    logits = made.logits(PIXELS)
    torch.testing.assert_close(made.whole_logits(PIXELS), logits)
    torch.testing.assert_close(made.logits_of(made.frozen_tokens(PIXELS)), logits)


def test_no_gradient_and_no_dropping_reaches_the_frozen_transformer() -> None:
    made = model()
    objective = objective_of("classifier", made).train()
    assert not made.spatial.training
    objective.loss("classifier", BATCH, 0, Noise(0, (0, 1)))[0].backward()
    assert all(parameter.grad is None for parameter in made.spatial.parameters())
    assert all(parameter.grad is not None for parameter in made.network.parameters())


def test_a_frozen_step_takes_less_than_half_and_a_cached_one_a_tenth() -> None:
    """Of the operations and of the memory, at the tiny size."""
    made = SYSTEM(SYSTEM.PRESETS["tiny"]())
    clips = Noise(0, (0, 1)).uniform((2, 3, 32, 32, 32), "pixels") * 2 - 1
    batch = {**BATCH, "clips": clips, "features": made.frozen_tokens(clips)}
    costs = {}
    for stage in ("whole", "classifier", "cached"):
        made.parts.requires_grad_(True)
        objective = objective_of(stage, made)

        def loss(objective: Objective = objective) -> torch.Tensor:
            return objective.loss("classifier", batch, 0, Noise(0, (0, 1)))[0]

        kept = saved_activations(loss)
        costs[stage] = (flops(lambda loss=loss: loss().backward()), kept)
    for cost, (stage, share) in (
        (c, s) for s in (("classifier", 0.5), ("cached", 0.2)) for c in (0, 1)
    ):
        assert costs[stage][cost] < share * costs["whole"][cost], (stage, costs)


# -- beginnings -----------------------------------------------------------------------------


def test_the_temporal_transformer_starts_as_the_end_of_the_image_stage(tmp_path: Path) -> None:
    first = model()
    first.save_pretrained(tmp_path / "image.safetensors")
    other = SYSTEM.from_pretrained(tmp_path / "image.safetensors")
    made = SYSTEM(nano())
    made.start_from(other, ("spatial",))
    for own, image in zip(made.network.blocks, first.spatial.blocks[-1:], strict=True):
        assert torch.equal(own.attn.qkv.weight, image.attn.qkv.weight)
    # A stage that takes over both roles starts so where its recipe says it.
    for stage in ("classifier", "cached", "whole"):
        made = SYSTEM(nano())
        made.start_from(other, ("spatial", "network"))
        torch.nn.init.normal_(made.network.blocks[0].attn.qkv.weight)
        plan = STAGES[stage]
        plan.objective(made, replace(plan.recipes["nano"], temporal="image"))
        own = made.network.blocks[0].attn.qkv.weight
        assert torch.equal(own, first.spatial.blocks[-1].attn.qkv.weight)
    # A model that was trained is taken over as it is.
    made.start_from(other, ("spatial", "network"))
    assert torch.equal(made.logits(PIXELS), first.logits(PIXELS))


def test_it_may_start_from_videomae(tmp_path: Path) -> None:
    other = VIDEOMAE(videomae_nano())
    other.save_pretrained(tmp_path / "videomae.safetensors")
    made = model()
    recipe = replace(RECIPES["nano"], temporal=str(tmp_path / "videomae.safetensors"))
    STAGES["classifier"].objective(made, recipe)
    own, first = made.network.blocks[0], other.network.blocks[0]
    assert torch.equal(own.mlp.fc1.weight, first.mlp.fc1.weight)
    assert not own.attn.qkv.bias[24:48].any()


@pytest.mark.parametrize("names", [TIMM, CLASSIFIER], ids=["timm", "transformers"])
def test_an_image_vit_begins_both_transformers(names: KeyMap, tmp_path: Path) -> None:
    config = nano()
    sizes = ViTConfig(image_size=32, patch_size=8, width=24, num_layers=2, num_heads=2)
    image, path = ViT(sizes).eval(), tmp_path / "vit.safetensors"
    head = {"head.weight": torch.zeros(7, 24), "head.bias": torch.zeros(7)}
    theirs = names.to_theirs({**image.state_dict(), **head})
    save_file({name: value.contiguous() for name, value in theirs.items()}, path)
    files = FromImageViT(
        name="vivit_frozen",
        parts={"spatial": SpatialTransformer, "network": TemporalTransformer},
        versions={"nano": nano},
        find=find,
        fresh=(),
    )
    tensors = {name: value.read() for name, value in files.read(path, None, None).tensors.items()}
    made = SYSTEM(config)
    made.parts.load_state_dict(tensors)
    assert torch.equal(made.network.blocks[0].attn.qkv.weight, image.blocks[1].attn.qkv.weight)
    # Tubelets whose frames are alike are patches: of two frames the second one counts.
    frame = PIXELS[:, :, :1]
    for first in (frame, torch.zeros_like(frame)):
        clip = torch.cat([first, frame], 2)
        own = made.spatial.patch_embed(clip)
        torch.testing.assert_close(own, image.patch_embed(frame[:, :, 0]))
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(InputError, match="holds no image ViT"):
        files.read(path, None, None)


def test_published_image_vits_are_told_by_their_sizes(tmp_path: Path) -> None:
    """B/16 fits two versions, of which one must be named."""
    assert SYSTEM.PUBLISHED is not None
    sizes = ViTConfig(image_size=224, patch_size=16, width=24, num_layers=1, num_heads=1)
    path = tmp_path / "vit.safetensors"
    save_file(ViT(sizes).state_dict(), path)
    with pytest.raises(InputError, match="sizes of no published vivit_frozen"):
        SYSTEM.PUBLISHED.read(path, None, None)
    with pytest.raises(InputError, match="published version of vivit_frozen 'ful'"):
        SYSTEM.PUBLISHED.read(path, "ful", None)


# -- stages ---------------------------------------------------------------------------------


def run(stage: str, made: ViViTFrozen, folder: Path, data: str | None) -> dict[str, float]:
    """Trains a few steps; the last numbers."""
    plan = STAGES[stage]
    train(made, plan, plan.recipes["nano"], data=data, folder=folder, seed=0, device="cpu")
    return [line for line in read_log(folder) if "held_out/loss" in line][-1]


def test_features_are_written_once_and_are_those_of_the_clips(tmp_path: Path) -> None:
    made = model()
    run("cached", made, tmp_path / "run", None)
    stored = tmp_path / "run" / "features" / "train"
    source = Stored(stored, made, seed=0)
    assert len(source) == CACHED["nano"].clips
    batch = source(tuple(range(8)))
    assert batch["features"].shape == (8, 3, 17, 24)
    drawn = STAGES["cached"].data(made, CACHED["nano"], "motions")[0](tuple(range(8)))
    order = [int(i) for i in Noise(0, (0,)).permutation(8, "epoch")]
    torch.testing.assert_close(batch["features"], drawn["features"][order], rtol=0.01, atol=0.02)
    assert torch.equal(batch["classes"], drawn["classes"][order])
    with torch.no_grad():
        made.spatial.cls_token.add_(1)
    with pytest.raises(InputError, match="encode again"):
        Stored(stored, made, seed=0)


def test_features_of_a_folder_have_its_classes(tmp_path: Path) -> None:
    size = ClipSize(num_frames=8, height=40, width=48, fps=8.0)
    world = split_of("motions", "train", size)
    for index in range(6):
        path = tmp_path / "clips" / ("left" if index % 2 else "right") / f"{index}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        world.sample(index).clip.write(path)
    made = model()
    last = run("cached", made, tmp_path / "run", str(tmp_path / "clips"))
    assert made.labels == ("left", "right")
    assert last["held_out/trivial"] == pytest.approx(0.6931, abs=1e-3)


def test_the_image_stage_leaves_the_temporal_transformer(tmp_path: Path) -> None:
    made = model()
    before = {name: value.clone() for name, value in made.parts.state_dict().items()}
    run("image", made, tmp_path / "run", None)
    after = made.parts.state_dict()
    changed = {
        name.partition(".")[0] for name in after if not torch.equal(after[name], before[name])
    }
    assert changed == {"spatial"}
    assert made.labels == CLASSES


def test_views_must_show_what_the_transformers_read() -> None:
    whole = nano()
    with pytest.raises(InputError, match="read 6 frames of 32 pixels, but the views show 8 of 32"):
        replace(whole, views=replace(whole.views, num_frames=8))


def test_it_can_be_exported(tmp_path: Path) -> None:
    assert export(model().exportable(), tmp_path / "model.pt2", overwrite=False) < 1e-5
