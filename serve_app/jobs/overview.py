"""The whole service at a glance: what waits and runs, by tenant, and whether each gets its share."""

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from sqlalchemy import func, select

from configs.app import JobSettings
from serve_app.jobs.database import Database
from serve_app.jobs.job import State
from serve_app.jobs.tables import attempts, jobs, tenants
from serve_app.jobs.tenants import Tenant


@dataclass(frozen=True, slots=True)
class Standing:
    """A tenant now. `owed` is the part, 0–1, that its weight gives it beside the others that have work here;
    `had` the part of the runs that began within the share window; each is None where there were none."""

    tenant: Tenant
    states: dict[str, int] = field(default_factory=dict)
    owed: float | None = None
    had: float | None = None


def standings(database: Database, settings: JobSettings, clock: Callable[[], float] = time.time) -> dict[str, Standing]:
    """By name: every tenant that has a row or a job. Blocks; reads each job's index entry once."""
    since = clock() - settings.share_window_s
    with database.read() as connection:
        known = {row["name"]: Tenant(**row) for row in connection.execute(select(tenants)).mappings()}
        counted = connection.execute(
            select(jobs.c.tenant, jobs.c.state, func.count()).group_by(jobs.c.tenant, jobs.c.state)
        ).all()
        begun = select(attempts.c.tenant, func.count()).where(attempts.c.began > since).group_by(attempts.c.tenant)
        runs = {row.tenant: row[1] for row in connection.execute(begun)}
    states: dict[str, dict[str, int]] = defaultdict(dict)
    for row in counted:
        states[row.tenant][row.state.value] = row[2]
    every = {name: known.get(name, Tenant(name)) for name in sorted({*known, *states})}
    busy = sum(one.weight for one in every.values() if at_work(states[one.name]))
    ran = sum(runs.values())
    return {
        name: Standing(
            tenant,
            {state.value: states[name].get(state.value, 0) for state in State},
            tenant.weight / busy if at_work(states[name]) else None,
            runs.get(name, 0) / ran if ran else None,
        )
        for name, tenant in every.items()
    }


def at_work(states: dict[str, int]) -> bool:
    return bool(states.get(State.WAITING) or states.get(State.RUNNING))
