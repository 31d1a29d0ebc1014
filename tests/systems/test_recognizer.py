"""What recognizers share: views, classes, heads; and the stage that trains them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_recognizers import RECIPE, STAGES, Small, SmallFrames, of_clips, small

from kinema.clip import Clip
from kinema.data import class_folder as class_folder_module
from kinema.data.clips import ClipSize, split_of
from kinema.data.views import ClipFile
from kinema.errors import InputError
from kinema.noise import Noise
from kinema.systems.recognizer import numbered
from kinema.training.log import read_log
from kinema.training.stage import train
from kinema.weights.export import export
from kinema.worlds.motion_classes import CLASSES

KINDS = (Small, SmallFrames)
SIZE = ClipSize(num_frames=12, height=40, width=56, fps=8.0)


@pytest.fixture
def clip() -> Clip:
    return split_of("motions", "held_out", SIZE).sample(0).clip


def pixels(count: int) -> torch.Tensor:
    return Noise(0, tuple(range(count))).uniform((count, 3, 8, 32, 32), "x") * 2 - 1


# -- answers --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_logits_are_those_of_the_normalized_clip(kind):
    model, x = small(kind), pixels(2)
    normalized = ((x + 1) / 2 - 0.5) / 0.5
    if kind is SmallFrames:
        frames = [model.network(normalized[:, :, t]) for t in range(8)]
        expected = torch.stack(frames).mean(0)
    else:
        expected = model.network(normalized)
    torch.testing.assert_close(model.logits(x), expected)
    assert model.forward_features(x).shape == (2, 16)


@pytest.mark.parametrize("kind", KINDS)
def test_probabilities_are_the_mean_over_views(kind, clip):
    model = small(kind)
    model.config = replace(model.config, views=replace(model.config.views, clips=2, crops=3))
    views = model.views(clip)
    assert views.shape == (6, 3, 8, 32, 32)
    with torch.no_grad():
        expected = torch.stack([model.logits(view[None]).softmax(1)[0] for view in views]).mean(0)
    found = model.probabilities(clip)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)
    assert float(found.sum()) == pytest.approx(1)


def test_the_answer_is_a_table_with_the_best_first(clip, tmp_path):
    clip.write(tmp_path / "clip.mp4")
    model = small()
    given = {"clip": ClipFile.given(tmp_path / "clip.mp4")}
    table = model.run(given, 0)["classes"]
    chances = [row[1] for row in table.rows]
    assert table.columns == ("label", "probability")
    assert chances == sorted(chances, reverse=True)
    assert len(table.rows) == 10
    assert {row[0] for row in table.rows} <= set(CLASSES)


def test_a_picture_is_one_frame_of_an_image_model():
    picture = Clip(np.zeros((1, 40, 40, 3), np.uint8), fps=1.0)
    assert small(SmallFrames).views(picture).shape == (1, 3, 1, 32, 32)
    assert small(Small).views(picture).shape == (1, 3, 8, 32, 32)
    assert small(SmallFrames).probabilities(picture).shape == (12,)


# -- heads ----------------------------------------------------------------------------------


def test_a_new_head_is_for_other_classes_and_nothing_else_changes(tmp_path):
    model, before = small(), small()
    model.reset_classifier(("cat", "dog", "cow"))
    assert model.labels == ("cat", "dog", "cow")
    assert model.config.network.num_classes == 3
    assert model.logits(pixels(1)).shape == (1, 3)
    assert torch.equal(model.forward_features(pixels(1)), before.forward_features(pixels(1)))
    model.save_pretrained(tmp_path / "model.safetensors")
    again = Small.from_pretrained(tmp_path / "model.safetensors")
    assert again.config == model.config
    assert torch.equal(again.logits(pixels(1)), model.logits(pixels(1)))
    other = small()
    other.reset_classifier(("cat", "dog", "cow"))
    assert torch.equal(other.network.head.weight, model.network.head.weight)


def test_a_start_from_other_classes_keeps_the_own_ones():
    other, model = small(), small()
    other.reset_classifier(numbered(5))
    with torch.no_grad():
        other.network.norm.weight.fill_(2.0)
    model.start_from(other, ("network",))
    assert model.labels == CLASSES
    assert (model.network.norm.weight == 2).all()
    bigger = Small(replace(of_clips(), network=replace(of_clips().network, width=32)))
    with pytest.raises(InputError, match="another size"):
        bigger.start_from(other, ("network",))


def test_the_same_classes_may_be_called_by_other_names():
    model, before = small(), small()
    model.name_classes(numbered(12))
    assert model.labels == numbered(12)
    assert torch.equal(model.logits(pixels(1)), before.logits(pixels(1)))
    with pytest.raises(InputError, match=r"there are 3 labels, but network\.num_classes is 12"):
        model.name_classes(("a", "b", "c"))
    with pytest.raises(InputError, match="'a' is there twice"):
        model.name_classes(("a",) * 12)


@pytest.mark.parametrize(
    ("labels", "said"),
    [(("one",), "2 classes or more"), (("a", "b", "a"), "'a' is there twice")],
)
def test_labels_that_are_none_are_named(labels, said):
    with pytest.raises(InputError, match=said):
        small().reset_classifier(labels)


def test_labels_and_classes_must_be_as_many():
    with pytest.raises(InputError, match=r"3 labels, but network\.num_classes is 12"):
        replace(of_clips(), labels=("a", "b", "c"))


@pytest.mark.parametrize(("kind", "name"), [(Small, "a.pt2"), (SmallFrames, "a.onnx")])
def test_an_exported_recognizer_takes_clips_and_gives_the_logits(tmp_path, kind, name):
    of = small(kind).exportable()
    assert of.inputs["clips"].shape == (2, 3, 8, 32, 32)
    assert export(of, tmp_path / name, overwrite=False) < 1e-5


# -- training -------------------------------------------------------------------------------


def run(model, folder: Path, *, data: str | None = None, **changes) -> dict[str, float]:
    """Trains; gives the last held-out numbers."""
    recipe = replace(RECIPE, **changes)
    stage = STAGES["classifier"]
    train(model, stage, recipe, data=data, folder=folder, seed=0, device="cpu")
    return [line for line in read_log(folder) if "held_out/loss" in line][-1]


@pytest.mark.parametrize("mixing", [{}, {"mixup": 0.8, "cutmix": 1.0}])
def test_a_stage_trains_on_the_world(tmp_path, mixing):
    model = small()
    model.reset_classifier(numbered(3))
    report = run(model, tmp_path / "run", **mixing)
    assert model.labels == CLASSES
    assert report["held_out/trivial"] == pytest.approx(np.log(12))
    assert 0 <= report["held_out/top1"] <= report["held_out/top5"] <= 1
    assert list((tmp_path / "run" / "sheets").iterdir())


def test_a_resumed_run_is_the_whole_one(tmp_path):
    whole, cut = small(), small()
    run(whole, tmp_path / "whole", mixup=0.8, decay=0.0)
    run(cut, tmp_path / "cut", mixup=0.8, decay=0.0, steps=3)
    cut = small()
    run(cut, tmp_path / "cut", mixup=0.8, decay=0.0)
    for a, b in zip(whole.parts.state_dict().values(), cut.parts.state_dict().values()):
        assert torch.equal(a, b)


@pytest.fixture
def class_folder(tmp_path) -> Path:
    """Twelve clips each of two motions."""
    world = split_of("motions", "train", SIZE)
    for motion in ("left", "right"):
        (tmp_path / "data" / motion).mkdir(parents=True)
        for index in range(12):
            path = tmp_path / "data" / motion / f"{index}.mp4"
            world.sample_of(index, motion).clip.write(path)
    return tmp_path / "data"


def test_a_stage_trains_on_a_folder_and_takes_over_its_classes(tmp_path, class_folder):
    model = small()
    report = run(model, tmp_path / "run", data=str(class_folder), flip=0.5, crop_area=(0.5, 1.0))
    assert model.labels == ("left", "right")
    assert report["held_out/trivial"] == pytest.approx(np.log(2))
    assert len((tmp_path / "run" / "files.txt").read_text().splitlines()) == 24
    more = small()
    run(more, tmp_path / "run", data=str(class_folder), flip=0.5, crop_area=(0.5, 1.0), steps=8)
    assert more.labels == ("left", "right")


def test_a_training_looks_through_its_folder_once(tmp_path, class_folder, monkeypatch):
    looked = []
    listed = class_folder_module._by_class

    def counted(folder):
        looked.append(folder)
        return listed(folder)

    monkeypatch.setattr(class_folder_module, "_by_class", counted)
    run(small(), tmp_path / "run", data=str(class_folder))
    assert looked == [class_folder]
    run(small(), tmp_path / "run", data=str(class_folder), steps=8)
    assert looked == [class_folder] * 2


def test_a_run_goes_on_with_the_same_files_only(tmp_path, class_folder):
    run(small(), tmp_path / "run", data=str(class_folder))
    (class_folder / "left" / "3.mp4").unlink()
    with pytest.raises(InputError, match="other files since the run"):
        run(small(), tmp_path / "run", data=str(class_folder), steps=8)


def test_a_file_that_cannot_be_read_is_named_before_training(tmp_path, class_folder):
    (class_folder / "left" / "3.mp4").write_bytes(b"none")
    with pytest.raises(InputError, match=r"left/3\.mp4"):
        run(small(), tmp_path / "run", data=str(class_folder))
    assert not (tmp_path / "run").exists()


def test_a_world_that_has_no_classes_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"unknown world .shapes.; .* no folder of that name"):
        run(small(), tmp_path / "run", data="shapes")
