"""Plans: what a run needs, whatever it runs on, and what that means on hardware."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from kinema.planning.hardware import Hardware
from kinema.planning.operations import Operation
from kinema.planning.rehearsal import REST, Rehearsal


@dataclass(frozen=True, kw_only=True)
class Work:
    """What one network does in a run, or one part of a step of training.

    Args:
        name: its role.
        parameters: how many it has.
        calls: how often it is called in the whole run.
        activations: bytes that a call holds at most, beside what was there before.
        operations: of the whole run; of each how often.
    """

    name: str
    parameters: int
    calls: int
    activations: int
    operations: Mapping[Operation, float]

    @property
    def flops(self) -> float:
        """Floating-point operations of the run; a multiplication and its addition are two."""
        return sum(count * done.flops for done, count in self.operations.items())


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run needs.

    Args:
        parameters: of all networks.
        works: all that it does.
        steps: of the sampler, or of the training.
        stepwise: names of the works that are done in every step; the others are done once.
        memory: bytes at the peak, by what holds them.
    """

    parameters: int
    works: tuple[Work, ...]
    steps: int
    stepwise: tuple[str, ...]
    memory: Mapping[str, int]

    def peak(self, hardware: Hardware) -> int:
        """Bytes that are held at most."""
        return sum(self.memory.values()) + hardware.reserved

    def fits(self, hardware: Hardware) -> bool:
        """Whether the hardware has that much memory."""
        return self.peak(hardware) <= hardware.memory

    def seconds(self, hardware: Hardware) -> float:
        """Of the whole run."""
        return sum(hardware.seconds(work.operations) for work in self.works)

    def step_seconds(self, hardware: Hardware) -> float:
        """Of one step, the mean."""
        stepwise = (work for work in self.works if work.name in self.stepwise)
        return sum(hardware.seconds(work.operations) for work in stepwise) / self.steps


def of_generation(networks: Mapping[str, nn.Module], rehearsal: Rehearsal, steps: int) -> Plan:
    """The plan of what was rehearsed without gradients.

    Args:
        networks: by role.
        rehearsal: in which they were called.
        steps: of the sampler; a network that was called as often or oftener belongs to them.
    """
    works = tuple(
        Work(
            name=role,
            parameters=sum(p.numel() for p in networks[role].parameters()) if role else 0,
            calls=cost.calls,
            activations=cost.activations,
            operations=cost.operations,
        )
        for role, cost in rehearsal.costs.items()
    )
    stepwise = tuple(work.name for work in works if work.calls >= steps and work.name != REST)
    held = rehearsal.peak - rehearsal.weights
    memory = {"weights": rehearsal.weights, "activations": held}
    return Plan(
        parameters=sum(work.parameters for work in works),
        works=works,
        steps=steps,
        stepwise=stepwise,
        memory=memory,
    )


def times(operations: Mapping[Operation, int], factor: float) -> dict[Operation, float]:
    """Operations that are done as often as `factor` says."""
    return {done: count * factor for done, count in operations.items()}
