"""Old rows go in batches, on both databases, and what comes back in between keeps everything."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from sqlalchemy import func, insert, select

from configs.app import JobSettings
from serve_app.jobs import oblivion
from serve_app.jobs.job import LogLine, Request, State
from serve_app.jobs.oblivion import forget
from serve_app.jobs.store import Store
from serve_app.jobs.tables import attempts, calls, insights, jobs, logs, usage
from serve_app.spending import Spending

THEN, NOW = 1_000_000.0, 2_000_000.0
CLOCK = [THEN]
LINE = LogLine("2026-01-01T00:00:00.000000Z", "info", "tts", "said")
TABLES = (jobs, logs, insights, attempts, usage, calls)


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    CLOCK[0] = THEN
    store = Store(url, JobSettings(), lambda: CLOCK[0])
    store.create()
    yield store
    store.close()


def fail(store: Store, job_id: str, stored_bytes: int = 0) -> None:
    store.submit(Request(job_id, "/nowhere.mp4", "en", "es"), stored_bytes)
    job = store.claim("driver")
    assert job is not None and job.id == job_id
    store.fail(job_id, job.fence, "no_speech", "nothing was said", None, [LINE], [], Spending(cpu_s=1.0))


def counts(store: Store) -> dict[str, int]:
    with store.database.read() as connection:
        found = {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one() for table in TABLES
        }
    return {name: many for name, many in found.items() if many}


def test_more_than_one_batch_of_each(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oblivion, "BATCH", 2)
    for number in range(5):
        fail(store, f"old-{number}", stored_bytes=10 * (number % 2))
    with store.database.write() as connection:
        connection.execute(insert(calls), [{"tenant": "a", "route": "/x", "at": at} for at in (*[THEN] * 5, NOW)])
    CLOCK[0] = NOW
    fail(store, "new")
    assert counts(store) == {"jobs": 6, "logs": 6, "attempts": 6, "usage": 6, "calls": 6}
    assert forget(store.database, NOW - 1) == {"histories": 5, "jobs": 3, "calls": 5}
    # two have files, and the rows that say whose they are
    assert counts(store) == {"jobs": 3, "logs": 1, "attempts": 1, "usage": 3, "calls": 1}
    assert forget(store.database, NOW - 1) == {}


@pytest.mark.parametrize("look", [1, 2])
def test_a_job_that_comes_back_after_it_was_looked_for_keeps_everything(
    store: Store, monkeypatch: pytest.MonkeyPatch, look: int
) -> None:
    """Its history when it comes back at the first `look`, its row at the second."""
    fail(store, "a")
    fail(store, "b")
    CLOCK[0] = NOW
    real, looks = oblivion._batches, []

    def batches(*args: Any) -> Iterator[Sequence[Any]]:
        for found in real(*args):
            looks.append(found)
            if len(looks) == look:
                store.submit(Request("a", "/nowhere.mp4", "en", "es"))
            yield found

    monkeypatch.setattr(oblivion, "_batches", batches)
    forget(store.database, NOW - 1)
    assert looks == [["a", "b"]] * look + [["b"]] * (2 - look)
    kept = {"logs": 1, "attempts": 1} if look == 1 else {}
    assert counts(store) == {"jobs": 1, "usage": 1, **kept}
    assert store.job("a").state is State.WAITING
    job = store.claim("driver")
    assert job is not None and job.fence == 2
    store.renew("a", job.fence, None, [LINE])
    assert len(store.logs("a")) == 1 + len(kept) // 2


def test_an_id_that_was_forgotten_is_a_new_job(store: Store) -> None:
    fail(store, "a")
    CLOCK[0] = NOW
    forget(store.database, NOW - 1)
    fail(store, "a")
    assert counts(store) == {"jobs": 1, "logs": 1, "attempts": 1, "usage": 1}
