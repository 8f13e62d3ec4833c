"""The cookie in which a browser carries a key, and when it counts.

It is no proof of what its bearer wants: browsers send it by themselves. So a call that changes something has to bear
the header `x-console` besides, which no page of another origin can add without being asked for leave first, and this
service gives none; without it the cookie counts for nothing. For the same reason nobody without a key may be made to
act by a page of another site: such calls say so themselves, and are refused.
"""

from collections.abc import Mapping

from starlette.datastructures import Headers
from starlette.requests import cookie_parser

from models.errors import NotAllowed

COOKIE = "dubserve_key"
PROOF = "x-console"
"""The header that only a page of this service can send."""
SAFE = ("GET", "HEAD")


def carried(headers: Headers, method: str) -> Mapping[str, str]:
    """The headers of a call, with the key of its cookie where it may count and no other key is there.

    Raises NotAllowed for a change that a page of another site asks for.
    """
    if method not in SAFE and headers.get("sec-fetch-site") == "cross-site":
        raise NotAllowed("a page of another site may not do this; open the console of this service")
    key = cookie_parser(headers.get("cookie", "")).get(COOKIE, "")
    if not key or "authorization" in headers or (method not in SAFE and PROOF not in headers):
        return headers
    return {**headers, "authorization": f"Bearer {key}"}
