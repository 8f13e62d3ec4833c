"""Counts the calls of the audio routes, and refuses those beyond a limit before their bodies are read."""

import asyncio
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from models.errors import DubError
from serve_app.doors.access import Caller
from serve_app.doors.desk import undivided
from serve_app.jobs.calls import Calls
from serve_app.spending import CURRENT, Spending

ROUTES = frozenset({"/v1/audio/transcriptions", "/v1/audio/translations", "/v1/audio/speech"})


class Counted:
    """Stands behind the guard, who knows the caller. Whatever is used up within a call is booked on it."""

    def __init__(self, app: ASGIApp, calls: Calls, refuse: Callable[[Request, Exception], Awaitable[Response]]) -> None:
        self._app = app
        self._calls = calls
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or scope["path"] not in ROUTES:
            await self._app(scope, receive, send)
            return
        caller: Caller = scope["state"]["caller"]
        try:
            number = await asyncio.to_thread(self._calls.begin, caller.tenant, scope["path"])
        except DubError as error:
            answer = await self._refuse(Request(scope), error)
            await answer(scope, receive, send)
            return
        spent = Spending()
        before = CURRENT.set(spent)
        try:
            await self._app(scope, receive, send)
        finally:
            CURRENT.reset(before)
            await undivided(asyncio.to_thread(self._calls.end, number, spent))
