"""Frozen in Time: an index of files is built, kept and searched; weights of fewer frames grow."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from kinema.clip import Clip
from kinema.data.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from kinema.errors import InputError
from kinema.media.pixels import cover
from kinema.media.reading import read_frames
from kinema.noise import Noise
from kinema.sample import Folder, Table, Text
from kinema.systems.frozen_in_time import FrozenInTime
from kinema.systems.frozen_in_time_config import FrozenInTimeConfig, full, nano
from kinema.systems.frozen_in_time_index import Index
from kinema.systems.frozen_in_time_training import NANO, STAGES
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
def index(clips: Folder) -> Index:
    return MODEL.run_index({"clips": clips}, 0)["index"]


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


def test_a_folder_without_clips_or_with_a_broken_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no clip")
    with pytest.raises(InputError, match="holds no video or picture"):
        MODEL.run_index({"clips": Folder(tmp_path)}, 0)
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    with pytest.raises(InputError, match=r"broken\.mp4"):
        MODEL.run_index({"clips": Folder(tmp_path)}, 0)


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


def test_an_index_is_equal_after_a_file(index: Index, tmp_path: Path) -> None:
    index.write(tmp_path / "clips.safetensors")
    again = Index.given(str(tmp_path / "clips.safetensors"))
    assert np.array_equal(again.embeddings, index.embeddings)
    assert (again.files, again.model) == (index.files, index.model)
    assert "4 files, 16 numbers each" in str(again)
    again.write(tmp_path / "again.safetensors")
    first, second = (tmp_path / f"{name}.safetensors" for name in ("clips", "again"))
    assert first.read_bytes() == second.read_bytes()


def test_another_model_refuses_the_index(index: Index) -> None:
    with pytest.raises(InputError, match="made by another model"):
        fresh(1).run_search({"index": index, "query": QUERY}, 0)


def test_a_query_without_a_known_word_is_refused(index: Index) -> None:
    with pytest.raises(InputError, match="knows no word of the prompt 'xylophone'"):
        MODEL.run({"index": index, "query": Text("xylophone")}, 0, "search")


@pytest.mark.parametrize(
    ("metadata", "rows", "said"),
    [
        ({}, 2, "holds no index"),
        ({"kind": "kinema index of clips"}, 2, "damaged"),
        ({"files": '["a.mp4"]', "model": "0"}, 2, "damaged"),
        ({"files": "[", "model": "0"}, 2, "damaged"),
    ],
)
def test_a_file_that_is_no_index_is_refused(
    metadata: dict[str, str], rows: int, said: str, tmp_path: Path
) -> None:
    if "files" in metadata:
        metadata = {"kind": "kinema index of clips", **metadata}
    save_file({"embeddings": torch.zeros(rows, 16)}, tmp_path / "x.safetensors", metadata)
    with pytest.raises(InputError, match=said):
        Index.given(str(tmp_path / "x.safetensors"))
    with pytest.raises(InputError, match="no such file"):
        Index.given(str(tmp_path / "none.safetensors"))


# -- training -------------------------------------------------------------------------------


def test_steps_on_clips_and_on_stills_take_turns() -> None:
    source, held_out = STAGES["retriever"].read(MODEL, NANO, None)
    size = NANO.batch_size
    moving, still = (source(tuple(range(first, first + size))) for first in (0, size))
    assert moving["clips"].shape == (size, 3, 4, 32, 32)
    assert still["clips"].shape == (size, 3, 1, 32, 32)
    assert {len(said) for said in moving["captions"]} == {4}
    assert {len(said) for said in still["captions"]} == {1}
    assert {len(said) for said in held_out["captions"]} == {1}
    with pytest.raises(InputError, match="unknown world 'rooms'"):
        STAGES["retriever"].read(MODEL, NANO, "rooms")


def test_the_curriculum_begins_with_one_frame() -> None:
    source, held_out = STAGES["retriever"].read(MODEL, replace(NANO, frames=1), None)
    assert source((0, 1))["clips"].shape[2] == held_out["clips"].shape[2] == 1


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
