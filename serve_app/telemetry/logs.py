"""Events as lines of JSON: on the standard output of the process, and of each job in a file in its folder.

Every line has the same fields, in this order; what is not known is empty or null:

    timestamp    ISO-8601, UTC, microseconds
    level        debug, info, warning, error
    stage        of the wire, such as `transcription`; else the part of the service, such as `ingress`
    job, tenant, attempt
    event        a fixed word to search for, such as `stage.ended`; `log` for free text
    duration_ms  how long what has ended took
    trace_id     the trace that the event belongs to
    message      a sentence for people; with `error`, the traceback that led to it, and further facts

A job's file has what the job did, in whichever process and attempt, and goes when its folder goes. The standard output
of the process has everything. The service's own output shows it too when the settings say `logs: json`.
"""

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from configs.app import Roots, TelemetrySettings
from serve_app.jobs.workspace import LOG, safe_id
from serve_app.telemetry import traces
from serve_app.telemetry.about import NOW

logger = logging.getLogger("serve_app.events")

OURS = ("serve_app", "models")
LEVELS = {"success": logging.INFO}
FIELDS = ("timestamp", "level", "stage", "job", "tenant", "attempt", "event", "duration_ms", "trace_id", "message")


def event(name: str, message: str = "", level: str = "info", duration_s: float | None = None, **facts: Any) -> None:
    """Tells that something has happened to whatever the work at hand is about."""
    number = LEVELS.get(level) or logging.getLevelNamesMapping()[level.upper()]
    logger.log(number, "%s", message, extra={"event": name, "duration_s": duration_s, "facts": facts})


class Json(logging.Formatter):
    """One record as one line; `part` stands for the stage of what belongs to none."""

    def __init__(self, part: str) -> None:
        super().__init__()
        self._part = part

    def format(self, record: logging.LogRecord) -> str:
        now, took = NOW.get(), getattr(record, "duration_s", None)
        told: dict[str, Any] = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "level": record.levelname.lower(),
            "stage": now.stage or self._part,
            "job": now.job,
            "tenant": now.tenant,
            "attempt": now.attempt or None,
            "event": getattr(record, "event", "log"),
            "duration_ms": None if took is None else round(1000 * took, 3),
            "trace_id": traces.trace_id(),
            "message": record.getMessage(),
        }
        facts: dict[str, Any] = getattr(record, "facts", {})
        told |= {name: value for name, value in facts.items() if name not in told}
        if record.exc_info:
            told["error"] = self.formatException(record.exc_info)
        return json.dumps(told, ensure_ascii=False, default=str)


class OfJobs(logging.Handler):
    """Appends what is about an attempt to the file in its job's folder. A disk that is full costs lines, no job."""

    def __init__(self, work: Path) -> None:
        super().__init__()
        self._work = work

    def emit(self, record: logging.LogRecord) -> None:
        now = NOW.get()
        if not now.attempt:
            return
        path = file_of(self._work, now.job)
        with suppress(OSError):
            path.parent.mkdir(exist_ok=True)
            with path.open("a", encoding="utf-8") as file:
                file.write(self.format(record) + "\n")


def begin(part: str, settings: TelemetrySettings, roots: Roots) -> None:
    """Sends what the product's own modules log to where it belongs. A later call takes the place of an earlier one."""
    handlers = [logging.StreamHandler(sys.stdout), OfJobs(roots.work)]
    for name in OURS:
        ours = logging.getLogger(name)
        ours.handlers[:] = handlers
        ours.setLevel(settings.log_level.upper())
    for handler in handlers:
        handler.setFormatter(Json(part))


def file_of(work: Path, job_id: str) -> Path:
    return work / safe_id(job_id) / LOG


def lines_of(work: Path, job_id: str) -> Iterator[str]:
    """The lines of a job's file, without those that a full disk or a killed process left in halves."""
    with suppress(FileNotFoundError), file_of(work, job_id).open(encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.startswith("{") and line.endswith("}\n"):
                yield line
