"""What is said to jobs that wait: a step inside a transaction of the store."""

from datetime import UTC, datetime

from sqlalchemy import Connection, exists, not_, select, update

from serve_app.jobs.job import LogLine, State
from serve_app.jobs.ledger import later, record
from serve_app.jobs.tables import jobs, logs

TOLD = 20
"""Jobs of the head of the queue; those behind them have other jobs to wait for."""


def tell_waiting(connection: Connection, message: str, now: float) -> None:
    """Logs `message` as a warning of each of the next jobs to which it was not said before."""
    said = exists().where(logs.c.job_id == jobs.c.id, logs.c.message == message)
    waiting = select(jobs).where(jobs.c.state == State.WAITING, not_(said))
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    for row in connection.execute(waiting.order_by(jobs.c.created_at).limit(TOLD).with_for_update()).mappings().all():
        line = LogLine(stamp, "warning", row["progress"]["stage"], message)
        record(connection, row, None, [line], [])
        connection.execute(update(jobs).where(jobs.c.id == row["id"]).values(updated_at=later(row, now)))
