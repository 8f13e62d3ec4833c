"""Who is next, and the lease on it: steps inside the transaction of a claim.

A claim looks at one job of each tenant that waits, its first, and at the few whose lease has run out; so it costs the
same with ten waiting jobs as with ten thousand, and grows with the tenants that wait. On PostgreSQL several claims run
at once: each skips the rows that another has locked, and takes that tenant's next one.
"""

from functools import cache
from typing import Any

from sqlalchemy import Connection, Select, and_, func, insert, or_, select, update

from configs.app import JobSettings
from models.errors import StageFailed
from serve_app.jobs.job import Control, Job, State
from serve_app.jobs.ledger import Row, close_attempt, counts, end, landing, later, lost
from serve_app.jobs.schedule import Candidate, fairest
from serve_app.jobs.tables import attempts, job_from, jobs

OLDEST = ""
"""In place of a candidate's id: whichever job of its tenant comes first and is not locked."""

TURN = (jobs.c.turn, jobs.c.created_at, jobs.c.id)
"""The order among the waiting jobs of one tenant."""


def settle(connection: Connection, settings: JobSettings, now: float) -> None:
    """Ends the jobs that lost their Driver and must not get another: paused, cancelled, or tried often enough."""
    query = select(jobs).where(lost(now), or_(jobs.c.control != Control.RUN, jobs.c.attempts >= settings.attempts))
    for row in connection.execute(query.with_for_update(skip_locked=True)).mappings().all():
        if row["control"] is not Control.RUN:
            end(connection, row, landing(State.WAITING, row["control"]), now, "lost")
            continue
        message = (
            f"its worker died {row['attempts']} times; ask the operator for the server's log, then submit it again"
        )
        end(connection, row, State.FAILED, now, "lost", error_code=StageFailed.code, error=message)


def fairest_job(connection: Connection, settings: JobSettings, now: float) -> Row | None:
    """The row of the job whose turn it is, locked; None when nothing waits that others have not locked."""
    under_way = and_(jobs.c.state == State.RUNNING, jobs.c.lease_until > now)
    order = fairest(
        candidates(connection, now),
        counts(connection, under_way, jobs),
        counts(connection, attempts.c.began > now - settings.share_window_s, jobs.join(attempts)),
        settings.tenant_weights,
    )
    for candidate in order:
        # another claimant may have locked or taken it since it was listed
        query = _job_of(candidate, now).with_for_update(skip_locked=True)
        row = connection.execute(query).mappings().first()
        if row is not None:
            return row
    return None


def candidates(connection: Connection, now: float) -> list[Candidate]:
    dropped = select(jobs.c.id, jobs.c.tenant, jobs.c.created_at).where(lost(now), jobs.c.control == Control.RUN)
    oldest = [Candidate(OLDEST, *row) for row in connection.execute(_oldest_of_each())]
    return oldest + [Candidate(*row) for row in connection.execute(dropped)]


@cache
def _oldest_of_each() -> Select[Any]:
    """Each tenant that waits and since when, found in leaps from tenant to tenant along the index of turns."""
    waiting = jobs.c.state == State.WAITING
    tenants = select(func.min(jobs.c.tenant).label("tenant")).where(waiting).cte("tenants", recursive=True)
    following = select(func.min(jobs.c.tenant)).where(waiting, jobs.c.tenant > tenants.c.tenant)
    tenants = tenants.union_all(select(following.scalar_subquery()).where(tenants.c.tenant.is_not(None)))
    since = select(jobs.c.created_at).where(waiting, jobs.c.tenant == tenants.c.tenant).order_by(*TURN).limit(1)
    return select(tenants.c.tenant, since.scalar_subquery()).where(tenants.c.tenant.is_not(None))


def take(connection: Connection, row: Row, owner: str, settings: JobSettings, now: float) -> Job:
    """Leases the job to `owner` under the next fence."""
    fence = row["fence"] + 1
    values = {
        "state": State.RUNNING,
        "owner": owner,
        "fence": fence,
        "attempts": row["attempts"] + 1,
        "lease_until": now + settings.lease_s,
        "updated_at": later(row, now),
    }
    close_attempt(connection, row, now, "lost")
    connection.execute(update(jobs).where(jobs.c.id == row["id"]).values(values))
    connection.execute(insert(attempts).values(job_id=row["id"], fence=fence, owner=owner, began=now))
    return job_from({**row, **values})


def _job_of(candidate: Candidate, now: float) -> Select[Any]:
    if candidate.job_id != OLDEST:
        return select(jobs).where(jobs.c.id == candidate.job_id, lost(now), jobs.c.control == Control.RUN)
    waiting = select(jobs).where(jobs.c.state == State.WAITING, jobs.c.tenant == candidate.tenant)
    return waiting.order_by(*TURN).limit(1)
