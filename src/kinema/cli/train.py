"""`kinema train`: one stage of a system's training plan."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Annotated, Any

import typer

from kinema.cli.terminal import Device, Json, Seed, Settings, Threads, invocation, say, show_log
from kinema.errors import InputError, unknown

MODEL, ADAPTERS, RUN = "model.safetensors", "lora.safetensors", "run.json"
DEFAULT_PRESET = "tiny"
FINETUNE = "finetune"  # the stage that learns from a folder of clips when none is named
STOPPED = 130
# What makes two runs one; the length of the recipe may grow.
IDENTITY = ("system", "stage", "config", "recipe", "data", "start_from_sha256", "warm", "seed")
MAY_DIFFER = "steps"
RECIPE = "recipe."


def train(
    context: typer.Context,
    system: Annotated[
        str, typer.Argument(metavar="SYSTEM", help="name; or name:tag, name@file to train on")
    ],
    stage: Annotated[str | None, typer.Option("--stage", help="leg of the training plan")] = None,
    preset: Annotated[
        str | None, typer.Option("--preset", help=f"sizes and recipe; {DEFAULT_PRESET} if absent")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data", help="what the stage reads: a world, encoded latents, or a folder of clips"
        ),
    ] = None,
    lora: Annotated[
        int | None,
        typer.Option("--lora", metavar="RANK", min=1, help="train low-rank adapters alone"),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="folder of the run; runs/... if absent")
    ] = None,
    start_from: Annotated[
        Path | None,
        typer.Option("--start-from", metavar="FILE", help="model with what the stage builds on"),
    ] = None,
    warm: Annotated[
        bool, typer.Option("--warm", help="take what the stage trains from --start-from too")
    ] = False,
    settings: Settings = None,
    seed: Seed = 0,
    device: Device = "cpu",
    threads: Threads = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="print the resolved configuration and sizes, and stop")
    ] = False,
    as_json: Json = False,
) -> None:
    """Train one stage of a system, or go on with a run.

    Goes on where the run in --output stands. Leaves OUTPUT/model.safetensors, checkpoints,
    log.jsonl, TensorBoard events, sample sheets, and the resolved configuration in run.json.
    Ctrl-C saves and stops. Processes started by torchrun share the work, and the memory.

    A model with weights learns from a folder of clips, clip.mp4 with clip.txt or a metadata.jsonl,
    by its stage finetune; with --lora it leaves OUTPUT/lora.safetensors.
    """
    plan = Plan(system, preset=preset, stage=stage, settings=settings or [], data=data, lora=lora)
    if dry_run:
        print(json.dumps(plan.resolved(), indent=2))
        return
    folder = output or Path("runs") / f"{plan.name}-{plan.preset}-{plan.stage_name}"
    check_folder(folder)
    from kinema.cli.machine import check_device, use_threads
    from kinema.training import distributed

    check_device(device)
    use_threads(threads)
    with distributed.joined(device):
        if not distributed.first():
            logging.getLogger("kinema").addHandler(logging.NullHandler())
        model = plan.model(seed=seed, device=device, start_from=start_from, warm=warm)
        described = {
            **plan.resolved(),
            "data": data,
            "start_from": str(start_from) if start_from else None,
            "start_from_sha256": plan.origin(start_from),
            "warm": warm,
            "seed": seed,
            "device": device,
        }
        run = invocation(context)
        step, total = steps_done(folder, plan.result, described), plan.recipe.steps
        if step > total:
            raise InputError(f"the run in {folder} has done {step} steps, more than {total}")
        if step >= total and (folder / plan.result).exists():
            tell(f"the run in {folder} is finished, after {step} steps")
        else:
            if step:
                tell(f"going on from step {step} of {total} in {folder}")
            distributed.by_first(lambda: write_run(folder, run.command, described))
            run.saved = f"{folder} keeps {step} steps; the same command goes on"
            run_stage(plan, model, folder, data=data, seed=seed, device=device)
            run.saved = f"{folder} keeps all {total} steps; the same command writes the model"
            save = model.save_lora if plan.result == ADAPTERS else model.save_pretrained
            distributed.by_first(lambda: save(folder / plan.result, overwrite=True))
        if distributed.first():
            answer = {"model": str(folder / plan.result), "steps": total, **last_report(folder)}
            print(json.dumps(answer) if as_json else folder / plan.result)


def tell(text: str) -> None:
    """Says something on stderr, once for all processes that train together."""
    from kinema.training import distributed

    if distributed.first():
        say(text)


class Plan:
    """What is to be trained, resolved.

    Args:
        system: ``name``, whose weights are made by a preset, or ``name:tag`` or ``name@file``.
        preset: whose sizes and recipe are taken; a model that has weights brings its sizes along.
        stage: name of a stage.
        settings: as ``--set`` takes them; those that begin with ``recipe.`` change the recipe.
        data: what the stage reads.
        lora: rank of low-rank adapters.

    Raises:
        InputError: there is no such system, preset, stage or setting, no stage was named, or it
            trains no adapters.
    """

    def __init__(
        self,
        system: str,
        *,
        preset: str | None,
        stage: str | None,
        settings: list[str],
        data: str | None,
        lora: int | None,
    ) -> None:
        from kinema import registry
        from kinema.cli.machine import file_of, full_name
        from kinema.config import override
        from kinema.systems import load

        full = full_name(system)
        self.name = full.partition("@")[0].partition(":")[0]
        self.system = registry.system_class(self.name)
        self.weights = file_of(full) if self.name != full else None
        self.stage_name = stage or self._stage(data)
        if self.stage_name not in self.system.STAGES:
            raise unknown(f"stage of {self.name}", self.stage_name, self.system.STAGES)
        self.stage = self.system.STAGES[self.stage_name]
        if self.stage_name == FINETUNE and self.weights is None:
            raise InputError(
                f"fine-tuning goes on from a model: name {system}:TAG or {system}@FILE"
            )
        self.source = load(full) if self.weights else None
        self.preset = preset or self._preset()
        if self.preset not in self.stage.recipes:
            raise unknown(f"preset of {self.name}", self.preset, self.stage.recipes)
        config = self.source.config if self.source else self.system.PRESETS[self.preset]()
        ours = [setting for setting in settings if setting.startswith(RECIPE)]
        self.config = override(config, [setting for setting in settings if setting not in ours])
        recipe: Any = self.stage.recipes[self.preset]
        if lora is not None:
            if not hasattr(recipe, "with_lora"):
                raise InputError(f"stage {self.stage_name} of {self.name} trains no adapters")
            recipe = recipe.with_lora(lora)
        self.recipe = override(recipe, [setting.removeprefix(RECIPE) for setting in ours])
        self.result = ADAPTERS if getattr(self.recipe, "lora", 0) else MODEL

    def _stage(self, data: str | None) -> str:
        """The stage that is meant when none was named."""
        from kinema.data.media_folder import is_media_folder

        if self.weights and data and FINETUNE in self.system.STAGES and is_media_folder(data):
            return FINETUNE
        raise InputError(f"name a stage: --stage {' or --stage '.join(self.system.STAGES)}")

    def _preset(self) -> str:
        """The preset with the sizes of the weights."""
        if self.source is None:
            return DEFAULT_PRESET
        for name, preset in self.system.PRESETS.items():
            if sizes(preset()) == sizes(self.source.config):
                return name
        raise InputError(f"{self.weights} has sizes of its own; name a recipe with --preset")

    def resolved(self) -> dict[str, Any]:
        """What will be trained, as JSON: the configuration, and parameters by role."""
        from kinema.config import to_dict

        parts = self.system(self.config, device="meta").parts
        counts = {role: sum(p.numel() for p in parts[role].parameters()) for role in parts}
        return {
            "system": self.name,
            "preset": self.preset,
            "stage": self.stage_name,
            "trains": list(self.stage.trains),
            "parameters": counts,
            "config": to_dict(self.config),
            "recipe": to_dict(self.recipe),
        }

    def model(self, *, seed: int, device: str, start_from: Path | None, warm: bool) -> Any:
        """The system with the weights that the stage starts from.

        Raises:
            InputError: a stage before this one is missing, or a file does not fit.
        """
        if warm and start_from is None:
            raise InputError("--warm takes weights from a model: pass --start-from FILE too")
        if self.stage.starts_from and self.weights is None and start_from is None:
            before = ", ".join(self.stage.starts_from)
            raise InputError(
                f"stage {self.stage_name} builds on stage {before}: "
                f"pass --start-from with the {MODEL} of that run"
            )
        model = initialize(self.system, self.config, seed)
        if self.source is not None:
            model.start_from(self.source, tuple(model.PARTS))
        if start_from is not None:
            roles = [role for role in model.PARTS if warm or role not in self.stage.trains]
            model.start_from(self.system.from_pretrained(start_from), tuple(roles))
        model.parts.to(device)
        return model

    def origin(self, start_from: Path | None) -> list[str]:
        """The digests of the files that weights are taken from."""
        from kinema.cli.machine import sha256

        return [sha256(path) for path in (self.weights, start_from) if path is not None]


def sizes(config: Any) -> Any:
    """A configuration as JSON but for the words of a text encoder, and where one lies."""
    from kinema.config import to_dict

    def known(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        left = value.keys() - {"vocabulary", "folder"}
        return {name: known(value[name]) for name in left}

    return known(to_dict(config))


def initialize(system: Any, config: Any, seed: int) -> Any:
    """A system with fresh weights, fixed by the seed."""
    import torch

    torch.manual_seed(seed)
    return system(config)


def check_folder(folder: Path) -> None:
    """Raises InputError if a run cannot be written there; before anything is loaded."""
    from kinema.files import check_writable

    if folder.is_file():
        raise InputError(f"--output {folder} is a file; name a folder")
    check_writable(folder / RUN, overwrite=True)


def steps_done(folder: Path, result: str, described: dict[str, Any]) -> int:
    """The steps that the run in a folder has saved; `result` is the file that it ends with.

    Raises:
        InputError: the folder holds another run, or a model whose run is gone.
    """
    from kinema.training import checkpoint

    found = checkpoint.latest(folder)
    if found is None:
        if (folder / result).exists():
            raise InputError(f"{folder} holds a {result} but no checkpoint; use another --output")
        return 0
    old = read_run(folder)
    for name in IDENTITY:
        before, now = comparable(old[name]), comparable(described[name])
        if before != now:
            raise InputError(
                f"the run in {folder} has another {difference(name, before, now)}; "
                "use another --output"
            )
    return int(found.values["step"])


def read_run(folder: Path) -> dict[str, Any]:
    """What `write_run` wrote.

    Raises:
        InputError: it is missing or damaged.
    """
    try:
        run = json.loads((folder / RUN).read_text(encoding="utf-8"))
        return {name: run[name] for name in IDENTITY}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{folder} has checkpoints but no whole {RUN}; use another --output"
        ) from error


def comparable(value: Any) -> Any:
    """A configuration or recipe without what may differ; whatever else as it is.

    What is empty is left out: an older version may have had more that could be.
    """
    if not isinstance(value, dict):
        return value
    return {key: item for key, item in value.items() if key != MAY_DIFFER and item not in ([], "")}


def difference(name: str, before: Any, now: Any) -> str:
    """Where two descriptions differ, as ``config.text.width: 16, not 64``."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in before.keys() | now.keys():
            if before.get(key) != now.get(key):
                return difference(f"{name}.{key}", before.get(key), now.get(key))
    return f"{name}: {before!r:.60}, not {now!r:.60}"


def write_run(folder: Path, command: str, described: dict[str, Any]) -> None:
    """Writes what is needed to train the same again."""
    import torch

    from kinema.cli.machine import versions
    from kinema.files import write_text
    from kinema.training import distributed

    run = {
        "command": command,
        **described,
        "processes": distributed.count(),
        "threads": torch.get_num_threads(),
        **versions(),
    }
    write_text(folder / RUN, json.dumps(run, indent=2) + "\n", overwrite=True)


def run_stage(
    plan: Plan, model: Any, folder: Path, *, data: str | None, seed: int, device: str
) -> None:
    """Trains to the end; a signal saves the run and ends the command.

    Raises:
        InputError: the data or the recipe do not fit, or a check before the run fails.
    """
    from kinema.training import distributed
    from kinema.training.run import Stopped
    from kinema.training.stage import train

    if distributed.first():
        show_log()
    try:
        train(
            model,
            plan.stage,
            plan.recipe,
            data=data,
            folder=folder,
            seed=seed,
            device=device,
        )
    except Stopped as stop:
        tell(f"kinema: {stop}; the same command goes on")
        raise typer.Exit(STOPPED) from None


def last_report(folder: Path) -> dict[str, float]:
    """The held-out numbers that a run ended with."""
    from kinema.training.log import read_log

    reports = [line for line in read_log(folder) if any(k.startswith("held_out/") for k in line)]
    return {key: value for key, value in reports[-1].items() if key.startswith("held_out/")}
