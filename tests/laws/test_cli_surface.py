"""Law: verbs and options of the command line change only on purpose.

The set is pinned in `cli_surface.txt`; `make pin-cli` writes it anew after an intended change.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

PINNED = Path(__file__).with_name("cli_surface.txt")


def surface(command: Any, path: str = "kinema") -> Iterator[str]:
    """One line for each verb, argument and option of a click command and of those below it."""
    yield path
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            yield f"{path} {parameter.metavar or parameter.name.upper()}"
        elif "--help" not in parameter.opts:
            yield f"{path} {', '.join([*parameter.opts, *parameter.secondary_opts])}"
    for name, verb in sorted(getattr(command, "commands", {}).items()):
        yield from surface(verb, f"{path} {name}")


def current() -> str:
    """The surface of the command line as it is now, as the text of `cli_surface.txt`."""
    from kinema.cli.main import app

    return "\n".join(surface(typer.main.get_command(app))) + "\n"


def test_verbs_and_options_are_pinned() -> None:
    assert current() == PINNED.read_text(), "if this is intended: make pin-cli"


def test_a_new_verb_and_a_renamed_option_show() -> None:
    app = typer.Typer()

    @app.callback()
    def main(debug: bool = typer.Option(False, "--debug")) -> None: ...

    @app.command()
    def generate(
        prompt: str = typer.Argument(),
        steps: int = typer.Option(8, "--steps", "-n"),
        sheet: bool = typer.Option(True, "--sheet/--no-sheet"),
    ) -> None: ...

    lines = list(surface(typer.main.get_command(app)))
    assert "kinema --debug" in lines
    assert lines[-4:] == [
        "kinema generate",
        "kinema generate PROMPT",
        "kinema generate --steps, -n",
        "kinema generate --sheet, --no-sheet",
    ]


if __name__ == "__main__":
    PINNED.write_text(current())
    print(f"wrote {PINNED.name}: {len(current().splitlines())} lines")
