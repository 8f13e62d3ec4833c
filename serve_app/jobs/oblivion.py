"""Rows that nobody needs any more: what is known of jobs that ended long ago, and of calls.

First their history goes: log lines, insights, attempts, and deliveries that were made or given up. The job itself, and
with it its line of usage, goes when none of its files is left, as far as was last counted: while there are some, the
row says whose they are and how long they are kept.

What may go is looked for in reads, which hold up nobody, along the primary key from batch to batch; each batch is then
asked for again, locked, and removed in a transaction of its own. So a job that comes back meanwhile keeps everything.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Table, and_, delete, exists, not_, or_, select, true

from serve_app.jobs.database import Database
from serve_app.jobs.tables import attempts, calls, deliveries, insights, jobs, logs, usage

BATCH = 200
HISTORY = (logs, insights, attempts, deliveries)


def forget(database: Database, before: float) -> Counter[str]:
    """Removes what ended `before`, in Unix seconds; how many histories, jobs and calls went. Blocks."""
    old = jobs.c.finished_at < before
    with_history = and_(old, or_(*(_has(table, _settled(table)) for table in HISTORY)))
    without_files = and_(old, jobs.c.stored_bytes == 0, *(not_(_has(table, true())) for table in HISTORY))
    removed = Counter(
        histories=_remove(database, jobs.c.id, with_history, HISTORY),
        jobs=_remove(database, jobs.c.id, without_files, (usage, jobs)),
        calls=_remove(database, calls.c.number, calls.c.at < before, (calls,)),
    )
    return +removed


def _remove(database: Database, key: Column[Any], which: ColumnElement[bool], tables: tuple[Table, ...]) -> int:
    """Removes from `tables` what belongs to the rows with a `key` that this is true of; of how many rows."""
    many = 0
    for found in _batches(database, key, which):
        still = select(key).where(key.in_(found), which).with_for_update(skip_locked=True)
        with database.write() as connection:
            ids = connection.execute(still).scalars().all()
            for table in tables:
                _of(connection, table, ids)
        many += len(ids)
    return many


def _batches(database: Database, key: Column[Any], which: ColumnElement[bool]) -> Iterator[Sequence[Any]]:
    query = select(key).where(which).order_by(key).limit(BATCH)
    with database.read() as connection:
        found = connection.execute(query).scalars().all()
    while found:
        yield found
        with database.read() as connection:
            found = connection.execute(query.where(key > found[-1])).scalars().all()


def _of(connection: Connection, table: Table, ids: Sequence[Any]) -> None:
    owner = table.c.job_id if "job_id" in table.c else next(iter(table.primary_key))
    connection.execute(delete(table).where(owner.in_(ids), _settled(table)))


def _settled(table: Table) -> ColumnElement[bool]:
    """What nothing more will become of."""
    return deliveries.c.due_at.is_(None) if table is deliveries else true()


def _has(table: Table, which: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists().where(table.c.job_id == jobs.c.id, which)
