"""Runs one claimed job: the pipeline under a lease.

While the pipeline works, the lease is renewed every `renew_s` seconds with the latest snapshot; the answer to a renewal
is what the job's owner wants, so pause and cancel take effect within a second or two. Whoever loses the lease stops at
once and writes nothing more: another claimant has the job and a higher fence. Checkpoints stay for the next attempt.

Whose fault an error is decides what becomes of the job. One that may pass is waited out, in the queue and not here, a
few times; a full disk is waited out for as long as it is full; what the caller or the operator must mend ends the job.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from configs.app import AppSettings, Roots
from models.errors import INTERNAL, DubError, OutOfSpace, Stalled
from serve_app.attempt import dub
from serve_app.engines import Models
from serve_app.jobs.admission import WAITS, Admission
from serve_app.jobs.job import Control, Insight, Job, LogLine, Result
from serve_app.jobs.report import Report
from serve_app.jobs.store import LeaseLost, Store
from serve_app.jobs.workspace import Workspace, artifacts
from serve_app.paths import not_of_others, readable
from serve_app.spending import Attempt, metered
from serve_app.telemetry.attempts import attempt, decided, ended, lost
from serve_app.telemetry.engines import observed

logger = logging.getLogger(__name__)

HISTORY = 10_000
"""Log lines of earlier attempts that go into a job's report."""

MAX_BACKOFF_S = 300.0


class Runner:
    """One per process that works on jobs; any number of jobs at once."""

    def __init__(
        self, store: Store, models: Callable[[], Awaitable[Models]], settings: AppSettings, roots: Roots, owner: str
    ) -> None:
        self._store = store
        self._models = models
        self._settings = settings
        self._roots = roots
        self._owner = owner
        self._admission = Admission(store, settings.jobs, roots)

    async def run_next(self) -> str | None:
        """Claims the fairest waiting job and works on it until it ends. Returns its id.

        None: nothing waits, or this machine has no room for another job now.
        """
        if await self._admission.refuses():
            return None
        job = await asyncio.to_thread(self._store.claim, self._owner)
        if job is None:
            return None
        lines = await asyncio.to_thread(self._store.logs, job.id, HISTORY)
        insights = await asyncio.to_thread(self._store.insights, job.id)
        report = Report(job.id, job.progress, lines, insights)
        lease = Lease(job, self._store, report, self._settings.jobs.lease_s)
        with attempt(job):
            await self._run(job, report, lease)
        return job.id

    async def _run(self, job: Job, report: Report, lease: "Lease") -> None:
        work = asyncio.create_task(self._dub(job, report, lease))
        try:
            await self._attend(lease, work)
        except LeaseLost:
            lost()
        except asyncio.CancelledError:
            await stop(work)
            with suppress(LeaseLost):
                await lease.give_back()
            raise
        finally:
            await stop(work)
            lease.attempt.close()
            lease.close()

    async def _dub(self, job: Job, report: Report, lease: "Lease") -> Result:
        lease.attempt.enter()
        files = artifacts(self._roots.artifacts, job.id)
        transcript = job.request.transcript and await asyncio.to_thread(self._own, job.request.transcript, job)
        video = await asyncio.to_thread(self._own, job.request.path, job)
        request = replace(job.request, path=video, transcript=transcript)
        workspace = Workspace(self._roots.work, job.id)
        models = metered(observed(await self._engines()), lease.attempt.spending)
        return await dub(request, models, self._settings, workspace, files, report, lease.renew, job.edits, job.fence)

    def _own(self, path: str, job: Job) -> str:
        """The real path of a file that the job names. Raises PathNotAllowed when its tenant may not."""
        real = readable(path, job.request.tenant, self._roots)
        not_of_others(real, job.request.tenant, self._roots, self._store.owners)
        return str(real)

    async def _engines(self) -> Models:
        try:
            async with asyncio.timeout(self._settings.pipeline.engine_stall_s):
                return await self._models()
        except TimeoutError as error:
            raise Stalled("initialization", "no engine is there to work with; try again later") from error

    async def _attend(self, lease: "Lease", work: "asyncio.Task[Result]") -> None:
        """Renews the lease until the work is done or unwanted, then writes how it ended."""
        wish = await self._renewing(lease, work)
        if wish is Control.RUN:
            await self._finish(lease, work)
            return
        await stop(work)
        await lease.insist(self._store.cancelled if wish is Control.CANCEL else self._store.paused)

    async def _renewing(self, lease: "Lease", work: "asyncio.Task[Any]") -> Control:
        """Renews the lease until `work` is done; stops early when its owner wants something else."""
        while not work.done():
            wish = await lease.renew()
            if wish is not Control.RUN:
                return wish
            await asyncio.wait({work}, timeout=self._settings.jobs.renew_s)
        return Control.RUN

    async def _finish(self, lease: "Lease", work: "asyncio.Task[Result]") -> None:
        job, report = lease.job, lease.report
        error = work.exception()
        if error is None:
            await lease.insist(self._store.complete, work.result())
            if self._settings.cleanup.redub_s == 0:
                await asyncio.to_thread(Workspace(self._roots.work, job.id).discard)
        elif isinstance(error, LeaseLost):
            raise error
        elif getattr(error, "transient", False) and (tries := lease.tries) < self._settings.jobs.attempts:
            report.log(report.snapshot().stage, f"Trying again after a fault that may pass: {error}", level="warning")
            wait_s = backoff(self._settings.jobs.retry_s, tries)
            await lease.insist(partial(self._store.retry, wait_s=wait_s))
        elif isinstance(error, OutOfSpace):
            tell_once(report, f"{WAITS} {error}")
            wait_s = backoff(self._settings.jobs.space_s, 1)
            await lease.insist(partial(self._store.release, wait_s=wait_s))
        else:
            code, sentence = told(error)
            report.log(report.snapshot().stage, sentence, level="error", code=code)
            await lease.insist(self._store.fail, code, sentence)


class Lease:
    """The right to write for one claimed job, and what could not be written yet.

    The database may be away for a moment; a run goes on for as long as its lease would have lasted without it. Writes
    have a thread of their own: behind the threads of the engines they would come too late.
    """

    def __init__(self, job: Job, store: Store, report: Report, lease_s: float) -> None:
        self.job = job
        self.report = report
        self.attempt = Attempt(f"{job.id} {job.fence}")
        self._store = store
        self._lease_s = lease_s
        self._began = self._written = time.monotonic()
        self._lines: list[LogLine] = []
        self._insights: list[Insight] = []
        self._thread = ThreadPoolExecutor(1, "lease")
        self._turn = asyncio.Lock()

    @property
    def tries(self) -> int:
        """Attempts at the place where the job stands now; the store counts anew when a run came further than before."""
        further = self.report.snapshot().percent > self.job.progress.percent
        return 1 if further else self.job.attempts

    async def renew(self) -> Control:
        """What the job's owner wants. Raises LeaseLost."""
        wish: Control = await self.insist(self._store.renew)
        return wish

    async def insist(self, verb: Callable[..., Any], *facts: Any) -> Any:
        """Writes through `verb`, again and again while the lease could still be ours. Raises LeaseLost."""
        while True:
            try:
                return await self._write(verb, *facts)
            except LeaseLost:
                raise
            except Exception:
                if time.monotonic() - self._written > self._lease_s:
                    raise
                logger.warning("job %s could not be written, trying again", self.job.id, exc_info=True)
                await asyncio.sleep(min(1.0, self._lease_s / 10))

    async def _write(self, verb: Callable[..., Any], *facts: Any) -> Any:
        async with self._turn:
            lines, insights = self.report.drain()
            self._lines += lines
            decided(lines)
            self._insights += insights
            write = partial(
                verb, self.job.id, self.job.fence, *facts, self.report.snapshot(), self._lines[:], self._insights[:]
            )
            over = verb != self._store.renew
            write = partial(write, self.attempt.close() if over else self.attempt.so_far())
            answer = await asyncio.get_running_loop().run_in_executor(self._thread, write)
            if over:
                code = str(facts[0]) if verb == self._store.fail else ""
                ended(answer, self.report, time.monotonic() - self._began, code)
            self._written = time.monotonic()
            self._lines.clear()
            self._insights.clear()
        return answer

    async def give_back(self) -> None:
        """Once, in the lease's own thread, and to its end even when this is cancelled. Raises LeaseLost."""
        told = (self.report.snapshot(), *self.report.drain(), self.attempt.close())
        write = partial(self._store.release, self.job.id, self.job.fence, *told)
        await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._thread, write))

    def close(self) -> None:
        self._thread.shutdown(wait=False)


def backoff(first_s: float, attempt: int) -> float:
    """Seconds before the attempt after number `attempt`: doubled each time, and by chance half as long or again.

    Jobs that fell together, over an engine that was away, do not come back together.
    """
    return min(MAX_BACKOFF_S, first_s * 2.0 ** (attempt - 1)) * random.uniform(0.5, 1.5)  # noqa: S311


def tell_once(report: Report, message: str) -> None:
    """A job may wait for hours and look again every minute."""
    if message not in [line.message for line in report.lines()[-HISTORY:]]:
        report.log(report.snapshot().stage, message, level="warning")


def told(error: BaseException) -> tuple[str, str]:
    """Code and sentence under which the job's row remembers `error`."""
    if isinstance(error, DubError):
        return error.code, str(error)
    logger.error("unforeseen error in a job", exc_info=error)
    return "internal", INTERNAL


async def stop(work: "asyncio.Task[Result]") -> None:
    """Cancels the pipeline and waits until its rooms have ended their child processes."""
    work.cancel()
    await asyncio.wait({work})
