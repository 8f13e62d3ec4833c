"""The durable rows of jobs, and the only door to them.

Why a database and not a queue: a job must outlive every process, its owner may ask for it from any replica, and who is
next is decided when a Driver has a hand free, not when the job came. So Drivers *claim*: one short transaction picks
the fairest job and leases it; a lease that is not renewed in time is anybody's. Each claim raises the job's fence, and
whoever still writes with an older one gets LeaseLost and must stop.

On SQLite writers take turns: claims are atomic because each transaction begins with the write lock. A commit costs an
fsync, which is a few hundred writes a second for the whole service, far above one renewal a second per job. On
PostgreSQL a claim locks just its row and skips what others have locked; two claims at the same moment may then both
pick the same tenant, which the next claim evens out.

Leases compare wall clocks of different machines: their clocks must agree well within `lease_s`. One that is set back
delays what lay there by a quarter of an hour at most (`claim.dropped`). Rows are deleted by the
cleanup alone (`oblivion`). All methods block: call them from a thread. Every process calls `create` once.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, update

from configs.app import JobSettings
from models.errors import WrongState
from serve_app.jobs import usage
from serve_app.jobs.claim import fairest_job, take
from serve_app.jobs.database import Database
from serve_app.jobs.job import Control, Job, Request, Result, State
from serve_app.jobs.ledger import (
    Insights,
    Lines,
    Row,
    Standing,
    end,
    landing,
    later,
    locked,
    record,
)
from serve_app.jobs.quotas import NOBODY, admit, weigh
from serve_app.jobs.reader import Reader
from serve_app.jobs.submission import submit
from serve_app.jobs.tables import job_from, jobs
from serve_app.jobs.waiting import tell_waiting
from serve_app.spending import Spending

_OVER = {
    State.COMPLETED: "this job has completed; edit its sentences and dub it again, or submit the video anew",
    State.FAILED: "this job has failed; retry it, or submit it again under its id, to go on from where it stood",
    State.CANCELLED: "this job was cancelled; retry it, or submit it again under its id, to go on from where it stood",
}


class LeaseLost(Exception):
    """Somebody else has this job now, or nobody should: stop the run and write nothing more. Callers never see it."""


class Store(Reader):
    """Thread-safe. `clock` gives Unix seconds."""

    def __init__(self, url: str, settings: JobSettings, clock: Callable[[], float] = time.time) -> None:
        super().__init__(Database(url), clock)
        self._settings = settings

    def create(self) -> None:
        """Makes the tables or brings them up to date; several processes may do so at once. Raises StoreTooNew."""
        self._database.create()

    def close(self) -> None:
        self._database.close()

    # -- what callers ask ------------------------------------------------------------------------------------------

    def submit(self, request: Request, stored_bytes: int = 0, film: str = "") -> Job:
        """The job of this id: new, attached to while it lives or after it completed, or sent back to the queue.

        A failed or cancelled job goes back with the new request; its checkpoints decide what is done again.
        `stored_bytes` is the size of its input, `film` tells its video from others at that path. Raises InvalidJob when
        the id is another tenant's, in the words of one that nobody can use, and NotAllowed (resource_exhausted) beyond
        a limit.
        """
        with self._database.write() as connection:
            limit = self._settings.max_queued
            return job_from(submit(connection, request, limit, self._clock(), stored_bytes, film))

    def admit(self, tenant: str, incoming: int, ahead: Mapping[str, str] = NOBODY) -> None:
        """Raises NotAllowed (resource_exhausted) when a new job with `incoming` bytes would be refused now.

        `ahead` are jobs, by id with their tenants, that count as if they waited already.
        """
        with self._database.read() as connection:
            admit(connection, tenant, self._settings.max_queued, self._clock(), incoming, ahead)

    def control(self, job_id: str, control: Control) -> Job:
        """Pause, resume or cancel; asking twice is the same as asking once.

        Takes effect at once where nobody runs the job; otherwise the Driver sees it at its next renewal. Raises
        JobNotFound, or WrongState for a job that has ended or is being cancelled.
        """
        now = self._clock()
        with self._database.write() as connection:
            row = locked(connection, job_id)
            state = row["state"]
            if control is Control.CANCEL and state is State.CANCELLED:
                return job_from(row)
            if state in _OVER:
                raise WrongState(_OVER[state])
            if row["control"] is Control.CANCEL and control is not Control.CANCEL:
                raise WrongState("this job is being cancelled; submit it again when that is done")
            connection.execute(
                update(jobs).where(jobs.c.id == job_id).values(control=control, updated_at=later(row, now))
            )
            if state is not State.RUNNING or (row["lease_until"] <= now and control is not Control.RUN):
                usage.record_lost(connection, row, now)
                end(connection, row, landing(State.WAITING, control), now, "lost")
            return job_from(locked(connection, job_id))

    # -- what Drivers do -------------------------------------------------------------------------------------------

    def claim(self, owner: str) -> Job | None:
        """Leases the fairest waiting job to `owner`; its `fence` is the ticket for every later write. None: no work."""
        now = self._clock()
        with self._database.write() as connection:
            row = fairest_job(connection, self._settings, now)
            return None if row is None else take(connection, row, owner, self._settings, now)

    def tell_waiting(self, message: str) -> None:
        """A warning in the logs of the jobs that are next in the queue, once each."""
        with self._database.write() as connection:
            tell_waiting(connection, message, self._clock())

    def renew(
        self,
        job_id: str,
        fence: int,
        progress: Standing = None,
        lines: Lines = (),
        insights: Insights = (),
        spent: Spending | None = None,
    ) -> Control:
        """Extends the lease and writes what is new; returns what the job's owner wants. Raises LeaseLost.

        What the attempt has `spent` until now is what it is charged with should nobody hear of it any more.

        A run that has come further than any before it counts as the first attempt again: long jobs are interrupted
        often, and only those that fall at the same place are given up.
        """
        now = self._clock()
        with self._database.write() as connection:
            row = _owned(connection, job_id, fence)
            control: Control = row["control"]
            record(connection, row, progress, lines, insights)
            if spent is not None:
                usage.remember(connection, row, spent)
            values = {"lease_until": now + self._settings.lease_s, "updated_at": later(row, now)}
            if progress is not None and progress.percent > row["progress"]["percent"]:
                values["attempts"] = 1
            connection.execute(update(jobs).where(jobs.c.id == job_id).values(values))
            return control

    def complete(
        self,
        job_id: str,
        fence: int,
        result: Result,
        progress: Standing = None,
        lines: Lines = (),
        insights: Insights = (),
        spent: Spending | None = None,
    ) -> State:
        """The run is done. Returns the state reached, CANCELLED if that was asked meanwhile. Raises LeaseLost.

        So do `fail`, `cancelled`, `paused` and `release`: what the job's owner asked last decides (see `landing`), and
        what the attempt has `spent` is added to the job's line of usage.
        """
        done = replace(progress, percent=100.0) if progress else None
        size = weigh(self.job(job_id).request, Path(result.output).parent)
        facts: dict[str, Any] = {"result": asdict(result), "stored_bytes": size}
        return self._finish(job_id, fence, State.COMPLETED, done, lines, insights, spent, **facts)

    def fail(
        self,
        job_id: str,
        fence: int,
        code: str,
        message: str,
        progress: Standing = None,
        lines: Lines = (),
        insights: Insights = (),
        spent: Spending | None = None,
    ) -> State:
        """`code` is a DubError's, `message` its sentence."""
        return self._finish(
            job_id, fence, State.FAILED, progress, lines, insights, spent, error_code=code, error=message
        )

    def cancelled(
        self,
        job_id: str,
        fence: int,
        progress: Standing = None,
        lines: Lines = (),
        insights: Insights = (),
        spent: Spending | None = None,
    ) -> State:
        return self._finish(job_id, fence, State.CANCELLED, progress, lines, insights, spent)

    def paused(
        self,
        job_id: str,
        fence: int,
        progress: Standing = None,
        lines: Lines = (),
        insights: Insights = (),
        spent: Spending | None = None,
    ) -> State:
        return self._finish(job_id, fence, State.PAUSED, progress, lines, insights, spent)

    def release(
        self,
        job_id: str,
        fence: int,
        progress: Standing = None,
        lines: Lines = (),
        insights: Insights = (),
        spent: Spending | None = None,
        wait_s: float = 0.0,
    ) -> State:
        """Back to the queue, as when a Driver shuts down; this claim does not count as an attempt.

        Nobody claims the job for `wait_s` seconds. So it is with `retry`.
        """
        return self._finish(job_id, fence, State.WAITING, progress, lines, insights, spent, wait_s)

    def retry(
        self,
        job_id: str,
        fence: int,
        progress: Standing = None,
        lines: Lines = (),
        insights: Insights = (),
        spent: Spending | None = None,
        wait_s: float = 0.0,
    ) -> State:
        """Back to the queue after a fault that may pass; this claim counts as an attempt."""
        return self._finish(job_id, fence, State.WAITING, progress, lines, insights, spent, wait_s, counts=True)

    # -- what the cleanup asks -------------------------------------------------------------------------------------

    def still(self) -> AbstractContextManager[None]:
        """While this is open nobody submits, claims or changes a job. Keep it to milliseconds: leases run on."""
        return self._database.still()

    # -- inside a transaction --------------------------------------------------------------------------------------

    def _finish(
        self,
        job_id: str,
        fence: int,
        outcome: State,
        progress: Standing,
        lines: Lines,
        insights: Insights,
        spent: Spending | None,
        wait_s: float = 0.0,
        counts: bool = False,
        **values: Any,
    ) -> State:
        now = self._clock()
        with self._database.write() as connection:
            row = _owned(connection, job_id, fence)
            state = landing(outcome, row["control"])
            if state is not outcome:
                values = {}
            if state is State.WAITING:
                values["lease_until"] = now + wait_s if wait_s else 0.0
            if state.live and not counts:
                values["attempts"] = row["attempts"] - 1
            record(connection, row, progress, lines, insights)
            end(connection, row, state, now, state.value, **values)
            if spent is not None:
                video_s = (progress and progress.duration_s) or row["video_s"]
                usage.record(connection, {**row, "video_s": video_s}, state, spent, now)
            return state


def _owned(connection: Connection, job_id: str, fence: int) -> Row:
    row = locked(connection, job_id)
    if row["fence"] != fence or row["state"] is not State.RUNNING:
        raise LeaseLost(job_id, fence)
    return row
