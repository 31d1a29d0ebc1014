"""Fine-tuning LTX-Video on a folder of clips, at nano size: new words, adapters, reminders."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from kinema.clip import Clip
from kinema.data import folder_latents
from kinema.data.latents import LatentCache
from kinema.errors import InputError
from kinema.nn import lora
from kinema.noise import Noise
from kinema.systems.ltx_video import LTXVideo
from kinema.systems.ltx_video_presets import nano
from kinema.training import stage
from kinema.training.log import read_log
from kinema.weights.digest import digest
from kinema.weights.maps import ltx_transformer

FINETUNE = LTXVideo.STAGES["finetune"]
RECIPE = replace(FINETUNE.recipes["nano"], precision="float32", steps=4, held_out=2)
CAPTION = "a glimmering circle moves left"
PROMPT = "a small red circle moves left on a navy background"


def fresh() -> LTXVideo:
    """Weights that are nowhere zero."""
    torch.manual_seed(0)
    model = LTXVideo(nano())
    for name, parameter in model.parts.named_parameters():
        noise = Noise(0, (0,)).normal((1, *parameter.shape), name)[0]
        parameter.data.add_(0.05 * noise)
    return model


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three clips, one of another shape, and a picture; one word of each caption is new."""
    folder = tmp_path_factory.mktemp("clips")
    for index, size in enumerate(((32, 32), (40, 40), (32, 80))):
        shade = np.linspace(60 * index, 255, 9).astype(np.uint8)
        frames = np.broadcast_to(shade[:, None, None, None], (9, *size, 3)).copy()
        Clip(frames, 12.0).write(folder / f"{index}.mp4")
        (folder / f"{index}.txt").write_text(CAPTION)
    Image.fromarray(np.full((50, 50, 3), 200, np.uint8)).save(folder / "still.png")
    (folder / "still.txt").write_text("a glimmering background")
    return folder


def train(model: LTXVideo, recipe: Any, data: Path, folder: Path) -> None:
    stage.train(
        model,
        FINETUNE,
        recipe,
        data=str(data),
        folder=folder,
        seed=0,
        device="cpu",
    )


def sampled(model: LTXVideo, prompt: str = PROMPT) -> Tensor:
    made = model.generate(prompt, seed=0, output="latents")
    assert isinstance(made, Tensor)
    return made


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return all(torch.equal(one[name], value) for name, value in other.items())


def test_all_weights_learn_and_new_words_stay_in_the_file(clips: Path, tmp_path: Path) -> None:
    model, base = fresh(), fresh()
    recipe = replace(RECIPE, steps=30, learning_rate=5e-3, ema=0.9)
    train(model, recipe, clips, tmp_path / "run")
    assert model.config.text.vocabulary == (*base.config.text.vocabulary, "glimmering")
    assert same(model.codec.state_dict(), base.codec.state_dict())
    losses = [line["generator/loss"] for line in read_log(tmp_path / "run") if "seconds" in line]
    assert len(losses) == 30
    assert np.mean(losses[-6:]) < 0.9 * np.mean(losses[:6])
    model.save_pretrained(tmp_path / "model.safetensors")
    again = LTXVideo.from_pretrained(tmp_path / "model.safetensors")
    assert again.config == model.config
    assert again.unknown_words(CAPTION) == []
    assert torch.equal(sampled(again, CAPTION), sampled(model, CAPTION))
    assert not torch.equal(sampled(again, CAPTION), sampled(again, CAPTION.replace("glimm", "x")))


def test_a_word_is_added_and_nothing_else_changes() -> None:
    model, base = fresh(), fresh()
    assert isinstance(model.text, nn.Module)
    model.learn_words(model.text.embeddings_for(["zig", "zag"]))  # type: ignore[union-attr]
    assert torch.equal(sampled(model), sampled(base))
    assert base.unknown_words("a zig zag circle") == ["zig", "zag"]
    assert model.unknown_words("a zig zag circle") == []
    assert not torch.equal(sampled(model, "a zig circle"), sampled(model, "a zag circle"))


def test_with_adapters_nothing_changes_at_first_and_the_weights_never(
    clips: Path, tmp_path: Path
) -> None:
    model, base = fresh(), fresh()
    recipe = replace(RECIPE.with_lora(2), replay=0.5, replay_clips=2)
    into = FINETUNE.prepare(model, recipe, str(clips), tmp_path)
    assert into == str(tmp_path / "latents")
    objective = FINETUNE.objective(model, recipe)
    assert torch.equal(sampled(model), sampled(base))
    trained = objective.trained("generator")
    assert len(trained) == 1 + 2 * 2 * (4 + 4 + 2)  # a new word; of two blocks, ten layers each
    assert {p.shape for name, p in trained.items() if name.endswith("rows")} == {(1, 16)}
    model = fresh()
    train(model, recipe, clips, tmp_path)
    state = model.parts.state_dict()
    old = base.parts.state_dict()
    words = old.pop("text.words.weight")
    assert same(state, old)
    assert torch.equal(state["text.words.weight"][: len(words)], words)
    assert not torch.equal(sampled(model), sampled(base))


def test_a_file_of_adapters_makes_the_model_that_was_trained(clips: Path, tmp_path: Path) -> None:
    model, path = fresh(), tmp_path / "lora.safetensors"
    train(model, RECIPE.with_lora(2), clips, tmp_path / "run")
    model.save_lora(path, overwrite=False)
    other, base = fresh(), fresh()
    other.merge_lora(path, scale=1.0)
    assert other.config.text.vocabulary[-1] == "glimmering"
    torch.testing.assert_close(sampled(other, CAPTION), sampled(model, CAPTION))
    assert (sampled(other) - sampled(base)).abs().max() > 1e-4
    other.merge_lora(path, scale=-1.0)
    for name, value in base.transformer.state_dict().items():
        assert (other.transformer.state_dict()[name] - value).abs().max() <= 1e-6, name
    torch.testing.assert_close(sampled(other), sampled(base))
    lora.merge(model.parts)
    assert list(model.parts.state_dict()) == list(base.parts.state_dict())
    torch.testing.assert_close(sampled(model, CAPTION), sampled_with(path), rtol=1e-4, atol=1e-5)


def sampled_with(path: Path) -> Tensor:
    model = fresh()
    model.merge_lora(path, scale=1.0)
    return sampled(model, CAPTION)


@pytest.mark.parametrize("rank", [0, 2])
def test_a_world_reminds_the_model_of_what_it_knows(clips: Path, tmp_path: Path, rank: int) -> None:
    model = fresh()
    recipe = replace(RECIPE, replay=0.5, replay_from="shapes", replay_clips=6, batch_size=2)
    recipe = recipe.with_lora(rank) if rank else recipe
    into = FINETUNE.prepare(model, recipe, str(clips), tmp_path)
    source = FINETUNE.read(model, recipe, into).source
    known = LatentCache(tmp_path / "latents" / "known", codec=digest(model.codec), seed=1)
    assert "shapes" in known.key.source
    captions = [source((2 * step, 2 * step + 1))["captions"] for step in range(8)]
    new = ["glimmering" in said[0][0] for said in captions]
    assert new == 4 * [True, False]
    assert [known((2 * step, 2 * step + 1))["captions"] for step in range(4)] == captions[1::2]


def test_the_model_reminds_itself_without_the_new_words(clips: Path, tmp_path: Path) -> None:
    model, base = fresh(), fresh()
    recipe = replace(RECIPE, replay=0.25, replay_clips=3)
    FINETUNE.prepare(model, recipe, str(clips), tmp_path)
    known = LatentCache(tmp_path / "latents" / "known", codec=digest(model.codec), seed=1)
    assert [sample["captions"] for sample in known.samples] == [
        ["a circle moves left"],
        ["a background"],
        ["a circle moves left"],
    ]
    made = base.latents(
        ["a circle moves left"],
        noise=Noise(0, (1_000_000,)),
        sampling=base.config.sampling,
        negative="",
    )
    torch.testing.assert_close(known.tensors["latents"][:1].float(), made, rtol=1e-2, atol=1e-2)
    shards = list((tmp_path / "latents" / "known").glob("*.safetensors"))
    before = [path.stat().st_mtime_ns for path in shards]
    FINETUNE.prepare(fresh(), recipe, str(clips), tmp_path)
    assert [path.stat().st_mtime_ns for path in shards] == before


def test_frames_encoded_alone_come_with_clips_and_not_with_pictures(
    clips: Path, tmp_path: Path
) -> None:
    model = fresh()
    recipe = replace(RECIPE, stills_given=1.0, batch_size=2)
    source = FINETUNE.read(
        model, recipe, FINETUNE.prepare(model, recipe, str(clips), tmp_path)
    ).source
    seen = set()
    for step in range(4):
        samples = (2 * step, 2 * step + 1)
        batch = source(samples)
        length = batch["latents"].shape[2]
        seen.add(length)
        if length == 1:
            assert "stills" not in batch
        else:
            assert batch["stills"].shape[:3] == (2, 3, 8)
            frames = batch["still_frames"]
            assert frames.shape == (2, 3)
            assert all(
                len(set(row)) == 3 and 1 <= min(row) <= max(row) <= 8 for row in frames.tolist()
            )
        loss, _ = FINETUNE.objective(model, recipe).loss("generator", batch, 0, Noise(0, samples))
        assert torch.isfinite(loss)
    assert seen == {1, 2}


def test_prompts_of_ones_own_say_what_is_to_be_kept(clips: Path, tmp_path: Path) -> None:
    (tmp_path / "keep.txt").write_text("a red star\n\na blue ring\n")
    recipe = replace(RECIPE, replay=0.5, replay_clips=2)
    mine = replace(recipe, replay_prompts=str(tmp_path / "keep.txt"))
    model = fresh()
    FINETUNE.prepare(model, mine, str(clips), tmp_path / "run")
    known = LatentCache(tmp_path / "run" / "latents" / "known", codec=digest(model.codec), seed=0)
    assert [sample["captions"] for sample in known.samples] == [["a red star"], ["a blue ring"]]
    with pytest.raises(InputError, match="known holds latents with source="):
        FINETUNE.prepare(fresh(), recipe, str(clips), tmp_path / "run")


@pytest.mark.parametrize(
    ("change", "data", "said"),
    [
        ({}, None, "name what to learn from: --data FOLDER with clips"),
        ({}, "missing", "there is no folder missing: --data FOLDER"),
        ({"replay": 0.5, "replay_from": "shape"}, "clips", "unknown world 'shape'"),
        ({"replay": 0.5, "replay_prompts": "no.txt"}, "clips", "cannot read no.txt"),
        ({"replay": 0.5}, "latents", "holds latents, into which recipe.replay mixes nothing"),
    ],
)
def test_what_cannot_be_prepared(
    clips: Path, tmp_path: Path, change: dict[str, Any], data: str | None, said: str
) -> None:
    (tmp_path / "latents" / "train").mkdir(parents=True)
    (tmp_path / "latents" / "train" / "index.json").write_text("{}")
    places = {"clips": clips, "latents": tmp_path / "latents"}
    named = None if data is None else str(places.get(data, data))
    with pytest.raises(InputError, match=said):
        FINETUNE.prepare(fresh(), replace(RECIPE, **change), named, tmp_path / "run")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"lora": -1}, "lora must be 0 or more"),
        ({"replay": 1.0}, "replay is a share of the steps below 1, not 1.0"),
        ({"replay_clips": 0}, "replay_clips 1 or more"),
    ],
)
def test_numbers_out_of_range(change: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        replace(RECIPE, **change)


def test_the_generator_stage_reads_a_folder_too(clips: Path, tmp_path: Path) -> None:
    model, plan = fresh(), LTXVideo.STAGES["generator"]
    recipe = replace(plan.recipes["nano"], steps=2, precision="float32")
    run = {"data": str(clips), "folder": tmp_path, "seed": 0, "device": "cpu"}
    with pytest.raises(InputError, match=r"or set recipe\.shown=0"):
        stage.train(model, plan, recipe, **run)
    stage.train(model, plan, replace(recipe, shown=0.0), **run)
    assert folder_latents.is_written(tmp_path / "latents")
    assert model.unknown_words(CAPTION) == []


def test_before_it_begins_the_run_tells_what_it_costs(
    clips: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="kinema"):
        train(fresh(), RECIPE, clips, tmp_path / "run")
    words, data, check, cost = caplog.messages
    assert words == "words: 1 new: glimmering"
    assert data == (
        "data: 3 clips and 1 picture give 4 windows at 12 fps: 1 of 1 x 32 x 32, 1 of 9 x 16 x 48,"
        " 2 of 9 x 32 x 32 (frames x height x width); too few to hold any out, so held-out figures "
        "are of clips that are trained on"
    )
    assert check.startswith("pre-flight: every trained tensor receives a gradient")
    assert cost.startswith("cost: 4 steps of ")
    assert "GB of memory, two checkpoints of " in cost
    assert cost.endswith(f"; all goes to {tmp_path / 'run'}")


def test_bad_files_are_named_and_may_be_left_out(
    clips: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()
    for path in clips.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "0.txt").unlink()
    (folder / "1.mp4").write_bytes((folder / "1.mp4").read_bytes()[:700])
    (folder / "2.txt").write_text("a circle " * 40)
    with pytest.raises(InputError, match="3 of 4 files cannot be used, as told above; mend or"):
        FINETUNE.prepare(fresh(), RECIPE, str(folder), tmp_path / "run")
    said = [message for message in caplog.messages if str(folder) in message]
    assert len(said) == 3
    for line, path in zip(said, ("0.mp4", "1.mp4", "2.mp4")):
        assert str(folder / path) in line
    left = replace(RECIPE, skip_broken=True)
    assert FINETUNE.prepare(fresh(), left, str(folder), tmp_path / "run") is not None
    (folder / "still.png").unlink()
    with pytest.raises(InputError, match="no file of the folder can be used, as told above"):
        FINETUNE.prepare(fresh(), left, str(folder), tmp_path / "run")


@pytest.mark.slow
def test_diffusers_reads_our_adapters_and_we_read_those_of_diffusers(tmp_path: Path) -> None:
    from diffusers import LTXPipeline, LTXVideoTransformer3DModel
    from peft import get_peft_model_state_dict

    model, path = fresh(), tmp_path / "ours.safetensors"
    sizes = model.config.transformer
    theirs = LTXVideoTransformer3DModel(
        in_channels=sizes.latent_channels,
        out_channels=sizes.latent_channels,
        num_attention_heads=sizes.num_heads,
        attention_head_dim=sizes.head_width,
        cross_attention_dim=sizes.width,
        num_layers=sizes.num_layers,
        caption_channels=sizes.caption_channels,
    )
    base = model.transformer.state_dict()
    theirs.load_state_dict(ltx_transformer.DIFFUSERS.to_theirs(base))
    FINETUNE.objective(model, RECIPE.with_lora(2))
    for name, parameter in model.parts.named_parameters():
        if ".lora_" in name:
            parameter.data.add_(0.1 * Noise(2, (0,)).normal((1, *parameter.shape), name)[0])
    model.save_lora(path, overwrite=False)
    theirs.load_lora_adapter(path, prefix="transformer", adapter_name="ours")
    layers = get_peft_model_state_dict(theirs, adapter_name="ours")
    LTXPipeline.save_lora_weights(tmp_path / "theirs", transformer_lora_layers=layers)
    theirs.fuse_lora()
    theirs.unload_lora()
    fused = ltx_transformer.DIFFUSERS.to_ours(theirs.state_dict())
    written = tmp_path / "theirs" / "pytorch_lora_weights.safetensors"
    for file in (path, written):
        ours = fresh()
        ours.merge_lora(file, scale=1.0)
        merged = ours.transformer.state_dict()
        assert merged.keys() == fused.keys()
        for name, value in merged.items():
            torch.testing.assert_close(value, fused[name], rtol=1e-6, atol=1e-6)
    old = fresh().transformer.state_dict()
    assert sum(bool((value != old[name]).any()) for name, value in merged.items()) == 2 * 10
