"""`kinema plan`: what a clip or a training will take, before anything is computed."""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kinema.cli.generate_options import Tile
from kinema.cli.terminal import Json, Settings, Size, Threads, parse_size
from kinema.errors import InputError, unknown

if TYPE_CHECKING:
    from kinema.cli.planned import Planned, Way
    from kinema.planning.hardware import Hardware
    from kinema.planning.plan import Plan

    Plans = list[tuple[Hardware, Plan]]
    Mends = dict[str, dict[str, Any] | None]

RECIPE = "recipe."
UNITS = dict(zip(("", "k", "M", "G", "T", "P", "E", "Z", "Y"), (1e3**n for n in range(9))))
SPANS = {"min": 60, "h": 3600, "d": 86_400, "years": 31_557_600}


def plan(
    system: Annotated[
        str, typer.Argument(metavar="SYSTEM", help="name, name:tag, name:preset or name@file")
    ],
    preset: Annotated[
        str | None, typer.Option("--preset", help="whose sizes; the published ones if absent")
    ] = None,
    stage: Annotated[
        str | None, typer.Option("--stage", help="plan this leg of the training, not a clip")
    ] = None,
    size: Size = None,
    frames: Annotated[
        int | None, typer.Option("--frames", "--num-frames", min=1, help="of the clip")
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, help="of the sampler, or of the training")
    ] = None,
    tile: Tile = None,
    settings: Settings = None,
    dtype: Annotated[
        str, typer.Option("--dtype", help="of the weights: auto, float32, bfloat16")
    ] = "auto",
    hardware: Annotated[
        list[str] | None,
        typer.Option("--hardware", help="this (the machine), h100, l4, ...; may be repeated"),
    ] = None,
    recalibrate: Annotated[
        bool, typer.Option("--recalibrate", help="measure this machine anew")
    ] = False,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Tell parameters, memory, operations and seconds of a clip or of a training.

    Nothing is computed and no weights are needed. This machine is measured once, which takes some
    ten seconds; of graphics cards the published peaks are known. The last lines say whether the
    run fits into the memory, and what would make it fit.
    """
    from kinema.cli.machine import dtype_of, use_threads
    from kinema.cli.planned import Planned, Way
    from kinema.planning.hardware import HERE

    use_threads(threads)
    ours = [setting for setting in settings or [] if setting.startswith(RECIPE)]
    rest = [setting for setting in settings or [] if setting not in ours]
    planned = Planned(system, preset=preset, settings=rest, dtype=dtype_of(dtype))
    machines = [machine(name, recalibrate) for name in hardware or [HERE]]
    mends: Mends = {}
    if stage is None:
        if ours:
            raise InputError(f"--set {ours[0]} changes a training; name its --stage too")
        way = Way(planned.dtype, tile, sampling_of(planned, size, frames, steps))
        plans = [(here, planned.generation(way, here.device)) for here in machines]
        mends = {h.name: mended(planned, way, h) for h, made in plans if not made.fits(h)}
    else:
        if size or frames or tile is not None:
            raise InputError("--size, --frames and --tile are of clips; a stage takes --set")
        make = functools.cache(functools.partial(training, planned, stage, ours, steps))
        plans = [(here, make(here.device)) for here in machines]
    described = {"system": planned.name, "stage": stage, **as_data(plans, mends)}
    if as_json:
        print(json.dumps(described, indent=2))
    else:
        show(plans, mends)


def machine(name: str, anew: bool) -> Hardware:
    """Hardware by name; this machine is measured if it was not yet, or anew."""
    from kinema.nn.attention import attention
    from kinema.planning.calibration import this_machine
    from kinema.planning.hardware import HERE, card

    return this_machine(anew=anew, attention=attention) if name == HERE else card(name)


def sampling_of(planned: Planned, size: str | None, frames: int | None, steps: int | None) -> Any:
    """How the clip is made: as the model does it, but for what was given."""
    from dataclasses import replace

    given: dict[str, Any] = {"num_frames": frames, "steps": steps}
    if size is not None:
        given["height"], given["width"] = parse_size(size)
    sampling = getattr(planned.config, "sampling", None)
    if sampling is None:
        raise InputError(f"{planned.name} makes no clips; plan its training with --stage")
    return replace(sampling, **{name: value for name, value in given.items() if value is not None})


def training(
    planned: Planned, name: str, settings: list[str], steps: int | None, device: str
) -> Plan:
    """The plan of a stage on a type of device, with its recipe as it was changed.

    Raises:
        InputError: there is no such stage, preset or setting.
    """
    from kinema.config import override

    stages = planned.kind.STAGES
    if name not in stages:
        raise unknown(f"stage of {planned.name}", name, stages)
    recipes = stages[name].recipes
    if planned.preset not in recipes:
        raise unknown(f"preset with a recipe of {name}", planned.preset, recipes)
    changes = [setting.removeprefix(RECIPE) for setting in settings]
    changes += [f"steps={steps}"] if steps is not None else []
    return planned.training(stages[name], override(recipes[planned.preset], changes), device)


def mended(planned: Planned, way: Way, here: Hardware) -> dict[str, Any] | None:
    """What would make a clip fit: options of this command, and the bytes with them."""
    from kinema.cli.planned import fitting

    found = fitting(planned, way, here)
    return None if found is None else {"options": found[0], "peak": found[1]}


def as_data(plans: Plans, mends: Mends) -> dict[str, Any]:
    """Plans as JSON; what is told once is that of the first machine."""
    first = plans[0][1]
    return {
        "steps": first.steps,
        "parameters": first.parameters,
        "works": [
            {
                "name": work.name,
                "parameters": work.parameters,
                "calls": work.calls,
                "flops": work.flops,
                "activations": work.activations,
                "seconds": {
                    here.name: here.seconds(made.works[row].operations) for here, made in plans
                },
            }
            for row, work in enumerate(first.works)
        ],
        "memory": dict(first.memory),
        "hardware": [
            {
                "name": here.name,
                "title": here.title,
                "memory": here.memory,
                "reserved": here.reserved,
                "peak": made.peak(here),
                "fits": made.fits(here),
                "would_fit": mends.get(here.name),
                "seconds_per_step": made.step_seconds(here),
                "seconds": made.seconds(here),
            }
            for here, made in plans
        ],
    }


def show(plans: Plans, mends: Mends) -> None:
    """Prints the table, and a line for each machine; what is told once is that of the first."""
    from rich.console import Console
    from rich.table import Table

    table = Table("", "parameters", "calls", "FLOP", "activations", box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for here, _ in plans:
        table.add_column(here.name, justify="right")
    first = plans[0][1]
    for row, work in enumerate(first.works):
        table.add_row(
            work.name or "the rest",
            number(work.parameters) if work.parameters else "--",
            number(work.calls).strip() if work.calls else "--",
            number(work.flops) if work.flops else "--",
            f"{number(work.activations)}B" if work.activations else "--",
            *(duration(here.seconds(made.works[row].operations)) for here, made in plans),
        )
    table.add_row(
        "in all",
        number(first.parameters),
        "",
        number(sum(work.flops for work in first.works)),
        f"{number(first.memory['activations'])}B",
        *(duration(made.seconds(here)) for here, made in plans),
    )
    Console(width=max(80, 70 + 12 * len(plans)), highlight=False).print(table)
    held = ", ".join(f"{name} {number(size)}B" for name, size in first.memory.items())
    print(f"memory at the peak: {held}")
    for here, made in plans:
        print(told(made, here, mends.get(here.name)))


def told(made: Plan, here: Hardware, mend: dict[str, Any] | None) -> str:
    """One line: how long, and whether it fits or what would make it fit."""
    seconds = duration(made.step_seconds(here))
    whole = f"{here.title}: {seconds} a step, {duration(made.seconds(here))} in all"
    needs, has = f"{number(made.peak(here))}B", f"{number(here.memory)}B"
    if made.fits(here):
        return f"{whole}; fits: {needs} of {has}"
    if mend is None:
        return f"{whole}; does not fit: needs {needs} of {has}"
    would = f"{mend['options']} would bring it to {number(mend['peak'])}B"
    return f"{whole}; needs {needs} of {has}: {would}"


def number(value: float) -> str:
    """A number with three digits and a unit, as ``1.92 G``."""
    unit, size = max(
        (item for item in UNITS.items() if value >= item[1]),
        key=lambda item: item[1],
        default=("", 1.0),
    )
    return f"{value / size:.3g} {unit}"


def duration(seconds: float) -> str:
    """As ``12.3 s``, ``4.5 min``, ``6.7 h``, ``8.9 d`` or ``3.2 years``."""
    for unit, size in reversed(SPANS.items()):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"
