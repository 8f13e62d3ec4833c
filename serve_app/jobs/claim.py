"""Who is next, and the lease on it: steps inside the transaction of a claim.

A claim looks at one job of each tenant that waits, its first, and at the few whose lease has run out; so it costs the
same with ten waiting jobs as with ten thousand, and grows with the tenants that wait and with the runs of late. Most of
its time is Python's, so its statements are few, built once, and filled in with what they are about.

On PostgreSQL several claims run at once: each skips the rows that another has locked, and takes that tenant's next one;
a claim locks all jobs whose lease has run out, for the milliseconds that it takes. Where a tenant may run only so many
jobs, two claims must not both take the last of them: they hold its row, and whoever comes second leaves the tenant out.
What a claim leaves out for another's sake costs that job a tick of waiting at worst.
"""

from functools import cache
from math import inf
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Double,
    Select,
    and_,
    bindparam,
    cast,
    func,
    insert,
    literal,
    or_,
    select,
    union_all,
    update,
)

from configs.app import JobSettings
from models.errors import StageFailed
from serve_app.jobs import usage
from serve_app.jobs.job import Control, Job, State
from serve_app.jobs.ledger import Row, close_attempt, end, landing, later, lost, ready
from serve_app.jobs.schedule import Candidate, fairest
from serve_app.jobs.tables import attempts, job_from, jobs, tenants

OLDEST = ""
"""In place of a candidate's id: whichever job of its tenant comes first and is not locked."""

FAR_S = 900.0
"""Longer than any pause after a fault."""

TURN = (jobs.c.turn, jobs.c.created_at, jobs.c.id)
"""The order among the waiting jobs of one tenant."""

NOW: BindParameter[Any] = bindparam("now")
TENANT: BindParameter[Any] = bindparam("tenant")
JOB: BindParameter[Any] = bindparam("job")

_too_far = (
    and_(jobs.c.state == state, jobs.c.lease_until > bindparam("far")) for state in (State.RUNNING, State.WAITING)
)
ADRIFT = select(jobs).where(or_(lost(NOW), *_too_far)).with_for_update(skip_locked=True)
FIRST_JOB = (
    select(jobs).where(ready(NOW), jobs.c.tenant == TENANT).order_by(*TURN).limit(1).with_for_update(skip_locked=True)
)

_under_way = and_(jobs.c.state == State.RUNNING, jobs.c.lease_until > NOW)
_of_late = attempts.c.began > bindparam("since")


def _told(what: str, value: ColumnElement[Any], tenant: ColumnElement[str]) -> Select[Any]:
    return select(literal(what), tenant, cast(value, Double))


STANDINGS = union_all(
    _told("running", func.count(), jobs.c.tenant).where(_under_way).group_by(jobs.c.tenant),
    _told("recent", func.count(), attempts.c.tenant).where(_of_late).group_by(attempts.c.tenant),
    _told("weight", tenants.c.weight, tenants.c.name),
    _told("limit", tenants.c.running, tenants.c.name).where(tenants.c.running.is_not(None)),
)
"""Of each tenant: its jobs under way, its runs of late, its weight, and how many jobs it may run."""

HELD = select(tenants.c.running).where(tenants.c.name == TENANT).with_for_update(skip_locked=True)
RUNNING_OF = select(func.count()).where(_under_way, jobs.c.tenant == TENANT)

LEASE = update(jobs).where(jobs.c.id == JOB)
BEGIN = insert(attempts)


def dropped(connection: Connection, settings: JobSettings, now: float) -> dict[str, Row]:
    """The jobs, by id, that lost their Driver and wait for another one; their rows are locked.

    Before that, what must not get another is laid to rest. And leases and pauses that end later than any are cut: the
    clock was set back, and nobody waits until it is there again. Whoever is at work renews its lease within a second;
    that of the dead runs out as any other.
    """
    far = now + max(FAR_S, 2 * settings.lease_s)
    found: dict[str, Row] = {}
    for row in connection.execute(ADRIFT, {"now": now, "far": far}).mappings().all():
        if row["lease_until"] > now:
            connection.execute(LEASE, {"job": row["id"], "lease_until": now + settings.lease_s})
        elif row["control"] is Control.RUN and row["attempts"] < settings.attempts:
            found[row["id"]] = row
        else:
            lay_to_rest(connection, row, now)
    return found


def lay_to_rest(connection: Connection, row: Row, now: float) -> None:
    """Ends a job that lost its Driver and was paused, cancelled, or tried often enough."""
    usage.record_lost(connection, row, now)
    if row["control"] is not Control.RUN:
        end(connection, row, landing(State.WAITING, row["control"]), now, "lost")
        return
    message = f"its worker died {row['attempts']} times; ask the operator for the server's log, then submit it again"
    end(connection, row, State.FAILED, now, "lost", error_code=StageFailed.code, error=message)


def fairest_job(connection: Connection, settings: JobSettings, now: float) -> Row | None:
    """The row of the job whose turn it is, locked; None when nothing waits that others have not locked."""
    adrift = dropped(connection, settings, now)
    of = _standings(connection, now, now - settings.share_window_s)
    running, limits = of["running"], of["limit"]
    waiting = [Candidate(OLDEST, *row) for row in connection.execute(_oldest_of_each(), {"now": now}).all()]
    waiting += [Candidate(row["id"], row["tenant"], row["created_at"]) for row in adrift.values()]
    order = fairest(
        (one for one in waiting if running.get(one.tenant, 0) < limits.get(one.tenant, inf)),
        running,
        of["recent"],
        of["weight"],
    )
    for candidate in order:
        if candidate.tenant not in limits or _has_room(connection, candidate.tenant, now):
            row = adrift.get(candidate.job_id) or _first(connection, candidate.tenant, now)
            if row is not None:
                return row
    return None


def _standings(connection: Connection, now: float, since: float) -> dict[str, dict[str, float]]:
    """What `STANDINGS` tells, each by tenant."""
    found: dict[str, dict[str, float]] = {what: {} for what in ("running", "recent", "weight", "limit")}
    for what, tenant, value in connection.execute(STANDINGS, {"now": now, "since": since}).all():
        found[what][tenant] = value
    return found


def _first(connection: Connection, tenant: str, now: float) -> Row | None:
    """The first waiting job of a tenant that nobody else has locked or taken since it was listed."""
    return connection.execute(FIRST_JOB, {"tenant": tenant, "now": now}).mappings().first()


def _has_room(connection: Connection, tenant: str, now: float) -> bool:
    """Whether a tenant may run one more; until the transaction ends, nobody else can come to the same answer."""
    held = connection.execute(HELD, {"tenant": tenant}).first()
    if held is None:
        return False
    asked = {"tenant": tenant, "now": now}
    return held.running is None or connection.execute(RUNNING_OF, asked).scalar_one() < held.running


@cache
def _oldest_of_each() -> Select[Any]:
    """Each tenant that waits and since when, found in leaps from tenant to tenant along the index of turns."""
    waiting = ready(NOW)
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
    usage.record_lost(connection, row, now)
    close_attempt(connection, row, now, "lost")
    connection.execute(LEASE, {"job": row["id"], **values})
    connection.execute(
        BEGIN, {"job_id": row["id"], "fence": fence, "owner": owner, "began": now, "tenant": row["tenant"]}
    )
    return job_from({**row, **values})
