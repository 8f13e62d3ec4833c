"""What jobs have used: one line each, written in the transaction that ends an attempt and refused with it.

So an attempt that lost its lease adds nothing. Every attempt adds what it has used, also one that failed or was
cancelled; the length of the video counts once for each language, when the job has completed. A line bears the date of
the last attempt's end.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, insert, select, update

from serve_app.jobs.database import Database
from serve_app.jobs.job import State
from serve_app.jobs.ledger import Row
from serve_app.jobs.tables import usage
from serve_app.spending import Spending


@dataclass(frozen=True, slots=True)
class Total:
    """`jobs` is how many lines it sums up."""

    jobs: int = 0
    video_s: float = 0.0
    audio_s: float = 0.0  # recognised
    characters_translated: int = 0
    characters_spoken: int = 0
    cpu_s: float = 0.0
    gpu_s: float = 0.0


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


class Usage:
    """Reads the lines of a time, from `since` up to `until` in Unix seconds. Blocks."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    def lines(self, since: float, until: float | None = None, tenant: str | None = None) -> list[Line]:
        """Oldest first; of all tenants when none is named."""
        query = select(usage).where(*self._within(since, until, tenant)).order_by(usage.c.at, usage.c.job_id)
        with self._database.read() as connection:
            return [Line(**row) for row in connection.execute(query).mappings()]

    def totals(self, since: float, until: float | None = None, tenant: str | None = None) -> dict[str, Total]:
        """By tenant, in the order of their names."""
        sums = [func.sum(usage.c[name]).label(name) for name in _SUMMED]
        query = select(usage.c.tenant, func.count().label("jobs"), *sums).where(*self._within(since, until, tenant))
        with self._database.read() as connection:
            rows = connection.execute(query.group_by(usage.c.tenant).order_by(usage.c.tenant)).mappings().all()
        return {row["tenant"]: Total(**{k: _plain(v) for k, v in row.items() if k != "tenant"}) for row in rows}

    def _within(self, since: float, until: float | None, tenant: str | None) -> list[ColumnElement[bool]]:
        rules = [usage.c.at >= since, usage.c.at < (self._clock() + 1 if until is None else until)]
        return rules if tenant is None else [*rules, usage.c.tenant == tenant]


def _plain(value: Any) -> Any:
    """PostgreSQL sums whole numbers up to a decimal one."""
    return int(value) if isinstance(value, Decimal) else value
