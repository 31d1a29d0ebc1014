"""The gate of the page: requests that are too large, or ask for what it does not do, end here."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kinema.errors import InputError
from kinema.web.limits import MB
from kinema.web.studio import Studio

UPLOAD = "/upload"
FILES_AT_ONCE = 4  # of the largest size, in one request
LARGEST_CALL = 1 * MB  # of what is no file
WRONG, TOO_LARGE, NO_ROOM = 400, 413, 507


class Gate:
    """Stands before the application and looks at requests that bring something.

    gradio itself would fetch a file that a call names by its address on the web; the page takes
    only what is sent to it.
    """

    def __init__(self, app: ASGIApp, studio: Studio) -> None:
        self.app, self.studio = app, studio

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hands a request on, or answers it with one line."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self.app(scope, receive, send)
            return
        is_upload = scope["path"].rstrip("/").endswith(UPLOAD)
        most = FILES_AT_ONCE * self.studio.limits.file_bytes if is_upload else LARGEST_CALL
        refusal = None
        if length(scope) > most:
            refusal = PlainTextResponse(f"at most {most / MB:g} MB at once", TOO_LARGE)
        elif is_upload:
            refusal = await self._without_room()
        else:
            body = await Request(scope, receive).body()
            receive = again(body, receive)
            if names_address(body):
                refusal = PlainTextResponse("send the file itself, not its address", WRONG)
        await (refusal or self.app)(scope, receive, send)

    async def _without_room(self) -> PlainTextResponse | None:
        try:
            await asyncio.to_thread(self.studio.check_room)
        except InputError as error:
            return PlainTextResponse(str(error), NO_ROOM)
        return None


def length(scope: Scope) -> float:
    """Bytes of a request's body; without end, where it does not say."""
    headers = dict(scope["headers"])
    said = headers.get(b"content-length", b"")
    if said.isdigit():
        return int(said)
    return float("inf") if said or b"transfer-encoding" in headers else 0


def again(body: bytes, receive: Receive) -> Receive:
    """What gives a body that was read once more, and then what comes after it."""
    left: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_message() -> Message:
        return left.pop() if left else await receive()

    return next_message


def names_address(body: bytes) -> bool:
    """Whether JSON holds a file, anywhere in it, whose path is an address on the web."""
    try:
        left: list[Any] = [json.loads(body or b"null")]
    except (ValueError, RecursionError):
        return False  # gradio refuses it
    while left:
        value = left.pop()
        if isinstance(value, dict):
            path = value.get("path")
            if isinstance(path, str) and "://" in path:
                return True
            left += value.values()
        elif isinstance(value, list):
            left += value
    return False
