"""Frozen in Time: published files, an image ViT as a beginning, folders of captioned clips."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from published_files import write_without_values
from safetensors.torch import save_file
from transformers import BertConfig, BertModel, DistilBertConfig, DistilBertForMaskedLM

from kinema.conditions.encoders import build_text
from kinema.config import from_dict
from kinema.data.clips import ClipSize, split_of
from kinema.errors import InputError
from kinema.networks.distilbert import DistilBERTConfig
from kinema.networks.space_time_vit import SpaceTimeViT
from kinema.networks.vit import ViT, ViTConfig
from kinema.noise import Noise
from kinema.systems.frozen_in_time import SYSTEM
from kinema.systems.frozen_in_time_clips import CaptionedFolder
from kinema.systems.frozen_in_time_config import (
    VERSIONS,
    FrozenInTimeConfig,
    Projections,
    nano,
)
from kinema.systems.frozen_in_time_files import FrozenInTimeFiles
from kinema.systems.frozen_in_time_training import NANO, STAGES
from kinema.training.log import read_log
from kinema.training.stage import train
from kinema.weights import manifests
from kinema.weights.maps import vit
from kinema.weights.maps.frozen_in_time import find

CAPTION = "a small red circle moves left"


# -- published files ------------------------------------------------------------------------


def published(frames: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the authors' checkpoint."""
    shapes = {
        "txt_proj.1.weight": (256, 768),
        "txt_proj.1.bias": (256,),
        "vid_proj.0.weight": (256, 768),
        "vid_proj.0.bias": (256,),
    }
    for part, name in (("text", "text"), ("video", f"video-{frames}f")):
        held = manifests.read(f"51-frozenintime-{name}").shapes
        shapes |= {f"{part}_model.{key}": shape for key, shape in held.items()}
    return {f"module.{key}": shape for key, shape in shapes.items()}


@pytest.mark.parametrize(("version", "frames"), [("full", 4), ("frames8", 8)])
def test_published_files_are_told_by_their_frames(
    version: str, frames: int, tmp_path: Path
) -> None:
    path = tmp_path / "published.safetensors"
    write_without_values(path, published(frames), None)
    assert SYSTEM.PUBLISHED is not None
    checkpoint = SYSTEM.PUBLISHED.read(path, None, "words")
    expected = VERSIONS[version]()
    config = from_dict(FrozenInTimeConfig, checkpoint.config)
    assert config == replace(expected, text=replace(expected.text, folder="words"))
    found = {name: value.shape for name, value in checkpoint.tensors.items()}
    assert found == manifests.shapes_of(SYSTEM(config, device="meta").parts)
    other = next(name for name in VERSIONS if name != version)
    with pytest.raises(InputError, match=f"holds {version}, not {other}"):
        SYSTEM.PUBLISHED.read(path, other, None)
    with pytest.raises(InputError, match="published version of frozen_in_time 'tiny'"):
        SYSTEM.PUBLISHED.read(path, "tiny", None)


@pytest.mark.parametrize("name", VERSIONS)
def test_versions_say_how_many_parameters_they_have(name: str) -> None:
    parts = SYSTEM(VERSIONS[name](), device="meta").parts
    count = sum(parameter.numel() for parameter in parts.parameters())
    assert f"{count:,} parameters" in str(VERSIONS[name].__doc__)


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="sizes of no published frozen_in_time"):
        SYSTEM.from_pretrained(tmp_path / "other.safetensors")


# -- an image ViT and a DistilBERT ----------------------------------------------------------


def small() -> FrozenInTimeConfig:
    """What `nano` is, with a DistilBERT, which starts as an image ViT."""
    text = DistilBERTConfig(
        folder="", vocabulary=12, max_tokens=7, width=16, hidden=20, num_layers=1, num_heads=2
    )
    base = nano()
    return replace(base, text=text, video=replace(base.video, time_init="zeros"))


FILES = FrozenInTimeFiles(
    name="frozen_in_time",
    parts={"text": build_text, "video": SpaceTimeViT, "projections": Projections},
    versions={"small": small},
    find=find,
    fresh=(),
)


@pytest.fixture(params=[vit.TIMM, vit.CLASSIFIER], ids=["timm", "transformers"])
def image(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[ViT, Path]:
    """An image ViT of the size of `small`, and a file of it, with its head."""
    video = small().video
    sizes = ViTConfig(
        image_size=video.image_size,
        patch_size=video.patch_size,
        width=video.width,
        num_layers=video.num_layers,
        num_heads=video.num_heads,
    )
    torch.manual_seed(0)
    network, path = ViT(sizes).eval(), tmp_path / "vit.safetensors"
    head = {"head.weight": torch.zeros(7, video.width), "head.bias": torch.zeros(7)}
    theirs = request.param.to_theirs({**network.state_dict(), **head})
    save_file({name: value.contiguous() for name, value in theirs.items()}, path)
    return network, path


@torch.no_grad()
def test_an_image_vit_and_a_distilbert_are_a_beginning(
    image: tuple[ViT, Path], tmp_path: Path
) -> None:
    network, path = image
    words = DistilBertForMaskedLM(
        DistilBertConfig(
            vocab_size=12, max_position_embeddings=7, dim=16, hidden_dim=20, n_layers=1, n_heads=2
        )
    ).eval()
    words.save_pretrained(tmp_path / "words")
    checkpoint = FILES.read(path, None, str(tmp_path / "words"))
    model = SYSTEM(from_dict(FrozenInTimeConfig, checkpoint.config))
    model.parts.load_state_dict({k: v.read() for k, v in checkpoint.tensors.items()})
    assert model.config.text.folder == str(tmp_path / "words")
    frame = Noise(0, (0, 1)).normal((2, 3, 32, 32), "pixels")
    torch.testing.assert_close(model.video(frame[:, :, None]), network(frame).summary)
    ids = torch.tensor([[2, 5, 9, 3]])
    states = words.distilbert(input_ids=ids).last_hidden_state
    torch.testing.assert_close(model.text(ids).x, states, rtol=0, atol=2e-6)


@torch.no_grad()
def test_the_words_may_be_a_bert(image: tuple[ViT, Path], tmp_path: Path) -> None:
    sizes = {"hidden_size": 24, "intermediate_size": 20, "num_hidden_layers": 2}
    words = BertModel(
        BertConfig(vocab_size=12, max_position_embeddings=7, num_attention_heads=3, **sizes)
    ).eval()
    words.save_pretrained(tmp_path / "words")
    checkpoint = FILES.read(image[1], None, str(tmp_path / "words"))
    config = from_dict(FrozenInTimeConfig, checkpoint.config)
    assert (config.text.num_heads, config.projections.text_width) == (3, 24)
    model = SYSTEM(config)
    model.parts.load_state_dict({k: v.read() for k, v in checkpoint.tensors.items()})
    ids = torch.tensor([[2, 5, 9, 3]])
    states = words(input_ids=ids).last_hidden_state
    torch.testing.assert_close(model.text(ids).x, states, rtol=0, atol=2e-6)


def test_an_image_vit_alone_is_refused(image: tuple[ViT, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="name the folder of a text encoder"):
        FILES.read(image[1], "small", None)
    with pytest.raises(InputError, match="no such file or folder"):
        FILES.read(image[1], "small", str(tmp_path / "missing"))
    with pytest.raises(InputError, match="holds no DistilBERT or BERT"):
        FILES.read(image[1], "small", str(image[1]))
    with pytest.raises(InputError, match="sizes of no published frozen_in_time"):
        SYSTEM.from_pretrained(image[1])


def test_a_published_image_vit_fits_both_versions(tmp_path: Path) -> None:
    shapes = manifests.read("51-frozenintime-video-4f").shapes
    left = {k: s for k, s in shapes.items() if "temporal" not in k and "time" not in k}
    path = tmp_path / "vit.safetensors"
    write_without_values(path, {k: s for k, s in left.items() if ".norm3." not in k}, None)
    assert SYSTEM.PUBLISHED is not None
    with pytest.raises(InputError, match="may be full or frames8; name one"):
        SYSTEM.PUBLISHED.read(path, None, None)


# -- folders --------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eleven clips and five pictures with captions."""
    clips = tmp_path / "clips"
    (clips / "below").mkdir(parents=True)
    world = split_of("shapes", "train", ClipSize(num_frames=6, height=40, width=48, fps=8.0))
    for index in range(11):
        sample = world.sample(index)
        sample.clip.write(clips / f"{index:02d}.mp4")
        (clips / f"{index:02d}.txt").write_text(sample.captions[0])
    picture = next((Path(__file__).parents[2] / "docs").rglob("*.png")).read_bytes()
    for index in range(5):
        (clips / "below" / f"{index}.png").write_bytes(picture)
        (clips / "below" / f"{index}.txt").write_text(f"{CAPTION} {'red ' * index}")
    return clips


RECIPE = replace(NANO, frames=(1, 4), shares=(0.5, 0.5), flip=0.0, crop_area=(1.0, 1.0))


def batches(folder: Path) -> list[dict[str, object]]:
    """Those of the whole recipe."""
    source = STAGES["retriever"].read(SYSTEM(nano()), RECIPE, str(folder)).source
    size = RECIPE.batch_size
    return [
        dict(source(tuple(range(step * size, (step + 1) * size)))) for step in range(RECIPE.steps)
    ]


def test_clips_and_pictures_of_a_folder_take_turns(folder: Path) -> None:
    found = CaptionedFolder.read(folder)
    assert (len(found.clips), len(found.stills), len(found.files.held_out)) == (10, 5, 1)
    assert len(found.files.files) == len(found.captions) == 16
    stills = {found.captions[file.label] for file in found.stills}
    clips = {found.captions[file.label] for file in found.clips}
    for step, batch in enumerate(batches(folder)):
        assert set(batch["captions"]) <= (stills if step % 2 else clips)
        assert batch["clips"].shape == (4, 3, 1 if step % 2 or step < 4 else 4, 32, 32)
    held_out = STAGES["retriever"].read(SYSTEM(nano()), RECIPE, str(folder)).held_out
    assert held_out["clips"].shape == (1, 3, 4, 32, 32)
    assert held_out["captions"] == [found.captions[found.files.held_out[0].label]]


def test_captions_are_those_of_their_files(folder: Path) -> None:
    found = CaptionedFolder.read(folder)
    for file in found.files.files:
        said = " ".join(file.path.with_suffix(".txt").read_text().split())
        assert found.captions[file.label] == (said,)


def test_without_pictures_stills_are_frames_of_clips(folder: Path) -> None:
    for path in (folder / "below").iterdir():
        path.unlink()
    found = CaptionedFolder.read(folder)
    assert found.stills == found.clips
    assert {batch["clips"].shape[2] for batch in batches(folder)[1::2]} == {1}


def test_a_run_on_a_folder_goes_on_with_the_same_files(folder: Path, tmp_path: Path) -> None:
    def run(steps: int) -> None:
        torch.manual_seed(0)
        recipe = replace(NANO, steps=steps)
        stage, options = STAGES["retriever"], {"data": str(folder), "seed": 0, "device": "cpu"}
        train(SYSTEM(nano()), stage, recipe, folder=tmp_path / "run", **options)

    run(4)
    assert [line for line in read_log(tmp_path / "run") if "held_out/R@1" in line]
    assert len((tmp_path / "run" / "files.txt").read_text().splitlines()) == 16
    (folder / "03.mp4").unlink()
    (folder / "03.txt").unlink()
    with pytest.raises(InputError, match="holds other files since the run"):
        run(8)


def test_what_cannot_be_learned_from_is_named_before_training(folder: Path, tmp_path: Path) -> None:
    model, named = SYSTEM(nano()), str(folder)
    plan = STAGES["retriever"]
    with pytest.raises(InputError, match=r"5 clips or pictures.*recipe\.batch_size=5, or less"):
        plan.prepare(model, replace(RECIPE, batch_size=6), named, tmp_path / "run")
    (folder / "00.txt").write_text("quixotry")
    with pytest.raises(InputError, match=r"00\.mp4: this model knows no word"):
        plan.prepare(model, RECIPE, named, tmp_path / "run")
    (folder / "00.txt").unlink()
    with pytest.raises(InputError, match=r"00\.mp4 has no caption"):
        plan.prepare(model, RECIPE, named, tmp_path / "run")
    (folder / "00.txt").write_text(CAPTION)
    (folder / "00.mp4").write_bytes(b"none")
    with pytest.raises(InputError, match=r"00\.mp4"):
        plan.prepare(model, RECIPE, named, tmp_path / "run")
    with pytest.raises(InputError, match="holds pictures alone"):
        CaptionedFolder.read(folder / "below")
    assert not (tmp_path / "run").exists()


def test_unknown_words_are_told(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "00.txt").write_text(f"{CAPTION} quixotically")
    with caplog.at_level(logging.WARNING):
        STAGES["retriever"].prepare(SYSTEM(nano()), RECIPE, str(folder), tmp_path / "run")
    assert "1 unknown words (quixotically)" in caplog.text


@pytest.mark.parametrize("change", [{"flip": 1.5}, {"crop_area": (0.0, 1.0)}])
def test_shares_out_of_range_are_named(change: dict[str, object]) -> None:
    with pytest.raises(InputError, match=r"(flip|crop_area) must be"):
        replace(RECIPE, **change)
