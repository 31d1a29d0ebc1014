"""Two processes take the steps of one, and either goes on where the other stopped."""

from __future__ import annotations

import itertools
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from nano_stage import ASKED, CONTEXT, FINISHED, MODEL, REFUSED, fresh, losses, write_latents
from safetensors.torch import load_file, save_file
from small_objectives import RECIPE, Game, Line, run, weights
from torch import Tensor, nn

from kinema import registry
from kinema.errors import InputError
from kinema.files import alone
from kinema.noise import Noise
from kinema.training import checkpoint, distributed, shards
from kinema.training.contrastive import ContrastiveObjective
from kinema.training.distributed import by_first
from kinema.training.muon import Muon
from kinema.training.objective import Batch, Logs, Objective
from kinema.training.run import Stopped, locked
from kinema.training.stage import train
from kinema.training.trainer import Trainer, check_split

CLOSE = 1e-5  # of losses in float32, relative
SMALL = {"batch_size": 8, "save_every": 2, "steps": 10}
EXACT = {"precision": "float32", "optimizer": "adamw", "learning_rate": 2e-3, "warmup": 1}
CURVE = {**EXACT, "steps": 20, "report_every": 10, "save_every": 5}
LONGEST = 300.0  # seconds of a process
Job = Callable[..., None]


# Processes.


def together(count: int, job: Job, *given: Any) -> list[int]:
    """Runs a job in so many processes that train together; their exit statuses."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    started: list[Any] = [
        CONTEXT.Process(target=_take_part, args=(rank, count, port, job, given))
        for rank in range(count)
    ]
    for process in started:
        process.start()
    for process in started:
        process.join(LONGEST)
        process.kill()
        process.join()
    return [process.exitcode for process in started]


def _take_part(rank: int, count: int, port: int, job: Job, given: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    place = {"MASTER_ADDR": "localhost", "MASTER_PORT": port, "RANK": rank, "WORLD_SIZE": count}
    os.environ.update({name: str(value) for name, value in place.items()})
    with distributed.joined("cpu"):
        try:
            job(*given)
        except Stopped:
            sys.exit(ASKED)
        except InputError as error:
            print(error, file=sys.stderr)
            sys.exit(REFUSED)


def ask_to_stop(before: int) -> None:
    """The last of the processes gets a signal before a step."""
    step_as_it_is = Trainer.train_step

    def train_step(self: Trainer) -> dict[str, float]:
        if self.step == before:
            os.kill(os.getpid(), signal.SIGTERM)
        return step_as_it_is(self)

    if distributed.count() == 1 or not distributed.first():
        Trainer.train_step = train_step  # type: ignore[method-assign]


def small_run(
    make: Callable[[], Objective], folder: Path, changes: dict[str, Any], stop: int | None
) -> None:
    """Trains an objective of a few numbers, or goes on, and leaves its averaged weights."""
    with locked(folder):
        running = run(make(), folder, **{**SMALL, **changes})
        running.resume()
        if stop is not None:
            ask_to_stop(stop)
        running.train()
        running.trainer.finish()
    by_first(lambda: save_file(weights(running.trainer.given), folder / MODEL))


def stage_run(
    system: str,
    stage: str,
    folder: Path,
    data: Path | None,
    changes: dict[str, Any],
    stop: int | None,
) -> None:
    """Trains a stage at nano size, or goes on, and leaves its model."""
    torch.manual_seed(0)
    kind = registry.system_class(system)
    model = kind(kind.PRESETS["nano"]())
    plan = model.STAGES[stage]
    recipe = replace(plan.recipes["nano"], **changes)
    if stop is not None:
        ask_to_stop(stop)
    named = str(data) if data else None
    train(model, plan, recipe, data=named, folder=folder, seed=7, device="cpu")
    by_first(lambda: model.save_pretrained(folder / MODEL, overwrite=True))


def assert_close(folder: Path, whole: Path, rel: float = CLOSE) -> None:
    """Two runs: the losses of every step, and the weights that they come to."""
    ours, theirs = losses(folder), losses(whole)
    assert [line.keys() for line in ours] == [line.keys() for line in theirs]
    for now, then in zip(ours, theirs):
        for name, value in then.items():
            # A norm is that of the step that comes; in a loss its last digits count far less.
            close = rel if "loss" in name else 100 * rel
            assert now[name] == pytest.approx(value, rel=close, abs=1e-7), f"{name} in {then}"
    model, expected = load_file(folder / MODEL), load_file(whole / MODEL)
    assert model.keys() == expected.keys()
    for name, tensor in model.items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-3, atol=1e-4)


def kinds(folder: Path) -> list[str]:
    """The names of the checkpoints of a run."""
    return sorted(path.name for path in checkpoint.paths(folder))


# Objectives.


class Scaled(Line):
    """A line whose result is multiplied by a parameter of one number."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.5))
        self.players = {"line": ("line.*", "scale")}

    def loss(self, player: str, batch: Batch, step: int, noise: Noise) -> tuple[Tensor, Logs]:
        x = batch["x"] + 0.1 * noise.normal(batch["x"].shape, "x")
        loss = (self.scale * self.line(x) - batch["y"]).square().mean()
        return loss, {"loss": loss.detach()}


def embed(networks: dict[str, nn.Module], batch: Batch, noise: Noise) -> tuple[Tensor, Tensor]:
    """Of `small_objectives.source`: x, and x turned round."""
    return networks["text"](batch["x"]), networks["video"](batch["x"].flip(1))


def retriever() -> ContrastiveObjective:
    """Two encoders of rows that are negatives of one another."""
    torch.manual_seed(0)
    networks: dict[str, nn.Module] = {"text": nn.Linear(3, 4), "video": nn.Linear(3, 4)}
    return ContrastiveObjective(networks, embed=partial(embed, networks), temperature=0.1)


class Coupled(Line):
    """Rows depend on one another, and nothing gathers them."""

    couples_batch = "rows are compared"


# What each function does, in two processes.


def _facts() -> None:
    rank = torch.distributed.get_rank()
    assert distributed.count() == 2
    assert distributed.first() == (rank == 0)
    assert distributed.rows(range(8, 12)) == ((8, 9), (10, 11))[rank]
    assert distributed.turns(3) == ((range(0, 3, 2)), range(1, 3, 2))[rank]
    assert distributed.told(rank) == 0
    assert distributed.of_all(rank) == [0, 1]
    assert distributed.means({"b": rank, "a": 4.0}) == {"b": 0.5, "a": 4.0}
    assert by_first(lambda: 7) == (7 if rank == 0 else None)

    def refuse() -> None:
        raise InputError("the disk is full")

    with pytest.raises(InputError, match="the disk is full"):
        by_first(refuse)
    check_split(Line(), RECIPE)
    with pytest.raises(InputError, match="Coupled is trained by one process, not by 2: rows are"):
        check_split(Coupled(), RECIPE)
    normed = Line()
    normed.norm = nn.BatchNorm1d(3)
    with pytest.raises(InputError, match="its norms take statistics over the batch"):
        check_split(normed, RECIPE)
    with pytest.raises(InputError, match="batch_size 4 in 4 micro-batches cannot be split over 2"):
        check_split(Line(), replace(RECIPE, accumulate=4))


def _gather() -> None:
    rank = torch.distributed.get_rank()
    whole = Noise(0, (0, 1, 2, 3)).normal((4, 3), "rows").requires_grad_()
    own = whole.detach()[2 * rank :][:2].clone().requires_grad_()
    rows = distributed.gathered(own)
    assert torch.equal(rows, whole)
    (whole @ whole.T).exp().sum().backward()
    (rows @ rows.T).exp().sum().backward()
    # Every process computes the same loss, and their gradients are averaged afterwards.
    torch.testing.assert_close(own.grad / 2, whole.grad[2 * rank :][:2])


def _shares() -> None:
    torch.manual_seed(0)
    given = nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 1))
    objective = Line()
    objective.line, expected = given, weights(given)
    objective.register_buffer("seen", torch.arange(3.0))
    trainer = Trainer(objective, lambda samples: {}, RECIPE, seed=0, device="cpu")
    held = trainer.objective
    assert held is not objective
    assert all(parameter.is_meta for parameter in objective.parameters())
    numbers = [distributed.local(parameter).numel() for parameter in held.parameters()]
    assert sum(sum(own) for own in distributed.of_all(numbers)) == sum(
        tensor.numel() for tensor in expected.values()
    )
    for name, parameter in held.line.named_parameters():
        assert torch.equal(distributed.whole(parameter).detach(), expected[name])
        cut = distributed.share(expected[name], parameter)
        assert torch.equal(distributed.local(cut), distributed.local(parameter))
    distributed.gather(held, {}, objective, "cpu")
    if distributed.first():
        assert all(torch.equal(value, expected[n]) for n, value in weights(given).items())
        assert objective.seen.tolist() == [0, 1, 2]
    else:
        assert all(parameter.is_meta for parameter in given.parameters())
    _optimizers(held.line, expected)


def _optimizers(held: nn.Module, expected: dict[str, Tensor]) -> None:
    """Clipping and Muon on shares, against torch and whole matrices."""
    plain = {name: nn.Parameter(value.clone()) for name, value in expected.items()}
    shared = dict(held.named_parameters())
    for step, name in itertools.product(range(3), plain):
        gradient = Noise(step, (0,)).normal((1, *plain[name].shape), name)[0]
        plain[name].grad = gradient
        shared[name].grad = distributed.share(gradient, shared[name])
    norm = distributed.clip_gradients(shared.values(), 0.5)
    torch.testing.assert_close(norm, nn.utils.clip_grad_norm_(plain.values(), 0.5))
    for parameters in (plain, shared):
        muon = Muon(parameters.values(), lr=0.1, betas=(0.9, 0.99), weight_decay=0.1)
        muon.step()
        muon.step()
    for name, parameter in shared.items():
        moved = distributed.whole(parameter.detach())
        torch.testing.assert_close(moved, plain[name].detach(), rtol=1e-2, atol=1e-3)
        assert not torch.equal(moved, expected[name])


@pytest.mark.parametrize("facts", [_facts, _gather, _shares])
def test_two_processes_each_know_and_hold_their_part(facts: Job) -> None:
    assert together(2, facts) == [FINISHED, FINISHED]


def test_alone_everything_is_given_back() -> None:
    x = torch.ones(2, 3)
    assert distributed.count() == 1
    assert distributed.first()
    assert distributed.rows(range(3, 5)) == (3, 4)
    assert distributed.told("a") == "a"
    assert distributed.of_all("a") == ["a"]
    for same in (distributed.gathered, distributed.mean, distributed.local, distributed.whole):
        assert same(x) is x
    assert distributed.share(x, torch.zeros(2, 3)) is x
    assert distributed.means({"a": 0.1}) == {"a": 0.1}
    with distributed.joined("mps"):
        assert distributed.count() == 1


def test_processes_share_no_device_that_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with (
        pytest.raises(InputError, match="2 processes cannot share --device mps; use cpu or cuda"),
        distributed.joined("mps"),
    ):
        raise AssertionError("it was let in")


# Curves.


@pytest.mark.parametrize(
    ("make", "changes"),
    [
        (Game, {"accumulate": 2}),
        (Game, {"optimizer": "muon", "clip_norm": 0.1}),
        (Scaled, {}),
        (retriever, {}),
    ],
)
def test_two_processes_take_the_steps_of_one(
    make: Callable[[], Objective], changes: dict[str, Any], tmp_path: Path
) -> None:
    small_run(make, tmp_path / "one", changes, None)
    assert together(2, small_run, make, tmp_path / "two", changes, None) == [FINISHED, FINISHED]
    assert kinds(tmp_path / "two") == ["step-00000008.shards", "step-00000010.shards"]
    # Muon orthogonalizes in bfloat16, where what differs in the last digits is no longer small.
    rel = 1e-3 if "optimizer" in changes else CLOSE
    assert_close(tmp_path / "two", tmp_path / "one", rel)


def test_any_number_goes_on_where_another_was_stopped(tmp_path: Path) -> None:
    whole, folder = tmp_path / "whole", tmp_path / "run"
    small_run(Game, whole, {}, None)
    assert together(2, small_run, Game, folder, {}, 2) == [ASKED, ASKED]
    assert kinds(folder) == ["step-00000002.shards", "step-00000003.shards"]
    assert together(1, small_run, Game, folder, {}, 6) == [ASKED]
    assert kinds(folder) == ["step-00000006.safetensors", "step-00000007.safetensors"]
    assert together(2, small_run, Game, folder, {}, None) == [FINISHED, FINISHED]
    assert kinds(folder) == ["step-00000008.shards", "step-00000010.shards"]
    assert_close(folder, whole)


@pytest.fixture(scope="module")
def latents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("latents")
    write_latents(folder, fresh())
    return folder


@pytest.mark.slow
def test_a_generator_keeps_its_curve_over_two_one_and_two_processes(
    tmp_path: Path, latents: Path
) -> None:
    whole, folder = tmp_path / "whole", tmp_path / "run"
    leg = ("ltx_video", "generator")
    stage_run(*leg, whole, latents, CURVE, None)
    for count, stop in ((2, 6), (1, 13), (2, None)):
        status = FINISHED if stop is None else ASKED
        assert together(count, stage_run, *leg, folder, latents, CURVE, stop) == [status] * count
    assert_close(folder, whole)
    assert len(list((folder / "sheets").iterdir())) == 2


def steps(
    system: str, stage: str, folder: Path, data: Path | None, changes: dict[str, Any]
) -> None:
    """Takes the steps of a stage at nano size, without checks and reports."""
    torch.manual_seed(0)
    kind = registry.system_class(system)
    model = kind(kind.PRESETS["nano"]())
    plan = model.STAGES[stage]
    recipe = replace(plan.recipes["nano"], **{**EXACT, "steps": 6, **changes})
    source, _ = plan.read(model, recipe, str(data) if data else None)
    trainer = Trainer(plan.objective(model, recipe), source, recipe, seed=7, device="cpu")
    lines = []
    for trainer.step in range(recipe.steps):
        lines.append({"step": trainer.step, **trainer.train_step()})
    trainer.finish()
    if distributed.first():
        folder.mkdir()
        (folder / "log.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
        save_file(weights(trainer.given), folder / MODEL)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("system", "stage", "changes"),
    [
        # Two players, parameters of one number, statistics over the batch.
        ("ltx_video", "codec", {"learning_rate": 5e-6}),
        # One process may call the network once, the other twice.
        ("ltx_video", "generator", {"first_given": 0.4, "start_given": 0.2}),
        ("frozen_in_time", "retriever", {"learning_rate": 1e-5}),
        ("gr1", "video", {"learning_rate": 1e-5}),
    ],
)
def test_stages_take_the_same_steps(
    system: str, stage: str, changes: dict[str, Any], tmp_path: Path, latents: Path
) -> None:
    data = latents if stage == "generator" else None
    given = (data, changes)
    steps(system, stage, tmp_path / "one", *given)
    assert together(2, steps, system, stage, tmp_path / "two", *given) == [FINISHED, FINISHED]
    assert_close(tmp_path / "two", tmp_path / "one")


# Folders.


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two processes that was stopped after step 5; it has saved steps 4 and 5."""
    folder = tmp_path_factory.mktemp("stopped") / "run"
    assert together(2, small_run, Game, folder, {}, 4) == [ASKED, ASKED]
    return folder


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [_cut, _flip, Path.unlink])
@pytest.mark.parametrize("file", ["values.json", "shard-00001-*", "shard-00002-*"])
def test_a_damaged_folder_is_passed_over(
    damage: Callable[[Path], None],
    file: str,
    stopped: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(stopped, folder)
    found = checkpoint.latest(folder)
    assert found is not None
    assert found.values["step"] == 5
    (path,) = shards.path_of(folder, 5).glob(file)
    damage(path)
    found = checkpoint.latest(folder)
    assert found is not None
    assert found.values["step"] == 4
    (record,) = caplog.records
    assert "step-00000005.shards" in record.getMessage()


def test_values_cannot_be_changed(stopped: Path, tmp_path: Path) -> None:
    shutil.copytree(stopped, tmp_path / "run")
    path = shards.path_of(tmp_path / "run", 5)
    text = (path / shards.VALUES).read_text()
    (path / shards.VALUES).write_text(text.replace('"step": 5', '"step": 6'))
    with pytest.raises(InputError, match="was changed after it was written"):
        shards.check(path)


def test_a_killed_job_leaves_nothing_behind(stopped: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(stopped, folder)
    shutil.copytree(shards.path_of(folder, 5), folder / ".step-00000006.shards")
    assert together(2, small_run, Game, folder, {}, None) == [FINISHED, FINISHED]
    assert not list(folder.glob(".*"))
    small_run(Game, tmp_path / "whole", {}, None)
    assert_close(folder, tmp_path / "whole")


def _full_disk(folder: Path) -> None:
    running = run(Game(), folder, **SMALL)
    running.resume()
    save_as_it_is = running.save

    def save() -> None:
        if running.trainer.step == 8 and not distributed.first():
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
        save_as_it_is()

    running.save = save  # type: ignore[method-assign]
    with pytest.raises(InputError, match=r"cannot write .*step-00000008.shards: .*process 1"):
        running.train()


def test_a_disk_that_is_full_for_one_process_stops_both(stopped: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(stopped, folder)
    assert together(2, _full_disk, folder) == [FINISHED, FINISHED]
    assert kinds(folder) == ["step-00000005.shards", "step-00000006.shards"]
    assert not list(folder.glob(".*"))


def test_a_folder_that_another_job_trains_in_is_refused(stopped: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(stopped, folder)
    with alone(folder):
        assert together(2, small_run, Game, folder, {}, None) == [REFUSED, REFUSED]
    assert kinds(folder) == kinds(stopped)


def test_another_model_is_not_resumed_from_shares(stopped: Path) -> None:
    with pytest.raises(InputError, match="trains another model"):
        run(Line(), stopped, **SMALL).resume()


# The command line.


@pytest.mark.slow
def test_torchrun_trains_with_the_same_command(tmp_path: Path) -> None:
    command = ["kinema", "train", "ltx_video", "--preset", "nano", "--stage", "codec"]
    command += ["--set", "recipe.steps=2", "--set", "recipe.report_every=2", "--output", "run"]
    start = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m"]
    done = subprocess.run(
        [*start, *command], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "run/model.safetensors\n"
    assert done.stderr.count("pre-flight:") == 1
    assert kinds(tmp_path / "run") == ["step-00000002.shards"]
    alone = [sys.executable, "-m", *command]
    again = subprocess.run(alone, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert again.returncode == 0, again.stderr
    assert "the run in run is finished, after 2 steps" in again.stderr
