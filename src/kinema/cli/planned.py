"""Models on the meta device, and the plans of what they do: a clip, or a stage of training."""

from __future__ import annotations

import contextlib
import functools
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from kinema.cli.equipment import Equipment
from kinema.cli.machine import file_of, full_name
from kinema.cli.train import sizes
from kinema.conditions.t5_sizes import PlannedT5
from kinema.conditions.text import T5
from kinema.config import from_dict, override
from kinema.data.clips import split_of
from kinema.errors import InputError, unknown
from kinema.networks.ltx_latent_upsampler import LatentUpsampler, spatial_0_9_7
from kinema.noise import Noise
from kinema.planning.autocast import Autocast
from kinema.planning.hardware import Hardware
from kinema.planning.plan import Plan, Work, of_generation, times
from kinema.planning.rehearsal import REST, Rehearsal
from kinema.planning.stand_in import standing_for
from kinema.processes.steps import Step, watching
from kinema.systems.published import opened
from kinema.systems.text_to_video import EXAMPLE, TextToVideo
from kinema.training.objective import Batch
from kinema.training.recipe import Recipe
from kinema.training.stage import Stage
from kinema.training.trainer import Trainer

PUBLISHED = "full"  # the preset that is planned when none is named
ON_META = "meta"
LEARNING, UPDATE = "forward and backward", "update"  # the works of a step of training


class Way(NamedTuple):
    """How a clip is made: type of the weights, tiles of the codec, size and sampler."""

    dtype: torch.dtype
    tile: int | None
    sampling: Any


# Options that hardly change a clip, in the order in which they are tried.
GENTLE: dict[str, Callable[[Way], Way]] = {
    "--dtype bfloat16": lambda way: way._replace(dtype=torch.bfloat16),
    "--tile 0": lambda way: way._replace(tile=0),
    "--tile 512": lambda way: way._replace(tile=512),
    "--tile 256": lambda way: way._replace(tile=256),
}


class Planned:
    """A model without weights, for plans.

    Args:
        name: ``system``, ``system:tag``, ``system:preset`` or ``system@file``.
        preset: whose sizes are taken where a system alone is named; the published ones if None.
        settings: changes of the configuration, as ``--set`` takes them.
        dtype: of the weights; None for that of the stored ones, float32 if there are none.

    Raises:
        InputError: there is no such system, tag, preset, file or setting, or it has no networks.
    """

    def __init__(
        self, name: str, *, preset: str | None, settings: list[str], dtype: torch.dtype | None
    ) -> None:
        from kinema import registry

        self.name = full_name(name)
        reference, at, path = self.name.partition("@")
        system, _, tag = reference.partition(":")
        self.kind = registry.system_class(system)
        if not hasattr(self.kind, "PARTS"):
            raise InputError(f"{system} has no networks, so there is nothing to plan")
        stored = None
        if at or (tag and tag in registry.card(system).tags):
            if preset is not None:
                raise InputError(f"{self.name} brings its sizes along; leave out --preset")
            checkpoint = opened(self.kind, file_of(self.name), tag or None if at else None, None)
            config = from_dict(self.kind.CONFIG, checkpoint.config, where=f"config of {path}")
            stored = getattr(torch, checkpoint.metadata.get("dtype", "float32"))
        else:
            chosen = preset or tag or PUBLISHED
            if chosen not in self.kind.PRESETS:
                raise unknown(f"preset of {system}", chosen, self.kind.PRESETS)
            config = self.kind.PRESETS[chosen]()
        self.config = override(config, settings)
        self.dtype = dtype or stored or torch.float32
        self.preset = preset or tag or self._preset(config)

    def _preset(self, config: Any) -> str:
        """The preset of some sizes, whose recipes are those that they are trained by."""
        alike = (n for n, p in self.kind.PRESETS.items() if sizes(p()) == sizes(config))
        return next(alike, self.name)

    def built(self, dtype: torch.dtype, tile: int | None) -> Any:
        """A model on the meta device, with the networks that it would load from other files.

        Args:
            dtype: of its weights.
            tile: as `kinema generate` takes it.
        """
        model = self.kind(self.config, device=ON_META, dtype=dtype)
        for role, part in model.parts.items():
            if isinstance(part, T5):
                model.parts[role] = PlannedT5(part.config, dtype=dtype)
        if getattr(getattr(self.config, "sampling", None), "second", None) is not None:
            model.upsampler = LatentUpsampler(spatial_0_9_7(), device=ON_META, dtype=dtype)
        Equipment(tile=tile).give(model, self.name)
        return model

    model = functools.cache(built)  # for clips, which leave a model as it is

    @functools.cache  # noqa: B019 - plans are made once in a process
    def generation(self, way: Way, device: str) -> Plan:
        """The plan of one clip.

        Args:
            way: how it is made.
            device: the type of device that makes it, as `Hardware` names it.

        Raises:
            InputError: the system makes no clips from prompts, or none of this size.
        """
        model = self.model(way.dtype, way.tile)
        if not isinstance(model, TextToVideo):
            raise InputError(
                f"{self.name} makes no clips from prompts; plan its training with --stage"
            )
        networks, steps = networks_of(model), list[Step]()
        with (
            standing_for(device),
            Rehearsal(networks) as rehearsal,
            watching(lambda report: steps.append(report.step)),
        ):
            model.rehearse(way.sampling)
        return of_generation(networks, rehearsal, len(steps))

    def training(self, stage: Stage, recipe: Recipe, device: str) -> Plan:
        """The plan of a stage; weights are float32 and activations as the recipe says.

        Args:
            stage: of the system.
            recipe: of the stage.
            device: the type of device that trains, as `Hardware` names it.

        Raises:
            InputError: the stage cannot read what it would train on.
        """
        model = self.built(torch.float32, None)
        size = recipe.batch_size // recipe.accumulate
        batch = batch_of(model, stage, recipe, size)
        objective = stage.objective(model, recipe)
        trainer = RehearsedTrainer(objective, lambda _: batch, recipe, seed=0, device=ON_META)
        trainer.step = recipe.steps - 1  # whoever ever joins the game is there
        networks = {"networks": objective, **frozen(model)}
        # The optimizer has its state from the second step on, and gradients are there before a
        # micro-batch from the second on.
        for micros in (1, min(2, recipe.accumulate)):
            trainer.recipe = replace(recipe, batch_size=size * micros, accumulate=micros)
            with standing_for(device), Rehearsal(networks) as trainer.rehearsal:
                trainer.rehearsal.hold(*averages(trainer), *optimizer_state(trainer))
                trainer.train_step()
        costs, memory = trainer.rehearsal.costs, memory_of(trainer)
        learning = Work(
            name=LEARNING,
            parameters=count(objective.parameters()),
            calls=recipe.accumulate * recipe.steps,
            activations=memory["activations"],
            operations=times(costs[LEARNING].operations, recipe.accumulate * recipe.steps / micros),
        )
        update = Work(
            name=UPDATE,
            parameters=count(p for ps in trainer.players.values() for p in ps.values()),
            calls=recipe.steps,
            activations=0,
            operations=times(costs[REST].operations, recipe.steps),
        )
        return Plan(
            parameters=sum(count(network.parameters()) for network in networks.values()),
            works=(learning, update),
            steps=recipe.steps,
            stepwise=(LEARNING, UPDATE),
            memory=memory,
        )


class RehearsedTrainer(Trainer):
    """A trainer on the meta device, which tells learning from updating."""

    rehearsal: Rehearsal

    def backward(self, player: str, batch: Batch, noise: Noise) -> Mapping[str, Tensor]:
        """Adds the gradient of one player's loss on one micro-batch."""
        with self.rehearsal.within(LEARNING):
            return super().backward(player, batch, noise)

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """The precision of the activations."""
        return Autocast() if self.recipe.precision == "bfloat16" else contextlib.nullcontext()


def networks_of(model: Any) -> dict[str, nn.Module]:
    """The networks of a model by role, with those whose weights lie elsewhere."""
    networks = {**dict(model.parts.items()), **frozen(model)}
    upsampler = getattr(model, "upsampler", None)
    return networks if upsampler is None else {**networks, "upsampler": upsampler}


def frozen(model: Any) -> dict[str, nn.Module]:
    """The text encoders that are never trained here, by role."""
    return {r: part.encoder for r, part in model.parts.items() if isinstance(part, PlannedT5)}


def batch_of(model: Any, stage: Stage, recipe: Recipe, size: int) -> Mapping[str, Any]:
    """A batch like those that a stage trains on: drawn, or what the model makes of blank clips."""
    if stage.worlds:
        drawn = stage.data(model, recipe, stage.worlds[0])[0](tuple(range(size)))
        return {n: x.to(ON_META) if isinstance(x, Tensor) else x for n, x in drawn.items()}
    clip = model.config.sampling
    blank = torch.zeros(size, 3, clip.num_frames, clip.height, clip.width, device="cpu")
    with Rehearsal({}):
        tensors = model.encoded(blank, range(size))
    sample = split_of("shapes", "train", clip).sample(0)
    told = model.told(sample, tensors["latents"].shape[2:])
    tensors |= {name: x.expand(size, *x.shape).to(ON_META) for name, x in told.items()}
    return {**tensors, "captions": [(EXAMPLE,)] * size, "fps": clip.fps}


def averages(trainer: Trainer) -> list[Tensor]:
    """The moving averages of the weights."""
    return [value for value in trainer.ema.average.values() if value.is_meta]


def optimizer_state(trainer: Trainer) -> list[Tensor]:
    """What optimizers remember of each weight."""
    states = (state for o in trainer.optimizers.values() for state in o.state.values())
    return [v for state in states for v in state.values() if isinstance(v, Tensor) and v.is_meta]


def memory_of(trainer: RehearsedTrainer) -> dict[str, int]:
    """What the peak of a step is made of, in bytes."""
    trained = [p for parameters in trainer.players.values() for p in parameters.values()]
    kept = {
        "weights": trainer.rehearsal.weights,
        "gradients": bytes_of(trained),
        "optimizer": bytes_of(optimizer_state(trainer)),
        "averages": bytes_of(averages(trainer)),
    }
    return {**kept, "activations": trainer.rehearsal.peak - sum(kept.values())}


def bytes_of(held: Iterable[Tensor]) -> int:
    """Bytes of tensors."""
    return sum(tensor.numel() * tensor.element_size() for tensor in held)


def count(parameters: Iterable[Tensor]) -> int:
    """How many numbers tensors have."""
    return sum(parameter.numel() for parameter in parameters)


def fitting(planned: Planned, way: Way, here: Hardware) -> tuple[str, int] | None:
    """Options that would make a clip fit, and the bytes that it takes with them; None if none do.

    What changes the clip least is tried first, and kept where it helps: a narrower type, a codec
    that works in parts; then fewer frames, then a smaller picture.
    """
    options, peaks = list[str](), dict[str, int]()

    def fits(option: str, changed: Way) -> bool:
        made = planned.generation(changed, here.device)
        peaks[option] = made.peak(here)
        return made.fits(here)

    lightest = planned.generation(way._replace(dtype=torch.bfloat16), here.device)
    if lightest.memory["weights"] + here.reserved > here.memory:
        return None  # no clip is small enough
    least = planned.generation(way, here.device).peak(here)
    for option, change in GENTLE.items():
        changed = change(way)
        if changed == way or not possible(planned, changed):
            continue
        enough = fits(option, changed)
        if peaks[option] < least:
            way, least = changed, peaks[option]
            options = [kept for kept in options if kept.split()[0] != option.split()[0]]
            options.append(option)
        if enough:
            return " ".join(options), peaks[option]
    for changes in (shorter(planned, way), smaller(planned, way)):
        at = bisect_left(changes, True, key=lambda change: fits(*change))
        if at < len(changes):
            option = changes[at][0]
            return " ".join([*options, option]), peaks[option]
    return None


def shorter(planned: Planned, way: Way) -> list[tuple[str, Way]]:
    """Fewer frames than those of a clip, from many to few."""
    found = []
    for count in range(way.sampling.num_frames - 1, 0, -1):
        changed = way._replace(sampling=replace(way.sampling, num_frames=count))
        if possible(planned, changed):
            found.append((f"--frames {count}", changed))
    return found


def smaller(planned: Planned, way: Way) -> list[tuple[str, Way]]:
    """Smaller pictures of about the same proportions, from large to a quarter of the side."""
    sampling = way.sampling

    def taken(name: str) -> list[int]:
        side = getattr(sampling, name)
        sizes = range(max(1, side // 4), side + 1)
        ways = {n: way._replace(sampling=replace(sampling, **{name: n})) for n in sizes}
        return [n for n, changed in ways.items() if possible(planned, changed)]

    heights, widths = taken("height"), taken("width")
    found = []
    for height in reversed(heights[:-1]):
        wanted = height * sampling.width / sampling.height
        width = min(widths, key=lambda n: abs(n - wanted))
        size = replace(sampling, height=height, width=width)
        found.append((f"--size {height}x{width}", way._replace(sampling=size)))
    return found


def possible(planned: Planned, way: Way) -> bool:
    """Whether clips can be made this way."""
    try:
        planned.model(way.dtype, way.tile).latent_shape(way.sampling)
    except InputError:
        return False
    return True
