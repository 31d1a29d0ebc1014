"""`kinema train`: one stage of a system's training plan."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Annotated, Any

import typer

from kinema.cli.runs import check_folder, last_report, steps_done, write_run
from kinema.cli.terminal import (
    Device,
    Invocation,
    Json,
    Seed,
    Settings,
    Threads,
    invocation,
    say,
    show_log,
)
from kinema.errors import InputError, unknown

MODEL, ADAPTERS = "model.safetensors", "lora.safetensors"
DEFAULT_PRESET = "tiny"
FINETUNE = "finetune"  # the stage that learns from a folder of clips when none is named
CLASSIFIER = "classifier"  # the same of a recognizer
STOPPED = 130
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

    Without --stage a model with weights learns from a folder of clips, clip.mp4 with clip.txt or a
    metadata.jsonl, by its stage finetune; with --lora it leaves OUTPUT/lora.safetensors. A
    recognizer learns from a folder with a folder of clips for each class by its classifier.
    """
    plan = Plan(system, preset=preset, stage=stage, settings=settings or [], data=data, lora=lora)
    if dry_run:
        print(json.dumps(plan.resolved(), indent=2))
        return
    folder = output or Path("runs") / f"{plan.name}-{plan.preset}-{plan.stage_name}"
    check_folder(folder)
    from kinema.cli.machine import check_device, use_threads
    from kinema.training import distributed
    from kinema.training.run import locked

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
        with locked(folder):
            finish(plan, model, folder, described, invocation(context))
        if distributed.first():
            report = last_report(folder)
            answer = {"model": str(folder / plan.result), "steps": plan.recipe.steps, **report}
            print(json.dumps(answer) if as_json else folder / plan.result)


def finish(
    plan: Plan, model: Any, folder: Path, described: dict[str, Any], run: Invocation
) -> None:
    """Trains what is left of a run in a folder, and leaves the model there.

    Args:
        plan: what is trained.
        model: with the weights that the stage starts from.
        folder: whose lock is held.
        described: what makes the run this one, see `IDENTITY`, and what else is written down.
        run: this call of the command line.

    Raises:
        InputError: the folder holds another run, or the training fails.
    """
    from kinema.training import distributed

    step, total = steps_done(folder, plan.result, described), plan.recipe.steps
    if step > total:
        raise InputError(f"the run in {folder} has done {step} steps, more than {total}")
    if step >= total and (folder / plan.result).exists():
        tell(f"the run in {folder} is finished, after {step} steps")
        return
    if step:
        tell(f"going on from step {step} of {total} in {folder}")
    elif described["start_from"] and not described["warm"] and (anew := plan.trained_before()):
        tell(
            f"stage {plan.stage_name} starts the {' and '.join(anew)} anew; "
            f"pass --warm to go on with what {described['start_from']} holds"
        )
    distributed.by_first(lambda: write_run(folder, run.command, described))
    run.saved = f"{folder} keeps {step} steps; the same command goes on"
    run_stage(plan, model, folder, described)
    run.saved = f"{folder} keeps all {total} steps; the same command writes the model"
    save = model.save_lora if plan.result == ADAPTERS else model.save_pretrained
    distributed.by_first(lambda: save(folder / plan.result, overwrite=True))


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
        stage: name of a stage; needless where there is one, or where the data tells it.
        settings: as ``--set`` takes them; those that begin with ``recipe.`` change the recipe.
        data: what the stage reads.
        lora: rank of low-rank adapters.

    Raises:
        InputError: there is no such system, preset, stage or setting, it has nothing or no adapters
            to train, or none was named and it is not plain which stage is meant.
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
        if not hasattr(self.system, "STAGES"):
            raise InputError(f"{self.name} has no networks, so there is nothing to train")
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

        stages = self.system.STAGES
        if self.weights and data and FINETUNE in stages and is_media_folder(data):
            return FINETUNE
        if len(stages) == 1:
            return next(iter(stages))
        if data and Path(data).is_dir() and CLASSIFIER in stages:
            return CLASSIFIER
        raise InputError(f"name a stage: --stage {' or --stage '.join(stages)}")

    def _preset(self) -> str:
        """The preset with the sizes of the weights."""
        if self.source is None:
            return DEFAULT_PRESET
        found = preset_of(self.system, self.source.config)
        if found is None:
            raise InputError(f"{self.weights} has sizes of its own; name a recipe with --preset")
        return found

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

    def trained_before(self) -> list[str]:
        """The roles of the stage that a model of the stage before, or of itself, has learned
        already; none where they come from the weights of the system that was named.
        """
        if self.source is not None:
            return []
        before = [self.system.STAGES[name] for name in self.stage.starts_from] or [self.stage]
        return [role for role in self.stage.trains if any(role in s.trains for s in before)]

    def origin(self, start_from: Path | None) -> list[str]:
        """The digests of the files that weights are taken from."""
        from kinema.cli.machine import sha256

        return [sha256(path) for path in (self.weights, start_from) if path is not None]


def preset_of(system: Any, config: Any) -> str | None:
    """The preset whose networks have the sizes of a configuration, if there is one; of several the
    first that is equal in all else.
    """

    def networks(config: Any) -> dict[str, Any]:
        return {role: sizes(getattr(config, role)) for role in system.PARTS}

    for compared in (sizes, networks):
        for name, preset in system.PRESETS.items():
            if compared(preset()) == compared(config):
                return str(name)
    return None


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


def run_stage(plan: Plan, model: Any, folder: Path, described: dict[str, Any]) -> None:
    """Trains to the end; a signal saves the run and ends the command.

    Raises:
        InputError: the data or the recipe do not fit, or a check before the run fails.
    """
    from kinema.training import distributed
    from kinema.training.run import Stopped
    from kinema.training.stage import train_locked

    if distributed.first():
        show_log()
    told = {name: described[name] for name in ("data", "seed", "device")}
    try:
        train_locked(model, plan.stage, plan.recipe, folder=folder, **told)
    except Stopped as stop:
        tell(f"kinema: {stop}; the same command goes on")
        raise typer.Exit(STOPPED) from None
