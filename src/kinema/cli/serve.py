"""`kinema serve`: the local web page."""

from __future__ import annotations

import importlib.util
import socket
import threading
from pathlib import Path
from typing import Annotated

import typer

from kinema.cli.terminal import invocation, say
from kinema.errors import InputError

LOCAL = ("127.0.0.1", "localhost", "::1")


def serve(
    context: typer.Context,
    host: Annotated[
        str, typer.Option("--host", help="address to listen at; 0.0.0.0 lets the network in")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="to listen at")] = 7860,
    folder: Annotated[
        Path, typer.Option("--folder", help="where runs and sent files are kept")
    ] = Path("runs") / "web",
    model: Annotated[
        str, typer.Option("--model", help="name:tag, name@file, or a .safetensors file")
    ] = "ltx_video:shapes",
) -> None:
    """Serve a local web page: clips from words and pictures, stories, scores, tables, history.

    Runs are done one after the other. The page reads and writes nothing but --folder. Whoever
    reaches the page may use it and see all runs.
    """
    check_address(host, port)
    if importlib.util.find_spec("gradio") is None:
        raise InputError("the page needs gradio; pip install 'kinema[web]'")
    from kinema.web.limits import Limits
    from kinema.web.page import open_page
    from kinema.web.studio import Studio

    state = invocation(context)
    state.saved = f"runs are in {folder}"
    studio = Studio(folder, model, Limits())
    blocks, url = open_page(studio, host, port)
    try:
        print(url, flush=True)
        open_to = "" if host in LOCAL else "; everyone who reaches it may use it"
        say(f"the page is open at {url}{open_to}; Ctrl-C closes it; runs are in {folder}")
        threading.Event().wait()
    finally:
        studio.close()
        blocks.close(verbose=False)


def check_address(host: str, port: int) -> None:
    """Says early whether a page can be served there.

    Raises:
        InputError: there is no such address here, or something else listens.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"cannot listen at {host} port {port}: {reason}; choose another --host or --port"
        ) from error
