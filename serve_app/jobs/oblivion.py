"""Rows that nobody needs any more: what is known of jobs that ended long ago, and of calls.

First their history goes: log lines, insights, attempts, and deliveries that were made or given up. The job itself, and
with it its line of usage, goes when none of its files is left, as far as was last counted: while there are some, the
row says whose they are and how long they are kept.
"""

from collections import Counter
from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, Table, and_, delete, exists, not_, or_, select, true

from serve_app.jobs.database import Database
from serve_app.jobs.tables import attempts, calls, deliveries, insights, jobs, logs, usage

BATCH = 200
HISTORY = (logs, insights, attempts, deliveries)


def forget(database: Database, before: float) -> Counter[str]:
    """Removes what ended `before`, in Unix seconds; how many histories, jobs and calls went. Blocks."""
    removed: Counter[str] = Counter()
    old = jobs.c.finished_at < before
    with_history = and_(old, or_(*(_has(table, _settled(table)) for table in HISTORY)))
    without_files = and_(old, jobs.c.stored_bytes == 0, *(not_(_has(table, true())) for table in HISTORY))
    while many := _batch(database, with_history, HISTORY):
        removed["histories"] += many
    while many := _batch(database, without_files, (usage, jobs)):
        removed["jobs"] += many
    with database.write() as connection:
        removed["calls"] = connection.execute(delete(calls).where(calls.c.at < before)).rowcount
    return +removed


def _batch(database: Database, which: ColumnElement[bool], tables: tuple[Table, ...]) -> int:
    """Removes from `tables` what belongs to some of these jobs; of how many."""
    chosen = select(jobs.c.id).where(which).limit(BATCH).with_for_update(skip_locked=True)
    with database.write() as connection:
        ids = connection.execute(chosen).scalars().all()
        for table in tables if ids else ():
            _remove(connection, table, ids)
    return len(ids)


def _remove(connection: Connection, table: Table, ids: Sequence[str]) -> None:
    owner = table.c.id if table is jobs else table.c.job_id
    connection.execute(delete(table).where(owner.in_(ids), _settled(table)))


def _settled(table: Table) -> ColumnElement[bool]:
    """What nothing more will become of."""
    return deliveries.c.due_at.is_(None) if table is deliveries else true()


def _has(table: Table, which: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists().where(table.c.job_id == jobs.c.id, which)
