"""Calls at the HTTP door: each is counted by its route, and belongs to the trace of its caller."""

import time

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_app.telemetry import metrics, traces

UNSEEN = ("/healthz", "/readyz", "/metrics")
"""Asked every few seconds by machines: they would drown the others."""


class Seen:
    """Stands around everything else."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in UNSEEN:
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        code, seconds = 500, 0.0

        async def heard(message: Message) -> None:
            nonlocal code, seconds
            if message["type"] == "http.response.start":
                code, seconds = message["status"], time.perf_counter() - began
            await send(message)

        with traces.span("HTTP", traces.parent_of(Headers(scope=scope))) as span:
            try:
                await self._app(scope, receive, heard)
            finally:
                call = f"{scope['method']} {_route(scope)}"
                span.update_name(call)
                span.set_attribute("http.response.status_code", code)
                told(call, "http", str(code), seconds or time.perf_counter() - began)


def told(call: str, door: str, code: str, seconds: float) -> None:
    """`seconds` until the answer began: streams go on for as long as their jobs."""
    metrics.add("dubserve_calls_total", door=door, call=call, code=code)
    metrics.observe("dubserve_call_seconds", seconds, door=door)


def _route(scope: Scope) -> str:
    """As it was declared, since addresses hold ids."""
    return str(getattr(scope.get("route"), "path", "(none)"))
