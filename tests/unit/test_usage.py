"""One line a job, of what was really used: measured in a real run, added over attempts, refused with a lost lease."""

import asyncio
import resource
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from configs.app import JobSettings
from models.errors import StageFailed
from models.meter import Cost
from models.segment import Sentence
from serve_app import spending
from serve_app.engines import Models
from serve_app.jobs.job import Control, Progress, Quality, Request, Result
from serve_app.jobs.runner import Runner
from serve_app.jobs.store import LeaseLost, Store
from serve_app.jobs.usage import Line, Usage
from serve_app.media import ffmpeg
from serve_app.spending import Attempt, Spending
from tests.unit.test_runner import SETTINGS, House

RESULT = Result("/nowhere/o.mp4", "", "", "", 1.0, 1, 1, 1.0, Quality())
CLOCK = [0.0]


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    CLOCK[0] = 1_700_000_000.0
    store = Store(url, JobSettings(), lambda: CLOCK[0])
    store.create()
    yield store
    store.close()


def lines(store: Store) -> list[Line]:
    return Usage(store.database).lines(0)


def fence(store: Store) -> int:
    job = store.claim("driver")
    assert job is not None
    return job.fence


def ask(**more: tuple[str, ...]) -> Request:
    return Request("1", "/in.mp4", "en", "es", tenant="a", **more)  # type: ignore[arg-type]


def test_fifty_submissions_of_one_id_are_one_job_and_one_line(store: Store) -> None:
    with ThreadPoolExecutor(50) as pool:
        list(pool.map(lambda _: store.submit(ask()), range(50)))
    store.complete("1", fence(store), RESULT, Progress(duration_s=60.0), spent=Spending(50.0, 100, 90, 1.5, 0.5))
    with ThreadPoolExecutor(50) as pool:
        list(pool.map(lambda _: store.submit(ask()), range(50)))
    assert store.claim("driver") is None
    assert lines(store) == [Line("1", "a", CLOCK[0], 60.0, 50.0, 100, 90, 1.5, 0.5)]


def test_attempts_add_up_however_they_ended_and_the_video_counts_when_it_is_done(store: Store) -> None:
    store.submit(ask(also=("fr", "de")))
    halfway = Progress(duration_s=60.0)
    store.retry("1", fence(store), halfway, spent=Spending(10.0, 1, 2, 1.0))
    store.release("1", fence(store), halfway, spent=Spending(10.0, 1, 2, 1.0))
    store.fail("1", fence(store), "internal", "no", halfway, spent=Spending(10.0, 1, 2, 1.0))
    assert lines(store) == [Line("1", "a", CLOCK[0], 0.0, 30.0, 3, 6, 3.0, 0.0)]
    store.submit(ask(also=("fr", "de")))
    CLOCK[0] += 5
    store.complete("1", fence(store), RESULT, spent=Spending(cpu_s=1.0))
    assert lines(store) == [Line("1", "a", CLOCK[0], 180.0, 30.0, 3, 6, 4.0, 0.0)]


def test_an_attempt_that_lost_its_lease_counts_nothing(store: Store) -> None:
    store.submit(ask())
    old = fence(store)
    CLOCK[0] += 60
    new = fence(store)
    with pytest.raises(LeaseLost):
        store.complete("1", old, RESULT, spent=Spending(cpu_s=100.0))
    assert lines(store) == []
    store.complete("1", new, RESULT, spent=Spending(cpu_s=1.0))
    with pytest.raises(LeaseLost):
        store.fail("1", old, "internal", "no", spent=Spending(cpu_s=100.0))
    assert [line.cpu_s for line in lines(store)] == [1.0]


def test_an_attempt_that_died_counts_as_far_as_its_last_renewal_knew(store: Store) -> None:
    store.submit(ask())
    for _ in range(2):
        died = store.claim("driver")
        assert died is not None
        store.renew("1", died.fence, spent=Spending(cpu_s=0.5))
        store.renew("1", died.fence, spent=Spending(10.0, 1, 2, 2.0))
        CLOCK[0] += 60
    new = fence(store)
    assert lines(store) == [Line("1", "a", CLOCK[0], 0.0, 20.0, 2, 4, 4.0, 0.0)]
    store.renew("1", new, spent=Spending(cpu_s=0.5))
    store.complete("1", new, RESULT, spent=Spending(cpu_s=1.0))
    assert [line.cpu_s for line in lines(store)] == [5.0]


@pytest.mark.parametrize("wish", [Control.CANCEL, Control.PAUSE])
def test_it_counts_also_when_nobody_takes_its_job(store: Store, wish: Control) -> None:
    store.submit(ask())
    store.renew("1", fence(store), spent=Spending(cpu_s=1.0))
    store.control("1", wish)
    CLOCK[0] += 60
    assert store.claim("driver") is None
    assert [line.cpu_s for line in lines(store)] == [1.0]


def test_it_counts_also_when_its_owner_wants_no_other(store: Store) -> None:
    store.submit(ask())
    store.renew("1", fence(store), spent=Spending(cpu_s=1.0))
    CLOCK[0] += 60
    store.control("1", Control.CANCEL)
    assert [line.cpu_s for line in lines(store)] == [1.0]


# -- a real run --------------------------------------------------------------------------------------------------------


@pytest.fixture
def house(tmp_path: Path, short_talk: Path) -> Iterator[House]:
    house = House(tmp_path, short_talk, f"sqlite:///{tmp_path / 'jobs.sqlite'}")
    yield house
    house.store.close()


def used() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


async def test_a_job_is_charged_with_what_it_used(house: House) -> None:
    house.submit()
    spending.CHILDREN.ended()  # of other tests
    began = used()
    assert await house.runner.run_next() == "job"
    total = used() - began
    [line] = lines(house.store)
    job = house.store.job("job")
    assert job.result is not None
    assert line.video_s == pytest.approx(job.result.duration_s, abs=0.1)
    assert 3 < line.audio_s < 25  # some of it twice: to tell the language, and for its words
    assert line.characters_translated > 20 and line.characters_spoken > line.characters_translated
    assert line.cpu_s == pytest.approx(total, rel=0.1)
    assert line.gpu_s == 0.0


async def test_what_comes_from_a_checkpoint_costs_nothing_again(house: House) -> None:
    """The first attempt ends when everything was heard and nothing could be translated."""

    async def away(_: Sentence) -> Sentence:
        raise StageFailed("translation", "its replicas went away", transient=True)

    async def engines() -> Models:
        return replace(await house.engines(), translate=away)

    house.submit()
    await Runner(house.store, engines, SETTINGS, house.roots, "me").run_next()
    [first] = lines(house.store)
    assert first.audio_s > 3
    assert (first.characters_translated, first.video_s) == (0, 0.0)
    await asyncio.sleep(3 * SETTINGS.jobs.retry_s)
    assert await house.runner.run_next() == "job"
    [both] = lines(house.store)
    assert both.audio_s == first.audio_s
    assert both.characters_translated > 20 and both.video_s > 9 and both.cpu_s > first.cpu_s


async def test_what_a_run_has_used_is_known_while_it_runs(house: House) -> None:
    """As a killed one leaves it: its job is taken from it, and what it had used stands in the line."""
    house.submit()
    run = asyncio.create_task(house.runner.run_next())
    await house.until(lambda job: job.progress.stage_number >= 5)
    late = Store(house.roots.database_url.get_secret_value(), SETTINGS.jobs, clock=lambda: 4e9)
    assert late.claim("another") is not None
    late.close()
    await asyncio.wait_for(run, 20)
    [line] = Usage(house.store.database, lambda: 5e9).lines(0)
    assert line.audio_s > 3 and line.cpu_s > 0


async def test_jobs_that_run_side_by_side_share_what_the_process_used() -> None:
    one, two = Attempt("one"), Attempt("two")
    began = time.process_time()
    while time.process_time() < began + 0.2:
        pass
    total = time.process_time() - began
    costs = [one.close().cpu_s, two.close().cpu_s]
    assert sum(costs) == pytest.approx(total, rel=0.1) and costs[0] == pytest.approx(costs[1], rel=0.2)
    assert one.close().cpu_s == costs[0]  # once and for all


async def test_a_child_is_charged_to_the_job_that_waited_for_it() -> None:
    async def work(attempt: Attempt, length: float) -> None:
        attempt.enter()
        noise = ["-f", "lavfi", "-i", f"anoisesrc=d={length}", "-af", "loudnorm", "-f", "null", "-"]
        await ffmpeg.run(noise, stage="tts", stall_s=30)

    idle, busy = Attempt("idle"), Attempt("busy")
    spending.CHILDREN.ended()  # of other tests
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    await asyncio.create_task(work(busy, 60))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    child = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    own = idle.close().cpu_s
    assert child > 0.1 and busy.close().cpu_s - own == pytest.approx(child, rel=0.1, abs=0.02)


async def test_what_happens_for_nobody_is_booked_on_nobody() -> None:
    attempt = Attempt("one")
    spending.book(Cost(100.0))
    assert attempt.close().cpu_s < 10
