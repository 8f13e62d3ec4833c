"""Runs one claimed job: the pipeline under a lease.

While the pipeline works, the lease is renewed every `renew_s` seconds with the latest snapshot; the answer to a renewal
is what the job's owner wants, so pause and cancel take effect within a second or two. Whoever loses the lease stops at
once and writes nothing more: another claimant has the job and a higher fence. Checkpoints stay for the next attempt.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

from configs.app import AppSettings, Roots
from models.errors import DubError
from serve_app.jobs.job import Control, Job, Result
from serve_app.jobs.report import Report
from serve_app.jobs.store import LeaseLost, Store
from serve_app.jobs.workspace import Workspace, artifacts
from serve_app.paths import inside
from serve_app.pipeline import Models, dub
from serve_app.wire import INTERNAL

logger = logging.getLogger(__name__)
T = TypeVar("T")


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

    async def run_next(self) -> str | None:
        """Claims the fairest waiting job and works on it until it ends. Returns its id, or None when nothing waits."""
        job = await asyncio.to_thread(self._store.claim, self._owner)
        if job is None:
            return None
        report = Report(job.id, start=job.progress)
        work = asyncio.create_task(self._dub(job, report))
        try:
            await self._attend(job, report, work)
        except LeaseLost:
            logger.warning("job %s has another worker now; this attempt stops", job.id)
        except asyncio.CancelledError:
            await stop(work)
            with suppress(LeaseLost):
                self._store.release(job.id, job.fence, report.snapshot(), *report.drain())
            raise
        finally:
            await stop(work)
        return job.id

    async def _dub(self, job: Job, report: Report) -> Result:
        files = artifacts(self._roots.artifacts, job.id)
        path = inside(job.request.path, (self._roots.uploads, self._roots.artifacts))
        request = replace(job.request, path=str(path))
        return await dub(request, await self._models(), self._settings, self._workspace(job), files, report)

    def _workspace(self, job: Job) -> Workspace:
        return Workspace(self._roots.work, job.id)

    async def _attend(self, job: Job, report: Report, work: "asyncio.Task[Result]") -> None:
        """Renews the lease until the work is done or unwanted, then writes how it ended."""
        while not work.done():
            wish = await self._write(self._store.renew, job, report)
            if wish is not Control.RUN:
                await stop(work)
                end = self._store.cancelled if wish is Control.CANCEL else self._store.paused
                await self._write(end, job, report)
                return
            await asyncio.wait({work}, timeout=self._settings.jobs.renew_s)
        await self._finish(job, report, work)

    async def _finish(self, job: Job, report: Report, work: "asyncio.Task[Result]") -> None:
        error = work.exception()
        if error is None:
            result, end = work.result(), report.snapshot()
            await asyncio.to_thread(self._store.complete, job.id, job.fence, result, end, *report.drain())
            await asyncio.to_thread(self._workspace(job).discard)
            return
        code, sentence = told(error)
        report.log(report.snapshot().stage, sentence, level="error", code=code)
        await asyncio.to_thread(self._store.fail, job.id, job.fence, code, sentence, report.snapshot(), *report.drain())

    async def _write(self, verb: Callable[..., T], job: Job, report: Report) -> T:
        return await asyncio.to_thread(verb, job.id, job.fence, report.snapshot(), *report.drain())


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
