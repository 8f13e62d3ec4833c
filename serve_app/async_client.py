"""How the Python client asks: over HTTP, with an event loop. `serve_app.client` is the door to it, and has the blocking
twin.

What can be asked again without harm is asked again, with growing pauses, while the service is away: for `first_s`
seconds until it has answered once, for `patience_s` after that. An upload is sent again only when it cannot have
arrived. A stream of progress, and a download, that break are taken up where they were.

The proxies of the environment are not used: they are for the web, and not for a service that is addressed by name.
"""

import asyncio
import json
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import ExitStack, aclosing
from pathlib import Path
from typing import Any, Self, Unpack
from urllib.parse import quote

import httpx

from models.errors import DubError
from serve_app import answers
from serve_app.answers import Change, Job, JobFailed, Options, Result, Segment, Unreachable
from serve_app.jobs.job import Insight

PAUSE_S, MAX_PAUSE_S = 0.2, 5.0
"""Between two tries: doubled each time, and shortened by chance, so that many clients do not come back at once."""
SILENCE_S = 30.0
"""A stream says something every two seconds; one that is silent for so long is dead."""
NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout)
"""What a request meets that has not left this machine."""
TIMES = httpx.Timeout(60.0, connect=5.0, write=120.0)


class AsyncClient:
    """Use as an async context manager. `key` is a tenant's; `transport` is for tests."""

    def __init__(
        self,
        url: str = "http://localhost:8000",
        key: str = "",
        patience_s: float = 60.0,
        first_s: float = 5.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        self.url = url.rstrip("/")
        self._http = httpx.AsyncClient(
            base_url=self.url, headers=headers, timeout=TIMES, trust_env=False, transport=transport
        )
        self._patience_s, self._first_s = patience_s, first_s
        self._answered = False

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    # -- jobs ----------------------------------------------------------------------------------------------------------

    async def submit(self, video: str | Path, to: str | Sequence[str], **options: Unpack[Options]) -> Job:
        """Uploads a video and has it dubbed into one language or several; returns the job, which has not begun yet.

        Raises InvalidJob, NotAllowed, OutOfSpace, and OSError for a file that cannot be read here.
        """
        there, transcript = options.get("there", False), options.get("transcript")
        form = _form(to, options)
        if there:
            form |= {"path": str(video)} | ({"transcript_path": str(transcript)} if transcript else {})
        with ExitStack() as opened:
            files = {
                name: (Path(path).name, opened.enter_context(Path(path).open("rb")))  # noqa: ASYNC230
                for name, path in (("file", video), ("transcript", transcript))
                if path and not there
            }
            return answers.job(await self._ask("POST", "/v1/jobs", again=False, data=form, files=files or None))

    async def jobs(self, limit: int = 50) -> list[Job]:
        """The latest jobs, newest first, without their logs."""
        return [answers.job(row) for row in await self._ask("GET", "/v1/jobs", params={"limit": limit})]

    async def job(self, job_id: str) -> Job:
        """Raises JobNotFound."""
        return answers.job(await self._ask("GET", f"/v1/jobs/{job_id}"))

    async def progress(self, job_id: str) -> AsyncGenerator[Job, None]:
        """Snapshots of a job, each of them whole, until it has ended; the last one says how. Raises JobNotFound."""
        tries = _Tries(self)
        while True:
            try:
                async with self._http.stream("GET", f"/v1/jobs/{job_id}/events", timeout=SILENCE_S) as response:
                    if response.is_success:
                        async for row in _events(response):
                            tries.heard()
                            yield (snapshot := answers.job(row))
                            if snapshot.ended:
                                return
                    else:
                        await response.aread()
                        self._refused(response)
            except httpx.TransportError:
                pass
            await tries.pause()

    async def wait(self, job_id: str) -> Job:
        """Returns once the job has completed. Raises JobFailed when it has ended otherwise."""
        async with aclosing(self.progress(job_id)) as snapshots:
            async for snapshot in snapshots:
                last = snapshot
        if last.status != "completed":
            raise JobFailed(last)
        return last

    async def control(self, job_id: str, action: str) -> Job:
        """`action` is pause, resume or cancel. Raises JobNotFound, WrongState."""
        return answers.job(await self._ask("POST", f"/v1/jobs/{job_id}/{action}"))

    async def retry(self, job_id: str) -> Job:
        """Goes on with a job that failed or was cancelled, from its checkpoints. Raises WrongState for any other."""
        return answers.job(await self._ask("POST", f"/v1/jobs/{job_id}/retry", again=False))

    async def insights(self, job_id: str) -> list[Insight]:
        """What was decided for the job, and why."""
        return [answers.insight(row) for row in await self._ask("GET", f"/v1/jobs/{job_id}/insights")]

    # -- change and dub again ------------------------------------------------------------------------------------------

    async def segments(self, job_id: str, target: str = "") -> list[Segment]:
        """What was heard and said. `target` is one of the job's languages, by default its first."""
        rows = await self._ask("GET", f"/v1/jobs/{job_id}/segments", params={"target": target})
        return [answers.segment(row) for row in rows]

    async def change(self, job_id: str, changes: Iterable[Change], target: str = "") -> list[Segment]:
        """Keeps changes for the next `redub`; returns the changed segments. Raises InvalidJob, WrongState."""
        body = [{"id": change.id, **change.asked()} for change in changes]
        rows = await self._ask("PATCH", f"/v1/jobs/{job_id}/segments", params={"target": target}, json=body)
        return [answers.segment(row) for row in rows]

    async def redub(self, job_id: str) -> Job:
        """Does again what depends on changed segments. Raises WrongState unless the job has completed once."""
        return answers.job(await self._ask("POST", f"/v1/jobs/{job_id}/redub", again=False))

    # -- results -------------------------------------------------------------------------------------------------------

    async def result(self, job_id: str) -> Result:
        """Raises WrongState, with the reason, for a job that has not completed."""
        return answers.result(await self._ask("GET", f"/v1/jobs/{job_id}/result"))

    async def download(self, job_id: str, folder: str | Path, names: Iterable[str] = ()) -> list[Path]:
        """Writes files of a job into `folder`, made when missing: those named, or all. Returns their paths.

        A file is there whole or not at all; one that broke off is gone on with. Raises JobNotFound, WrongState.
        """
        wanted = list(names) or list((await self.result(job_id)).artifacts)
        place = Path(folder)
        await asyncio.to_thread(place.mkdir, parents=True, exist_ok=True)
        return [
            await self._fetch(f"/v1/jobs/{job_id}/artifacts/{quote(name, safe='')}", place / Path(name).name)
            for name in wanted
        ]

    async def usage(self, since: str = "", until: str = "") -> dict[str, Any]:
        """What the caller's jobs have used: by default in the last 30 days. Times as 2026-11-24 or Unix seconds."""
        span = {"since": since, "until": until}
        answer: dict[str, Any] = await self._ask("GET", "/v1/usage", params=span)
        return answer

    async def ready(self) -> bool:
        """Whether every part of the service could work now; False also when nothing answers."""
        try:
            return (await self._http.get("/readyz")).is_success
        except httpx.TransportError:
            return False

    # -- how it asks ---------------------------------------------------------------------------------------------------

    async def _ask(self, method: str, path: str, again: bool = True, **content: Any) -> Any:
        """The JSON that the service answers. `again`: whether to ask twice does no harm."""
        tries = _Tries(self)
        while True:
            try:
                response = await self._http.request(method, path, **content)
            except httpx.TransportError as error:
                if not (again or isinstance(error, NOT_SENT)):
                    raise self.unreachable("it may have been sent; look at the jobs before sending it again") from error
            else:
                if response.is_success:
                    self._answered = True
                    return response.json()
                self._refused(response)
            await tries.pause()

    def _refused(self, response: httpx.Response) -> None:
        """Raises what the service says. Returns for the words of a proxy while there is no service behind it."""
        try:
            body = response.json()
        except ValueError:
            return
        error = answers.refusal(response.status_code, body, response.headers.get("retry-after", ""))
        if error is not None:
            self._answered = True
            raise error

    async def _fetch(self, path: str, target: Path) -> Path:
        part, tries = target.with_name(f".{target.name}.part"), _Tries(self)
        await asyncio.to_thread(part.write_bytes, b"")
        mark = ""
        while True:
            there = (await asyncio.to_thread(part.stat)).st_size
            headers = {"range": f"bytes={there}-", "if-range": mark} if there and mark else {}
            try:
                async with self._http.stream("GET", path, headers=headers, timeout=SILENCE_S) as response:
                    if response.is_success:
                        mark = response.headers.get("etag", "")
                        await _pour(response, part, tries)
                        await asyncio.to_thread(part.replace, target)
                        return target
                    await response.aread()
                    self._refused(response)
            except httpx.TransportError:
                pass
            except DubError:
                await asyncio.to_thread(part.unlink)
                raise
            await tries.pause()

    def unreachable(self, advice: str = "start the service with `dubserve serve`, or check the address") -> Unreachable:
        return Unreachable(f"nothing answers at {self.url}; {advice}")

    @property
    def patience(self) -> float:
        """Seconds for which a service that does not answer is asked again."""
        return self._patience_s if self._answered else self._first_s

    def answered(self) -> None:
        self._answered = True


def _form(to: str | Sequence[str], options: Options) -> dict[str, Any]:
    """The fields that are no files."""
    named = {
        "source_lang": options.get("source"),
        "voice_gender": options.get("voice"),
        "subtitles": options.get("subtitles"),
        "webhook": options.get("webhook"),
        "title": options.get("title"),
        "priority": str(options.get("priority") or ""),
        "audio_track": str(options.get("audio_track") or ""),
    }
    languages = [to] if isinstance(to, str) else list(to)
    return {"target_langs": languages, **{name: value for name, value in named.items() if value}}


class _Tries:
    """How long to go on asking, and how long to wait in between."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._since, self._next = time.monotonic(), PAUSE_S

    def heard(self) -> None:
        """Something came: patience begins anew."""
        self._client.answered()
        self._since, self._next = time.monotonic(), PAUSE_S

    async def pause(self) -> None:
        """Raises Unreachable once patience is at its end."""
        pause = self._next * random.uniform(0.5, 1.0)  # noqa: S311
        if time.monotonic() + pause - self._since > self._client.patience:
            raise self._client.unreachable()
        self._next = min(2 * self._next, MAX_PAUSE_S)
        await asyncio.sleep(pause)


async def _events(response: httpx.Response) -> AsyncIterator[Mapping[str, Any]]:
    """The jobs in a stream of server-sent events."""
    event = ""
    async for line in response.aiter_lines():
        name, _, value = line.partition(":")
        if name == "event":
            event = value.strip()
        elif name == "data" and event == "progress":
            yield json.loads(value)


async def _pour(response: httpx.Response, part: Path, tries: _Tries) -> None:
    """Writes what comes: behind what is there when the service goes on with it, from the beginning otherwise."""
    goes_on = response.status_code == httpx.codes.PARTIAL_CONTENT
    with part.open("ab" if goes_on else "wb") as out:
        async for chunk in response.aiter_bytes():
            await asyncio.to_thread(out.write, chunk)
            tries.heard()
