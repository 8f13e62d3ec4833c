"""Signing in from a browser: a cookie that carries the key, so that videos, subtitles and streams need no script.

`<video>`, `<track>` and links send no headers of ours, and a key that scripts can read is one that a foreign script
could take away. So the console sends the key once, and from then on the browser keeps it, where no script sees it
(HttpOnly), and sends it from pages of this service only (SameSite=Strict). There is no table of sessions: a key that is
revoked ends them too, and so does closing the browser.

What this does not do: encrypt. Over plain HTTP the key can be read on the way, as it can in a header.
"""

from typing import Annotated, Any

from fastapi import Body, FastAPI, Request, Response

from models.errors import NotAllowed
from serve_app.doors.access import Access, Caller
from serve_app.doors.cookie import COOKIE, PROOF, carried
from serve_app.doors.overview import Overview
from serve_app.doors.uploads import TooLarge

URL = "/v1/session"
BYTES = 4096
"""What a body may hold here, where callers are not known yet."""


def too_large() -> TooLarge:
    return TooLarge("this is longer than a key can be; send a key alone")


def add_session(api: FastAPI, access: Access, overview: Overview) -> None:
    @api.get(URL, summary="Who calls, and whether a key is wanted: what the console asks first")
    async def session(request: Request, response: Response) -> dict[str, Any]:
        response.headers["cache-control"] = "no-store"
        try:
            caller = await access.caller(carried(request.headers, request.method))
        except NotAllowed:  # an answer, not a refusal: the console shows its form
            return {"tenant": None, "keys_required": access.keys_required, "operator": False}
        return await described(caller)

    @api.post(URL, summary="Sign in: keeps the key in a cookie of this browser")
    async def sign_in(
        request: Request, response: Response, key: Annotated[str, Body(embed=True, max_length=200)]
    ) -> dict[str, Any]:
        if PROOF not in request.headers or not key.strip():
            raise NotAllowed("send a key, as {key: …} in JSON, with the header x-console: 1", "unauthenticated")
        caller = await access.caller({"authorization": f"Bearer {key.strip()}"})
        safe = "https" in (request.url.scheme, request.headers.get("x-forwarded-proto"))
        response.set_cookie(COOKIE, key.strip(), path="/v1", httponly=True, samesite="strict", secure=safe)
        return await described(caller)

    @api.delete(URL, status_code=204, summary="Sign out: forgets the key")
    async def sign_out() -> Response:
        response = Response(status_code=204)
        response.delete_cookie(COOKIE, path="/v1", httponly=True, samesite="strict")
        return response

    async def described(caller: Caller) -> dict[str, Any]:
        operator = await overview.may_see(caller.tenant)
        return {"tenant": caller.tenant, "keys_required": access.keys_required, "operator": operator}
