"""The machine is shared as the weights say, and a flood delays nobody else: the real store, workers in virtual time."""

import heapq
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from configs.app import JobSettings
from serve_app.jobs.job import Quality, Request, Result
from serve_app.jobs.store import Store
from serve_app.jobs.tenants import Tenant, Tenants

RESULT = Result("/nowhere/o.mp4", "", "", "", 1.0, 1, 1, 1.0, Quality())
BEGIN = 1_700_000_000.0
WORKERS = 4
JOB_S = 60.0


class Shop:
    """Workers that claim whenever they are free; a job takes a minute of a clock that nobody waits for."""

    def __init__(self, folder: Path) -> None:
        self.now = BEGIN
        self.store = Store(f"sqlite:///{folder / 'jobs.sqlite'}", JobSettings(lease_s=1e6), lambda: self.now)
        self.store.create()
        self.tenants = Tenants(self.store.database)
        self.order: list[str] = []

    def run(self, arrivals: dict[str, float], until: int) -> dict[str, float]:
        """Seconds from arrival (`arrivals`: after the beginning) to end, by job, of the first `until` that end."""
        coming = sorted(arrivals, key=arrivals.__getitem__)
        busy: list[tuple[float, int, str, int]] = []
        took: dict[str, float] = {}
        while len(took) < until:
            ends = busy[0][0] if busy else float("inf")
            if coming and BEGIN + arrivals[coming[0]] <= ends:
                job_id = coming.pop(0)
                self.now = max(self.now, BEGIN + arrivals[job_id])
                self.store.submit(Request(job_id, "/in.mp4", "en", "es", tenant=job_id.partition("-")[0]))
            else:
                self.now, _, job_id, fence = heapq.heappop(busy)
                self.store.complete(job_id, fence, RESULT)
                took[job_id] = self.now - BEGIN - arrivals[job_id]
            while len(busy) < WORKERS and (job := self.store.claim("driver")):
                self.order.append(job.request.tenant)
                # workers that began together do not end in the same instant
                heapq.heappush(busy, (self.now + JOB_S + len(busy), len(self.order), job.id, job.fence))
        return took


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path)
    yield shop
    shop.store.close()


def p95(values: list[float]) -> float:
    return sorted(values)[round(0.95 * (len(values) - 1))]


def flood(tenant: str, many: int, at: float = 0.0) -> dict[str, float]:
    return {f"{tenant}-{number:03}": at for number in range(many)}


def test_a_flood_of_one_tenant_hardly_delays_another(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "alone").mkdir()
    alone = Shop(tmp_path / "alone")
    few = flood("b", 5, at=90.0)
    solo = p95(list(alone.run(few, 5).values()))
    alone.store.close()

    took = shop.run(flood("a", 200) | few, 205)
    assert p95([seconds for job_id, seconds in took.items() if job_id.startswith("b")]) <= 2 * solo
    flooded = [seconds for job_id, seconds in took.items() if job_id.startswith("a")]
    assert max(flooded) <= (205 / WORKERS + 2) * (JOB_S + WORKERS)  # and nobody was held up for it


def test_shares_follow_the_weights(shop: Shop) -> None:
    weights = {"a": 1.0, "b": 2.0, "c": 3.0}
    for name, weight in weights.items():
        shop.tenants.add(Tenant(name, weight=weight))
    shop.run(flood("a", 100) | flood("b", 100) | flood("c", 100), 120)
    window = Counter(shop.order[12:120])
    for name, weight in weights.items():
        share = weight / sum(weights.values())
        assert window[name] / window.total() == pytest.approx(share, rel=0.1), window


def test_a_tenant_that_reached_its_limit_goes_on_at_it_and_leaves_the_rest_to_others(shop: Shop) -> None:
    shop.tenants.add(Tenant("a", weight=10.0, running=1))
    shop.run(flood("a", 60) | flood("b", 60), 60)
    window = Counter(shop.order[12:60])
    assert window["a"] / window.total() == pytest.approx(1 / WORKERS, rel=0.1)
