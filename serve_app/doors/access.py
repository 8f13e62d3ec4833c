"""Who calls? Both doors ask here, before they read anything else of a call.

A key comes as `authorization: Bearer …`, in the metadata of gRPC or the headers of HTTP. Without one the caller is the
anonymous tenant where the settings allow it; a wrong key is refused even there, so that nobody works under another name
than they think. OpenAI's clients insist on sending some key: an empty one, or the word `none`, counts as no key.

A key that was found is believed for some seconds without asking the database again: so a revoked one works for that
long, in the process that has just seen it. Streams ask again as they go on. A key that is not known is refused as long
without asking: whoever sends it again and again gets no answer from the database.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, TypeVar

from fastapi import Depends, Request
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from models.errors import DubError, NotAllowed
from serve_app.doors.cookie import carried
from serve_app.jobs.job import ANONYMOUS
from serve_app.jobs.tenants import Tenants, digest

OPEN = frozenset({"/healthz", "/readyz", "/openapi.json", "/", "/v1/session", "/docs-site"})
"""Addresses that answer everybody; every other one needs a caller."""
OPEN_FOLDERS = ("/console/", "/docs-site/")
NO_KEY = ("", "none")
BELIEVED_S = 5.0
BELIEVED = 10_000
"""Keys that are remembered at once, and as many that are not known."""

UPLOAD = ("POST", "/v1/jobs")

FORM_BYTES = 256 * 1024
"""What a form may hold besides its file."""

logger = logging.getLogger(__name__)

T = TypeVar("T")
Refuse = Callable[[Request, Exception], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever speaks to a door: all that they see and do is one tenant's."""

    tenant: str = ANONYMOUS
    address: str = ""


Confirm = Callable[[], Awaitable[None]]
"""Raises NotAllowed when the key with which a call began has been revoked."""
Admit = Callable[[Caller, int], Awaitable[None]]
"""Says whether a job with so many bytes would be taken."""


class Access:
    """One per process. `clock` gives seconds from any beginning."""

    def __init__(self, tenants: Tenants, anonymous: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._tenants = tenants
        self._anonymous = anonymous
        self._clock = clock
        self._believed: dict[str, tuple[Caller, float]] = {}
        self._refused: dict[str, tuple[str, float]] = {}

    @property
    def keys_required(self) -> bool:
        return not self._anonymous

    async def caller(self, metadata: Mapping[str, str]) -> Caller:
        """Whose key is in `metadata`, names in small letters. Raises NotAllowed (unauthenticated)."""
        scheme, _, key = metadata.get("authorization", "").strip().partition(" ")
        key = key.strip()
        if scheme.lower() not in ("", "bearer"):
            raise NotAllowed("send the key as `authorization: Bearer …`", "unauthenticated")
        if key in NO_KEY:
            if self._anonymous:
                return Caller()
            raise NotAllowed("this service wants a key: send it as `authorization: Bearer …`", "unauthenticated")
        return await self._owner(key)

    async def confirm(self, metadata: Mapping[str, str]) -> None:
        """Raises NotAllowed when whoever began a stream could not begin it any more.

        While nobody can be asked, as when the database is away, it goes on.
        """
        try:
            await self.caller(metadata)
        except NotAllowed:
            raise
        except Exception:
            logger.warning("a key could not be looked up again; its streams go on", exc_info=True)

    async def _owner(self, key: str) -> Caller:
        name, now = digest(key), self._clock()
        caller, until = self._believed.get(name, (None, 0.0))
        if caller is None or until < now:
            self._believed.pop(name, None)
            caller = await self._found(key, name, now)
            remember(self._believed, name, caller, now + BELIEVED_S)
        return caller

    async def _found(self, key: str, name: str, now: float) -> Caller:
        refusal, until = self._refused.get(name, ("", 0.0))
        if until > now:
            raise NotAllowed(refusal, "unauthenticated")
        try:
            return Caller(await asyncio.to_thread(self._tenants.owner, key))
        except NotAllowed as error:
            remember(self._refused, name, str(error), now + BELIEVED_S)
            raise


def remember(known: dict[str, tuple[T, float]], name: str, what: T, until: float) -> None:
    if len(known) >= BELIEVED:
        known.clear()
    known[name] = what, until


class Guard:
    """Stands before the routes, so that one which is added later cannot forget to ask.

    A video that would be refused, because its sender has used up a limit or is too fast, is refused before it is read.
    """

    def __init__(self, app: ASGIApp, access: Access, admit: Admit, refuse: Refuse) -> None:
        self._app = app
        self._access = access
        self._admit = admit
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not is_open(scope["path"]):
            try:
                headers = Headers(scope=scope)
                metadata = carried(headers, scope["method"])
                caller = await self._access.caller(metadata)
                caller = replace(caller, address=(scope.get("client") or ("",))[0])
                if (scope["method"], scope["path"]) == UPLOAD:
                    length = headers.get("content-length", "")
                    await self._admit(caller, max(0, int(length) - FORM_BYTES) if length.isdecimal() else 0)
            except DubError as error:
                answer = await self._refuse(Request(scope), error)
                await answer(scope, receive, send)
                return
            confirm = partial(self._access.confirm, metadata)
            scope.setdefault("state", {}).update(caller=caller, confirm=confirm)
        await self._app(scope, receive, send)


def is_open(path: str) -> bool:
    return path in OPEN or path.startswith(OPEN_FOLDERS)


def who(request: Request) -> Caller:
    caller: Caller = request.state.caller
    return caller


Who = Annotated[Caller, Depends(who)]
"""The parameter by which a route learns who calls."""
