"""An index of clips: what it notices of its folder, what survives a kill, whom it refuses."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from kinema.errors import InputError
from kinema.sample import Folder, Table, Text
from kinema.systems.frozen_in_time import FrozenInTime
from kinema.systems.frozen_in_time_config import nano
from kinema.systems.retriever_index import DATABASE, Index, IndexPlace
from kinema.systems.retriever_update import Change, files_of
from kinema.worlds.shapes import Shapes

QUERY = Text("a small red circle moves left")
AHEAD = 2  # files that a child may look at after the report at which it is killed
CHILD = """
import sys
from pathlib import Path
from kinema.systems.frozen_in_time import FrozenInTime
from kinema.systems.retriever_update import files_of

class Telling(FrozenInTime):
    text, video, projections = FrozenInTime.PARTS.values()

    def embed_file(self, path):
        sys.stdin.readline()  # as far as it may go, however late it is killed
        print("looks", path.name, flush=True)
        return super().embed_file(path)

weights, clips, place = map(Path, sys.argv[1:])
model = Telling.from_pretrained(weights)
for change in model.indexing(files_of(clips), clips, place):
    print(change.state, change.name, flush=True)
"""


class Counting(FrozenInTime):
    """Remembers the files that it looked at."""

    text, video, projections = FrozenInTime.PARTS.values()

    def __init__(self, *arguments: object, **options: object) -> None:
        super().__init__(*arguments, **options)
        self.looked_at: list[str] = []

    def embed_file(self, path: Path) -> torch.Tensor:
        self.looked_at.append(path.name)
        return super().embed_file(path)


def fresh(seed: int = 0) -> Counting:
    torch.manual_seed(seed)
    return Counting(nano())


def draw(path: Path, number: int, num_frames: int = 6) -> None:
    world = Shapes(seed=0, split="all", num_frames=num_frames, height=32, width=40, fps=12.0)
    world.sample(number).clip.write(path, overwrite=True)


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Drawn clips, one of them in a folder below, and what is none."""
    folder = tmp_path / "clips"
    (folder / "below").mkdir(parents=True)
    for number, name in enumerate(("a.mp4", "b.mp4", "below/c.mp4", "d.mp4")):
        draw(folder / name, number)
    (folder / "notes.txt").write_text("no clip")
    for hidden in ("contact_sheet.png", ".half.mp4"):
        shutil.copy(folder / "a.mp4", folder / hidden)
    return folder


def states(model: FrozenInTime, clips: Path, place: Path) -> dict[str, str]:
    """The changes of an update, by name; each file is told once."""
    changes = list(model.indexing(files_of(clips), clips, place))
    found = {change.name: change.state for change in changes}
    assert len(found) == len(changes)
    return found


def rows(index: Index) -> dict[str, np.ndarray]:
    assert len(set(index.files)) == len(index.files)
    return dict(zip(index.files, index.embeddings))


def test_an_index_holds_what_the_model_saw(clips: Path, tmp_path: Path) -> None:
    model, place = fresh(), tmp_path / "index"
    assert set(states(model, clips, place).values()) == {"new"}
    index = Index.given(place)
    assert index.files == ("a.mp4", "b.mp4", "below/c.mp4", "d.mp4")
    for name, row in rows(index).items():
        np.testing.assert_array_equal(row, model.embed_file(clips / name).numpy())


def test_what_has_changed_is_looked_at_and_nothing_else(clips: Path, tmp_path: Path) -> None:
    model, place = fresh(), tmp_path / "index"
    states(model, clips, place)
    before = rows(Index.given(place))
    model.looked_at.clear()
    assert set(states(model, clips, place).values()) == {"same"}
    assert model.looked_at == []

    (clips / "a.mp4").rename(clips / "e.mp4")
    draw(clips / "b.mp4", 7)
    (clips / "d.mp4").unlink()
    (clips / "below" / "c.mp4").touch()
    draw(clips / "f.mp4", 8)
    assert states(model, clips, place) == {
        "b.mp4": "changed",
        "below/c.mp4": "same",
        "e.mp4": "moved",
        "f.mp4": "new",
        "a.mp4": "gone",
        "d.mp4": "gone",
    }
    assert model.looked_at == ["b.mp4", "f.mp4"]
    after = rows(Index.given(place))
    assert list(after) == ["b.mp4", "below/c.mp4", "e.mp4", "f.mp4"]
    np.testing.assert_array_equal(after["e.mp4"], before["a.mp4"])
    assert not np.array_equal(after["b.mp4"], before["b.mp4"])


def test_equal_size_and_date_hide_no_change(clips: Path, tmp_path: Path) -> None:
    model, place, path = fresh(), tmp_path / "index", clips / "a.mp4"
    states(model, clips, place)
    seen = path.stat()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    assert states(model, clips, place)["a.mp4"] == "changed"


def test_a_broken_file_is_left_out_and_told(clips: Path, tmp_path: Path) -> None:
    model, place = fresh(), IndexPlace(tmp_path / "index")
    inputs = {"clips": Folder(clips), "index": place}
    model.run(inputs, 0, "index")
    (clips / "b.mp4").write_bytes(b"no video")
    (clips / "d.mp4").unlink()
    listing = model.run(inputs, 0, "index")["files"]
    assert isinstance(listing, Table)
    first, second = str(listing).splitlines()
    assert first == "2 files are in the index: 2 same, 1 gone, 1 left out"
    assert second.startswith(f"left out: {clips / 'b.mp4'} is not a video")
    assert [bool(fault) for _, fault in listing.rows] == [False, True, False]
    assert Index.given(place.path).files == ("a.mp4", "below/c.mp4")


def test_a_folder_without_a_file_that_can_be_used_is_refused(tmp_path: Path) -> None:
    model, place = fresh(), IndexPlace(tmp_path / "index")
    clips = Folder(tmp_path)
    with pytest.raises(InputError, match="holds no video or picture"):
        model.run_index({"clips": clips, "index": place}, 0)
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    with pytest.raises(InputError, match=r"no file of .* can be used: .*broken\.mp4"):
        model.run_index({"clips": clips, "index": place}, 0)
    with pytest.raises(InputError, match="holds no clip yet"):
        Index.given(place.path)


def test_a_killed_index_loses_the_clip_in_hand_at_most(tmp_path: Path) -> None:
    clips, place, weights = tmp_path / "clips", tmp_path / "index", tmp_path / "m.safetensors"
    clips.mkdir()
    names = [f"{number:02d}.mp4" for number in range(12)]
    for number, name in enumerate(names):
        draw(clips / name, number)
    model = fresh()
    model.save_pretrained(weights)
    reported: set[str] = set()
    for stop in (2, 3):  # reports of something new, after which the child is killed
        told, looked = killed(stop, weights, clips, place)
        reported |= told
        kept = set(Index.given(place).files)
        assert reported <= kept
        assert len(looked - kept) <= 1
        assert len(kept) < len(names)
    found = states(model, clips, place)
    assert set(found) == set(names)
    assert {name for name in names if found[name] == "same"} == kept
    assert set(model.looked_at) == set(names) - kept
    index = Index.given(place)
    assert index.files == tuple(names)
    for name, row in rows(index).items():
        np.testing.assert_array_equal(row, model.embed_file(clips / name).numpy())


def killed(stop: int, *arguments: Path) -> tuple[set[str], set[str]]:
    """Kills a child that indexes; the files that it told, and those that it began to look at."""
    told, looked = set[str](), set[str]()
    command = [sys.executable, "-c", CHILD, *map(str, arguments)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write("\n" * (stop + AHEAD))
        child.stdin.flush()
        for line in child.stdout:
            state, name = line.split()
            (looked if state == "looks" else told).add(name)
            if state == "new" and (stop := stop - 1) == 0:
                child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    return told, looked


def test_who_comes_second_is_refused_and_who_searches_is_not(clips: Path, tmp_path: Path) -> None:
    model, place = fresh(), tmp_path / "index"
    first = model.indexing(files_of(clips), clips, place)
    assert next(first) == Change("a.mp4", "new")
    with pytest.raises(InputError, match=f"another process writes in {place}") as caught:
        states(fresh(), clips, place)
    assert "\n" not in str(caught.value)
    assert Index.given(place).files == ("a.mp4",)
    assert len(list(first)) == 3
    assert set(states(model, clips, place).values()) == {"same"}


def test_another_model_is_refused_by_name(clips: Path, tmp_path: Path) -> None:
    model, other, place = fresh(), fresh(1), tmp_path / "index"
    states(model, clips, place)
    said = f"{place} was made by another model \\([0-9a-f]{{16}}, this one is [0-9a-f]{{16}}\\)"
    with pytest.raises(InputError, match=said):
        states(other, clips, place)
    index = Index.given(place)
    with pytest.raises(InputError, match=said):
        other.run({"index": index, "query": QUERY}, 0, "search")
    assert rows(index).keys() == rows(Index.given(place)).keys()


def test_an_index_follows_a_folder_that_was_moved_and_no_other(clips: Path, tmp_path: Path) -> None:
    model, place, other = fresh(), tmp_path / "index", tmp_path / "other"
    states(model, clips, place)
    other.mkdir()
    draw(other / "x.mp4", 9)
    with pytest.raises(InputError, match=f"is of {clips}, not of {other}; name another one"):
        states(model, other, place)
    clips.rename(tmp_path / "moved")
    assert set(states(model, tmp_path / "moved", place).values()) == {"same"}
    with pytest.raises(InputError, match=r"is of .*moved"):
        states(model, other, place)


def test_a_searcher_ranks_as_the_job_does(clips: Path, tmp_path: Path) -> None:
    model, place = fresh(), tmp_path / "index"
    states(model, clips, place)
    index = Index.given(place)
    search = model.searching(index)
    by_job = model.run({"index": index, "query": QUERY}, 0, "search")["ranking"]
    assert search(QUERY.text).rows == by_job.rows
    with pytest.raises(InputError, match="knows no word of the prompt 'xylophone'"):
        search("xylophone")


def test_what_is_no_index_is_refused(clips: Path, tmp_path: Path) -> None:
    model, place = fresh(), tmp_path / "index"
    with pytest.raises(InputError, match="holds no index of clips; make one with the job"):
        Index.given(place)
    place.mkdir()
    database = place / DATABASE
    for content in (b"", b"no database" * 99):
        database.write_bytes(content)
        with pytest.raises(InputError, match=r"holds no index|cannot use the index"):
            Index.given(place)
    with pytest.raises(InputError, match="cannot use the index"):
        states(model, clips, place)
    database.unlink()
    with sqlite3.connect(database) as other:
        other.execute("CREATE TABLE clips (name TEXT)")
    with pytest.raises(InputError, match="holds no index of clips"):
        states(model, clips, place)
    with pytest.raises(InputError, match=r"cannot make the folder|is a folder"):
        IndexPlace.given(str(database))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        ("UPDATE clips SET embedding = x'00' WHERE name = x'612e6d7034'", "differ in length"),
        ("UPDATE clips SET embedding = x'0000c07f'", "not finite"),
        ("UPDATE clips SET embedding = 'words'", "rows of another kind"),
        ("UPDATE clips SET name = 7 WHERE name = x'612e6d7034'", "rows of another kind"),
        ("DELETE FROM facts", "does not say whose it is"),
        ("DROP TABLE clips", "its tables are others"),
        ("CREATE VIEW more AS SELECT 1", "its tables are others"),
    ],
)
def test_a_damaged_index_is_refused(spoil: str, said: str, clips: Path, tmp_path: Path) -> None:
    place = tmp_path / "index"
    states(fresh(), clips, place)
    with sqlite3.connect(place / DATABASE) as database:
        database.execute(spoil)
    with pytest.raises(InputError, match=said) as caught:
        Index.given(place)
    assert str(place) in str(caught.value)


def test_an_index_at_rest_is_one_file_that_need_not_be_written(clips: Path, tmp_path: Path) -> None:
    place = tmp_path / "index"
    states(fresh(), clips, place)
    assert [path.name for path in place.iterdir()] == [DATABASE]
    assert (place / DATABASE).read_bytes()[18:20] == b"\1\1"  # of SQLite: no log beside it


def test_an_index_goes_on_after_a_full_disk(clips: Path, tmp_path: Path) -> None:
    model, place = fresh(), tmp_path / "index"
    states(model, clips, place)
    draw(clips / "e.mp4", 9)
    before = rows(Index.given(place))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, hard))
    try:
        with pytest.raises(InputError, match=f"cannot use the index {place}"):
            states(model, clips, place)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert rows(Index.given(place)).keys() == before.keys()
    assert states(model, clips, place)["e.mp4"] == "new"
