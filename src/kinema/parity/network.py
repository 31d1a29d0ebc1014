"""What adapters share: weights of a case into a network, and records of what its parts return."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping

from torch import Tensor, nn

from kinema.errors import unknown
from kinema.parity.case import Case
from kinema.weights.files import load_tensors
from kinema.weights.keymap import KeyMap, lazy


def load_weights(
    network: nn.Module, case: Case, keymap: KeyMap, beside: Mapping[str, Tensor]
) -> None:
    """Fills a network with the weights of a case, strictly.

    Args:
        network: keeps its own value of weights that the case fixes without storing them.
        case: makes the official state dict.
        keymap: from the official names to the network's.
        beside: tensors of the official class that the case's manifest leaves out.

    Raises:
        InputError: a weight is missing, unexpected or of another shape.
    """
    own = keymap.to_theirs(dict(network.state_dict()))
    kept = {key: own[key] for key in case.fixed if key not in case.values and key in own}
    weights = {**beside, **kept, **case.weights()}
    load_tensors(network, lazy(weights), keymap, where=str(case.folder))
    network.eval()


@contextlib.contextmanager
def recorded(network: nn.Module, places: Mapping[str, str]) -> Iterator[dict[str, Tensor]]:
    """Records what submodules return, or are given, while the block runs.

    Args:
        network: the module that runs.
        places: name to record under -> name of the submodule, for its output, or
            ``before <submodule>`` for its first input.

    Yields:
        name -> tensor of the last call; filled as the submodules run.
    """
    outputs: dict[str, Tensor] = {}

    def keep(name: str, place: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def hook(_module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            outputs[name] = inputs[0] if place.startswith("before ") else output

        return hook

    handles = [
        network.get_submodule(place.removeprefix("before ")).register_forward_hook(
            keep(name, place)
        )
        for name, place in places.items()
    ]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def stage_places(case: Case, known: Mapping[str, str]) -> dict[str, str]:
    """For each stage of a case, the place in the network that makes it.

    Args:
        case: its stages are looked up.
        known: pattern of a stage's name with ``{i}`` for a number -> place as in `recorded`.

    Raises:
        InputError: a stage matches no pattern.
    """
    places = {}
    for stage in case.stages():
        for pattern, place in known.items():
            found = re.fullmatch(re.escape(pattern).replace(r"\{i\}", r"(\d+)"), stage)
            if found is not None:
                number = found[1] if found.groups() else ""
                places[f"stage.{stage}"] = place.replace("{i}", number)
                break
        else:
            raise unknown(f"stage of {case.entry}", stage, known)
    return places
