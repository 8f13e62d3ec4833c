"""The durable rows of jobs, and the only door to them.

Why a database and not a queue: a job must outlive every process, its owner may ask for it from any replica, and who is
next is decided when a Driver has a hand free, not when the job came. So Drivers *claim*: one short transaction picks
the fairest job and leases it; a lease that is not renewed in time is anybody's. Each claim raises the job's fence, and
whoever still writes with an older one gets LeaseLost and must stop.

On SQLite writers take turns: claims are atomic because each transaction begins with the write lock. A commit costs an
fsync, which is a few hundred writes a second for the whole service, far above one renewal a second per job. On
PostgreSQL a claim locks just its row and skips what others have locked; two claims at the same moment may then both
pick the same tenant, which the next claim evens out.

Leases compare wall clocks of different machines: their clocks must agree well within `lease_s`. Rows and log lines are
never deleted here. All methods block: call them from a thread. Every process calls `create` once.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, and_, func, or_, select, update

from configs.app import JobSettings
from models.errors import JobNotFound, WrongState
from serve_app.jobs.claim import fairest_job, settle, take
from serve_app.jobs.database import Database
from serve_app.jobs.job import Control, Insight, Job, LogLine, Request, Result, State
from serve_app.jobs.ledger import (
    NO_JOB,
    Insights,
    Lines,
    Row,
    Standing,
    due,
    end,
    landing,
    later,
    locked,
    record,
)
from serve_app.jobs.quotas import admit, weigh
from serve_app.jobs.submission import submit
from serve_app.jobs.tables import insight_from, insights, job_from, jobs, line_from, logs, tenants

_OVER = {
    State.COMPLETED: "this job has completed; submit the video under another id to run it again",
    State.FAILED: "this job has failed; submit it again to go on from where it stood",
    State.CANCELLED: "this job was cancelled; submit it again to go on from where it stood",
}


class LeaseLost(Exception):
    """Somebody else has this job now, or nobody should: stop the run and write nothing more. Callers never see it."""


class Store:
    """Thread-safe. `clock` gives Unix seconds."""

    def __init__(self, url: str, settings: JobSettings, clock: Callable[[], float] = time.time) -> None:
        self._database = Database(url)
        self._settings = settings
        self._clock = clock

    def create(self) -> None:
        """Makes the tables or brings them up to date; several processes may do so at once. Raises StoreTooNew."""
        self._database.create()

    def close(self) -> None:
        self._database.close()

    @property
    def database(self) -> Database:
        """For what lies beside the jobs: tenants, usage, deliveries."""
        return self._database

    # -- what callers ask ------------------------------------------------------------------------------------------

    def submit(self, request: Request, stored_bytes: int = 0) -> Job:
        """The job of this id: new, attached to while it lives or after it completed, or sent back to the queue.

        A failed or cancelled job goes back with the new request; its checkpoints decide what is done again.
        `stored_bytes` is the size of its input. Raises InvalidJob when the id is another tenant's, in the words of one
        that nobody can use, and NotAllowed (resource_exhausted) beyond a limit.
        """
        with self._database.write() as connection:
            limit = self._settings.max_queued
            return job_from(submit(connection, request, limit, self._clock(), stored_bytes))

    def admit(self, tenant: str, incoming: int) -> None:
        """Raises NotAllowed (resource_exhausted) when a new job with `incoming` bytes would be refused now."""
        with self._database.read() as connection:
            admit(connection, tenant, self._settings.max_queued, self._clock(), incoming)

    def job(self, job_id: str) -> Job:
        """Raises JobNotFound."""
        with self._database.read() as connection:
            row = connection.execute(select(jobs).where(jobs.c.id == job_id)).mappings().first()
        if row is None:
            raise JobNotFound(NO_JOB)
        return job_from(row)

    def jobs(self, tenant: str | None = None, limit: int = 100) -> list[Job]:
        """The latest jobs, newest first; of all tenants when none is named."""
        query = select(jobs).order_by(jobs.c.created_at.desc(), jobs.c.id).limit(limit)
        if tenant is not None:
            query = query.where(jobs.c.tenant == tenant)
        with self._database.read() as connection:
            return [job_from(row) for row in connection.execute(query).mappings()]

    def logs(self, job_id: str, last: int = 20) -> list[LogLine]:
        """The latest lines, oldest first; none for an unknown id."""
        query = select(logs).where(logs.c.job_id == job_id).order_by(logs.c.number.desc()).limit(last)
        with self._database.read() as connection:
            return [line_from(row) for row in connection.execute(query).mappings()][::-1]

    def insights(self, job_id: str) -> list[Insight]:
        query = select(insights).where(insights.c.job_id == job_id).order_by(insights.c.number)
        with self._database.read() as connection:
            return [insight_from(row) for row in connection.execute(query).mappings()]

    def snapshots(self, ids: Sequence[str], last: int = 20) -> dict[str, tuple[Job, list[LogLine]]]:
        """Each known job with its latest lines, oldest first; two queries however many jobs there are."""
        tail = (
            select(logs)
            .join(jobs, and_(logs.c.job_id == jobs.c.id, logs.c.number > jobs.c.lines - last))
            .where(jobs.c.id.in_(ids))
            .order_by(logs.c.job_id, logs.c.number)
        )
        with self._database.read() as connection:
            rows = connection.execute(select(jobs).where(jobs.c.id.in_(ids))).mappings().all()
            lines = connection.execute(tail).mappings().all()
        found: dict[str, tuple[Job, list[LogLine]]] = {row["id"]: (job_from(row), []) for row in rows}
        for line in lines:
            found[line["job_id"]][1].append(line_from(line))
        return found

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
                end(connection, row, landing(State.WAITING, control), now, "lost")
            return job_from(locked(connection, job_id))

    # -- what Drivers do -------------------------------------------------------------------------------------------

    def waiting(self) -> int:
        """How many jobs need a claimant now, lost leases included: the number of tokens wanted."""
        with self._database.read() as connection:
            return connection.execute(select(func.count()).where(due(self._clock()))).scalar_one()

    def unfinished(self) -> int:
        """How many jobs a Driver has or needs: the number of tokens that should be out.

        Of a tenant that may run only so many at a time, no more than that. One that is being cancelled counts too:
        should its Driver die now, it takes a claim to lay the job to rest.
        """
        live = select(jobs.c.tenant, func.count()).where(jobs.c.state.in_((State.WAITING, State.RUNNING)))
        limited = select(tenants.c.name, tenants.c.running).where(tenants.c.running.is_not(None))
        with self._database.read() as connection:
            limits = {row.name: row.running for row in connection.execute(limited)}
            wanted = connection.execute(live.group_by(jobs.c.tenant)).all()
        return sum(min(row[1], limits.get(row.tenant, row[1])) for row in wanted)

    def counts(self) -> dict[str, int]:
        """Jobs by state, with a zero for every state that has none."""
        query = select(jobs.c.state, func.count()).group_by(jobs.c.state)
        with self._database.read() as connection:
            found = {row.state: row[1] for row in connection.execute(query)}
        return {state.value: found.get(state, 0) for state in State}

    def claim(self, owner: str) -> Job | None:
        """Leases the fairest waiting job to `owner`; its `fence` is the ticket for every later write. None: no work."""
        now = self._clock()
        with self._database.write() as connection:
            settle(connection, self._settings, now)
            row = fairest_job(connection, self._settings, now)
            return None if row is None else take(connection, row, owner, self._settings, now)

    def renew(
        self, job_id: str, fence: int, progress: Standing = None, lines: Lines = (), insights: Insights = ()
    ) -> Control:
        """Extends the lease and writes what is new; returns what the job's owner wants. Raises LeaseLost.

        A run that has come further than any before it counts as the first attempt again: long jobs are interrupted
        often, and only those that fall at the same place are given up.
        """
        now = self._clock()
        with self._database.write() as connection:
            row = _owned(connection, job_id, fence)
            control: Control = row["control"]
            record(connection, row, progress, lines, insights)
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
    ) -> State:
        """The run is done. Returns the state reached, CANCELLED if that was asked meanwhile. Raises LeaseLost.

        So do `fail`, `cancelled`, `paused` and `release`: what the job's owner asked last decides (see `landing`).
        """
        done = replace(progress, percent=100.0) if progress else None
        size = weigh(self.job(job_id).request, Path(result.output).parent)
        facts: dict[str, Any] = {"result": asdict(result), "stored_bytes": size}
        return self._finish(job_id, fence, State.COMPLETED, done, lines, insights, **facts)

    def fail(
        self,
        job_id: str,
        fence: int,
        code: str,
        message: str,
        progress: Standing = None,
        lines: Lines = (),
        insights: Insights = (),
    ) -> State:
        """`code` is a DubError's, `message` its sentence."""
        return self._finish(job_id, fence, State.FAILED, progress, lines, insights, error_code=code, error=message)

    def cancelled(
        self, job_id: str, fence: int, progress: Standing = None, lines: Lines = (), insights: Insights = ()
    ) -> State:
        return self._finish(job_id, fence, State.CANCELLED, progress, lines, insights)

    def paused(
        self, job_id: str, fence: int, progress: Standing = None, lines: Lines = (), insights: Insights = ()
    ) -> State:
        return self._finish(job_id, fence, State.PAUSED, progress, lines, insights)

    def release(
        self, job_id: str, fence: int, progress: Standing = None, lines: Lines = (), insights: Insights = ()
    ) -> State:
        """Back to the queue, as when a Driver shuts down; this claim does not count as an attempt."""
        return self._finish(job_id, fence, State.WAITING, progress, lines, insights)

    def retry(
        self, job_id: str, fence: int, progress: Standing = None, lines: Lines = (), insights: Insights = ()
    ) -> State:
        """Back to the queue after a fault that may pass; this claim counts as an attempt."""
        return self._finish(job_id, fence, State.WAITING, progress, lines, insights, counts=True)

    # -- what the cleanup asks -------------------------------------------------------------------------------------

    def still(self) -> AbstractContextManager[None]:
        """While this is open nobody submits, claims or changes a job. Keep it to milliseconds: leases run on."""
        return self._database.still()

    def endings(self, ids: Sequence[str]) -> dict[str, tuple[State, float | None]]:
        """The state of each known job and when it ended, Unix seconds; None while it lives."""
        query = select(jobs.c.id, jobs.c.state, jobs.c.finished_at).where(jobs.c.id.in_(ids))
        with self._database.read() as connection:
            return {row.id: (row.state, row.finished_at) for row in connection.execute(query)}

    def owners(self, ids: Sequence[str]) -> dict[str, str]:
        """The tenant of each known job."""
        query = select(jobs.c.id, jobs.c.tenant).where(jobs.c.id.in_(ids))
        with self._database.read() as connection:
            return {row.id: row.tenant for row in connection.execute(query)}

    def inputs(self, since: float | None = None) -> set[str]:
        """Paths of videos and transcripts as jobs named them: of all jobs, or of those that live or ended since."""
        query = select(jobs.c.request)
        if since is not None:
            query = query.where(or_(jobs.c.finished_at.is_(None), jobs.c.finished_at > since))
        with self._database.read() as connection:
            asked = connection.execution_options(yield_per=1000).execute(query).scalars()
            return {path for request in asked for path in (request["path"], request.get("transcript", "")) if path}

    # -- inside a transaction --------------------------------------------------------------------------------------

    def _finish(
        self,
        job_id: str,
        fence: int,
        outcome: State,
        progress: Standing,
        lines: Lines,
        insights: Insights,
        counts: bool = False,
        **values: Any,
    ) -> State:
        now = self._clock()
        with self._database.write() as connection:
            row = _owned(connection, job_id, fence)
            state = landing(outcome, row["control"])
            if state is not outcome:
                values = {}
            if state.live and not counts:
                values["attempts"] = row["attempts"] - 1
            record(connection, row, progress, lines, insights)
            end(connection, row, state, now, state.value, **values)
            return state


def _owned(connection: Connection, job_id: str, fence: int) -> Row:
    row = locked(connection, job_id)
    if row["fence"] != fence or row["state"] is not State.RUNNING:
        raise LeaseLost(job_id, fence)
    return row
