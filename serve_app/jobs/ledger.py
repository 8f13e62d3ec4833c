"""Single steps inside a transaction of the store: lock a job, write down what is new, end it, count.

Each takes the connection of a transaction that somebody else began and will commit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, Connection, and_, bindparam, insert, or_, select, update

from models.errors import JobNotFound
from serve_app.jobs.deliveries import announce
from serve_app.jobs.job import Control, Insight, LogLine, Progress, Request, State
from serve_app.jobs.tables import attempts, insights, jobs, logs, request_json

Row = Mapping[Any, Any]
Standing = Progress | None
Lines = Sequence[LogLine]
Insights = Sequence[Insight]

NO_JOB = "no job with this id"
"""Said of a job that is not there, and in the same words of one that is another tenant's."""


_CLOSE = update(attempts).where(
    attempts.c.job_id == bindparam("of_job"), attempts.c.fence == bindparam("at_fence"), attempts.c.ended.is_(None)
)


def landing(outcome: State, control: Control) -> State:
    """Where a job goes whose run ended with `outcome`, given what its owner has asked for since.

    A cancel that was acknowledged wins over everything. A pause holds what would wait, and a resume that came while the
    run was being stopped sends it back to the queue; what has completed or failed has done so.
    """
    if control is Control.CANCEL:
        return State.CANCELLED
    if outcome in (State.WAITING, State.PAUSED):
        return State.PAUSED if control is Control.PAUSE else State.WAITING
    return outcome


def lost(now: float | BindParameter[Any]) -> ColumnElement[bool]:
    """Jobs whose lease has run out."""
    return and_(jobs.c.state == State.RUNNING, jobs.c.lease_until <= now)


def ready(now: float | BindParameter[Any]) -> ColumnElement[bool]:
    """Jobs that wait, and whose pause after a fault, if there was one, is over."""
    # a sum, lest SQLite takes the index of leases, under which all that wait lie in no useful order
    return and_(jobs.c.state == State.WAITING, jobs.c.lease_until + 0.0 <= now)


def due(now: float) -> ColumnElement[bool]:
    """Jobs that nobody runs and that are not parked."""
    return or_(ready(now), lost(now))


def later(row: Row, now: float) -> float:
    """`updated_at` always grows, even when the clock is set back: readers tell by it whether a job has changed."""
    return max(now, float(row["updated_at"]) + 1e-6)


def locked(connection: Connection, job_id: str) -> Row:
    row = connection.execute(select(jobs).where(jobs.c.id == job_id).with_for_update()).mappings().first()
    if row is None:
        raise JobNotFound(NO_JOB)
    return row


def revive(connection: Connection, row: Row, request: Request, now: float, stored_bytes: int, film: str) -> Row:
    """Sends a job back to the queue. Asked for another dub, or of another film at the same path, it begins at 0."""
    asked = request_json(request)
    same = _matter(row["request"]) == _matter(asked) and film in ("", row["film"] or film)
    values = {
        "request": asked,
        "state": State.WAITING,
        "control": Control.RUN,
        "attempts": 0,
        "progress": row["progress"] if same else asdict(Progress()),
        "error_code": "",
        "error": "",
        "edits": row["edits"] if same else None,
        "turn": -request.priority,
        "stored_bytes": stored_bytes,
        "film": film or row["film"],
        "admitted_at": now,
        "updated_at": later(row, now),
        "finished_at": None,
    }
    connection.execute(update(jobs).where(jobs.c.id == row["id"]).values(values))
    return {**row, **values}


def _matter(asked: Mapping[str, Any]) -> dict[str, Any]:
    """What of a request changes what comes out."""
    return {name: value for name, value in asked.items() if name not in ("priority", "title", "trace", "webhook")}


def record(connection: Connection, row: Row, progress: Standing, lines: Lines, found: Insights) -> None:
    values: dict[str, Any] = {"lines": row["lines"] + len(lines)}
    if progress is not None:
        values["progress"] = asdict(progress)
        values["video_s"] = progress.duration_s or row["video_s"]
    connection.execute(update(jobs).where(jobs.c.id == row["id"]).values(values))
    if lines:
        numbered = enumerate(lines, row["lines"] + 1)
        connection.execute(insert(logs), [{"job_id": row["id"], "number": n, **asdict(line)} for n, line in numbered])
    if found:
        connection.execute(insert(insights), [{"job_id": row["id"], **asdict(insight)} for insight in found])


def end(connection: Connection, row: Row, state: State, now: float, outcome: str, **values: Any) -> None:
    """The job is nobody's any more; the run that was under way, if any, ended with `outcome`."""
    close_attempt(connection, row, now, outcome)
    ended = {"state": state, "owner": "", "lease_until": 0.0, "updated_at": later(row, now)}
    ended["finished_at"] = None if state.live else now
    ended.update(values)
    connection.execute(update(jobs).where(jobs.c.id == row["id"]).values(ended))
    announce(connection, {**row, **ended}, now)


def close_attempt(connection: Connection, row: Row, now: float, outcome: str) -> None:
    if row["fence"]:  # else nobody has had it yet
        this = {"of_job": row["id"], "at_fence": row["fence"]}
        connection.execute(_CLOSE, {**this, "ended": now, "outcome": outcome})
