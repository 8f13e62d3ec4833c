"""The HTTP door: a thin FastAPI application over the desk. Media is streamed from disk, with range requests.

Every error, whoever noticed it, has one shape: `{"error": {"code", "message"}}`. A body that is too large is refused
before the form parser lays it on the disk. What a proxy in front of this door buffers is out of its sight.
"""

import asyncio
import json
import logging
import re
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from http import HTTPStatus
from math import ceil
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, File, Form, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, StreamingResponse
from starlette.exceptions import HTTPException

from configs.app import AppSettings
from configs.pipeline import Subtitles
from models.errors import DubError, InvalidJob, NotAllowed, OutOfSpace
from serve_app.doors import openai, segments, session, speech, usage, wire
from serve_app.doors.access import Access, Caller, Confirm, Guard, Who
from serve_app.doors.bodies import BodyLimit
from serve_app.doors.calls import Counted
from serve_app.doors.console import add_console
from serve_app.doors.deliveries import add_deliveries
from serve_app.doors.desk import Desk
from serve_app.doors.documentation import add_documentation
from serve_app.doors.listing import add_listing
from serve_app.doors.overview import Overview, add_overview
from serve_app.doors.possible import add_possible
from serve_app.doors.speech import Announcer
from serve_app.doors.transcribe import Transcriber
from serve_app.doors.undivided import undivided
from serve_app.doors.uploads import NO_ROOM, TooLarge
from serve_app.doors.viewing import add_viewing
from serve_app.jobs import job as nouns
from serve_app.jobs.job import Control
from serve_app.telemetry.calls import Seen

logger = logging.getLogger(__name__)

Ready = Callable[[], Awaitable[dict[str, bool]]]
"""Asks every part whether it could do its work now."""

REFUSALS = {
    400: ("bad_request", "the request could not be read; send what /openapi.json describes"),
    404: ("not_found", "there is nothing at this address; /openapi.json lists what there is"),
    405: ("method_not_allowed", "this address does not take this method; /openapi.json lists which ones it takes"),
    416: ("range_not_satisfiable", "the file has no such range of bytes; ask for one inside it"),
}
RANGE = re.compile(r"\s*(?:(\d{1,15})-(\d{0,15})|-(\d{1,15}))\s*", re.ASCII)


def build_api(
    desk: Desk, access: Access, ready: Ready, transcriber: Transcriber, announcer: Announcer, settings: AppSettings
) -> FastAPI:
    api = FastAPI(
        title="dubserve",
        description="Self-hosted video translation.",
        version="1",
        docs_url=None,
        redoc_url=None,
        telemetry={"auto_configure": False, "tracing": False},  # ours has one span a call, at both doors
    )
    api.add_exception_handler(DubError, on_error)
    api.add_exception_handler(Exception, on_error)
    api.add_exception_handler(HTTPException, on_refusal)
    api.add_exception_handler(RequestValidationError, on_unfit)
    api.add_middleware(BodyLimit, desk=desk, transcriber=transcriber, refuse=on_error)
    api.add_middleware(Counted, calls=desk.calls, refuse=on_error)
    api.add_middleware(Guard, access=access, admit=desk.admit, refuse=on_error)
    api.add_middleware(Seen)  # the last one stands outermost
    add_deliveries(api, desk)
    segments.add_segments(api, desk)  # these before the jobs, whose route of actions takes every word
    add_listing(api, desk)
    add_jobs(api, desk)
    add_files(api, desk)
    add_viewing(api, desk)
    usage.add_usage(api, desk.usage)
    overview = Overview(desk.database, settings)
    add_health(api, desk, ready, overview)
    session.add_session(api, access, overview)
    add_overview(api, overview)
    add_possible(api, transcriber, settings)
    add_console(api)
    add_documentation(api)
    openai.add_audio(api, transcriber, settings)
    speech.add_speech(api, announcer)
    return api


async def on_error(request: Request, error: Exception) -> JSONResponse:
    problem = wire.fault(error)
    headers = {"retry-after": str(ceil(problem.retry_after))} if problem.retry_after else {}
    if problem.http == HTTPStatus.UNAUTHORIZED:
        headers["www-authenticate"] = "Bearer"
    status = 413 if isinstance(error, TooLarge) else problem.http
    return refusal(request, status, problem.code, problem.message, openai.param(error), headers)


async def on_refusal(request: Request, error: Exception) -> JSONResponse:
    """What the framework refuses, in our words; `Allow` and `Content-Range` are kept."""
    assert isinstance(error, HTTPException), "registered for these alone"
    if isinstance(error.__cause__, DubError):
        return await on_error(request, error.__cause__)
    if isinstance(error.__cause__, OSError):  # the parts of a form go through the disk
        logger.warning("a form could not be kept on the disk", exc_info=error.__cause__)
        return await on_error(request, OutOfSpace(NO_ROOM))
    code, message = REFUSALS.get(error.status_code, REFUSALS[400])
    return refusal(request, error.status_code, code, message, None, error.headers)


async def on_unfit(request: Request, error: Exception) -> JSONResponse:
    """Names the fields and nothing of what was in them."""
    assert isinstance(error, RequestValidationError), "registered for these alone"
    fields = sorted({field_of(problem["loc"]) for problem in error.errors()})
    message = f"check {', '.join(fields)}: /openapi.json describes what may be sent"
    return refusal(request, 422, "invalid_request", message, fields[0])


def field_of(place: Sequence[int | str]) -> str:
    """The field's name out of where the framework found the problem; list fields have brackets and positions."""
    names = [part for part in place[1:] if isinstance(part, str)] or ["body"]
    return names[0].removesuffix("[]")


def refusal(
    request: Request, status: int, code: str, message: str, param: str | None, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """The one shape of errors; on OpenAI's routes it is theirs."""
    if openai.speaks(request.url.path):
        return openai.refusal(status, code, message, param, headers)
    return JSONResponse({"error": {"code": code, "message": message}}, status, headers)


def add_jobs(api: FastAPI, desk: Desk) -> None:
    @api.post("/v1/jobs", status_code=202, summary="Dub a video: uploaded here, or already in the uploads folder")
    async def create(
        caller: Who,
        target_lang: Annotated[str, Form()] = "",
        target_langs: Annotated[list[str], Form(description="in place of it; the film is heard once for all")] = [],  # noqa: B006
        source_lang: Annotated[str, Form()] = "",
        voice_gender: Annotated[str, Form()] = "",
        subtitles: Annotated[Subtitles | None, Form()] = None,
        priority: Annotated[int, Form(ge=-100, le=100, description="among your own jobs; higher goes first")] = 0,
        path: Annotated[str | None, Form(description="absolute, inside the allowed roots")] = None,
        file: Annotated[UploadFile | None, File()] = None,
        transcript: Annotated[UploadFile | None, File(description="SRT or WebVTT: what is said, and when")] = None,
        transcript_path: Annotated[str | None, Form(description="the same, as `path`")] = None,
        webhook: Annotated[str, Form(description="an address that is told how the job has ended")] = "",
        audio_track: Annotated[int, Form(ge=0, description="of several, counted from 1; 0: as configured")] = 0,
        keep_audio: Annotated[bool | None, Form(description="the other audio tracks stay in the film")] = None,
        title: Annotated[str, Form(description="for people; left out: the name of the uploaded file")] = "",
    ) -> dict[str, Any]:
        job_id = uuid.uuid4().hex
        if (path is None) == (file is None):
            raise InvalidJob("send either the video itself as `file`, or the `path` of one that the service can read")
        if bool(target_lang) == bool(target_langs):
            raise InvalidJob("name the language of the dub as `target_lang`, or several of them as `target_langs`")
        first, *also = nouns.languages(target_lang, *target_langs)
        asked = nouns.Request(job_id, path or "", source_lang, first, voice_gender, subtitles, also=tuple(also))
        asked = replace(asked, audio_track=audio_track, keep_audio=keep_audio)
        request = desk.check(replace(asked, priority=priority, webhook=webhook, title=titled(title, file, path)))
        try:
            if file is not None:
                video = await desk.uploads.receive(caller, job_id, file.filename or "", file.file)
            else:
                video = await desk.uploads.readable(caller, path or "")
            request = replace(request, path=str(video))
            async with desk.places.inspected(caller.tenant, request):
                told = await transcript_of(desk, caller, job_id, transcript, transcript_path)
                job = await desk.take(caller, replace(request, transcript=told))
        except BaseException:  # also when the client went away: nobody else will look for the upload
            await undivided(asyncio.to_thread(desk.uploads.withdraw, caller, job_id))
            raise
        return wire.job_json(job, [])

    @api.get("/v1/jobs/{job_id}", summary="Where a job stands")
    async def show(caller: Who, job_id: str) -> dict[str, Any]:
        return wire.job_json(await desk.job(caller, job_id), await desk.logs(caller, job_id))

    @api.get("/v1/jobs/{job_id}/events", summary="The same, live, as server-sent events until the job has ended")
    async def events(request: Request, caller: Who, job_id: str) -> StreamingResponse:
        await desk.job(caller, job_id)
        confirm: Confirm = request.state.confirm
        return StreamingResponse(stream(desk, caller, job_id, confirm), media_type="text/event-stream")

    @api.get("/v1/jobs/{job_id}/log", summary="All that happened to a job, a line of JSON an event")
    async def log(caller: Who, job_id: str) -> StreamingResponse:
        return StreamingResponse(await desk.events(caller, job_id), media_type="application/jsonl")

    @api.post("/v1/jobs/{job_id}/{action}", summary="Pause, resume or cancel a job")
    async def control(caller: Who, job_id: str, action: str) -> dict[str, Any]:
        return wire.job_json(await desk.control(caller, job_id, control_of(action)), await desk.logs(caller, job_id))


def titled(title: str, file: UploadFile | None, path: str | None) -> str:
    """What people call the job; of a name only what can be seen."""
    named = title or Path((file.filename if file is not None else path) or "").name
    return "".join(letter for letter in named if letter.isprintable())[:200]


async def transcript_of(desk: Desk, caller: Caller, job_id: str, file: UploadFile | None, path: str | None) -> str:
    """Where the transcript of a job lies; empty without one."""
    if file is not None and path is not None:
        raise InvalidJob("send the transcript either as a file or as a `transcript_path`")
    if file is not None:
        return str(await desk.uploads.receive_transcript(caller, job_id, file.file))
    return str(await desk.uploads.readable_transcript(caller, path)) if path is not None else ""


def add_files(api: FastAPI, desk: Desk) -> None:
    @api.get("/v1/jobs/{job_id}/result", summary="What came out, with links to the files")
    async def result(caller: Who, job_id: str) -> dict[str, Any]:
        job = await desk.job(caller, job_id)
        wire.result(job)
        names = await asyncio.to_thread(desk.artifact_names, caller, job_id)
        assert job.result is not None, "wire.result has raised otherwise"
        return {
            "id": job_id,
            **wire.result_json(job.result),
            "artifacts": {name: f"/v1/jobs/{job_id}/artifacts/{name}" for name in names},
        }

    @api.get("/v1/jobs/{job_id}/artifacts/{name}", summary="One file of a job; range requests work")
    async def artifact(caller: Who, job_id: str, name: str, request: Request) -> FileResponse:
        path: Path = await asyncio.to_thread(desk.artifact, caller, job_id, name)
        state = await asyncio.to_thread(path.stat)
        if "if-range" not in request.headers:  # one that does not hold makes the range void
            check_range(request.headers.get("range"), state.st_size)
        title = (await desk.job(caller, job_id)).request.title
        return FileResponse(path, filename=f"{Path(title).stem}_{name}" if title else path.name, stat_result=state)

    @api.get("/v1/jobs/{job_id}/insights", summary="What was decided, and why")
    async def insights(caller: Who, job_id: str) -> list[dict[str, Any]]:
        return [wire.insight_json(insight) for insight in await desk.insights(caller, job_id)]


def add_health(api: FastAPI, desk: Desk, ready: Ready, overview: Overview) -> None:
    @api.get("/healthz", summary="This process is alive")
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @api.get("/readyz", summary="Every engine has given its golden answer, and the store can be read")
    async def readyz() -> JSONResponse:
        parts = await ready()
        return JSONResponse({"ready": all(parts.values()), "parts": parts}, 200 if all(parts.values()) else 503)

    @api.get("/metrics", summary="For operators: figures of all processes, as Prometheus reads them")
    async def metrics(caller: Who) -> PlainTextResponse:
        await overview.check(caller)
        return PlainTextResponse(await asyncio.to_thread(desk.scrape.text), media_type="text/plain; version=0.0.4")


def check_range(header: str | None, size: int) -> None:
    """Raises HTTPException 416 unless every range asked for lies in a file of `size` bytes."""
    if header is None:
        return
    unit, _, ranges = header.partition("=")
    if unit.strip().lower() != "bytes" or not all(satisfiable(part, size) for part in ranges.split(",")):
        raise HTTPException(416, headers={"content-range": f"bytes */{size}"})


def satisfiable(part: str, size: int) -> bool:
    found = RANGE.fullmatch(part)
    if found is None:
        return False
    first, last, suffix = found.groups()
    if suffix is not None:
        return size > 0 and int(suffix) > 0
    return int(first) < size and (not last or int(first) <= int(last))


def control_of(action: str) -> Control:
    controls = {"pause": Control.PAUSE, "resume": Control.RUN, "cancel": Control.CANCEL}
    if action not in controls:
        raise InvalidJob("an action is one of pause, resume and cancel")
    return controls[action]


async def stream(desk: Desk, caller: Caller, job_id: str, confirm: Confirm) -> AsyncIterator[str]:
    """Ends early when the key of its caller is revoked meanwhile."""
    async for job, lines in desk.follow(caller, job_id):
        try:
            await confirm()
        except NotAllowed:
            return
        yield f"event: progress\ndata: {json.dumps(wire.job_json(job, lines), ensure_ascii=False)}\n\n"
