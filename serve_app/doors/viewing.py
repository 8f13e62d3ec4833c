"""What a player needs besides the results: the original film, and the report as a page.

Both may hold what strangers made, and are shown under the address of this service: so the film is only ever sent as
what browsers play, never as a page, and the report runs no scripts and belongs to no origin.
"""

import asyncio
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse

from models.errors import JobNotFound
from serve_app.doors.access import Caller, Who
from serve_app.doors.desk import Desk

PLAYED = {
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".mov": "video/mp4",  # the same container; browsers refuse it under its own name
    ".webm": "video/webm",
    ".mkv": "video/x-matroska",
    ".mp3": "audio/mpeg",
    ".wav": "audio/wav",
    ".flac": "audio/flac",
    ".ogg": "audio/ogg",
}
OTHER = "application/octet-stream"
INERT = {
    "content-security-policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'",
    "x-content-type-options": "nosniff",
    "cache-control": "private, no-cache",
}


def add_viewing(api: FastAPI, desk: Desk) -> None:
    @api.get("/v1/jobs/{job_id}/source", summary="The video as it came; range requests work")
    async def source(caller: Who, job_id: str) -> FileResponse:
        path = await film(desk, caller, job_id)
        return FileResponse(path, media_type=PLAYED.get(path.suffix.lower(), OTHER), headers=INERT)

    @api.get("/v1/jobs/{job_id}/report", summary="The quality report as a page, shown instead of downloaded")
    async def report(caller: Who, job_id: str, target: str = "") -> FileResponse:
        job = await desk.job(caller, job_id)
        name = f"report.{target}.html" if target in job.request.also else "report.html"
        path = await asyncio.to_thread(desk.artifact, caller, job_id, name)
        return FileResponse(path, media_type="text/html; charset=utf-8", headers=INERT)


async def film(desk: Desk, caller: Caller, job_id: str) -> Path:
    """Where the video of a job lies, asked by the rules for naming one: its link may lead elsewhere by now."""
    job = await desk.job(caller, job_id)
    try:
        return await desk.uploads.readable(caller, job.request.path)
    except Exception as error:
        raise JobNotFound("the original video is not there any more; the dub stays") from error
