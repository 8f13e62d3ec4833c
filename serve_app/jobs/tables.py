"""How jobs lie in the database: four tables, and the way from a row to a noun and back.

What only its owner reads (request, progress, result) is one JSON column each; what a query asks for has a column of its
own. A row is read as far as this version knows its fields, so two versions can share a database while one replaces the
other. There are no migrations: a new *column* needs a new database.

Log lines are numbered within their job, and the job's row knows how many there are. So "the last twenty lines of these
hundred jobs", asked twice a second, is one walk along a primary key however long the logs have grown.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from enum import StrEnum
from typing import Any, TypeVar

from sqlalchemy import (
    JSON,
    Column,
    Connection,
    Double,
    Engine,
    Enum,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    event,
    make_url,
)

from serve_app.jobs.job import Control, Insight, Job, LogLine, Progress, Quality, Request, Result, State

T = TypeVar("T")
BUSY_S = 30.0

metadata = MetaData()


def _json(data: Any) -> str:
    # what a log line mentions may be of any type, and no job fails for it
    return json.dumps(data, default=str)


def _words(kind: type[StrEnum]) -> Enum:
    return Enum(kind, native_enum=False, length=16, values_callable=lambda members: [str(member) for member in members])


jobs = Table(
    "jobs",
    metadata,
    Column("id", String(128), primary_key=True),
    Column("tenant", String(255), nullable=False),
    Column("request", JSON, nullable=False),
    Column("state", _words(State), nullable=False),
    Column("control", _words(Control), nullable=False),
    Column("fence", Integer, nullable=False, default=0),
    Column("lease_until", Double, nullable=False, default=0.0),
    Column("owner", String(255), nullable=False, default=""),
    Column("attempts", Integer, nullable=False, default=0),
    Column("lines", Integer, nullable=False, default=0),
    Column("progress", JSON, nullable=False),
    Column("result", JSON(none_as_null=True)),
    Column("error_code", String(64), nullable=False, default=""),
    Column("error", Text, nullable=False, default=""),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    Column("finished_at", Double),
    Index("jobs_by_state", "state", "lease_until"),
    Index("jobs_by_tenant", "tenant", "created_at"),
)

logs = Table(
    "logs",
    metadata,
    Column("job_id", ForeignKey("jobs.id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("timestamp", String(32), nullable=False),
    Column("level", String(16), nullable=False),
    Column("stage", String(64), nullable=False),
    Column("message", Text, nullable=False),
    Column("chunk_id", String(128), nullable=False),
    Column("extra", JSON, nullable=False),
)

insights = Table(
    "insights",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("job_id", ForeignKey("jobs.id"), nullable=False, index=True),
    Column("id", String(255), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("title", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("impact", String(16), nullable=False),
    Column("timestamp", String(32), nullable=False),
    Column("data", JSON, nullable=False),
)

attempts = Table(
    "attempts",
    metadata,
    Column("job_id", ForeignKey("jobs.id"), primary_key=True),
    Column("fence", Integer, primary_key=True, autoincrement=False),
    Column("owner", String(255), nullable=False),
    Column("began", Double, nullable=False, index=True),
    Column("ended", Double),
    Column("outcome", String(16), nullable=False, default=""),
)


def open_database(url: str) -> Engine:
    """An engine for SQLite (a file) or PostgreSQL. Several processes may open the same database.

    On SQLite a transaction of a connection with the option `immediate` takes the write lock when it begins: a deferred
    one that reads first and writes later is thrown out by whoever wrote in between.
    """
    if make_url(url).get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True, hide_parameters=True, json_serializer=_json)
    patient = {"timeout": BUSY_S, "isolation_level": None}
    engine = create_engine(url, hide_parameters=True, json_serializer=_json, connect_args=patient)

    @event.listens_for(engine, "connect")
    def enforce_keys(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA foreign_keys = ON")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        immediate = connection.get_execution_options().get("immediate", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    return engine


def new_row(request: Request, now: float) -> dict[str, Any]:
    """Columns of a job that nobody has worked on yet; the rest are defaults."""
    return {
        "id": request.job_id,
        "tenant": request.tenant,
        "request": asdict(request),
        "state": State.WAITING,
        "control": Control.RUN,
        "progress": asdict(Progress()),
        "created_at": now,
        "updated_at": now,
    }


def job_from(row: Mapping[Any, Any]) -> Job:
    return Job(
        request=_known(Request, row["request"]),
        state=row["state"],
        control=row["control"],
        fence=row["fence"],
        attempts=row["attempts"],
        progress=progress_from(row["progress"]),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        result=_result_from(row["result"]),
        error_code=row["error_code"],
        error=row["error"],
    )


def progress_from(data: Mapping[str, Any]) -> Progress:
    return _known(Progress, {**data, "preview_ids": tuple(data.get("preview_ids", ()))})


def line_from(row: Mapping[Any, Any]) -> LogLine:
    return _known(LogLine, row)


def insight_from(row: Mapping[Any, Any]) -> Insight:
    return _known(Insight, row)


def _result_from(data: Mapping[str, Any] | None) -> Result | None:
    return _known(Result, {**data, "quality": _known(Quality, data["quality"])}) if data else None


def _known(noun: type[T], data: Mapping[Any, Any]) -> T:
    names = {field.name for field in fields(noun)}  # type: ignore[arg-type]
    return noun(**{name: value for name, value in data.items() if name in names})
