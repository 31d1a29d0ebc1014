"""What a run leaves behind while it goes: a line of JSON per step, TensorBoard events, progress."""

from __future__ import annotations

import contextlib
import json
import math
import threading
from collections.abc import Iterator, Mapping
from itertools import takewhile
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from kinema.errors import InputError
from kinema.files import parse_json, reason, write_text


class StepBar:
    """The steps of a training, its loss and its rate, on stderr if that is a terminal.

    Args:
        start: the step that comes next.
        total: the steps of the whole training.
    """

    def __init__(self, *, start: int, total: int) -> None:
        self.console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self._task = self._progress.add_task("training", total=total, completed=start, rate="")

    def __enter__(self) -> StepBar:
        self._progress.start()
        return self

    def __exit__(self, *of_an_error: object) -> None:
        self._progress.stop()

    def advance(self, values: Mapping[str, float]) -> None:
        """A step is done, with these numbers."""
        loss = next((v for k, v in values.items() if k.endswith("/loss")), math.nan)
        rate = f"{1 / max(values['seconds'], 1e-9):.2f} steps/s"
        self._progress.update(self._task, advance=1, rate=rate, description=f"loss {loss:.4f}")


class Log:
    """Writes `log.jsonl` (losses with all their digits) and TensorBoard events; shows progress.

    Progress and messages go to stderr. TensorBoard is optional: without it no events are written,
    and that is said. What follows the first line at or after `start` is cut off first, whatever it
    is: it belongs to steps that a killed run did not save.

    Args:
        folder: where the log goes.
        start: the step that comes next.
        total: the steps of the whole run.

    Raises:
        InputError: a line before that is damaged, or the log cannot be written.
    """

    def __init__(self, folder: Path, *, start: int, total: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "sheets").mkdir(exist_ok=True)
        path = folder / "log.jsonl"
        lines = _lines(path) if path.exists() else iter(())
        kept = [line for line, _ in takewhile(lambda pair: pair[1]["step"] < start, lines)]
        write_text(path, "".join(f"{line}\n" for line in kept), overwrite=True)
        self._folder, self._start = folder, start
        self._bar = StepBar(start=start, total=total)
        self._file = path.open("ab", buffering=0)
        self._board: Any = None

    def __enter__(self) -> Log:
        with contextlib.ExitStack() as closing:
            closing.callback(self._file.close)
            closing.enter_context(self._bar)
            closing.enter_context(_threads_tell_nothing())
            self._board = _board(self._folder / "tensorboard", self._start, self._bar.console)
            if self._board is not None:
                closing.callback(_close, self._board)
            self._closing = closing.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing.__exit__(kind, error, trace)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """The numbers of a training step. Raises InputError if they cannot be written."""
        self._line(step, values)
        self._bar.advance(values)

    def report(self, step: int, values: Mapping[str, float]) -> None:
        """The held-out numbers after `step` steps, also shown; their line is that of the last step.

        So a resumed run cuts it off or keeps it together with the step that it follows.

        Raises:
            InputError: they cannot be written.
        """
        self._line(step - 1, values)
        shown = "  ".join(f"{k.removeprefix('held_out/')} {v:.4g}" for k, v in values.items())
        self._bar.console.print(f"step {step}: {shown}", highlight=False)

    def _line(self, step: int, values: Mapping[str, float]) -> None:
        left = (json.dumps({"step": step, **values}) + "\n").encode()
        try:
            while left:  # a disk that is nearly full takes a part
                left = left[self._file.write(left) :]
            if self._board is not None:
                for name, value in values.items():
                    self._board.add_scalar(name, value, step)
        except OSError as error:
            raise _unwritten(self._folder, error) from error


def _board(folder: Path, start: int, console: Console) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        console.print("no TensorBoard events are written: pip install tensorboard", highlight=False)
        return None
    try:
        return SummaryWriter(str(folder), purge_step=start)
    except OSError as error:
        raise _unwritten(folder, error) from error


def _close(board: Any) -> None:
    with contextlib.suppress(OSError):  # all that events say is in log.jsonl, too
        board.close()


@contextlib.contextmanager
def _threads_tell_nothing() -> Iterator[None]:
    """Inside the block no thread prints that it cannot write, with a traceback.

    The thread that writes events hands it on to whoever adds the next one.
    """
    before = threading.excepthook

    def tell(ended: threading.ExceptHookArgs) -> None:
        if not issubclass(ended.exc_type, OSError):
            before(ended)

    threading.excepthook = tell
    try:
        yield
    finally:
        threading.excepthook = before


def _unwritten(folder: Path, error: OSError) -> InputError:
    return InputError(f"cannot write the log in {folder}: {reason(error)}")


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's `log.jsonl`; a last one that was cut by a kill is passed over.

    Raises:
        InputError: there is no log, or a line of it is damaged.
    """
    return [values for _, values in _lines(folder / "log.jsonl")]


def _lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each whole line with what it says; what follows the last newline was cut by a kill."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    for number, line in enumerate(content.split(b"\n")[:-1], start=1):
        try:
            text = line.decode()
            values = parse_json(text, "the line")
            if not isinstance(values, dict) or type(values.get("step")) is not int:
                raise InputError("the line has no step")
        except (UnicodeDecodeError, InputError) as error:
            raise InputError(f"{path} line {number} is damaged ({error}); delete it") from None
        yield text, values
