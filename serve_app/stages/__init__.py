"""The eight rooms, one file each, in their order: prepare extract recognize translate speak sync subtitle mux.

A room is a plain function: it takes what the rooms before it made, its own settings, and the report to which it says
how far it is and what it decided. No room knows another, an engine, or where it runs. This file holds only their door.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from models.errors import DubError, StageFailed
from serve_app.jobs.report import Report
from serve_app.jobs.workspace import disk_space
from serve_app.telemetry import logs, traces
from serve_app.telemetry.about import about

logger = logging.getLogger(__name__)


@contextmanager
def room(report: Report, stage: str) -> Iterator[None]:
    """The door of a room: only errors of our tree leave through it, one at a time."""
    report.begin(stage)
    began = time.monotonic()
    try:
        with about(stage=stage), traces.span(stage), disk_space():
            yield
            logs.event("stage.ended", level="debug", duration_s=time.monotonic() - began)
    except DubError:
        raise
    except Exception as error:
        cause = first(error)
        if isinstance(cause, DubError):
            raise cause from error
        logger.exception("unforeseen error in %s", stage)
        raise StageFailed(stage, "this stage met an error that it did not foresee; the log says which") from error


def first(error: BaseException) -> BaseException:
    """The first failure of a group of tasks: it has cancelled the others."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
