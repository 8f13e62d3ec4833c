"""What the rows of jobs say: everything that is asked of the store and changes nothing in it."""

from collections.abc import Callable, Sequence

from sqlalchemy import and_, func, or_, select

from models.errors import JobNotFound
from serve_app.jobs.database import Database
from serve_app.jobs.job import Insight, Job, LogLine, State
from serve_app.jobs.ledger import NO_JOB, due, ready
from serve_app.jobs.tables import insight_from, insights, job_from, jobs, line_from, logs, tenants


class Reader:
    """Thread-safe; blocks. `clock` gives Unix seconds."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock

    @property
    def database(self) -> Database:
        """For what lies beside the jobs: tenants, usage, deliveries."""
        return self._database

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

    def versions(self, ids: Sequence[str]) -> dict[str, float]:
        """When each known job last changed, Unix seconds; it always grows."""
        query = select(jobs.c.id, jobs.c.updated_at).where(jobs.c.id.in_(ids))
        with self._database.read() as connection:
            return {row.id: row.updated_at for row in connection.execute(query)}

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

    # -- how many there are ------------------------------------------------------------------------------------------

    def waiting(self) -> int:
        """How many jobs need a claimant now, lost leases included: the number of tokens wanted."""
        with self._database.read() as connection:
            return connection.execute(select(func.count()).where(due(self._clock()))).scalar_one()

    def unfinished(self) -> int:
        """How many jobs a Driver has or needs: the number of tokens that should be out.

        Of a tenant that may run only so many at a time, no more than that. One that is being cancelled counts too:
        should its Driver die now, it takes a claim to lay the job to rest.
        """
        live = select(jobs.c.tenant, func.count()).where(or_(jobs.c.state == State.RUNNING, ready(self._clock())))
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

    # -- what the cleanup asks -------------------------------------------------------------------------------------

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
