"""Figures for Prometheus: one address, `/metrics`, tells those of every process of the service.

What rows know (jobs by state and tenant) is counted when somebody asks. What happens in processes (waits, batches,
retries) each of them writes into memory-mapped files in the work folder, which all share, and the address adds them
up. So any Ingress answers for all Drivers and engines, and a counter outlives the process that counted.

What processes that have ended have counted is kept, and folded into one file by and by (`folding`); `begin_anew` clears
it before a service starts.
"""

import logging
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, values
from prometheus_client.multiprocess import MultiProcessCollector

from configs.app import Roots
from serve_app.telemetry import folding

log = logging.getLogger(__name__)

FOLDER = ".metrics"
SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000, 10_000)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)

KINDS: dict[str, tuple[Any, str, tuple[str, ...], dict[str, Any]]] = {
    "dubserve_queue_wait_seconds": (
        Histogram, "From the acceptance of a job to its first claim.", (), {"buckets": SECONDS}
    ),
    "dubserve_attempts_total": (Counter, "Attempts at jobs that have ended, by how.", ("outcome",), {}),
    "dubserve_retries_total": (Counter, "Attempts that ended with a fault that may pass, by stage.", ("stage",), {}),
    "dubserve_failures_total": (Counter, "Jobs that failed, by the code of their error.", ("code",), {}),
    "dubserve_stage_seconds": (
        Histogram, "Wall time of a stage in an attempt that completed.", ("stage",), {"buckets": SECONDS}
    ),
    "dubserve_video_seconds_total": (Counter, "Length of the videos that were dubbed.", (), {}),
    "dubserve_engine_seconds": (
        Histogram, "From the question to the answer of an engine, its queue included.", ("shelf",), {"buckets": SECONDS}
    ),
    "dubserve_engine_errors_total": (Counter, "Questions that an engine answered with an error.", ("shelf",), {}),
    "dubserve_fallbacks_total": (
        Counter, "Clips that an engine has spoken because one before it would not.", ("engine",), {}
    ),
    "dubserve_batch_seconds": (Histogram, "Time that a batch computes.", ("shelf",), {"buckets": SECONDS}),
    "dubserve_batch_size": (Histogram, "Items in a batch.", ("shelf",), {"buckets": SIZES}),
    "dubserve_batch_fill": (Histogram, "Share of what a batch may hold.", ("shelf",), {"buckets": SHARES}),
    "dubserve_calls_total": (Counter, "Calls at the doors, by their code.", ("door", "call", "code"), {}),
    "dubserve_call_seconds": (
        Histogram, "Time until the answer to a call begins.", ("door",), {"buckets": SECONDS}
    ),
}  # fmt: skip
"""What processes tell, by name: its kind, its meaning, its labels."""

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"  # the library's

_made: dict[str, Any] = {}
_files: list[int] = []
"""Kept open, with their locks."""


def begin(roots: Roots) -> None:
    """Where this process keeps its figures from now on. Before that nothing is kept."""
    folder = roots.work / FOLDER
    if os.environ.get(VARIABLE) == str(folder) and _made:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        mine = folding.reserve(folder)
    except OSError:
        log.warning("this process tells no metrics: there is no room for them in %s", folder, exc_info=True)
        return
    for one in _files:  # of an earlier beginning
        os.close(one)
    _files[:] = mine
    os.environ[VARIABLE] = str(folder)
    values.ValueClass = values.MultiProcessValue(folding.who)  # type: ignore[no-untyped-call]
    registry = CollectorRegistry()
    for name, (kind, meaning, labels, options) in KINDS.items():
        _made[name] = kind(name, meaning, labels, registry=registry, **options)


def begin_anew(roots: Roots) -> None:
    """Forgets what processes that have ended have counted."""
    shutil.rmtree(roots.work / FOLDER, ignore_errors=True)


def add(name: str, value: float = 1, **labels: str) -> None:
    if _made:
        _child(name, labels).inc(value)


def observe(name: str, value: float, **labels: str) -> None:
    if _made:
        _child(name, labels).observe(value)


@contextmanager
def asked(shelf: str) -> Iterator[None]:
    """Around a question to an engine."""
    began = time.perf_counter()
    try:
        yield
    except Exception:
        add("dubserve_engine_errors_total", shelf=shelf)
        raise
    observe("dubserve_engine_seconds", time.perf_counter() - began, shelf=shelf)


def told(folder: Path) -> MultiProcessCollector:
    """What all processes have told in `folder`. Its registry is the caller's."""
    return MultiProcessCollector(None, str(folder / FOLDER))  # type: ignore[no-untyped-call]


def _child(name: str, labels: dict[str, str]) -> Any:
    metric = _made[name]
    return metric.labels(**labels) if labels else metric
