"""What both doors do for a caller: take a job, show it, steer it, hand out its files, name the language of a video.

No gRPC, no HTTP and no Ray in here: the doors translate, the desk acts. Every method raises errors of our tree only.
Whoever asks for a job that is another tenant's hears what is said of one that is not there.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

from configs.app import AppSettings, Roots
from models.errors import BelowQuality, InvalidJob, JobNotFound, StageFailed, WrongState
from models.segment import Clip, Span, Transcript
from models.translation.pairs import check
from serve_app.doors.access import Caller
from serve_app.doors.detect import Detection, detect_language
from serve_app.doors.pace import Pace
from serve_app.doors.places import Look, Places
from serve_app.doors.undivided import undivided
from serve_app.doors.uploads import Uploads
from serve_app.jobs.calls import Calls
from serve_app.jobs.deliveries import Outbox
from serve_app.jobs.edits import Editor
from serve_app.jobs.job import Control, Insight, Job, LogLine, Request, State, languages
from serve_app.jobs.ledger import NO_JOB
from serve_app.jobs.quotas import film_of, weigh
from serve_app.jobs.store import Store
from serve_app.jobs.usage import Usage
from serve_app.jobs.watch import Watch
from serve_app.jobs.webhooks import check_address
from serve_app.jobs.workspace import EARLY_PREVIEW, artifacts, safe_id, segment_preview
from serve_app.paths import MAX_PATH, not_of_others
from serve_app.telemetry import logs, traces
from serve_app.telemetry.about import about
from serve_app.telemetry.logs import lines_of
from serve_app.telemetry.scrape import Scrape

MAX_PRIORITY = 100
GENDERS = ("", "male", "female", "neutral")


class Desk:
    """`recognize` asks the recogniser for one clip; `hears` which languages it knows; `look` looks into a video."""

    def __init__(
        self,
        store: Store,
        settings: AppSettings,
        roots: Roots,
        recognize: Callable[[Clip], Awaitable[Transcript]],
        hears: Callable[[], Awaitable[frozenset[str] | None]],
        detect: Callable[[Clip], Awaitable[list[Span]]],
        look: Look | None = None,
    ) -> None:
        self._store = store
        self._settings = settings
        self._roots = roots
        self._recognize = recognize
        self._hears = hears
        self._detect = detect
        self.places = Places(store, roots.artifacts, settings.pipeline.prepare, look, settings.ingress.look_s)
        self.pace = Pace(settings.ingress.submissions_a_minute)
        self.database = store.database
        self.uploads = Uploads(store, roots, settings.ingress.max_upload_bytes)
        self.watch = Watch(store, settings.jobs)
        self.news = asyncio.Event()
        self.usage = Usage(store.database)
        self.scrape = Scrape(store.database, settings.jobs, roots.work)
        self.calls = Calls(store.database, settings.ingress.audio_calls_a_minute)
        self.outbox = Outbox(store.database, settings.webhooks)
        self.editor = Editor(store.database, roots.artifacts, settings.jobs.max_queued)

    # -- jobs ------------------------------------------------------------------------------------------------------

    async def take(self, caller: Caller, request: Request) -> Job:
        """Accepts a job: new, attached to while it lives, or sent back to the queue after it failed."""
        asked = replace(request, tenant=caller.tenant, trace=traces.current())
        job = await undivided(asyncio.to_thread(self._take, self.check(asked)))
        self.news.set()
        with about(job=job.id, tenant=caller.tenant):
            logs.event("job.taken", f"The job is {job.state}", targets=",".join(job.request.targets))
        return job

    def check(self, request: Request) -> Request:
        """The request in its usual form. Raises InvalidJob for what no job could do, or not in this service."""
        if request.webhook:
            check_address(request.webhook, self._settings.webhooks.allowed_networks)
            if self._roots.webhook_secret is None:
                raise InvalidJob("this service sends no webhooks until its operator sets WEBHOOK_SECRET")
        return proper(request)

    def _take(self, request: Request) -> Job:
        for path in filter(None, (request.path, request.transcript)):
            with suppress(OSError, RuntimeError, ValueError):  # what cannot be followed fails in the job, with its log
                not_of_others(Path(path).resolve(), request.tenant, self._roots, self._store.owners)
        return self._store.submit(request, weigh(request, self._roots.artifacts), film_of(request.path))

    async def admit(self, caller: Caller, incoming: int = 0) -> None:
        """Counts the try. Raises NotAllowed (resource_exhausted) when a job with `incoming` bytes would be refused."""
        self.pace.check(caller)
        await self.places.check(caller.tenant, incoming)

    async def job(self, caller: Caller, job_id: str) -> Job:
        return await asyncio.to_thread(self._own, caller, job_id)

    def _own(self, caller: Caller, job_id: str) -> Job:
        """Raises JobNotFound for the job of another tenant in the words of one that is not there."""
        job = self._store.job(job_id)
        if job.request.tenant != caller.tenant:
            raise JobNotFound(NO_JOB)
        return job

    async def jobs(self, caller: Caller, limit: int) -> list[Job]:
        return await asyncio.to_thread(self._store.jobs, caller.tenant, limit)

    async def logs(self, caller: Caller, job_id: str) -> list[LogLine]:
        await self.job(caller, job_id)
        return await asyncio.to_thread(self._store.logs, job_id)

    async def events(self, caller: Caller, job_id: str) -> Iterator[str]:
        """The lines of a job's file, for as long as its folder is kept."""
        job = await self.job(caller, job_id)
        return lines_of(self._roots.work, job.id)

    async def follow(self, caller: Caller, job_id: str) -> AsyncIterator[tuple[Job, list[LogLine]]]:
        await self.job(caller, job_id)
        async with aclosing(self.watch.follow(job_id)) as snapshots:
            async for snapshot in snapshots:
                yield snapshot

    async def control(self, caller: Caller, job_id: str, control: Control) -> Job:
        await self.job(caller, job_id)
        return await asyncio.to_thread(self._store.control, job_id, control)

    async def insights(self, caller: Caller, job_id: str) -> list[Insight]:
        """What was decided for this job; before the first decision, that it was accepted."""
        job = await self.job(caller, job_id)
        return await asyncio.to_thread(self._store.insights, job_id) or [accepted(job)]

    # -- files -----------------------------------------------------------------------------------------------------

    def artifact(self, caller: Caller, job_id: str, name: str) -> Path:
        """A file of a completed job by its short name, such as `translated.mp4`; of one that was not good enough to be
        delivered, all but its film. Blocks on the store.

        Before that, what lies there may be of an earlier run, but for the previews of which the job speaks: the early
        one, and those of its parts, such as `seg_001.mp4`. Raises JobNotFound without a job or a file, WrongState.
        """
        job = self._own(caller, job_id)
        segment = name.removesuffix(".mp4")
        if segment in job.progress.preview_ids:
            return there(segment_preview(self._roots.work, job.id, segment))
        early = name == EARLY_PREVIEW and job.progress.early_preview
        refused = job.state is State.FAILED and job.error_code == BelowQuality.code and not name.endswith(".mp4")
        if job.state is not State.COMPLETED and not early and not refused:
            raise WrongState("the files of a job can be had once it has completed")
        return there(offered(self._roots.artifacts, job).get(name))

    def artifact_names(self, caller: Caller, job_id: str) -> list[str]:
        """Which files of a job there are. Blocks on the store. Raises JobNotFound."""
        found = offered(self._roots.artifacts, self._own(caller, job_id))
        return [name for name, path in found.items() if path.is_file()]

    # -- language --------------------------------------------------------------------------------------------------

    async def detect(self, caller: Caller, path: str) -> Detection:
        """The language spoken in a video. Raises a DubError when it cannot be told: never a guess."""
        real = await self.uploads.readable(caller, path)
        limit = self._settings.ingress.detect_timeout_s
        try:
            async with asyncio.timeout(limit):
                hears, rules = await self._hears(), self._settings.pipeline
                return await detect_language(real, self._detect, self._recognize, hears, rules)
        except TimeoutError as error:
            raise StageFailed("transcription", f"the language could not be told within {limit:.0f} s") from error


def proper(request: Request) -> Request:
    """The request with its words in their usual form. Raises InvalidJob for what no job could ever do."""
    safe_id(request.job_id)
    source = request.source_lang.strip().lower()
    target, *also = languages(request.target_lang, *request.also)
    check(target, *also, *({source} - {"", "auto"}))
    gender = request.voice_gender.strip().lower()
    if gender not in GENDERS:
        raise InvalidJob("a voice is male, female or neutral")
    if abs(request.priority) > MAX_PRIORITY:
        raise InvalidJob(f"a priority lies between -{MAX_PRIORITY} and {MAX_PRIORITY}")
    if max(len(request.path), len(request.transcript)) > MAX_PATH:
        raise InvalidJob(f"the path of the video or of its transcript is longer than {MAX_PATH} characters")
    return replace(request, source_lang=source, target_lang=target, voice_gender=gender, also=tuple(also))


def there(path: Path | None) -> Path:
    """A file that is offered, if it is there. Raises JobNotFound."""
    if path is None or not path.is_file():
        raise JobNotFound("this job has no such file")
    return path


def offered(root: Path, job: Job) -> dict[str, Path]:
    """The files of a job by the names under which callers ask for them, such as translated.mp4 or report.fr.json."""
    found = [artifacts(root, job.id, further) for further in ("", *job.request.also)]
    paths = [path for files in found for path in asdict(files).values()]
    paths += [path.with_suffix(form) for path in paths if path.suffix == ".srt" for form in (".vtt", ".ass")]
    return {path.name.removeprefix(f"{job.id}_"): path for path in paths}


def accepted(job: Job) -> Insight:
    stamp = datetime.fromtimestamp(job.created_at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    source, target = job.request.source_lang or "detected language", ", ".join(job.request.targets)
    return Insight(
        id=f"{job.id}-accepted",
        kind="decision",
        title="Job accepted",
        description=f"The video will be dubbed from {source} to {target}; decisions appear here as they are made.",
        impact="low",
        timestamp=stamp,
    )
