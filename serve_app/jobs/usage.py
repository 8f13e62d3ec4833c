"""What jobs have used: one line each, written in the transaction that ends an attempt and refused with it.

So an attempt that lost its lease adds nothing any more. Every attempt adds what it has used, also one that failed or
was cancelled; one that died, as far as its last renewal knew, when its job is taken from it. The length of the video
counts once for each language, when the job has completed. A line bears the date of the last attempt's end.

Calls that are answered at once have rows of their own (`calls`), which are summed up here.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, bindparam, func, insert, select, update

from serve_app.jobs.database import Database
from serve_app.jobs.job import State
from serve_app.jobs.ledger import Row
from serve_app.jobs.tables import attempts, calls, usage
from serve_app.spending import Spending


@dataclass(frozen=True, slots=True)
class Total:
    """`jobs` is how many lines it sums up, `calls` how many calls that were answered at once."""

    jobs: int = 0
    video_s: float = 0.0
    audio_s: float = 0.0  # recognised
    characters_translated: int = 0
    characters_spoken: int = 0
    cpu_s: float = 0.0
    gpu_s: float = 0.0
    calls: int = 0


@dataclass(frozen=True, slots=True)
class Line:
    """`at` in Unix seconds: when the last attempt has ended."""

    job_id: str
    tenant: str
    at: float
    video_s: float
    audio_s: float
    characters_translated: int
    characters_spoken: int
    cpu_s: float
    gpu_s: float


COLUMNS = tuple(field.name for field in fields(Line))
_SUMMED = [name for name in COLUMNS if name not in ("job_id", "tenant", "at")]
_OF_CALLS = [name for name in _SUMMED if name != "video_s"]


_UNDER_WAY = (attempts.c.job_id == bindparam("of_job"), attempts.c.fence == bindparam("at_fence"))
_REMEMBER = update(attempts).where(*_UNDER_WAY).values(spent=bindparam("so_far"))
_REMEMBERED = select(attempts.c.spent).where(*_UNDER_WAY, attempts.c.ended.is_(None))


def record(connection: Connection, row: Row, state: State, spent: Spending, now: float) -> None:
    """Adds an attempt to the line of its job; `row` is the job's, locked."""
    video_s = row["video_s"] * (1 + len(row["request"].get("also", ()))) if state is State.COMPLETED else 0.0
    known = connection.execute(select(usage).where(usage.c.job_id == row["id"])).mappings().first()
    if known is None:
        line = {"job_id": row["id"], "tenant": row["tenant"], "at": now, "video_s": video_s, **asdict(spent)}
        connection.execute(insert(usage).values(line))
        return
    more = {name: known[name] + value for name, value in asdict(spent).items()}
    values = {"at": now, "video_s": video_s or known["video_s"], **more}
    connection.execute(update(usage).where(usage.c.job_id == row["id"]).values(values))


def remember(connection: Connection, row: Row, spent: Spending) -> None:
    """Keeps what the attempt under way has used until now, should it never come to say more."""
    connection.execute(_REMEMBER, {"of_job": row["id"], "at_fence": row["fence"], "so_far": asdict(spent)})


def record_lost(connection: Connection, row: Row, now: float) -> None:
    """Adds the attempt under way of a job whose lease has run out; `row` is the job's, locked."""
    if row["state"] is not State.RUNNING:
        return
    spent = connection.execute(_REMEMBERED, {"of_job": row["id"], "at_fence": row["fence"]}).scalar()
    if spent:
        known = {field.name for field in fields(Spending)}
        found = Spending(**{name: value for name, value in spent.items() if name in known})
        record(connection, row, State.WAITING, found, now)


class Usage:
    """Reads the lines of a time, from `since` up to `until` in Unix seconds. Blocks."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    def lines(self, since: float, until: float | None = None, tenant: str | None = None) -> list[Line]:
        """Oldest first; of all tenants when none is named."""
        query = select(usage).where(*self._within(usage, since, until, tenant)).order_by(usage.c.at, usage.c.job_id)
        with self._database.read() as connection:
            return [Line(**row) for row in connection.execute(query).mappings()]

    def calls(self, since: float, until: float | None = None, tenant: str | None = None) -> list[Line]:
        """What was answered at once, a line for each route and tenant; `job_id` is the route."""
        sums = [func.sum(calls.c[name]).label(name) for name in _OF_CALLS]
        query = select(calls.c.route, calls.c.tenant, func.max(calls.c.at).label("at"), *sums)
        query = query.where(*self._within(calls, since, until, tenant)).group_by(calls.c.route, calls.c.tenant)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(calls.c.tenant, calls.c.route)).all()
        return [Line(row.route, row.tenant, row.at, 0.0, *map(_plain, row[3:])) for row in rows]

    def totals(self, since: float, until: float | None = None, tenant: str | None = None) -> dict[str, Total]:
        """By tenant, in the order of their names."""
        jobs = self._sums(usage, _SUMMED, "jobs", since, until, tenant)
        made = self._sums(calls, _OF_CALLS, "calls", since, until, tenant)
        found = {name: asdict(Total()) for name in sorted({*jobs, *made})}
        for name, total in found.items():
            for sums in (jobs.get(name, {}), made.get(name, {})):
                total.update({key: total[key] + value for key, value in sums.items()})
        return {name: Total(**total) for name, total in found.items()}

    def _sums(
        self, table: Table, names: list[str], many: str, since: float, until: float | None, tenant: str | None
    ) -> dict[str, dict[str, float]]:
        """By tenant, each column's sum and, under the name `many`, the number of rows."""
        sums = [func.count().label(many), *(func.sum(table.c[name]).label(name) for name in names)]
        query = select(table.c.tenant, *sums).where(*self._within(table, since, until, tenant))
        with self._database.read() as connection:
            rows = connection.execute(query.group_by(table.c.tenant)).mappings().all()
        return {row["tenant"]: {k: _plain(v) for k, v in row.items() if k != "tenant"} for row in rows}

    def _within(self, table: Table, since: float, until: float | None, tenant: str | None) -> list[ColumnElement[bool]]:
        rules = [table.c.at >= since, table.c.at < (self._clock() + 1 if until is None else until)]
        return rules if tenant is None else [*rules, table.c.tenant == tenant]


def _plain(value: Any) -> Any:
    """PostgreSQL sums whole numbers up to a decimal one."""
    return int(value) if isinstance(value, Decimal) else value
