"""How large a body may be, at each address, before anything of it is laid on the disk."""

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_app.doors import openai, segments, session, speech
from serve_app.doors.access import FORM_BYTES, Refuse
from serve_app.doors.desk import Desk
from serve_app.doors.transcribe import Transcriber
from serve_app.doors.uploads import TooLarge


class BodyLimit:
    """Refuses a body by its announced length, and stops one without a length at the same number of bytes."""

    def __init__(self, app: ASGIApp, desk: Desk, transcriber: Transcriber, refuse: Refuse) -> None:
        self._app = app
        self._desk = desk
        self._transcriber = transcriber
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit, too_large = self._limit(scope["path"])
        length = Headers(scope=scope).get("content-length", "")
        if length.isdecimal() and int(length) > limit:
            answer = await self._refuse(Request(scope), too_large)
            await answer(scope, receive, send)
            return
        await self._app(scope, counted(receive, limit, too_large), send)

    def _limit(self, path: str) -> tuple[int, TooLarge]:
        """Bytes that a body at this address may have, and what is said to a larger one."""
        if path == speech.URL:
            return speech.BYTES, speech.too_large()
        if openai.speaks(path):
            return self._transcriber.max_bytes + FORM_BYTES, self._transcriber.too_large()
        if path == session.URL:
            return session.BYTES, session.too_large()
        if segments.speaks(path):
            return segments.BYTES, segments.too_large()
        return self._desk.uploads.max_bytes + FORM_BYTES, self._desk.uploads.too_large()


def counted(receive: Receive, limit: int, too_large: TooLarge) -> Receive:
    seen = 0

    async def counting() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit:  # the one exception that the form parser lets through as it is
            raise HTTPException(413) from too_large
        return message

    return counting
