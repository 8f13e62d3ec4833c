"""Answers over HTTP no faster than their client reads them.

Serve takes every piece of an answer at once and keeps it until its proxy asks for more, when all that waits goes over
in one message. A client that reads slowly would fill the memory with the film that it downloads, and beyond eight
megabytes (RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH) the message is refused and the film ends early.

How much waits there is not part of Serve's public interface: `queue_of` is the one place that looks, and it says so
when a release of Serve has it elsewhere.
"""

import asyncio
import time
from collections.abc import Iterator, Sized
from inspect import getclosurevars
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

PIECE = 64 * 1024
"""Bytes. What files are read in as well."""

WAITING = 16
"""Pieces that may wait for the proxy: a megabyte, which a proxy of this machine takes in a millisecond."""

SOONEST_S, LATEST_S = 0.001, 0.25
"""Between two looks, which come less and less often: whoever is fast is looked after soon."""

PATIENCE_S = 60.0
"""For a client that takes nothing: a player that is paused asks for the rest when it goes on."""


class Backpressure:
    """Around the whole application, so that it gets Serve's own `send`; all else that Serve asks of it goes through."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    def __getattr__(self, name: str) -> Any:
        return getattr(self._app, name)  # such as routes, by which Serve's metrics tell calls apart

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, patient(send) if scope["type"] == "http" else send)


def patient(send: Send) -> Send:
    queue = queue_of(send)

    async def sending(message: Message) -> None:
        for piece in pieces(message):
            await room(queue)
            await send(piece)

    return sending


async def room(queue: Sized) -> None:
    """Returns when another piece may wait. Raises ConnectionAbortedError when nothing was taken for PATIENCE_S."""
    pause, until = SOONEST_S, time.monotonic() + PATIENCE_S
    while len(queue) >= WAITING:
        if time.monotonic() > until:
            raise ConnectionAbortedError("a client reads nothing of its answer any more")
        await asyncio.sleep(pause)
        pause = min(LATEST_S, 2 * pause)


def pieces(message: Message) -> Iterator[Message]:
    body = message.get("body", b"")
    *others, last = (body[start : start + PIECE] for start in range(0, len(body) or 1, PIECE))
    for part in others:
        yield {**message, "body": part, "more_body": True}
    yield {**message, "body": last} if others else message


def queue_of(send: Send) -> Sized:
    """What waits behind Serve's `send`. Raises LookupError where that cannot be found."""
    found: Sized | None = getattr(getclosurevars(send).nonlocals.get("result_queue"), "_message_queue", None)
    if found is None:
        raise LookupError("this release of Ray Serve keeps answers that wait in a place that is not known")
    return found
