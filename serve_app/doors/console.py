"""The console: a page for the browser at `/`, plain files that are served as they lie in the package.

They are read once, and packed once, when the service starts: some tens of kilobytes. A browser keeps them and asks by
ETag whether they still hold, so a new version is there with the next click and an old one is never mixed with it for
long. Nothing is fetched from elsewhere and nothing runs but these files: the policy says so to the browser.
"""

import gzip
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException

FOLDER = Path(__file__).parents[1] / "console"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "media-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "cache-control": "no-cache",
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "vary": "accept-encoding",
    "x-content-type-options": "nosniff",
}


@dataclass(frozen=True, slots=True)
class Asset:
    plain: bytes
    packed: bytes
    etag: str
    media_type: str

    def answer(self, request: Request) -> Response:
        headers = {**HEADERS, "etag": self.etag}
        known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
        if self.etag in known:
            return Response(status_code=304, headers=headers)
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Response(self.packed, media_type=self.media_type, headers=headers | {"content-encoding": "gzip"})
        return Response(self.plain, media_type=self.media_type, headers=headers)


def assets(folder: Path = FOLDER) -> dict[str, Asset]:
    """By name, everything in the folder that a browser has a use for."""
    return {path.name: asset(path) for path in folder.iterdir() if path.suffix in TYPES}


def asset(path: Path) -> Asset:
    content = path.read_bytes()
    etag = f'"{sha256(content).hexdigest()[:20]}"'
    return Asset(content, gzip.compress(content, 9, mtime=0), etag, TYPES[path.suffix])


def add_console(api: FastAPI) -> None:
    found = assets()

    @api.get("/", include_in_schema=False)
    async def page(request: Request) -> Response:
        return found["index.html"].answer(request)

    @api.get("/console/{name}", include_in_schema=False)
    async def file(request: Request, name: str) -> Response:
        if name not in found:
            raise HTTPException(404)
        return found[name].answer(request)
