"""Answers over HTTP no faster than their client reads them.

Serve takes every piece of an answer at once and keeps it until its proxy asks for more, when all that waits goes over
in one message. A client that reads slowly would fill the memory with the film that it downloads, and beyond eight
megabytes (RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH) the message is refused and the film ends early.

How much waits there is not part of Serve's public interface: `queue_of` is the one place that looks, and it says so
when a release of Serve has it elsewhere.
"""

import asyncio
from collections.abc import Iterator, Sized
from inspect import getclosurevars

from starlette.types import ASGIApp, Message, Receive, Scope, Send

PIECE = 64 * 1024
"""Bytes. What files are read in as well."""

WAITING = 16
"""Pieces that may wait for the proxy: a megabyte, which a proxy of this machine takes in a millisecond."""

SOONEST_S, LATEST_S = 0.001, 0.05
"""Between two looks, which come less and less often: with a megabyte ahead nobody is kept waiting at 20 MB/s."""


class Backpressure:
    """Around the whole application, so that it gets Serve's own `send`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, patient(send) if scope["type"] == "http" else send)


def patient(send: Send) -> Send:
    queue = queue_of(send)

    async def sending(message: Message) -> None:
        for piece in pieces(message):
            pause = SOONEST_S
            while len(queue) >= WAITING:
                await asyncio.sleep(pause)
                pause = min(LATEST_S, 2 * pause)
            await send(piece)

    return sending


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
