"""What a tenant may still ask for: limits on what waits, on what lies on the disk, and on a day's minutes.

They are checked in the transaction that accepts a job, while the tenant's row is held, so that many submissions at once
cannot pass together what one of them would have used up. A job's length is known only after its video has been looked
into, so the day's minutes count what has been looked into: the limit is passed by what waits at that moment, and the
limit on waiting jobs bounds it. A film counts on the day on which it was last let in, and once, however often that was:
also when it was dubbed again, or came back from a failure. The limit on all jobs of the service is not held that
tightly: a few may slip past. Of the room that it leaves, some is always kept for those of whom little waits: whoever
has four jobs waiting for each place that is left gets no more, so that one tenant alone fills four fifths.

How many run at a time is no matter of accepting: the claim sees to it.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict
from math import inf
from pathlib import Path
from types import MappingProxyType

from sqlalchemy import ColumnElement, Connection, Subquery, func, select, update

from models.errors import NotAllowed
from serve_app.jobs.database import Database
from serve_app.jobs.job import Request, State
from serve_app.jobs.tables import calls, job_from, jobs, tenants
from serve_app.jobs.tenants import Tenant
from serve_app.jobs.workspace import artifacts

DAY_S = 24 * 3600.0
BUSY_S = 30.0
"""After so long another try makes sense where nobody can say when there will be room."""
FULL_S = 3600.0
"""The same where somebody has to make room."""
SPOKEN_A_SECOND = 15.0
"""Characters."""
NOBODY: Mapping[str, str] = MappingProxyType({})
GREEDY = 4
"""Jobs that a tenant may have waiting for each place in the queue that it leaves to others."""


def admit(
    connection: Connection,
    tenant: str,
    max_queued: int,
    now: float,
    incoming: int = 0,
    ahead: Mapping[str, str] = NOBODY,
) -> None:
    """Raises NotAllowed (resource_exhausted) when a new job with `incoming` bytes would pass a limit.

    `ahead` are jobs, by id with their tenants, that count as if they waited already, whether they have a row or not.
    """
    own = [job for job, whose in ahead.items() if whose == tenant]
    _room(connection, tenant, max_queued, ahead, len(own))
    limits = held(connection, tenant)
    if limits.queued is not None and _queued(connection, tenant, own) + len(own) >= limits.queued:
        many = "a job of yours waits" if limits.queued == 1 else f"{limits.queued} jobs of yours wait"
        raise exhausted(f"{many} already; try again when one of them has ended", BUSY_S)
    if limits.stored_bytes is not None and _stored(connection, tenant) + incoming > limits.stored_bytes:
        limit = limits.stored_bytes / 1024**2
        raise exhausted(f"your files would take more than the {limit:g} MiB that you may store", FULL_S)
    day(connection, limits, now)


def held(connection: Connection, tenant: str) -> Tenant:
    """A tenant with its limits. Until the transaction ends, nobody else is let in under its name, if it has a row."""
    row = connection.execute(select(tenants).where(tenants.c.name == tenant).with_for_update()).mappings().first()
    return Tenant(**row) if row is not None else Tenant(tenant)


def day(connection: Connection, limits: Tenant, now: float) -> None:
    """Raises NotAllowed when the day's minutes are used up."""
    if limits.video_minutes_a_day is None:
        return
    wait = _until_fresh(connection, limits.name, limits.video_minutes_a_day * 60, now)
    if wait:
        raise exhausted(f"you have used up your {limits.video_minutes_a_day:g} minutes of video a day", wait)


def exhausted(message: str, retry_after: float) -> NotAllowed:
    return NotAllowed(message, "resource_exhausted", retry_after)


def _room(connection: Connection, tenant: str, max_queued: int, ahead: Mapping[str, str], own: int) -> None:
    """Raises NotAllowed when the queue of all tenants has no place for one more job of this one."""
    others = jobs.c.id.not_in(ahead)
    left = max_queued - _waiting(connection, max_queued, others) - len(ahead)
    if left <= 0:
        raise exhausted("so many jobs wait that no more are taken; try again later", BUSY_S)
    held = _waiting(connection, GREEDY * left, others, jobs.c.tenant == tenant)
    if held + own >= GREEDY * left:
        raise exhausted(
            "so many of the jobs that wait are yours that the room is kept for others; try again later", BUSY_S
        )


def _waiting(connection: Connection, enough: int, *rules: ColumnElement[bool]) -> int:
    found = select(jobs.c.id).where(jobs.c.state == State.WAITING, *rules).limit(enough).subquery()
    return connection.execute(select(func.count()).select_from(found)).scalar_one()


def _queued(connection: Connection, tenant: str, besides: Collection[str]) -> int:
    held = jobs.c.state.in_((State.WAITING, State.PAUSED)), jobs.c.id.not_in(besides)
    return connection.execute(select(func.count()).where(*held, jobs.c.tenant == tenant)).scalar_one()


def _stored(connection: Connection, tenant: str) -> int:
    query = select(func.sum(jobs.c.stored_bytes)).where(jobs.c.tenant == tenant, jobs.c.stored_bytes > 0)
    return int(connection.execute(query).scalar_one() or 0)


def _until_fresh(connection: Connection, tenant: str, limit_s: float, now: float) -> float:
    """Seconds until a tenant has used less than `limit_s` seconds of video within a day; 0 if that is so now."""
    films, sound = _used(tenant, now - DAY_S)
    used = sum(connection.execute(select(func.sum(one.c.seconds))).scalar_one() or 0.0 for one in (films, sound))
    if used < limit_s:
        return 0.0
    for at, seconds in sorted(
        (*connection.execute(select(films)).tuples(), *connection.execute(select(sound)).tuples())
    ):
        used -= seconds
        if used < limit_s:
            return max(1.0, float(at) + DAY_S - now)
    return DAY_S  # of nothing, there is never some left


def _used(tenant: str, since: float) -> tuple[Subquery, Subquery]:
    """When (`at`) how many `seconds` were begun: films, and recordings with texts, which count as they are spoken."""
    films = select(jobs.c.admitted_at.label("at"), jobs.c.video_s.label("seconds"))
    films = films.where(jobs.c.tenant == tenant, jobs.c.admitted_at > since)
    seconds = calls.c.audio_s + calls.c.characters_spoken / SPOKEN_A_SECOND
    sound = select(calls.c.at, seconds.label("seconds")).where(calls.c.tenant == tenant, calls.c.at > since)
    return films.subquery(), sound.subquery()


def film_of(path: str) -> str:
    """What changes when the video at a path is replaced or written to; empty when there is none to look at."""
    try:
        facts = Path(path).stat()
    except (OSError, ValueError):
        return ""
    return f"{facts.st_size} {facts.st_mtime_ns}"


def weigh(request: Request, folder: Path) -> int:
    """Bytes of what a job was given and what it has left in the `folder` of artifacts, as far as that is there."""
    made = [
        path for further in ("", *request.also) for path in asdict(artifacts(folder, request.job_id, further)).values()
    ]
    given = (Path(path) for path in (request.path, request.transcript) if path)
    return sum(sizes({*given, *made}))


def recount(database: Database, folder: Path, before: float = inf) -> None:
    """Weighs the files of jobs that ended `before`, as far as they had any; `folder` is that of the artifacts."""
    kept = select(jobs).where(jobs.c.stored_bytes > 0, jobs.c.finished_at < before)
    with database.read() as connection:
        rows = connection.execute(kept).mappings().all()
    now = {row["id"]: weigh(job_from(row).request, folder) for row in rows}
    with database.write() as connection:
        for row in rows:
            if now[row["id"]] != row["stored_bytes"]:
                same = jobs.c.id == row["id"], jobs.c.updated_at == row["updated_at"]  # it may have come back meanwhile
                connection.execute(update(jobs).where(*same).values(stored_bytes=now[row["id"]]))


def sizes(paths: Iterable[Path]) -> Iterable[int]:
    for path in paths:
        try:
            yield path.stat().st_size
        except (OSError, ValueError):  # it has gone, or its name could never be one
            continue
