"""All figures of the service as Prometheus reads them: what rows say now, and what processes have told.

Tenants are labels, so that alerts can name them; but only the busiest of them, lest a service with thousands of tenants
drowns its Prometheus. The others are one line, `other`.
"""

import time
from collections.abc import Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from sqlalchemy import func, select

from configs.app import JobSettings
from serve_app.jobs.database import Database
from serve_app.jobs.job import State
from serve_app.jobs.overview import standings
from serve_app.jobs.tables import jobs
from serve_app.machine import nvidia_smi
from serve_app.telemetry import metrics
from serve_app.telemetry.folding import unfolded

TENANTS = 50
OTHER = "other"
ROWS = {
    "dubserve_jobs": ("Jobs in the store by state.", ("state",)),
    "dubserve_active_jobs": ("Waiting and running jobs of the busiest tenants.", ("tenant", "state")),
    "dubserve_oldest_waiting_seconds": ("For how long the job that waits longest has waited; 0 without one.", ()),
    "dubserve_gpu_memory_bytes": ("Memory in use on the GPUs of the machine that answers.", ("gpu",)),
}
"""What is looked up when somebody asks, by name: its meaning and its labels."""


class Scrape:
    """`work` is the folder in which processes keep their figures."""

    def __init__(self, database: Database, settings: JobSettings, work: Path) -> None:
        self._database = database
        self._settings = settings
        self._work = work

    def text(self) -> bytes:
        """In Prometheus' text format. Blocks: reads each job's index entry once."""
        registry = CollectorRegistry()
        registry.register(self)
        folder = self._work / metrics.FOLDER
        if not folder.is_dir():
            return generate_latest(registry)
        registry.register(metrics.told(self._work))
        with unfolded(folder):
            return generate_latest(registry)

    def collect(self) -> Iterator[Metric]:
        found = standings(self._database, self._settings)
        states = {state.value: sum(one.states[state.value] for one in found.values()) for state in State}
        yield _family("dubserve_jobs", {(state,): many for state, many in states.items()})
        yield _family("dubserve_active_jobs", _busiest({name: one.states for name, one in found.items()}))
        yield _family("dubserve_oldest_waiting_seconds", {(): self._oldest()})
        yield _family("dubserve_gpu_memory_bytes", {(gpu,): used for gpu, used in _gpus()})

    def _oldest(self) -> float:
        query = select(func.min(jobs.c.updated_at)).where(jobs.c.state == State.WAITING)
        with self._database.read() as connection:
            since = connection.execute(query).scalar()
        return max(0.0, time.time() - since) if since else 0.0


def _family(name: str, values: dict[tuple[str, ...], float]) -> Metric:
    meaning, labels = ROWS[name]
    family = GaugeMetricFamily(name, meaning, labels=labels)
    for of, value in values.items():
        family.add_metric(list(of), value)
    return family


def _busiest(tenants: dict[str, dict[str, int]]) -> dict[tuple[str, ...], float]:
    """Active jobs by tenant and state; those beyond the first `TENANTS` together."""
    active = {
        name: {state.value: states[state.value] for state in (State.WAITING, State.RUNNING)}
        for name, states in tenants.items()
        if states[State.WAITING.value] or states[State.RUNNING.value]
    }
    told: dict[tuple[str, ...], float] = {}
    for place, name in enumerate(sorted(active, key=lambda one: -sum(active[one].values()))):
        label = name if place < TENANTS else OTHER
        for state, many in active[name].items():
            told[label, state] = told.get((label, state), 0) + many
    return told


def _gpus() -> list[tuple[str, float]]:
    """Number and bytes in use of each GPU."""
    rows = nvidia_smi("index", "memory.used")
    return [(number, float(mib) * 2**20) for number, mib in rows if mib.isdecimal()]
