"""Engines: every piece once, whoever does it, and whatever dies on the way."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pieces import Squares

from kinema.cli.engines import Engine, engine_of
from kinema.errors import InputError

PROMPT = "a small red circle moves left"
PATIENCE = 500.0  # seconds in which Ray has started and the work is done


def results(engine: Engine, work: Squares, numbers: list[int]) -> dict[int, Any]:
    """What an engine gives for each number; also checks that it tells every unit."""
    units: list[int] = []
    found = list(engine.each(work, numbers, units.append))
    assert len(found) == len(numbers)
    assert sum(units) == 2 * len(numbers)
    return dict(found)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def ray_engine() -> Engine:
    return engine_of("ray", 2, threads=1, device="cpu")


@pytest.fixture
def reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes of Ray can import what lies beside this file, and there is no cluster."""
    pytest.importorskip("ray.data")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


# What options name.


def test_local_does_one_after_another() -> None:
    engine = engine_of("local", 1, threads=3, device="cpu")
    assert engine.in_process
    assert engine.threads == 3
    found = results(engine, Squares(Path()), [3, 1, 2])
    assert [(number, said["square"]) for number, said in found.items()] == [(3, 9), (1, 1), (2, 4)]
    assert {said["process"] for said in found.values()} == {os.getpid()}
    with pytest.raises(InputError, match="-1 is below 0"):
        results(engine, Squares(Path()), [4, -1, 5])
    assert Path("done").read_text().split() == ["3", "1", "2", "4"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--engine", "rai"), "unknown engine 'rai'; did you mean 'ray'?"),
        (("--workers", 2), "--workers 2 needs --engine ray; local works alone"),
        (("--engine", "ray", "--device", "cuda:1"), "chooses the devices: pass --device cuda"),
    ],
)
@pytest.mark.parametrize(
    "verb",
    [("generate", PROMPT, "--count", 2), ("encode", "shapes", "--model", "no.pt", "-o", "out")],
    ids=["generate", "encode"],
)
def test_options_that_do_not_go_together(kinema, verb, options, said) -> None:
    assert said in kinema(*verb, *options).error
    assert not any(Path().iterdir())


def test_one_clip_needs_no_ray(kinema) -> None:
    error = kinema("generate", PROMPT, "--engine", "ray").error
    assert error == "--engine ray makes many clips: give --prompts FILE, or --count"


def test_without_ray_the_extra_is_named(kinema, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # as if it were missing
    monkeypatch.delitem(sys.modules, "kinema.cli.ray_engine", raising=False)
    error = kinema("generate", PROMPT, "--count", 2, "--engine", "ray").error
    assert error == "--engine ray needs a package: pip install kinema[ray]"


# Ray.


@pytest.mark.slow
@pytest.mark.usefixtures("reachable")
def test_a_piece_in_whose_writing_a_worker_died_is_done_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    here, there, numbers = Path("here"), Path("there"), list(range(12))
    local = results(engine_of("local", 1, threads=1, device="cpu"), Squares(here), numbers)
    found = results(ray_engine(), Squares(there, deadly=4, times=2), numbers)
    told = capsys.readouterr()
    assert told.err == "a worker of Ray died; what it was doing was done again\n"
    assert told.out == "", "that is for answers"
    assert {n: said["square"] for n, said in found.items()} == {
        n: said["square"] for n, said in local.items()
    }
    assert len({said["process"] for said in found.values()}) >= 3, "nobody died, or one did it all"
    assert len((there / "deaths").read_text()) == 3
    assert sorted(map(int, (there / "done").read_text().split())) == numbers
    assert names(there) == {*names(here), "deaths"}, "a partial file was left"
    for number in numbers:
        file = f"{number}.txt"
        assert (there / file).read_bytes() == (here / file).read_bytes()


@pytest.mark.slow
@pytest.mark.usefixtures("reachable")
def test_what_cannot_be_done_ends_the_work_with_a_line() -> None:
    with pytest.raises(InputError) as said:
        results(ray_engine(), Squares(Path("out")), [1, -1])
    assert str(said.value) == "-1 is below 0; give another"
    with pytest.raises(InputError, match="4 workers of Ray died at the same piece") as said:
        results(ray_engine(), Squares(Path("out"), deadly=1, times=99), [1, 2])
    assert "\n" not in str(said.value)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "127.0.0.1:99999"])
@pytest.mark.usefixtures("reachable")
def test_a_cluster_that_does_not_answer(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(InputError, match=f"no Ray answers at RAY_ADDRESS={address}: "):
        results(ray_engine(), Squares(Path()), [1])


@pytest.mark.slow
@pytest.mark.parametrize("prefix", ["", "ray://"])
@pytest.mark.usefixtures("reachable")
def test_a_port_where_something_else_listens(prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"{prefix}127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setenv("RAY_ADDRESS", address)
        with pytest.raises(InputError, match=f"no Ray answers at RAY_ADDRESS={address}: ") as said:
            results(ray_engine(), Squares(Path()), [1])
    assert "\n" not in str(said.value)


@pytest.mark.slow
@pytest.mark.usefixtures("reachable")
def test_an_address_that_is_empty_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "")
    found = results(ray_engine(), Squares(Path("out")), [2, 3])
    assert {number: said["square"] for number, said in found.items()} == {2: 4, 3: 9}


def running(arguments: list[str]) -> subprocess.Popen[str]:
    """The command line over two workers."""
    command = [sys.executable, "-m", "kinema", *arguments, "--engine", "ray", "--workers", "2"]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def workers_of(process: int) -> list[int]:
    """The processes below one that do pieces."""
    parents = {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            stat = (place / "stat").read_text()
            title = (place / "cmdline").read_bytes()
        except OSError:  # it has just ended
            continue
        parents[int(place.name)] = (int(stat.rpartition(")")[2].split()[1]), title)

    def below(number: int) -> bool:
        parent = parents.get(number, (0, b""))[0]
        return parent == process or (parent > 1 and below(parent))

    return [n for n, (_, title) in parents.items() if b"MapWorker" in title and below(n)]


def killed_in_the_middle(arguments: list[str], when: Callable[[], bool]) -> tuple[str, str]:
    """Runs a command over two workers, kills one of them, and gives what the command said."""
    with running(arguments) as started:
        try:
            deadline = time.monotonic() + PATIENCE
            while not when():
                assert started.poll() is None, started.communicate()
                assert time.monotonic() < deadline, "nothing happened"
                time.sleep(0.02)
            workers = workers_of(started.pid)
            assert len(workers) == 2
            os.kill(workers[0], signal.SIGKILL)
            out, err = started.communicate(timeout=PATIENCE)
        finally:
            started.kill()
    assert started.returncode == 0, err
    return out, err


on_linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")


@pytest.mark.slow
@on_linux
@pytest.mark.usefixtures("reachable")
def test_clips_of_many_prompts_while_a_worker_is_killed(kinema, model) -> None:
    colors = ("red", "blue", "green", "yellow", "white", "purple", "orange", "pink")
    lines = [{"prompt": f"a small {color} circle moves left", "seed": 3} for color in colors]
    Path("p.jsonl").write_text("\n".join(map(json.dumps, lines)))
    common = ["generate", "--prompts", "p.jsonl", "--model", str(model), "--threads", "1"]
    common += ["--steps", "100", "-o"]
    assert kinema(*common, "local").status == 0
    out, _ = killed_in_the_middle([*common, "ray"], lambda: any(Path("ray").glob("*.mp4")))
    local, ray = Path("local"), Path("ray")
    assert names(ray) == names(local)
    assert sorted(out.splitlines()) == sorted(str(path) for path in ray.glob("*.mp4"))
    for path in local.iterdir():
        made = (ray / path.name).read_bytes()
        if path.suffix == ".json":
            one, other = json.loads(path.read_text()), json.loads(made)
            assert {**one, "seconds": 0} == {**other, "seconds": 0}
        else:
            assert made == path.read_bytes(), path.name
    answer = kinema(*common, "ray")  # all are finished
    assert (answer.status, answer.out) == (0, "")


@pytest.mark.slow
@on_linux
@pytest.mark.usefixtures("reachable")
def test_latents_while_a_worker_is_killed(kinema, model) -> None:
    common = ["encode", "shapes", "--model", str(model), "--threads", "1", "--batch", "8"]
    common += ["--count", "800", "--held-out", "10", "-o"]
    local, ray = Path("local"), Path("ray")
    assert kinema(*common, "local").status == 0
    out, _ = killed_in_the_middle([*common, "ray"], lambda: any(ray.glob("train/shard-*")))
    assert out.splitlines() == ["800 clips in ray/train", "10 clips in ray/held_out"]
    for split, count in (("train", 4), ("held_out", 1)):
        assert names(ray / split) == names(local / split)
        assert len(names(ray / split)) == count + 1
        for path in (local / split).iterdir():
            assert (ray / split / path.name).read_bytes() == path.read_bytes(), path.name
    assert names(ray) == {"train", "held_out"}


@pytest.mark.slow
@on_linux
@pytest.mark.usefixtures("reachable")
def test_a_signal_stops_all_workers(model) -> None:
    arguments = ["encode", "shapes", "--model", str(model), "--count", "1000000", "-o", "out"]
    with running(arguments) as started:
        deadline = time.monotonic() + PATIENCE
        while len(list(Path("out").glob("train/shard-*"))) < 3:  # one at least was told
            assert started.poll() is None, started.communicate()
            assert time.monotonic() < deadline, "nothing happened"
            time.sleep(0.1)
        workers = workers_of(started.pid)
        started.send_signal(signal.SIGTERM)
        _, err = started.communicate(timeout=PATIENCE)
    assert started.returncode == 143
    assert "of 1000000 clips are in out/train; the same command goes on" in err
    assert len(err.splitlines()) == 1
    assert not [number for number in workers if Path(f"/proc/{number}").exists()]
