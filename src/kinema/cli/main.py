"""The frame of the command line: verbs, one-line errors, exit statuses, signals.

Exit status: 0 all went well, 1 a recorded case failed, 2 something given cannot be used, 130 and
143 stopped by SIGINT and SIGTERM, 141 the reader of our output went away.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from kinema import __version__
from kinema.cli import (
    catalog,
    claim,
    draw,
    encode,
    export,
    generate,
    parity,
    plan,
    run,
    score,
    serve,
    systems,
    train,
    weights,
)
from kinema.cli.terminal import Invocation, invocation, say
from kinema.errors import InputError, unknown

# typer carries its own copy of click, under a name that has changed between its versions.
UsageError: Any = typer.BadParameter.__base__
WRONG_INPUT = 2
NO_MEMORY = ("allocate memory", "out of memory")  # in what torch says then
SIGNALED = 128


class Signaled(BaseException):
    """SIGINT or SIGTERM arrived; no `Exception`, so that nothing on the way takes it for one."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Verbs(TyperGroup):
    """The verbs; a name that is none of them is answered with the nearest."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The verb that the arguments begin with.

        Raises:
            InputError: there is none of this name.
        """
        if args[0] not in self.commands:
            raise unknown("verb", args[0], self.commands)
        return super().resolve_command(ctx, args)


app = typer.Typer(cls=Verbs, add_completion=False, rich_markup_mode=None)
for verb in (
    generate.generate,
    plan.plan,
    run.run,
    train.train,
    encode.encode,
    score.score,
    export.export,
    weights.weights,
    draw.draw,
    catalog.catalog,
    claim.claim,
    systems.systems,
    systems.show,
    parity.parity,
    serve.serve,
):
    app.command()(verb)


@app.callback(invoke_without_command=True)
def kinema(
    context: typer.Context,
    debug: Annotated[
        bool, typer.Option("--debug", help="show where in the code an error arose")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", help="print the version of Kinema and stop")
    ] = False,
) -> None:
    """Transformer models of video: generate, train, compare. `kinema VERB --help` tells more."""
    invocation(context).debug = debug
    if version:
        print(f"kinema {__version__}")
        raise typer.Exit(0)
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit status.

    Args:
        arguments: what follows the name of the program; the process's own if None.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    state = Invocation(given)
    try:
        with signals_raise():
            command: Any = typer.main.get_command(app)
            with command.make_context("kinema", given, obj=state) as context:
                command.invoke(context)
            sys.stdout.flush()
    except typer.Exit as done:
        return done.exit_code
    except Signaled as stop:
        say(f"kinema: stopped; {state.saved}")
        return SIGNALED + stop.number
    except BrokenPipeError:
        # What is left in the buffer has no reader; Python would complain about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return SIGNALED + signal.SIGPIPE
    except Exception as error:
        if not isinstance(error, (InputError, UsageError, OSError)) and not lacks_memory(error):
            raise
        if state.debug:
            traceback.print_exc()
        say(f"kinema: error: {one_line(error)}")
        return WRONG_INPUT
    return 0


@contextlib.contextmanager
def signals_raise() -> Iterator[None]:
    """SIGINT and SIGTERM raise `Signaled` inside the block, the first time; then they are ignored.

    Some senders signal the process and its group: the second must not disturb the cleaning up.
    """
    numbers = (signal.SIGINT, signal.SIGTERM)

    def stop(number: int, frame: FrameType | None) -> None:
        for each in numbers:
            signal.signal(each, signal.SIG_IGN)
        raise Signaled(number)

    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def lacks_memory(error: Exception) -> bool:
    """Whether numpy or torch got no memory for what it was to make."""
    said = isinstance(error, RuntimeError) and any(words in str(error) for words in NO_MEMORY)
    return said or isinstance(error, MemoryError)


def one_line(error: Any) -> str:
    """What an error says, as one line that names the file or value."""
    if isinstance(error, OSError):
        said = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    elif hasattr(error, "possibilities"):  # click's error for an option that does not exist
        options = [name for p in error.ctx.command.params for name in p.opts if name[0] == "-"]
        said = str(unknown("option", error.option_name, options))
    elif isinstance(error, UsageError):
        said = error.format_message()
    elif lacks_memory(error):
        said = "it needs more than this machine's memory; ask for less, or see `kinema plan`"
    else:
        said = str(error)
    return " ".join(said.split())
