"""Frozen in Time: files are seen and ranked, frames rise by phases, positions grow."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kinema.clip import Clip
from kinema.data.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from kinema.errors import InputError
from kinema.media.pixels import cover
from kinema.media.reading import read_frames
from kinema.noise import Noise
from kinema.sample import Folder, Table, Text
from kinema.systems.frozen_in_time import FrozenInTime
from kinema.systems.frozen_in_time_config import FrozenInTimeConfig, full, nano, tiny
from kinema.systems.frozen_in_time_training import NANO, STAGES, TINY
from kinema.systems.retriever_index import Index, IndexPlace
from kinema.training.log import read_log
from kinema.training.stage import train
from kinema.training.trainer import Trainer
from kinema.weights import manifests
from kinema.weights.maps.frozen_in_time import PARALLEL, WHOLE, find
from kinema.worlds.shapes import Shapes

QUERY = Text("a small red circle moves left")


def fresh(seed: int = 0, config: FrozenInTimeConfig | None = None) -> FrozenInTime:
    """A model of small random weights."""
    torch.manual_seed(seed)
    model = FrozenInTime(config or nano())
    for name, parameter in model.parts.named_parameters():
        drawn = Noise(seed, (0,)).normal((1, *parameter.shape), name)[0]
        parameter.data += 0.1 * drawn
    return model


MODEL = fresh()


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """Drawn clips of several lengths, one in a folder below, a picture, and what is no clip."""
    folder = tmp_path_factory.mktemp("clips")
    (folder / "below").mkdir()
    lengths = {"a.mp4": 12, "b.mp4": 3, "below/c.mp4": 16}
    for index, (name, length) in enumerate(lengths.items()):
        world = Shapes(seed=0, split="all", num_frames=length, height=48, width=64, fps=12.0)
        world.sample(index).clip.write(folder / name)
    (folder / "notes.txt").write_text("no clip")
    sheet = Path(__file__).parents[2] / "docs"  # any picture of ours
    picture = sorted(sheet.rglob("*.png"))[0].read_bytes()
    (folder / "d.png").write_bytes(picture)
    (folder / "contact_sheet.png").write_bytes(picture)
    return Folder(folder)


@pytest.fixture(scope="module")
def index(clips: Folder, tmp_path_factory: pytest.TempPathFactory) -> Index:
    place = IndexPlace(tmp_path_factory.mktemp("index"))
    MODEL.run_index({"clips": clips, "index": place}, 0)
    return Index.given(place.path)


# -- the whole model ------------------------------------------------------------------------


@pytest.mark.parametrize(("frames", "keymap"), [(4, WHOLE), (8, PARALLEL)])
def test_the_published_checkpoint_is_our_full_model(frames: int, keymap: Any) -> None:
    prefix = "module." if keymap is PARALLEL else ""
    shapes = {
        "txt_proj.1.weight": (256, 768),
        "txt_proj.1.bias": (256,),
        "vid_proj.0.weight": (256, 768),
        "vid_proj.0.bias": (256,),
    }
    for part, name in (("text", "text"), ("video", f"video-{frames}f")):
        held = manifests.read(f"51-frozenintime-{name}").shapes
        shapes |= {f"{part}_model.{key}": shape for key, shape in held.items()}
    theirs = {prefix + key: shape for key, shape in shapes.items()}
    assert find(theirs) is keymap
    config = full()
    model = FrozenInTime(
        replace(config, video=replace(config.video, num_frames=frames)), device="meta"
    )
    ours = manifests.shapes_of(model.parts)
    assert keymap.to_ours(theirs) == ours
    assert keymap.to_theirs(ours) == theirs
    counted = {**theirs, f"{prefix}text_model.embeddings.position_ids": (1, 512)}
    assert keymap.to_ours(counted) == ours


def test_a_configuration_names_widths_that_differ() -> None:
    config = nano()
    with pytest.raises(InputError, match=r"projections.text_width is 16, text.width 32"):
        replace(config, text=replace(config.text, width=32))
    with pytest.raises(InputError, match="shown must be at least 1"):
        replace(config, shown=0)


@torch.no_grad()
def test_embeddings_are_projections_of_both_states() -> None:
    text, projections = MODEL.text, MODEL.projections
    state = text(text.ids([QUERY.text])).x[:, 0]
    weight, bias = projections.txt_proj[1].weight, projections.txt_proj[1].bias
    expected = state.clamp(min=0) @ weight.T + bias
    torch.testing.assert_close(MODEL.embed_texts([QUERY.text]), expected)
    pixels = torch.stack(
        [
            torch.full((4, 32, 32), m + s * v)
            for m, s, v in zip(IMAGENET_MEAN, IMAGENET_STD, (1, 2, 3))
        ]
    )
    normalized = torch.tensor([1.0, 2.0, 3.0])[:, None, None, None].expand(3, 4, 32, 32)
    state = MODEL.parts["video"](normalized[None])
    expected = projections.vid_proj[0](state)
    torch.testing.assert_close(MODEL.embed_clips(2 * pixels[None] - 1), expected)


# -- index and search -----------------------------------------------------------------------


def test_an_index_has_every_video_and_picture(clips: Folder, index: Index) -> None:
    assert index.files == ("a.mp4", "b.mp4", "below/c.mp4", "d.png")
    assert index.embeddings.shape == (4, 16)
    with torch.no_grad():
        for row, name in zip(index.embeddings, index.files):
            alone = MODEL.embed_clips(MODEL.look(clips.path / name)[None])[0].numpy()
            np.testing.assert_array_equal(row, alone)


def test_a_file_is_seen_by_the_middle_of_its_stretches(clips: Folder) -> None:
    for name, numbers in (("below/c.mp4", [1, 5, 9, 13]), ("b.mp4", [0, 1, 2]), ("d.png", [0])):
        frames = read_frames(clips.path / name, numbers)
        squares = np.stack([cover(frame, 32, 32) for frame in frames])
        expected = torch.from_numpy(Clip(squares, 1.0).to_float())
        assert torch.equal(MODEL.look(clips.path / name), expected)


@torch.no_grad()
def test_a_ranking_is_that_of_the_cosines(index: Index) -> None:
    ranking = MODEL.run({"index": index, "query": QUERY}, 0, "search")["ranking"]
    assert isinstance(ranking, Table)
    assert ranking.columns == ("rank", "cosine", "file")
    text = MODEL.embed_texts([QUERY.text])[0].numpy()
    norms = np.linalg.norm(index.embeddings, axis=1) * np.linalg.norm(text)
    cosines = index.embeddings @ text / norms
    assert [row[0] for row in ranking.rows] == [1, 2, 3, 4]
    assert [row[2] for row in ranking.rows] == [index.files[i] for i in np.argsort(-cosines)]
    assert [row[1] for row in ranking.rows] == pytest.approx(sorted(cosines)[::-1], abs=1e-5)


def test_a_ranking_is_as_long_as_the_configuration_says(index: Index) -> None:
    model = fresh()
    model.config = replace(model.config, shown=2)
    rows = model.run_search({"index": index, "query": QUERY}, 0)["ranking"].rows
    assert rows == MODEL.run_search({"index": index, "query": QUERY}, 0)["ranking"].rows[:2]


# -- training -------------------------------------------------------------------------------


def test_steps_on_clips_and_on_stills_take_turns() -> None:
    recipe = replace(NANO, frames=(1, 4), shares=(0.5, 0.5))
    source, held_out = STAGES["retriever"].read(MODEL, recipe, None)
    size = recipe.batch_size
    steps = [source(tuple(range(step * size, (step + 1) * size))) for step in range(recipe.steps)]
    assert [batch["clips"].shape[2] for batch in steps] == [1, 1, 1, 1, 4, 1, 4, 1]
    for step, batch in enumerate(steps):
        assert {len(said) for said in batch["captions"]} == {1 if step % 2 else 4}
    assert held_out["clips"].shape == (size, 3, 4, 32, 32)
    assert {len(said) for said in held_out["captions"]} == {1}
    with pytest.raises(InputError, match="unknown world 'rooms'"):
        STAGES["retriever"].read(MODEL, NANO, "rooms")


@pytest.mark.parametrize(
    ("frames", "shares", "steps", "expected"),
    [
        ((1, 4), (0.9, 0.1), 20, [1] * 18 + [4] * 2),
        ((1, 2, 4), (0.5, 0.25, 0.25), 8, [1, 1, 1, 1, 2, 2, 4, 4]),
        ((4,), (1.0,), 3, [4, 4, 4]),
        ((1, 2, 8), (0.1, 0.2, 0.7), 10, [1, 2, 2] + [8] * 7),
    ],
)
def test_phases_have_their_shares_of_the_steps(
    frames: tuple[int, ...], shares: tuple[float, ...], steps: int, expected: list[int]
) -> None:
    recipe = replace(NANO, frames=frames, shares=shares, steps=steps)
    assert [recipe.frames_at(step) for step in range(steps)] == expected


@pytest.mark.parametrize(
    ("frames", "shares", "said"),
    [
        ((4, 1), (0.5, 0.5), "frames must rise from phase to phase"),
        ((0, 1), (0.5, 0.5), "frames must rise from phase to phase"),
        ((), (), "frames must rise from phase to phase"),
        ((1, 4), (1.0,), "shares must be one for each of frames"),
        ((1, 4), (0.5, 0.4), "above 0 and 1 in all"),
        ((1, 4), (1.5, -0.5), "above 0 and 1 in all"),
    ],
)
def test_phases_that_do_not_fit_are_refused(
    frames: tuple[int, ...], shares: tuple[float, ...], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        replace(NANO, frames=frames, shares=shares)


def test_positions_of_frames_that_no_phase_has_read_are_zeros() -> None:
    torch.manual_seed(0)
    model, recipe = FrozenInTime(nano()), replace(NANO, frames=(1, 2, 4), shares=(0.5, 0.25, 0.25))
    plan = STAGES["retriever"]
    trainer = Trainer(
        plan.objective(model, recipe),
        plan.read(model, recipe, None).source,
        recipe,
        seed=0,
        device="cpu",
    )
    read = []
    for trainer.step in range(recipe.steps):
        trainer.train_step()
        table = model.parts["video"].temporal_embed[0].detach()
        read.append(int(table.any(1).sum()))
        assert not table[read[-1] :].any()
    assert read == [1, 1, 1, 1, 2, 2, 4, 4]


@pytest.mark.slow
def test_a_minute_of_the_curriculum_finds_held_out_clips(tmp_path: Path) -> None:
    torch.manual_seed(0)
    recipe = replace(TINY, steps=200, report_every=200, save_every=200)
    plan, options = STAGES["retriever"], {"data": None, "seed": 0, "device": "cpu"}
    train(FrozenInTime(tiny()), plan, recipe, folder=tmp_path, **options)
    last = read_log(tmp_path)[-1]
    assert last["held_out/R@1"] > 0.4  # of 64 clips; chance is 0.016
    assert last["held_out/MdR"] <= 2
    assert last["held_out/loss"] < 0.4 * last["held_out/trivial"]


def test_weights_of_fewer_frames_grow(tmp_path: Path) -> None:
    config = nano()
    short = fresh(1, replace(config, video=replace(config.video, num_frames=2)))
    for growth in ("zeros", "bilinear"):
        model = fresh(2, replace(config, growth=growth))
        model.start_from(short, ("text", "video"))
        ours, theirs = (m.parts["video"].state_dict() for m in (model, short))
        grown, table = ours.pop("temporal_embed"), theirs.pop("temporal_embed")
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
        assert bool(grown[:, 2:].any()) == (growth == "bilinear")
        assert torch.equal(grown[:, :2], table) == (growth == "zeros")
        same = zip(model.parts["text"].parameters(), short.parts["text"].parameters())
        assert all(torch.equal(a, b) for a, b in same)
        assert not torch.equal(
            model.projections.vid_proj[0].weight, short.projections.vid_proj[0].weight
        )
    short.start_from(model, ("video",))
    assert torch.equal(short.parts["video"].temporal_embed, grown[:, :2])
    wide = fresh(0, replace(config, video=replace(config.video, num_layers=1)))
    with pytest.raises(InputError, match="cannot start from a video of another size"):
        wide.start_from(short, ("video",))


def test_a_ranking_is_written_as_json(index: Index, tmp_path: Path) -> None:
    ranking = MODEL.run_search({"index": index, "query": QUERY}, 0)["ranking"]
    ranking.write(tmp_path / "found.json")
    first = json.loads((tmp_path / "found.json").read_text())[0]
    assert first == {"rank": 1, "cosine": ranking.rows[0][1], "file": ranking.rows[0][2]}
