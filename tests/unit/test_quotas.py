"""Limits hold where jobs are taken and where they are claimed, for many at once, and are freed again."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from configs.app import CleanupSettings, JobSettings, Roots
from models.errors import NotAllowed
from serve_app.jobs.cleanup import Cleanup
from serve_app.jobs.edits import Editor
from serve_app.jobs.job import Control, Job, Progress, Quality, Request, Result, State
from serve_app.jobs.quotas import DAY_S, weigh
from serve_app.jobs.store import Store
from serve_app.jobs.tenants import Tenant, Tenants
from serve_app.jobs.workspace import artifacts

RESULT = Result("/nowhere/o.mp4", "", "", "", 1.0, 1, 1, 1.0, Quality())
SETTINGS = JobSettings(max_queued=60)
CLOCK = [1_700_000_000.0]


@pytest.fixture
def opened(url: str) -> Iterator[Callable[[], Store]]:
    """Opens the database once more, as another replica does."""
    stores: list[Store] = []
    CLOCK[0] = 1_700_000_000.0

    def another() -> Store:
        stores.append(Store(url, SETTINGS, lambda: CLOCK[0]))
        stores[-1].create()
        return stores[-1]

    yield another
    for store in stores:
        store.close()


@pytest.fixture
def store(opened: Callable[[], Store]) -> Store:
    return opened()


def limited(store: Store, **limits: float) -> None:
    Tenants(store.database).add(replace(Tenant("a"), **limits))


def ask(job_id: str, tenant: str = "a", **more: int) -> Request:
    return Request(job_id, "/in.mp4", "en", "es", tenant=tenant, **more)  # type: ignore[arg-type]


def claimed(store: Store) -> Job:
    job = store.claim("driver")
    assert job is not None
    return job


def refused(store: Store, job_id: str, words: str, size: int = 0) -> float:
    """Checks that a job is refused without a trace; returns when to come again."""
    began = time.perf_counter()
    with pytest.raises(NotAllowed, match=words) as caught:
        store.submit(ask(job_id), size)
    assert time.perf_counter() - began < 0.1
    assert job_id not in {job.id for job in store.jobs("a")}
    assert caught.value.code == "resource_exhausted" and caught.value.retry_after
    return caught.value.retry_after


def test_jobs_that_wait(store: Store) -> None:
    limited(store, queued=2)
    store.submit(ask("1"))
    store.submit(ask("2"))
    store.control("2", Control.PAUSE)
    assert refused(store, "3", "2 jobs of yours wait") == 30
    assert store.submit(ask("1")).state is State.WAITING  # nothing new
    store.submit(ask("other", tenant="b"))
    assert claimed(store).id == "1"
    store.submit(ask("3"))


def test_what_was_cancelled_needs_room_to_come_back(store: Store) -> None:
    limited(store, queued=1)
    store.submit(ask("1"))
    store.control("1", Control.CANCEL)
    store.submit(ask("2"))
    with pytest.raises(NotAllowed):
        store.submit(ask("1"))
    assert store.job("1").state is State.CANCELLED
    store.control("2", Control.CANCEL)
    assert store.submit(ask("1")).state is State.WAITING


def test_many_submissions_at_once_do_not_pass_together(opened: Callable[[], Store]) -> None:
    first, second = opened(), opened()
    limited(first, queued=5)

    def submit(number: int) -> bool:
        try:
            (first, second)[number % 2].submit(ask(f"job-{number}"))
        except NotAllowed:
            return False
        return True

    with ThreadPoolExecutor(10) as pool:
        assert sum(pool.map(submit, range(30))) == 5
    assert len(first.jobs("a")) == 5


def test_what_is_looked_into_counts_as_if_it_waited_and_once(store: Store) -> None:
    limited(store, queued=2)
    store.submit(ask("1"))
    store.admit("a", 0, {})
    store.admit("a", 0, {"1": "a", "elsewhere": "b"})  # its row is there already
    with pytest.raises(NotAllowed, match="2 jobs of yours wait"):
        store.admit("a", 0, {"2": "a"})
    others = {f"other-{number}": "b" for number in range(59)}
    with pytest.raises(NotAllowed, match="so many jobs wait"):
        store.admit("c", 0, others)
    others.popitem()
    store.admit("c", 0, others)
    with pytest.raises(NotAllowed, match="yours that the room is kept"):
        store.admit("b", 0, others)


def test_all_jobs_of_the_service(store: Store) -> None:
    for number in range(60):
        store.submit(ask(f"job-{number}", tenant=f"t{number}"))
    refused(store, "one more", "so many jobs wait")
    assert store.submit(ask("job-0", tenant="t0")).state is State.WAITING
    claimed(store)
    store.submit(ask("one more"))


def test_one_tenant_alone_does_not_fill_the_queue(store: Store) -> None:
    for number in range(48):
        store.submit(ask(f"job-{number}"))
    assert refused(store, "one more", "room is kept for others") == 30
    for number in range(10):
        store.submit(ask(f"other-{number}", tenant="b"))
    for tenant in ("a", "b"):
        with pytest.raises(NotAllowed, match="kept for others"):
            store.submit(ask("one more", tenant=tenant))
    store.submit(ask("first", tenant="c"))
    store.submit(ask("first", tenant="c"))  # attached to
    for _ in range(10):
        store.complete((job := claimed(store)).id, job.fence, RESULT)
    store.submit(ask("one more"))


def test_stored_bytes_with_what_is_about_to_come(store: Store) -> None:
    limited(store, stored_bytes=1000)
    store.submit(ask("1"), 600)
    refused(store, "2", "that you may store", 401)
    store.submit(ask("2"), 400)
    store.control("2", Control.CANCEL)
    store.submit(ask("2"), 400)  # its own bytes are not counted twice
    with pytest.raises(NotAllowed):
        store.admit("a", 1)
    store.admit("a", 0)
    store.admit("b", 10_000)


def test_minutes_of_video_a_day_come_back_when_they_are_a_day_old(store: Store) -> None:
    limited(store, video_minutes_a_day=10)
    for job_id, minutes in (("1", 4.0), ("2", 6.0)):
        store.submit(ask(job_id))
        store.complete(job_id, claimed(store).fence, RESULT, Progress(duration_s=minutes * 60))
        CLOCK[0] += 3600
    wait = refused(store, "3", "10 minutes of video a day")
    assert wait == pytest.approx(DAY_S - 7200)
    CLOCK[0] += wait
    store.submit(ask("3"))


def test_a_film_that_is_let_in_again_on_another_day_counts_on_that_day(store: Store, tmp_path: Path) -> None:
    limited(store, video_minutes_a_day=10)
    film = tmp_path / "film.mp4"
    film.touch()
    edited, failed = replace(ask("edited"), path=str(film)), ask("failed")
    store.submit(edited)
    store.complete("edited", claimed(store).fence, RESULT, Progress(duration_s=360.0))
    store.submit(failed)
    store.fail("failed", claimed(store).fence, "internal", "no", Progress(duration_s=360.0))
    CLOCK[0] += 2 * DAY_S
    Editor(store.database, tmp_path, 60, lambda: CLOCK[0]).redub(store.job("edited"))
    store.submit(ask("fits"))  # six of ten minutes
    store.submit(failed)
    assert refused(store, "new", "10 minutes of video a day") == DAY_S


def test_nothing_a_day_is_nothing(store: Store) -> None:
    limited(store, video_minutes_a_day=0)
    assert refused(store, "1", "0 minutes of video") == DAY_S


def test_only_so_many_run_and_others_go_ahead(opened: Callable[[], Store]) -> None:
    store = opened()
    limited(store, running=2)
    for number in range(8):
        store.submit(ask(f"a{number}"))
    store.submit(ask("b0", tenant="b"))
    assert store.unfinished() == 3  # tokens for those that could run
    replicas = [opened() for _ in range(4)]
    gate = threading.Barrier(12)

    def claim(number: int) -> Job | None:
        gate.wait()
        return replicas[number % 4].claim(f"driver-{number}")

    with ThreadPoolExecutor(12) as pool:
        got = [job for job in pool.map(claim, range(12)) if job]
    while job := store.claim("driver"):  # whoever met another one's claim has come back
        got.append(job)
    assert sorted(job.request.tenant for job in got) == ["a", "a", "b"]
    done = next(job for job in got if job.request.tenant == "a")
    store.complete(done.id, done.fence, RESULT)
    assert claimed(store).request.tenant == "a"
    assert store.claim("driver") is None


def test_a_limit_of_none_stops_a_tenant_and_lifting_it_lets_it_go_on(store: Store) -> None:
    limited(store, running=0)
    store.submit(ask("1"))
    assert store.claim("driver") is None and store.unfinished() == 0
    Tenants(store.database).change("a", running=None)
    assert claimed(store).id == "1"


def test_priority_orders_the_jobs_of_one_tenant_alone(store: Store) -> None:
    store.submit(ask("low", priority=-5))
    store.submit(ask("usual"))
    store.submit(ask("high", priority=100))
    CLOCK[0] += 1
    store.submit(ask("other", tenant="b", priority=-100))
    order = []
    for _ in range(4):
        job = claimed(store)
        order.append(job.id)
        store.complete(job.id, job.fence, RESULT)
    assert order == ["high", "other", "usual", "low"]


def test_another_priority_is_the_same_job(store: Store) -> None:
    store.submit(ask("1"))
    store.fail("1", claimed(store).fence, "no_speech", "nothing was said", Progress(percent=40.0))
    store.submit(ask("2", priority=1))
    job = store.submit(ask("1", priority=2))
    assert (job.progress.percent, job.request.priority) == (40.0, 2)
    assert claimed(store).id == "1"


def test_bytes_are_those_on_the_disk_and_freed_with_them(store: Store, tmp_path: Path) -> None:
    folders = {name: tmp_path / name for name in ("uploads", "artifacts", "work")}
    for folder in folders.values():
        folder.mkdir()
    roots = Roots(**folders, database_url=SecretStr(""))
    video = roots.uploads / "film.mp4"
    video.write_bytes(b"x" * 500)
    limited(store, stored_bytes=1000)
    asked = replace(ask("1"), path=str(video))
    store.submit(asked, weigh(asked, roots.artifacts))
    files = artifacts(roots.artifacts, "1")
    files.output.write_bytes(b"x" * 300)
    files.report.write_bytes(b"x" * 150)
    result = Result(**{**asdict(RESULT), "output": str(files.output), "quality": Quality()})
    store.complete("1", claimed(store).fence, result)
    refused(store, "2", "may store", 51)
    store.submit(ask("2"), 50)

    clock = CLOCK[0] = time.time() + 100
    settings = CleanupSettings(artifacts_s=10.0, uploads_s=None)
    assert Cleanup(store, roots, settings, lambda: clock).sweep()["artifacts"] == 2
    refused(store, "3", "may store", 451)
    store.submit(ask("3"), 450)
