"""The documentation at /docs-site: a site of plain files, when `make docs` has built it, and how to build it otherwise.

Everybody may read it, with a key or without. The pages hold small scripts of their own, which the console's stricter
policy would not run; nothing is fetched from elsewhere.
"""

from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

URL = "/docs-site"
SITE = Path(__file__).resolve().parents[2] / "out" / "docs-site"
POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data:",
        "worker-src 'self' blob:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {"content-security-policy": POLICY, "x-content-type-options": "nosniff", "cache-control": "no-cache"}
UNBUILT = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>dubserve: documentation</title>
<h1>The documentation has not been built</h1>
<p>Run <code>make docs</code> in the checkout from which this service was started, and load this page again.
The same pages lie in its folder <code>docs/</code> as Markdown.</p>
<p><a href="/">The console</a> · <a href="/openapi.json">the API, for machines</a></p>
</html>
"""


def add_documentation(api: FastAPI, site: Path = SITE) -> None:
    @api.get(URL, include_in_schema=False)
    async def home() -> Response:
        return RedirectResponse(f"{URL}/")

    @api.get(URL + "/{path:path}", include_in_schema=False)
    def show(path: str) -> Response:
        if not (site / "index.html").is_file():
            return HTMLResponse(UNBUILT, 404, HEADERS)
        file = (site / (path.replace("\0", "") or "index.html")).resolve()
        if not file.is_relative_to(site.resolve()) or not file.is_file():
            raise HTTPException(404)
        return FileResponse(file, headers=HEADERS)
