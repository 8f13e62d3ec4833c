"""Long lists of jobs, a page at a time: whoever has ten thousand reads fifty.

A page begins after the last job of the one before, by age and id, so it costs the same however deep it lies, and jobs
that come meanwhile push nothing over its edge. The cursor is opaque to callers; it grants nothing, since each page asks
for the tenant's own jobs again.
"""

import base64
import json
from collections.abc import Collection
from typing import Any

from sqlalchemy import and_, func, or_, select

from models.errors import InvalidJob
from serve_app.jobs.database import Database
from serve_app.jobs.job import Job, State
from serve_app.jobs.tables import job_from, jobs

MOST = 500


class Listing:
    """Thread-safe; blocks."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def page(
        self, tenant: str, states: Collection[State] = (), after: str = "", limit: int = 50
    ) -> tuple[list[Job], str]:
        """Up to `limit` jobs of a tenant, 1 to MOST, newest first, and the next page's cursor; "" on the last one.

        Raises InvalidJob for a cursor that is not of our making.
        """
        query = select(jobs).where(jobs.c.tenant == tenant).order_by(jobs.c.created_at.desc(), jobs.c.id)
        if states:
            query = query.where(jobs.c.state.in_(states))
        if after:
            at, job_id = opened(after)
            same = and_(jobs.c.created_at == at, jobs.c.id > job_id)
            query = query.where(or_(jobs.c.created_at < at, same))
        with self._database.read() as connection:
            found = [job_from(row) for row in connection.execute(query.limit(limit + 1)).mappings()]
        return found[:limit], cursor(found[limit - 1]) if len(found) > limit else ""

    def counts(self, tenant: str) -> dict[str, int]:
        """A tenant's jobs by state, with a zero for every state that has none."""
        query = select(jobs.c.state, func.count()).where(jobs.c.tenant == tenant).group_by(jobs.c.state)
        with self._database.read() as connection:
            found = {row.state: row[1] for row in connection.execute(query)}
        return {state.value: found.get(state, 0) for state in State}


def cursor(job: Job) -> str:
    return base64.urlsafe_b64encode(json.dumps([job.created_at, job.id]).encode()).decode()


def opened(text: str) -> tuple[float, str]:
    try:
        at, job_id = json.loads(base64.urlsafe_b64decode(text.encode("ascii")))
        if type(at) is float and type(job_id) is str:
            return at, job_id
    except (ValueError, TypeError):
        pass
    raise InvalidJob("this cursor is not one of a list of jobs; ask for the first page again")


def states_of(words: Collection[str]) -> list[State]:
    """Raises InvalidJob for a word that is no state; `live` stands for every state that has not ended."""
    found: dict[State, Any] = {}
    for word in words:
        if word != "live" and word not in set(State):
            raise InvalidJob(f"a state is one of live, {', '.join(State)}")
        found |= dict.fromkeys(state for state in State if (state.live if word == "live" else state == word))
    return list(found)
