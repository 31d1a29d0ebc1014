"""Networks as files that run without this library: programs of torch.export, and ONNX."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from kinema.errors import InputError
from kinema.files import atomic, check_writable

PROGRAM, ONNX = ".pt2", ".onnx"
LARGEST_ONNX = 2**31 - 2**24  # bytes: what one file of protocol buffers can hold
TOLERANCE = 1e-4  # of the largest output
NEEDED = ("onnx", "onnxscript", "onnxruntime")
Run = Callable[[Mapping[str, Tensor]], Tensor]


@dataclass(frozen=True, eq=False)
class Exportable:
    """What can be exported.

    Attributes:
        module: called with the inputs in their order, gives one tensor (B, ...).
        inputs: by name, an example of each, (B, ...) with B of 2 or more; B is left open.
        output: name of the result.
    """

    module: nn.Module
    inputs: Mapping[str, Tensor]
    output: str


def export(of: Exportable, path: str | Path, *, overwrite: bool) -> float:
    """Writes a program (.pt2) or an ONNX file (.onnx) and runs it beside the original.

    Args:
        of: what is exported.
        path: its ending says what is written.
        overwrite: whether an existing file is replaced.

    Returns:
        The largest difference of the outputs, as a share of the largest output, on an input of
        another batch size than that which was traced.

    Raises:
        InputError: the ending is another one, a package is missing, the network is too large for
            one ONNX file, or the outputs differ by more than 1e-4.
    """
    path = Path(path)
    writers = {PROGRAM: _write_program, ONNX: _write_onnx}
    suffix = path.suffix.lower()
    if suffix not in writers:
        raise InputError(f"cannot export to {path.name}; end the name in {PROGRAM} or {ONNX}")
    if suffix == ONNX:
        _check_onnx(of.module)
    check_writable(path, overwrite=overwrite)
    module = of.module.eval()
    traced = {name: torch.cat([x, x]) for name, x in of.inputs.items()}
    with torch.no_grad(), atomic(path, overwrite=overwrite) as partial:
        # Before it is traced: a table that a network keeps must not be one of tracing.
        expected = module(*of.inputs.values())
        run = writers[suffix](module, traced, of.output, partial)
        found = run(of.inputs)
        error = float((found - expected).abs().max() / expected.abs().max())
        if not error <= TOLERANCE:
            raise InputError(
                f"what was exported gives other outputs (relative error {error:.2g}); "
                "nothing was written"
            )
    return error


def _program(module: nn.Module, inputs: Mapping[str, Tensor]) -> torch.export.ExportedProgram:
    batch = torch.export.Dim("batch")
    try:
        return torch.export.export(
            module,
            tuple(inputs.values()),
            dynamic_shapes=tuple({0: batch} for _ in inputs),
            strict=False,
        )
    except RuntimeError as error:  # as torch's own errors of tracing are
        said = str(error).strip().partition("\n")[0].partition(" For more")[0]
        raise InputError(f"torch.export cannot follow this network: {said}") from error


def _write_program(module: nn.Module, inputs: Mapping[str, Tensor], output: str, path: Path) -> Run:
    with path.open("wb") as file:
        torch.export.save(_program(module, inputs), file)
    with path.open("rb") as file:
        again = torch.export.load(file).module()
    return lambda given: again(*given.values())


def _write_onnx(module: nn.Module, inputs: Mapping[str, Tensor], output: str, path: Path) -> Run:
    import onnxruntime

    written = torch.onnx.export(
        _program(module, inputs),
        input_names=[*inputs],
        output_names=[output],
        dynamo=True,
        verbose=False,
    )
    assert written is not None
    path.write_bytes(written.model_proto.SerializeToString())
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def run(given: Mapping[str, Tensor]) -> Tensor:
        arrays = {name: x.cpu().numpy() for name, x in given.items()}
        return torch.from_numpy(session.run([output], arrays)[0])

    return run


def _check_onnx(module: nn.Module) -> None:
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        raise InputError(f"ONNX needs {', '.join(missing)}: pip install 'kinema[export]'")
    size = sum(tensor.numel() * tensor.element_size() for tensor in module.state_dict().values())
    if size > LARGEST_ONNX:
        raise InputError(
            f"{size / 1e9:.1f} GB of weights do not fit in one ONNX file; export to {PROGRAM}"
        )
