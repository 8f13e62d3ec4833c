"""What is told of attempts at jobs: that one has begun and how it ended, what was decided, how long each stage took."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from configs.pipeline import STAGES
from serve_app.jobs.job import Job, LogLine, State
from serve_app.jobs.report import Report
from serve_app.telemetry import logs, metrics, traces
from serve_app.telemetry.about import about


@contextmanager
def attempt(job: Job) -> Iterator[None]:
    """Around an attempt, from its claim on: what happens within is told with its name."""
    if job.fence == 1:
        metrics.observe("dubserve_queue_wait_seconds", max(0.0, time.time() - job.created_at))
    asked = job.request
    facts: dict[str, Any] = {"source": asked.source_lang or "auto", "targets": ",".join(asked.targets)}
    with about(job=job.id, tenant=asked.tenant, attempt=job.fence), traces.span("attempt", asked.trace, **facts):
        logs.event("attempt.began", f"Attempt {job.fence} from {job.progress.percent:.0f} %", **facts)
        yield


def ended(state: State, report: Report, took_s: float, code: str = "") -> None:
    """The attempt at hand has ended, and its job is in this `state` now; `code` is that of a failure."""
    now = report.snapshot()
    name = "retried" if state is State.WAITING else state.value
    metrics.add("dubserve_attempts_total", outcome=name)
    level = {State.COMPLETED: "info", State.FAILED: "error"}.get(state, "warning")
    logs.event("attempt.ended", f"The job is {state.value}", level, took_s, outcome=name, code=code)
    if state is State.WAITING:
        metrics.add("dubserve_retries_total", stage=now.stage)
    if state is State.FAILED:
        metrics.add("dubserve_failures_total", code=code)
    if state is State.COMPLETED:
        metrics.add("dubserve_video_seconds_total", now.duration_s)
        for stage, seconds in report.stage_seconds().items():
            metrics.observe("dubserve_stage_seconds", seconds, stage=stage)


def lost() -> None:
    """The attempt at hand has lost its lease."""
    metrics.add("dubserve_attempts_total", outcome="lost")
    logs.event("attempt.ended", "Another worker has this job now; this attempt stops", "warning", outcome="lost")


def decided(lines: Sequence[LogLine]) -> None:
    """What the rooms have told the job's owner, for its operator."""
    for line in lines:
        with about(stage=line.stage if line.stage in STAGES else ""):
            logs.event("decision", line.message, line.level, chunk=line.chunk_id, **line.extra)
