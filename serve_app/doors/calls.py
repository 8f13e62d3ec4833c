"""Counts the calls that are answered at once, and refuses those beyond a limit before their bodies are read."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from types import TracebackType

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from models.errors import DubError
from serve_app.doors.access import Caller
from serve_app.doors.undivided import undivided
from serve_app.jobs.calls import Calls
from serve_app.spending import CURRENT, Attempt

logger = logging.getLogger(__name__)

ROUTES = frozenset({"/v1/audio/transcriptions", "/v1/audio/translations", "/v1/audio/speech"})


class Call:
    """Whatever is used up within it is booked on it, with its share of this process."""

    def __init__(self, calls: Calls, number: int, name: str) -> None:
        self._calls = calls
        self._number = number
        self._attempt = Attempt(f"{name} {number}")

    @classmethod
    async def begin(cls, calls: Calls, caller: Caller, name: str) -> "Call":
        """`name` is the route, or the RPC. Raises NotAllowed (resource_exhausted) beyond a limit."""
        return cls(calls, await asyncio.to_thread(calls.begin, caller.tenant, name), name)

    async def __aenter__(self) -> None:
        self._before = CURRENT.set(self._attempt.spending)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        CURRENT.reset(self._before)
        try:
            await undivided(asyncio.to_thread(self._calls.end, self._number, self._attempt.close()))
        except Exception:  # the answer has been given, and is good without it
            logger.exception("what a call has used could not be written down")


class Counted:
    """Stands behind the guard, who knows the caller."""

    def __init__(self, app: ASGIApp, calls: Calls, refuse: Callable[[Request, Exception], Awaitable[Response]]) -> None:
        self._app = app
        self._calls = calls
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or scope["path"] not in ROUTES:
            await self._app(scope, receive, send)
            return
        try:
            call = await Call.begin(self._calls, scope["state"]["caller"], scope["path"])
        except DubError as error:
            answer = await self._refuse(Request(scope), error)
            await answer(scope, receive, send)
            return
        async with call:
            await self._app(scope, receive, send)
