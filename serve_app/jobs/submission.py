"""What happens to a request that comes in, inside one transaction: a new row, an old one sent back, or an answer as is.

However often and from however many sides an id is submitted, there is one row of it.
"""

from sqlalchemy import Connection, select
from sqlalchemy.dialects import postgresql, sqlite

from models.errors import InvalidJob
from serve_app.jobs.job import Request, State
from serve_app.jobs.ledger import Row, locked, revive
from serve_app.jobs.quotas import admit
from serve_app.jobs.tables import jobs, new_row
from serve_app.jobs.workspace import UNUSABLE_ID


def submit(connection: Connection, request: Request, max_queued: int, now: float, stored_bytes: int, film: str) -> Row:
    """The row of the job. Raises InvalidJob for another tenant's id, NotAllowed (resource_exhausted) beyond a limit."""
    found = select(jobs).where(jobs.c.id == request.job_id).with_for_update()
    row = connection.execute(found).mappings().first()
    if row is None:
        admit(connection, request.tenant, max_queued, now, stored_bytes)
        return _inserted(connection, request, now, stored_bytes, film)
    if row["tenant"] != request.tenant:
        raise InvalidJob(UNUSABLE_ID)
    if row["state"] not in (State.FAILED, State.CANCELLED):
        return row
    if row["video_s"] and row["request"]["path"] != request.path:  # else one id would take any number of films
        raise InvalidJob("this id belongs to another video; submit this one under an id of its own")
    admit(connection, request.tenant, max_queued, now, stored_bytes - row["stored_bytes"])
    return revive(connection, row, request, now, stored_bytes, film)


def _inserted(connection: Connection, request: Request, now: float, stored_bytes: int, film: str) -> Row:
    """The new row, or that of somebody who was faster."""
    # both dialects know this clause, each under a name of its own
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    new = new_row(request, now, stored_bytes, film)
    connection.execute(dialect.insert(jobs).values(new).on_conflict_do_nothing())
    row = locked(connection, request.job_id)
    if row["tenant"] != request.tenant:
        raise InvalidJob(UNUSABLE_ID)
    return row
