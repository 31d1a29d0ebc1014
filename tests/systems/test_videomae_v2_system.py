"""VideoMAE V2 as a system: published files, unlabeled folders, what is reconstructed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from published_files import write_without_values

from kinema.config import from_dict
from kinema.data.clips import ClipSize, split_of, to_clip
from kinema.data.views import ClipFile
from kinema.errors import InputError
from kinema.noise import Noise
from kinema.systems.recognizer import numbered
from kinema.systems.videomae_v2 import SYSTEM, VideoMAEV2
from kinema.systems.videomae_v2_files import NEW, VideoMAEFiles, find, is_new
from kinema.systems.videomae_v2_presets import (
    PRETRAINING,
    VERSIONS,
    VideoMAEV2Config,
    nano,
)
from kinema.systems.videomae_v2_training import STAGES, data, unlabeled
from kinema.training.log import read_log
from kinema.training.stage import train
from kinema.weights import manifests
from kinema.weights.export import export
from kinema.weights.files import save

PIXELS = Noise(0, (0, 1)).uniform((2, 3, 8, 32, 32), "pixels") * 2 - 1


def model() -> VideoMAEV2:
    torch.manual_seed(0)
    return SYSTEM(nano())


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


# -- published files ------------------------------------------------------------------------


@pytest.mark.parametrize("name", VERSIONS)
def test_versions_say_how_many_parameters_they_have(name: str) -> None:
    whole = SYSTEM(VERSIONS[name](), device="meta")
    said = str(VERSIONS[name].__doc__)
    assert f"{count(whole.network):,} parameters" in said
    new = sum(p.numel() for n, p in whole.parts.named_parameters() if is_new(n))
    assert f"pre-trained with others {count(whole.parts) - new:,}" in said


@pytest.mark.parametrize("name", VERSIONS)
def test_published_files_are_told_by_their_sizes(name: str, tmp_path: Path) -> None:
    size = "giant" if name == "full" else name
    path = tmp_path / "published.safetensors"
    assert SYSTEM.PUBLISHED is not None
    expected = VERSIONS[name]()
    write_without_values(path, manifests.read(f"49-videomaev2-{size}-pretrain").shapes, None)
    checkpoint = SYSTEM.PUBLISHED.read(path, None, None)
    assert from_dict(VideoMAEV2Config, checkpoint.config) == expected
    last = "k710" if size == "giant" else "k400"
    write_without_values(path, manifests.read(f"49-videomaev2-{size}-{last}").shapes, None)
    checkpoint = SYSTEM.PUBLISHED.read(path, name, None)
    network = replace(expected.network, num_classes=int(last[1:]))
    labels = numbered(network.num_classes)
    found = from_dict(VideoMAEV2Config, checkpoint.config)
    assert found == replace(expected, labels=labels, network=network)


def test_another_version_than_the_file_holds_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "published.safetensors"
    write_without_values(path, manifests.read("49-videomaev2-small-pretrain").shapes, None)
    assert SYSTEM.PUBLISHED is not None
    with pytest.raises(InputError, match="holds small, not base"):
        SYSTEM.PUBLISHED.read(path, "base", None)
    with pytest.raises(InputError, match="published version of videomae_v2 'bass'"):
        SYSTEM.PUBLISHED.read(path, "bass", None)
    with pytest.raises(InputError, match="reads no texts"):
        SYSTEM.PUBLISHED.read(path, None, "t5")


def test_what_is_pre_trained_begins_with_a_new_head_and_keeps_all_else(tmp_path: Path) -> None:
    files = VideoMAEFiles(
        name="videomae_v2",
        parts=SYSTEM.PUBLISHED and {role: part.build for role, part in SYSTEM.PARTS.items()},
        versions={"nano": nano},
        find=find,
        fresh=("decoder",),
    )
    other, path = model(), tmp_path / "pretrained.safetensors"
    state = other.parts.state_dict()
    theirs = find(("mask_token",)).to_theirs({k: v for k, v in state.items() if not is_new(k)})
    assert "encoder.norm.weight" in theirs
    save(path, theirs, {}, overwrite=False)
    tensors = files.read(path, None, None).tensors
    assert tensors.keys() == state.keys()
    same = {name for name in state if torch.equal(tensors[name].read(), state[name])}
    assert {name for name in state if not is_new(name)} <= same
    assert len(NEW) == 2


# -- training -------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Clips without labels, some of them deeper down."""
    size = ClipSize(num_frames=9, height=40, width=48, fps=8.0)
    world = split_of("motions", "train", size)
    for index in range(11):
        path = tmp_path / "clips" / ("deeper" if index % 2 else "") / f"{index}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        world.sample(index).clip.write(path)
    return tmp_path / "clips"


def test_clips_without_labels_are_read_however_they_lie(folder: Path, tmp_path: Path) -> None:
    found = unlabeled(folder)
    assert len(found.train) == 10
    assert len(found.held_out) == 1
    train_source, unseen = data(model(), PRETRAINING["nano"], str(folder))
    assert train_source((0, 1))["clips"].shape == (2, 3, 8, 32, 32)
    assert torch.equal(unseen((0,))["clips"], unseen((0,))["clips"])
    pretrain(str(folder), tmp_path / "run", steps=4)
    assert [line for line in read_log(tmp_path / "run") if "held_out/loss" in line]


def pretrain(named: str, run: Path, *, steps: int) -> None:
    recipe = replace(PRETRAINING["nano"], steps=steps)
    stage = STAGES["pretraining"]
    train(model(), stage, recipe, data=named, folder=run, seed=0, device="cpu")


def test_a_clip_that_cannot_be_read_is_named_before_training(folder: Path, tmp_path: Path) -> None:
    (folder / "broken.mp4").write_bytes(b"no clip")
    with pytest.raises(InputError, match=r"broken\.mp4"):
        pretrain(str(folder), tmp_path / "run", steps=2)
    assert not (tmp_path / "run").exists()


def test_pretraining_goes_on_with_the_same_files_only(folder: Path, tmp_path: Path) -> None:
    pretrain(str(folder), tmp_path / "run", steps=2)
    assert len((tmp_path / "run" / "files.txt").read_text().splitlines()) == 11
    (folder / "2.mp4").unlink()
    with pytest.raises(InputError, match="holds other files since the run"):
        pretrain(str(folder), tmp_path / "run", steps=4)


def test_the_classifier_goes_on_from_what_is_pre_trained(tmp_path: Path) -> None:
    other = model()
    with torch.no_grad():
        other.network.blocks[0].norm1.bias.fill_(0.5)
    other.save_pretrained(tmp_path / "model.safetensors")
    torch.manual_seed(1)
    ours = SYSTEM(nano())
    ours.start_from(SYSTEM.from_pretrained(tmp_path / "model.safetensors"), ("network", "decoder"))
    assert torch.equal(ours.logits(PIXELS), other.logits(PIXELS))


# -- jobs -----------------------------------------------------------------------------------


def test_what_is_seen_is_the_clip_and_what_is_hidden_is_gray() -> None:
    whole = model()
    with torch.no_grad():
        seen, restored = whole.reconstructed(PIXELS, Noise(0, (0, 1)))
    assert seen.shape == restored.shape == PIXELS.shape
    gray = (seen == 0).all(1)
    assert gray.float().mean() == 0.75
    assert torch.equal(gray, gray[:, :1].expand_as(gray)), "a place is hidden in all frames"
    shown = ~gray[:, None].expand_as(PIXELS)
    torch.testing.assert_close(seen[shown], PIXELS[shown], rtol=0, atol=1e-5)
    torch.testing.assert_close(restored[shown], PIXELS[shown], rtol=0, atol=1e-5)
    assert not torch.equal(restored[~shown], seen[~shown])


@pytest.mark.parametrize(
    ("stride", "length", "fps"), [(None, 40, 4.8), (None, 4, 24.0), (4, 40, 6.0), (4, 9, 6.0)]
)
def test_what_is_made_good_is_shown_at_the_speed_of_the_file(
    stride: int | None, length: int, fps: float, tmp_path: Path
) -> None:
    size = ClipSize(num_frames=length, height=40, width=48, fps=24.0)
    split_of("shapes", "train", size).sample(0).clip.write(tmp_path / "clip.mp4")
    whole, file = model(), ClipFile.given(tmp_path / "clip.mp4")
    whole.config = replace(whole.config, views=replace(whole.config.views, stride=stride, clips=3))
    made = whole.run({"clip": file}, 0, "reconstruct")
    assert {made[name].fps for name in ("seen", "restored")} == {fps}
    with torch.no_grad():
        seen = whole.reconstructed(whole.views(file)[1:2], Noise(0, (0,)))[0]
    assert np.array_equal(made["seen"].frames, to_clip(seen[0], fps).frames)


def test_hidden_pixels_do_not_reach_the_network() -> None:
    """Only mean and deviation of what is hidden are the true ones."""
    whole, noise = model(), Noise(0, (0, 1))
    with torch.no_grad():
        seen, restored = whole.reconstructed(PIXELS, noise)
        hidden = (seen == 0).all(1, keepdim=True)
        flipped = PIXELS.unflatten(3, (4, 8)).flip(4).flatten(3, 4)  # within every tubelet
        mixed = torch.where(hidden, flipped, PIXELS)
        again = whole.reconstructed(mixed, noise)[1]
    torch.testing.assert_close(again, restored, rtol=0, atol=1e-5)


def test_views_must_show_what_the_network_reads() -> None:
    whole = nano()
    with pytest.raises(InputError, match="views show 16 frames of 32 pixels"):
        replace(whole, views=replace(whole.views, num_frames=16))


def test_it_can_be_exported(tmp_path: Path) -> None:
    assert export(model().exportable(), tmp_path / "model.pt2", overwrite=False) < 1e-5
