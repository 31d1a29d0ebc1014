"""Scores of folders: what they hold, what is kept between runs, what is left out."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from clip_folders import FPS, SIZE, T, drawn, write_arrays, write_pictures

from kinema.errors import InputError
from kinema.metrics.clip_features import Reader
from kinema.metrics.clip_sets import View, caption_of, digest_of, find_clips, read_view
from kinema.metrics.definitions import DEFINITIONS, find
from kinema.metrics.evaluation import Evaluation, Request, count_steps, evaluate
from kinema.metrics.extractors import ROLES, effnet, random_frames, random_i3d, tiny
from kinema.metrics.fidelity import psnr
from kinema.metrics.measures import Measure
from kinema.metrics.stream import signals, stream
from kinema.networks import lpips

VIEW = View(num_frames=T, fps=None, size=None)


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> tuple[Path, Path]:
    place = tmp_path_factory.mktemp("clips")
    return tuple(
        write_arrays(place / side, drawn(seed, 8)) for seed, side in enumerate(("real", "fake"))
    )


def scored(names: str, real: Path | None, fake: Path, cache: Path, **options: object) -> Evaluation:
    request = Request(
        **{
            "scores": names.split(","),
            "view": VIEW,
            "weights": {},
            "cache": cache,
            "seed": 0,
            "device": "cpu",
            "strict": False,
            **options,
        }
    )
    told: list[int] = []
    found = evaluate(request, real, fake, told.append)
    assert sum(told) == count_steps(request, real, fake)
    return found


def values(found: Evaluation) -> dict[str, float]:
    return {score.name: score.value for score in found.scores}


def frames(folder: Path) -> list[torch.Tensor]:
    return [read_view(path, VIEW).frames for path in find_clips(folder)]


def test_scores_are_those_of_the_formulas_on_all_clips(folders, tmp_path):
    found = values(scored("stream,psnr", *folders, tmp_path))
    real, fake = (frames(folder) for folder in folders)
    embedder = random_frames({}, "cpu")
    known, made = (
        signals(torch.stack([embedder.run(clip) for clip in clips]), variant="code")
        for clips in (real, fake)
    )
    scores = stream(known, made, k=5)
    assert found["stream.T"] == scores.temporal
    assert found["stream.F"] == scores.fidelity
    assert found["stream.D"] == scores.diversity
    expected = [psnr(a.double() / 255, b.double() / 255).mean() for a, b in zip(real, fake)]
    assert found["psnr"] == pytest.approx(torch.stack(expected).mean().item(), rel=1e-12)


def test_random_i3d_is_one_network_whose_features_tell_clips_apart(folders, tmp_path):
    measure, again = random_i3d({}, "cpu"), random_i3d({}, "cpu")
    assert measure.weights == again.weights
    draws = np.random.default_rng(0)
    clips = [torch.from_numpy(draws.integers(0, 256, (9, 3, 24, 24), np.uint8)) for _ in range(3)]
    features = torch.stack([measure.run(clip) for clip in clips])
    assert features.shape == (3, 400)
    assert features.std(0).max() > 1e-3
    assert torch.equal(again.run(clips[0]), features[0])
    with pytest.raises(InputError, match="--frames 9"):
        scored("fvd-rand", *folders, tmp_path)


def test_passports_say_what_was_computed(folders, tmp_path):
    view = View(num_frames=T, fps=None, size=(24, 24))
    found = scored("stream,psnr", *folders, tmp_path, view=view)
    by_name = {score.passport.score: score.passport for score in found.scores}
    passport = by_name["stream"]
    assert (passport.height, passport.width, passport.num_frames) == (24, 24, T)
    assert (passport.num_real, passport.num_generated, passport.fps) == (8, 8, None)
    assert "a stand-in" in passport.extractor
    assert passport.weights == random_frames({}, "cpu").weights
    assert passport.preprocessing.startswith("first 8 frames, covering 24x24; ")
    assert len(passport.reference) == 16
    assert by_name["psnr"].reference == passport.reference
    assert by_name["psnr"].weights == ""
    for score in found.scores:
        low, high = score.interval
        assert low <= score.value <= high


def test_what_is_known_is_not_computed_again(folders, tmp_path):
    first = scored("stream,psnr", *folders, tmp_path)
    shards = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("shard-*")}
    assert len(shards) == 5  # sizes and features of either folder, pairs of clips
    # Renamed clips are known by their content; nothing is written anew.
    again = scored("stream,psnr", *folders, tmp_path)
    assert values(again) == values(first)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("shard-*")} == shards
    key = next(path for path in tmp_path.rglob("key.json") if "random-conv" in path.read_text())
    assert "first 8 frames" in key.read_text()
    versions = again.scores[0].passport.versions
    assert json.loads(key.read_text())["made_by"] == versions
    assert versions["device"] == "cpu"
    assert {"kinema", "torch", "numpy", "av"} < set(versions)


def test_features_of_another_version_or_device_are_computed_again(folders, tmp_path):
    seen: list[int] = []

    def run(clip: torch.Tensor) -> torch.Tensor:
        seen.append(len(clip))
        return clip.double().mean()

    measure = Measure("mean", "", "", 1, run)
    cpu = {"torch": "2.13.0", "device": "cpu"}
    for made_by, count in ((cpu, 8), (cpu, 8), ({**cpu, "device": "cuda"}, 16)):
        reader = Reader(
            view=VIEW, cache=tmp_path, made_by=made_by, strict=True, progress=lambda clips: None
        )
        assert len(reader.clips(folders[0], [measure]).stacked(measure)) == 8
        assert len(seen) == count


def test_a_run_that_was_stopped_keeps_what_it_computed(folders, tmp_path):
    class Stopped(BaseException):
        pass

    count = 0

    def stop(clips: int) -> None:
        nonlocal count
        count += clips
        if count == 5:
            raise Stopped

    request = Request(
        scores=["stream"],
        view=VIEW,
        weights={},
        cache=tmp_path / "cache",
        seed=0,
        device="cpu",
        strict=False,
    )
    with pytest.raises(Stopped):
        evaluate(request, *folders, stop)
    kept = list((tmp_path / "cache").rglob("shard-*"))
    assert len(kept) == 2  # features and sizes of five clips
    after = values(scored("stream", *folders, tmp_path / "cache"))
    assert all(path.exists() for path in kept)
    assert after == values(scored("stream", *folders, tmp_path / "another"))


def test_a_damaged_shard_is_computed_again(folders, tmp_path):
    before = values(scored("stream", *folders, tmp_path))
    for path in tmp_path.rglob("shard-*"):
        path.write_bytes(path.read_bytes()[:40])
    assert values(scored("stream", *folders, tmp_path)) == before


def test_the_order_and_the_company_of_clips_change_no_digit(folders, tmp_path):
    alone = values(scored("stream", *folders, tmp_path / "a"))
    with_others = values(scored("psnr,ssim,stream,dynamic-degree", *folders, tmp_path / "b"))
    assert {name: with_others[name] for name in alone} == alone


def test_what_cannot_be_used_is_left_out_told_and_counted(folders, tmp_path):
    fake = write_arrays(tmp_path / "fake", drawn(1, 8))
    (fake / "broken.npy").write_bytes(b"none")
    (fake / "cut.mp4").write_bytes(b"none")
    np.save(fake / "short.npy", np.zeros((3, SIZE, SIZE, 3), np.uint8))
    np.save(fake / "small.npy", np.zeros((T, 8, 8, 3), np.uint8))
    np.save(fake / "unmatched.npy", drawn(1, 1)[0].frames)
    found = scored("stream,psnr", folders[0], fake, tmp_path / "cache")
    said = "\n".join(found.skipped)
    for name in ("broken.npy", "cut.mp4", "short.npy has 3 frames", "small.npy is 8x8"):
        assert name in said
    assert "unmatched.npy has no real clip of its name" in said
    by_name = {score.passport.score: score.passport for score in found.scores}
    assert (by_name["stream"].skipped_generated, by_name["stream"].num_generated) == (4, 9)
    assert (by_name["psnr"].skipped_generated, by_name["psnr"].num_generated) == (5, 8)
    with pytest.raises(InputError, match=r"broken\.npy.*--strict"):
        scored("stream", folders[0], fake, tmp_path / "cache", strict=True)


def test_folders_of_other_sizes_or_rates_are_refused(folders, tmp_path):
    fake = tmp_path / "fake"
    fake.mkdir()
    for i, clip in enumerate(drawn(1, 8)):
        clip.resized(16, 16).write(fake / f"clip{i:02d}.mp4")
    with pytest.raises(InputError, match="real clips are 32x32, generated ones 16x16; pass --size"):
        scored("stream", folders[0], fake, tmp_path / "cache")
    real = tmp_path / "real"
    real.mkdir()
    for i, clip in enumerate(drawn(0, 8)):
        type(clip)(clip.resized(16, 16).frames, 2 * FPS).write(real / f"clip{i:02d}.mp4")
    with pytest.raises(InputError, match="16 frames per second, generated ones 8; pass --fps 8"):
        scored("stream", real, fake, tmp_path / "cache")


def test_a_clip_of_another_rate_than_the_first_is_left_out(tmp_path):
    fake = tmp_path / "fake"
    fake.mkdir()
    for i, clip in enumerate(drawn(1, 8)):
        type(clip)(clip.frames, 2 * FPS if i == 7 else FPS).write(fake / f"clip{i}.mp4")
    np.save(fake / "array.npy", drawn(1, 1)[0].frames)  # has no rate, and is the first
    found = scored("dynamic-degree", None, fake, tmp_path / "cache")
    (said,) = found.skipped
    assert said.endswith("clip7.mp4 has 16 frames per second, not 8; pass --fps 8")
    assert (found.scores[0].passport.num_generated, found.scores[0].passport.fps) == (8, FPS)
    view = View(num_frames=4, fps=FPS, size=None)
    assert not scored("dynamic-degree", None, fake, tmp_path / "cache", view=view).skipped


@pytest.mark.parametrize("fps", [math.nan, 0.0, -3.0, 2000.0])
def test_a_view_has_the_rate_of_a_clip(fps):
    with pytest.raises(InputError, match="fps must be above 0"):
        View(num_frames=T, fps=fps, size=None)


def test_a_network_that_gives_no_numbers_is_named(folders, tmp_path):
    network = lpips.LPIPS(lpips.lpips_alex())
    trunk = {name: x * 1e30 for name, x in network.trunk.state_dict().items()}  # runs over
    heads = {f"lin{i}.model.1.weight": head.weight for i, head in enumerate(network.heads)}
    weights = {"alexnet": tmp_path / "alexnet.pth", "lpips-heads": tmp_path / "heads.pth"}
    torch.save(trunk, weights["alexnet"])
    torch.save(heads, weights["lpips-heads"])
    with pytest.raises(InputError, match=r"lpips: LPIPS v0\.1, AlexNet gives NaN or infinity"):
        scored("lpips", *folders, tmp_path / "cache", weights=weights)


def test_clips_come_in_any_form(tmp_path):
    clip, other = drawn(0, 2)
    np.save(tmp_path / "a.npy", clip.frames)
    write_pictures(tmp_path / "b", clip)
    clip.write(tmp_path / "c.mp4")
    other.write(tmp_path / "d.gif")
    (tmp_path / "notes.txt").write_text("no clip")
    paths = find_clips(tmp_path)
    assert [path.name for path in paths] == ["a.npy", "b", "c.mp4", "d.gif"]
    array, pictures, video, gif = (read_view(path, VIEW) for path in paths)
    assert torch.equal(array.frames, pictures.frames)
    assert array.frames.shape == video.frames.shape == gif.frames.shape == (T, 3, SIZE, SIZE)
    assert (array.fps, pictures.fps, video.fps) == (None, None, FPS)
    assert gif.fps == pytest.approx(FPS, rel=0.05)
    assert len({digest_of(path) for path in paths}) == 4
    half = read_view(paths[2], View(num_frames=4, fps=FPS / 2, size=(16, 24)))
    assert half.frames.shape == (4, 3, 16, 24)
    assert half.fps == FPS / 2


def test_a_caption_is_read_from_beside_a_clip(tmp_path):
    (tmp_path / "a.txt").write_text("a  red\ncircle\n")
    (tmp_path / "b.json").write_text('{"prompt": "a blue square"}')
    assert caption_of(tmp_path / "a.mp4") == "a red circle"
    assert caption_of(tmp_path / "b.mp4") == "a blue square"
    with pytest.raises(InputError, match=r"c\.mp4 has no caption; write it to c\.txt"):
        caption_of(tmp_path / "c.mp4")
    (tmp_path / "c.json").write_text("[" * 9999)
    with pytest.raises(InputError, match=r"c\.mp4 has no caption"):
        caption_of(tmp_path / "c.mp4")


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ("strem", "unknown score 'strem'; did you mean 'stream'"),
        ("fvd-tensorflow", "--weights i3d=FILE"),
        ("fid", "--weights inception=FILE"),
        ("is-video", "--weights c3d=FILE"),
        ("lpips", "--weights alexnet=FILE"),
        ("lpips-vgg", "--weights vgg16=FILE"),
        ("clipsim", "--weights clip=FILE"),
        ("stream-dinov2", "--weights dinov2=FILE"),
    ],
)
def test_what_is_missing_is_said_before_any_clip_is_read(folders, tmp_path, names, said):
    with pytest.raises(InputError, match=said):
        scored(names, *folders, tmp_path)
    assert not list(tmp_path.rglob("shard-*"))


def test_too_few_clips_and_no_real_ones_are_refused(folders, tmp_path):
    few = write_arrays(tmp_path / "few", drawn(1, 3))
    with pytest.raises(InputError, match="stream needs 7 generated clips or more, not 3"):
        scored("stream", folders[0], few, tmp_path / "cache")
    with pytest.raises(InputError, match="stream compares; name a folder of real clips"):
        scored("dynamic-degree,stream", None, folders[1], tmp_path / "cache")
    with pytest.raises(InputError, match="there is no folder"):
        scored("dynamic-degree", None, tmp_path / "none", tmp_path / "cache")


def test_scores_of_one_folder_need_no_other(folders, tmp_path):
    found = scored("dynamic-degree,warping-error", None, folders[1], tmp_path)
    for score in found.scores:
        assert score.value > 0
        assert (score.passport.num_real, score.passport.reference) == (0, "")


def test_the_page_lists_every_score_and_every_file_of_weights():
    page = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
    assert not [name for name in DEFINITIONS if f"`{name}`" not in page]
    plain = page.replace("`", "")
    assert not [role for role, said in ROLES.items() if f"| {role} | {said} |" not in plain]


def test_no_stand_in_bears_an_official_name():
    # `stream` keeps its name: the paper leaves the network open.
    endings = {random_i3d: "-rand", effnet: "-effnet", tiny: "-tiny", random_frames: "stream"}
    for name, definition in find(list(DEFINITIONS)).items():
        assert name.removesuffix("-moment").endswith(endings.get(definition.measure, ""))
    assert not {"fvd", "fvd-i3d"} & set(DEFINITIONS)
