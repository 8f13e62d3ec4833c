"""What a tenant has used, for its eyes: sums, a line a job, and one for each route of calls that are answered at once.

As JSON, or as CSV for a spreadsheet, where a route stands in place of a job's id.
"""

import csv
import time
from dataclasses import asdict
from datetime import UTC, datetime
from io import StringIO
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Query
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from models.errors import InvalidJob
from serve_app.doors.access import Who
from serve_app.jobs.usage import COLUMNS, Line, Total, Usage

MONTH_S = 30 * 24 * 3600.0
LATEST = datetime(2100, 1, 1, tzinfo=UTC).timestamp()

Form = Literal["json", "csv"]
Moment = Annotated[str, Query(max_length=40, description="2026-11-24, 2026-11-24T12:00:00Z, or Unix seconds")]


def add_usage(api: FastAPI, usage: Usage) -> None:
    @api.get("/v1/usage", summary="What your jobs have used: the last 30 days, or another time")
    def used(  # in a thread: a month of many jobs takes a while to lay out
        caller: Who, since: Moment = "", until: Moment = "", form: Annotated[Form, Query(alias="format")] = "json"
    ) -> Response:
        end = moment(until) if until else time.time() + 1
        begin = moment(since) if since else max(0.0, end - MONTH_S)
        lines = usage.lines(begin, end, caller.tenant)
        calls = usage.calls(begin, end, caller.tenant)
        if form == "csv":
            return PlainTextResponse(table([*lines, *calls]), media_type="text/csv")
        total = usage.totals(begin, end, caller.tenant).get(caller.tenant, Total())
        head = {"tenant": caller.tenant, "since": stamp(begin), "until": stamp(end), "total": asdict(total)}
        return JSONResponse(
            {**head, "jobs": [row(line) for line in lines], "calls": [of_route(line) for line in calls]}
        )


def moment(text: str) -> float:
    """Unix seconds. Raises InvalidJob for anything but a date, a time (UTC unless it says otherwise), or a number."""
    try:
        seconds = _seconds(text)
        if not 0 <= seconds <= LATEST:
            raise ValueError(text)
        return seconds
    except (ValueError, OverflowError) as error:
        raise InvalidJob("give a time as 2026-11-24, as 2026-11-24T12:00:00Z, or in Unix seconds") from error


def _seconds(text: str) -> float:
    if text.replace(".", "", 1).isdecimal():
        return datetime.fromtimestamp(float(text), UTC).timestamp()
    given = datetime.fromisoformat(text.replace(" ", "+"))  # what a plus becomes in an address
    return (given if given.tzinfo else given.replace(tzinfo=UTC)).timestamp()


def stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def row(line: Line) -> dict[str, Any]:
    return {**asdict(line), "at": stamp(line.at)}


def of_route(line: Line) -> dict[str, Any]:
    """What calls of one route have used together; `at` is when the last one was made."""
    used = {name: value for name, value in row(line).items() if name not in ("job_id", "video_s")}
    return {"route": line.job_id, **used}


def table(lines: list[Line]) -> str:
    """CSV with a head, a line a job."""
    file = StringIO()
    writer = csv.DictWriter(file, COLUMNS, lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(row(line) for line in lines)
    return file.getvalue()
