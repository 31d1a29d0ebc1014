"""The page over HTTP: what programs and hostile people send, and ten people at once."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.importorskip("gradio", reason="needs the extra `web`")

import httpx
from gradio_client import Client, handle_file
from PIL import Image

from kinema.clip import Clip
from kinema.web.limits import Limits
from kinema.web.page import open_page
from kinema.web.studio import Studio

PROMPT = "a small red circle moves left on a navy background"
VALUES = [PROMPT, "", 3, "32x32", 9, 2, 2.0]


@dataclass(frozen=True)
class Page:
    """An open page and its studio."""

    url: str
    studio: Studio

    def client(self) -> Client:
        """Another person."""
        return Client(self.url, verbose=False, download_files=False)

    def call(self, name: str, data: object, session: str | None = None) -> httpx.Response:
        """What comes back at once when a program calls, by the name that it gives itself."""
        values = {"data": data, "session_hash": session}
        body = json.dumps(values).encode()  # which escapes what is no text
        kind = {"content-type": "application/json"}
        url = f"{self.url}/gradio_api/call/{name}"
        return httpx.post(url, content=body, headers=kind, timeout=60)

    def answer(self, name: str, data: object, session: str | None = None) -> str:
        """The whole answer to a call of a program."""
        begun = self.call(name, data, session)
        assert begun.status_code == 200, begun.text
        event = begun.json()["event_id"]
        return httpx.get(f"{self.url}/gradio_api/call/{name}/{event}", timeout=60).text

    def file(self, path: object) -> httpx.Response:
        """What the page gives for a file's path."""
        return httpx.get(f"{self.url}/gradio_api/file={path}")


@contextlib.contextmanager
def serving(folder: Path, model: Path, limits: Limits) -> Iterator[Page]:
    """An open page of a new studio."""
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        port = trial.getsockname()[1]
    with pytest.MonkeyPatch.context() as patch:
        for name in ("GRADIO_TEMP_DIR", "GRADIO_ANALYTICS_ENABLED"):  # the page sets both
            patch.setenv(name, "")
        studio = Studio(folder, str(model), limits)
        blocks, url = open_page(studio, "127.0.0.1", port)
        yield Page(url, studio)
        studio.close()
        blocks.close(verbose=False)


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Iterator[Page]:
    """A page that almost all tests here use, with small limits."""
    limits = Limits(file_bytes=300_000, per_minute=100, per_address=1000, steps=100_000)
    with serving(tmp_path_factory.mktemp("served") / "page", model, limits) as page:
        yield page


def test_a_program_makes_a_clip_and_finds_it_in_the_history(opened: Page) -> None:
    client = opened.client()
    status, clip, sheet, record = client.predict(*VALUES, api_name="/generate")
    assert "Done" in status
    assert record["prompt"] == PROMPT
    assert opened.file(clip["path"] if "path" in clip else clip["video"]).status_code == 200
    assert opened.file(sheet["path"]).status_code == 200
    name = status.split("Done: ")[1].split("<")[0]
    assert client.predict(name, api_name="/run")[3] == record
    names = client.predict(api_name="/history")[0]
    assert names["value"] == name


def test_progress_is_told_and_cancel_ends_a_run(opened: Page) -> None:
    client = opened.client()
    values = [PROMPT, "", 3, "32x32", 33, 100_000, 2.0]
    job = client.submit(*values, api_name="/generate")
    for said, *_ in job:
        if "<progress" in said:
            client.predict(api_name="/cancel")
            break
    status, clip, *_ = job.result(timeout=60)
    assert "Canceled" in status
    assert clip is None


def test_a_file_that_is_sent_is_used(opened: Page, tmp_path: Path) -> None:
    Image.new("RGB", (40, 40), (200, 30, 30)).save(tmp_path / "red.png")
    picture = handle_file(str(tmp_path / "red.png"))
    status, _, _, record = opened.client().predict(picture, None, *VALUES, api_name="/animate")
    assert "Done" in status
    assert record["keyframes"][0]["frame"] == 0


@pytest.mark.parametrize(
    ("place", "value"),
    [
        *((0, value) for value in ("", None, "x" * 100_000, {"xyzzy": [1]}, 7, "\ud83d\0")),
        *((2, value) for value in (-1, 1e300, "NaN", "x", None, [], 10**30)),
        *((3, value) for value in ("1x1", "99999x99999", "../..", None, {})),
        *((4, value) for value in (10**9, -3, "all", None, 2.5)),
        *((5, value) for value in (0, 10**9, None, "x", [[]])),
        *((6, value) for value in (1e300, -5, None, {})),
    ],
)
def test_hostile_values_make_no_clip(opened: Page, place: int, value: object) -> None:
    before = opened.studio.history.names()
    values = [*VALUES]
    values[place] = value
    answer = opened.answer("generate", values)
    assert "Done" not in answer
    assert "Traceback" not in answer
    assert opened.studio.history.names() == before


def test_what_people_write_is_no_html(opened: Page) -> None:
    answer = opened.answer("generate", ["<img src=x onerror=alert(1)>", *VALUES[1:]])
    assert "knows no word" in answer
    assert "<img" not in answer


def test_what_was_passed_over_is_told(opened: Page) -> None:
    answer = opened.answer("generate", [f"{PROMPT} xyzzy <b>", *VALUES[1:]])
    assert "Done" in answer
    assert "ignored: xyzzy" in answer
    assert "<b>" not in answer.replace('{"prompt"', "").split('"command"')[0]
    told = opened.answer("story", [f"{PROMPT} plugh | 1", 0, 2, 2])
    assert "ignored: plugh" in told


@pytest.mark.parametrize("path", ["/etc/passwd", "../../../../etc/passwd", "/proc/self/environ"])
def test_files_of_the_machine_are_neither_read_nor_given(opened: Page, path: str) -> None:
    assert opened.file(path).status_code in (403, 404)
    file = {"path": path, "meta": {"_type": "gradio.FileData"}}
    before = opened.studio.history.names()
    assert "Done" not in opened.answer("animate", [file, None, *VALUES])
    assert "Done" not in opened.answer("animate", [None, {"video": file}, *VALUES])
    assert "Done" not in opened.answer("score", [[file], None, ["drift"], 12])
    assert opened.studio.history.names() == before
    kept = [p.name for p in opened.studio.folder.rglob("*")]
    assert not {"passwd", "environ"} & set(kept)


def test_the_page_gives_files_of_its_runs_alone(opened: Page, model: Path) -> None:
    opened.client().predict(*VALUES, api_name="/generate")
    run = opened.studio.history.run(opened.studio.history.names()[0])
    assert opened.file(run.clip).status_code == 200
    features = opened.studio.folder / "features" / "key.json"
    features.write_text("{}")
    beside = opened.studio.folder.parent / "secret.txt"
    beside.write_text("secret")
    for path in (features, beside, model, f"{run.record.parent}/../../../secret.txt", Path.cwd()):
        assert opened.file(path).status_code in (403, 404), path
    assert opened.client().predict("../../secret", api_name="/run")[3] is None


def test_nothing_is_fetched_from_elsewhere(opened: Page) -> None:
    file = {"path": "http://127.0.0.1:9/x.png", "meta": {"_type": "gradio.FileData"}}
    for data in ([file, None, *VALUES], {"deep": [file]}):
        refused = opened.call("animate", data)
        assert (refused.status_code, refused.text) == (400, "send the file itself, not its address")


def test_large_requests_are_refused(opened: Page) -> None:
    url = f"{opened.url}/gradio_api/upload"
    heavy = httpx.post(url, files={"files": ("a.png", bytes(350_000))})
    assert heavy.status_code == 413
    several = [("files", (f"{n}.png", bytes(290_000))) for n in range(5)]
    assert httpx.post(url, files=several).status_code == 413
    assert httpx.post(url, content=iter([b"x" * 10])).status_code == 413  # does not say how much
    assert opened.call("generate", ["x" * 1_100_000, *VALUES[1:]]).status_code == 413
    fits = httpx.post(url, files={"files": ("a.png", bytes(1000))})
    assert fits.status_code == 200
    assert Path(json.loads(fits.text)[0]).is_relative_to(opened.studio.uploads.folder)


def test_nothing_is_sent_into_a_full_folder(opened: Page) -> None:
    full = opened.studio.limits
    try:
        opened.studio.limits = Limits(folder_bytes=1)
        files = {"files": ("a.png", bytes(1000))}
        refused = httpx.post(f"{opened.url}/gradio_api/upload", files=files)
        assert (refused.status_code, "delete old runs" in refused.text) == (507, True)
    finally:
        opened.studio.limits = full


def test_a_new_name_for_each_call_does_not_evade_the_rate(tmp_path: Path, model: Path) -> None:
    with serving(tmp_path / "page", model, Limits(per_minute=2, per_address=4)) as page:
        told = [page.answer("generate", VALUES, name) for name in ("a b", "a b", "a b", "c", "d")]
        assert ["Done" in answer for answer in told] == [True, True, False, True, True]
        assert "you started 2 runs within a minute" in told[2]
        for name in ("e", "a b", None):
            refused = page.answer("generate", VALUES, name)
            assert "Done" not in refused
            assert "started" in refused
        assert "people at your address started 4 runs within a minute" in refused


def test_ten_people_at_once_are_served(opened: Page) -> None:
    clients = [opened.client() for _ in range(10)]
    answers: dict[int, tuple] = {}

    def person(number: int) -> None:
        values = [PROMPT, "", number, *VALUES[3:]]
        answers[number] = clients[number].predict(*values, api_name="/generate")

    people = [threading.Thread(target=person, args=(number,)) for number in range(10)]
    for each in people:
        each.start()
    for each in people:
        each.join(120)
    assert sorted(answers) == [*range(10)]
    for number, (status, _, _, record) in answers.items():
        assert "Done" in status
        assert record["seed"] == number
        name = status.split("Done: ")[1].split("<")[0]
        clip = opened.studio.history.run(name).clip
        assert clip is not None
        assert Clip.read(clip).num_frames == 9
    assert httpx.get(opened.url).status_code == 200
