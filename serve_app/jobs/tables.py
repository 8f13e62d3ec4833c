"""How jobs lie in the database, with whose they are and what they cost, and the way from a row to a noun and back.

What only its owner reads (request, progress, result) is one JSON column each; what a query asks for has a column of its
own. A row is read as far as this version knows its fields, so two versions can share a database while one replaces the
other. A change here needs a step in migrations/, and a test tells when it is missing.

Log lines are numbered within their job, and the job's row knows how many there are. So "the last twenty lines of these
hundred jobs", asked twice a second, is one walk along a primary key however long the logs have grown.
"""

from collections.abc import Mapping
from dataclasses import asdict, fields
from enum import StrEnum
from typing import Any, TypeVar

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Dialect,
    Double,
    Enum,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    text,
)

from serve_app.jobs.job import Control, Insight, Job, LogLine, Progress, Quality, Request, Result, State

T = TypeVar("T")

metadata = MetaData()


class Name(TypeDecorator[str]):
    """Text without what PostgreSQL cannot keep: NUL, and halves of surrogate pairs, which odd file names bring."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        del dialect
        return value and value.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


class Prose(Name):
    """Of any length."""

    impl = Text
    cache_ok = True


Number = BigInteger().with_variant(Integer, "sqlite")
"""Of rows that are counted up for ever; SQLite counts by itself only what is called an integer, which it never ends."""


def _words(kind: type[StrEnum]) -> Enum:
    return Enum(kind, native_enum=False, length=16, values_callable=lambda members: [str(member) for member in members])


jobs = Table(
    "jobs",
    metadata,
    Column("id", Name(128), primary_key=True),
    Column("tenant", Name(255), nullable=False),
    Column("request", JSON, nullable=False),
    Column("state", _words(State), nullable=False),
    Column("control", _words(Control), nullable=False),
    Column("fence", Integer, nullable=False, default=0),
    Column("lease_until", Double, nullable=False, default=0.0),  # of a job that waits: nobody's until then
    Column("owner", Name(255), nullable=False, default=""),
    Column("attempts", Integer, nullable=False, default=0),
    Column("lines", Integer, nullable=False, default=0),
    Column("progress", JSON, nullable=False),
    Column("result", JSON(none_as_null=True)),
    Column("error_code", Name(64), nullable=False, default=""),
    Column("error", Prose, nullable=False, default=""),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    Column("finished_at", Double),
    Column("turn", Integer, nullable=False, default=0, server_default="0"),  # minus its priority: lower goes first
    Column("video_s", Double, nullable=False, default=0.0, server_default="0"),  # once the video has been probed
    Column("stored_bytes", BigInteger, nullable=False, default=0, server_default="0"),  # of its files, while they lie
    Column("edits", JSON(none_as_null=True)),  # by segment id: what its owner changed
    Column("admitted_at", Double, nullable=False, default=0.0, server_default="0"),  # last let in
    Column("film", Name(64), nullable=False, default="", server_default=text("''")),  # which file, at its path
    Index("jobs_by_state", "state", "lease_until"),
    Index("jobs_by_turn", "state", "tenant", "turn", "created_at", "id"),
    Index("jobs_by_tenant", "tenant", "created_at"),
    Index("jobs_by_admission", "tenant", "admitted_at"),
    Index("jobs_by_size", "tenant", "stored_bytes"),
)

logs = Table(
    "logs",
    metadata,
    Column("job_id", ForeignKey("jobs.id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("timestamp", Name(32), nullable=False),
    Column("level", Name(16), nullable=False),
    Column("stage", Name(64), nullable=False),
    Column("message", Prose, nullable=False),
    Column("chunk_id", Name(128), nullable=False),
    Column("extra", JSON, nullable=False),
)

insights = Table(
    "insights",
    metadata,
    Column("number", Number, primary_key=True),
    Column("job_id", ForeignKey("jobs.id"), nullable=False, index=True),
    Column("id", Name(255), nullable=False),
    Column("kind", Name(32), nullable=False),
    Column("title", Prose, nullable=False),
    Column("description", Prose, nullable=False),
    Column("impact", Name(16), nullable=False),
    Column("timestamp", Name(32), nullable=False),
    Column("data", JSON, nullable=False),
)

attempts = Table(
    "attempts",
    metadata,
    Column("job_id", ForeignKey("jobs.id"), primary_key=True),
    Column("fence", Integer, primary_key=True, autoincrement=False),
    Column("owner", Name(255), nullable=False),
    Column("began", Double, nullable=False),
    Column("ended", Double),
    Column("outcome", Name(16), nullable=False, default=""),
    Column("tenant", Name(255), nullable=False, default="", server_default=text("''")),
    Column("spent", JSON(none_as_null=True)),  # as of its last renewal
    Index("attempts_by_began", "began", "tenant"),
)

tenants = Table(
    "tenants",
    metadata,
    Column("name", Name(255), primary_key=True),
    Column("weight", Double, nullable=False, default=1.0),
    Column("running", Integer),  # limits; None: none
    Column("queued", Integer),
    Column("stored_bytes", BigInteger),
    Column("video_minutes_a_day", Double),
    Column("created_at", Double, nullable=False),
)

keys = Table(
    "keys",
    metadata,
    Column("id", Name(32), primary_key=True),  # the part of a key that may be shown
    Column("tenant", ForeignKey("tenants.name"), nullable=False, index=True),
    Column("sha256", Name(64), nullable=False, unique=True),
    Column("label", Name(255), nullable=False, default=""),
    Column("created_at", Double, nullable=False),
    Column("used_at", Double),
    Column("revoked_at", Double),
)

usage = Table(
    "usage",
    metadata,
    Column("job_id", ForeignKey("jobs.id"), primary_key=True),
    Column("tenant", Name(255), nullable=False),
    Column("at", Double, nullable=False),  # when the last attempt ended
    Column("video_s", Double, nullable=False, default=0.0),
    Column("audio_s", Double, nullable=False, default=0.0),
    Column("characters_translated", BigInteger, nullable=False, default=0),
    Column("characters_spoken", BigInteger, nullable=False, default=0),
    Column("cpu_s", Double, nullable=False, default=0.0),
    Column("gpu_s", Double, nullable=False, default=0.0),
    Index("usage_by_tenant", "tenant", "at"),
)

calls = Table(
    "calls",
    metadata,
    Column("number", Number, primary_key=True),
    Column("tenant", Name(255), nullable=False),
    Column("at", Double, nullable=False),
    Column("route", Name(64), nullable=False),
    Column("audio_s", Double, nullable=False, default=0.0),
    Column("characters_translated", BigInteger, nullable=False, default=0),
    Column("characters_spoken", BigInteger, nullable=False, default=0),
    Column("cpu_s", Double, nullable=False, default=0.0),
    Column("gpu_s", Double, nullable=False, default=0.0),
    Index("calls_by_tenant", "tenant", "at"),
    Index("calls_by_date", "at"),
)
"""Of the routes that answer within the call; a job is none."""

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", Name(64), primary_key=True),
    Column("job_id", ForeignKey("jobs.id"), nullable=False, index=True),
    Column("url", Prose, nullable=False),
    Column("body", Prose, nullable=False),  # exactly the bytes that are signed
    Column("created_at", Double, nullable=False),
    Column("tries", Integer, nullable=False, default=0),
    Column("due_at", Double),  # None: delivered or given up
    Column("delivered_at", Double),
    Column("error", Prose, nullable=False, default=""),
    Index("deliveries_by_due", "due_at"),
)


def new_row(request: Request, now: float, stored_bytes: int = 0, film: str = "") -> dict[str, Any]:
    """Columns of a job that nobody has worked on yet; the rest are defaults."""
    return {
        "id": request.job_id,
        "tenant": request.tenant,
        "request": request_json(request),
        "state": State.WAITING,
        "control": Control.RUN,
        "progress": asdict(Progress()),
        "created_at": now,
        "updated_at": now,
        "turn": -request.priority,
        "stored_bytes": stored_bytes,
        "admitted_at": now,
        "film": film,
    }


def request_json(request: Request) -> dict[str, Any]:
    """As it comes back from the database: JSON knows no tuples."""
    return {**asdict(request), "also": list(request.also)}


def job_from(row: Mapping[Any, Any]) -> Job:
    return Job(
        request=_known(Request, {**row["request"], "also": tuple(row["request"].get("also", ()))}),
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
        edits=row["edits"] or {},
    )


def progress_from(data: Mapping[str, Any]) -> Progress:
    return _known(Progress, {**data, "preview_ids": tuple(data.get("preview_ids", ()))})


def line_from(row: Mapping[Any, Any]) -> LogLine:
    return _known(LogLine, row)


def insight_from(row: Mapping[Any, Any]) -> Insight:
    return _known(Insight, row)


def _result_from(data: Mapping[str, Any] | None) -> Result | None:
    if not data:
        return None
    further = {language: _result_from(one) for language, one in data.get("further", {}).items()}
    return _known(Result, {**data, "quality": _known(Quality, data["quality"]), "further": further})


def _known(noun: type[T], data: Mapping[Any, Any]) -> T:
    names = {field.name for field in fields(noun)}  # type: ignore[arg-type]
    return noun(**{name: value for name, value in data.items() if name in names})
