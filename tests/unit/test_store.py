"""The promises of the job store: one row an id, one owner a job, and nothing written by whoever lost it."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, select

from configs.app import JobSettings
from models.errors import InvalidJob, JobNotFound, WrongState
from serve_app.jobs.job import Control, Insight, Job, LogLine, Progress, Quality, Request, Result, State
from serve_app.jobs.ledger import landing
from serve_app.jobs.store import LeaseLost, Store
from serve_app.jobs.tables import attempts
from serve_app.jobs.tenants import Tenant, Tenants

RESULT = Result("/o.mp4", "/a.srt", "/b.srt", "/r.json", 12.5, 10, 20, 3.0, Quality(lip_sync=99.0, condensed=2))


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def opened(url: str, clock: Clock) -> Iterator[Callable[..., Store]]:
    """Opens the database once more, and closes it at the end."""
    with ExitStack() as stack:

        def open_store(settings: JobSettings = JobSettings()) -> Store:  # noqa: B008
            store = Store(url, settings, clock)
            stack.callback(store.close)
            store.create()
            return store

        yield open_store


@pytest.fixture
def store(opened: Callable[..., Store]) -> Store:
    return opened()


def engine(store: Store) -> Engine:
    return store._database.engine


def ask(job_id: str = "a", tenant: str = "anonymous", target: str = "hy") -> Request:
    return Request(job_id, "/in.mp4", "en", target, "female", "soft", tenant)


def line(number: int) -> LogLine:
    return LogLine(f"2026-01-01T00:00:00.{number:06}Z", "info", "tts", f"line {number}", "seg_1", {"n": number})


def claimed(store: Store, owner: str = "driver-1") -> Job:
    job = store.claim(owner)
    assert job is not None
    return job


def outcomes(store: Store, job_id: str = "a") -> list[tuple[int, str, str]]:
    query = select(attempts.c.fence, attempts.c.owner, attempts.c.outcome).where(attempts.c.job_id == job_id)
    with engine(store).connect() as connection:
        return [tuple(row) for row in connection.execute(query.order_by(attempts.c.fence))]


# -- submit ----------------------------------------------------------------------------------------------------------


def test_a_new_job_waits_and_comes_back_as_it_was_asked(store: Store, clock: Clock) -> None:
    job = store.submit(ask())
    assert job == store.job("a")
    assert (job.state, job.control, job.fence, job.attempts) == (State.WAITING, Control.RUN, 0, 0)
    assert job.request == ask()
    assert job.created_at == clock.now
    assert job.progress == Progress()


def test_fifty_submits_at_once_make_one_row(store: Store) -> None:
    with ThreadPoolExecutor(50) as pool:
        found = list(pool.map(lambda _: store.submit(ask()), range(50)))
    assert found == [found[0]] * 50
    assert [job.id for job in store.jobs()] == ["a"]


def test_a_live_job_is_attached_to_and_a_new_request_ignored(store: Store) -> None:
    store.submit(ask())
    running = claimed(store)
    assert store.submit(ask(target="ru")) == running


def test_a_completed_job_stays_completed(store: Store) -> None:
    store.submit(ask())
    store.complete("a", claimed(store).fence, RESULT)
    assert store.submit(ask(target="ru")).result == RESULT
    assert store.waiting() == 0


@pytest.mark.parametrize("end", ["failed", "cancelled"])
def test_a_job_that_failed_or_was_cancelled_goes_back_to_the_queue(store: Store, end: str) -> None:
    store.submit(ask())
    fence = claimed(store).fence
    halfway = Progress(percent=40.0, preview_ids=("seg_001",))
    if end == "failed":
        store.fail("a", fence, "no_speech", "nothing was said", halfway)
        assert (store.job("a").error_code, store.job("a").error) == ("no_speech", "nothing was said")
    else:
        store.cancelled("a", fence, halfway)
    job = store.submit(ask())
    assert (job.state, job.control, job.attempts, job.error_code, job.error) == (State.WAITING, Control.RUN, 0, "", "")
    assert job.progress == halfway
    assert job == store.job("a")
    assert claimed(store).fence == fence + 1


def test_another_request_under_the_id_of_a_failed_job_starts_from_zero(store: Store) -> None:
    store.submit(ask())
    store.fail("a", claimed(store).fence, "no_speech", "nothing was said", Progress(percent=40.0))
    job = store.submit(ask(target="ru"))
    assert job.request.target_lang == "ru"
    assert job.progress == Progress()


def test_the_id_of_another_tenant_is_refused(store: Store) -> None:
    store.submit(ask(tenant="one"))
    store.fail("a", claimed(store).fence, "no_speech", "nothing was said")
    with pytest.raises(InvalidJob, match="choose another session id"):
        store.submit(ask(tenant="two"))
    assert store.job("a").request.tenant == "one"
    assert store.job("a").state is State.FAILED


# -- claim and lease -------------------------------------------------------------------------------------------------


def test_a_claim_leases_the_job_and_nobody_else_gets_it(store: Store) -> None:
    store.submit(ask())
    assert store.waiting() == 1
    job = claimed(store)
    assert (job.state, job.fence, job.attempts) == (State.RUNNING, 1, 1)
    assert store.claim("driver-2") is None
    assert store.waiting() == 0
    assert outcomes(store) == [(1, "driver-1", "")]


def test_nothing_to_claim(store: Store) -> None:
    assert store.claim("driver-1") is None


def test_a_lost_lease_is_claimed_again_and_the_first_owner_is_shut_out(store: Store, clock: Clock) -> None:
    store.submit(ask())
    first = claimed(store)
    clock.now += 10.5
    assert store.waiting() == 1
    second = claimed(store, "driver-2")
    assert (second.fence, second.attempts) == (2, 2)
    for write in (
        lambda: store.renew("a", first.fence, Progress(percent=99.0), [line(1)]),
        lambda: store.complete("a", first.fence, RESULT),
        lambda: store.fail("a", first.fence, "internal", "no"),
        lambda: store.cancelled("a", first.fence),
        lambda: store.paused("a", first.fence),
        lambda: store.release("a", first.fence),
    ):
        with pytest.raises(LeaseLost):
            write()
    assert store.job("a") == second
    assert store.logs("a") == []
    assert outcomes(store) == [(1, "driver-1", "lost"), (2, "driver-2", "")]


def test_a_clock_that_is_set_back_holds_up_nobody_for_long(store: Store, clock: Clock) -> None:
    """Of three jobs one has a worker that lives, one has a dead one, and one rests after a fault."""
    for name in ("alive", "dead", "rests"):
        store.submit(ask(name))
    alive, _, rests = (claimed(store) for _ in range(3))
    store.retry("rests", rests.fence, wait_s=30)
    clock.now -= 100_000
    assert store.claim("other") is None
    clock.now += JobSettings().lease_s - 1
    store.renew("alive", alive.fence)
    clock.now += 1
    assert {claimed(store).id for _ in range(2)} == {"dead", "rests"}
    assert store.claim("other") is None
    store.renew("alive", alive.fence)


@pytest.mark.parametrize("end", ["complete", "fail", "cancelled", "paused", "release"])
def test_nobody_writes_to_a_run_that_has_ended(store: Store, end: str) -> None:
    store.submit(ask())
    fence = claimed(store).fence
    arguments = {"complete": (RESULT,), "fail": ("no_speech", "nothing was said")}.get(end, ())
    getattr(store, end)("a", fence, *arguments)
    before = store.job("a")
    with pytest.raises(LeaseLost):
        store.renew("a", fence, Progress(percent=1.0), [line(1)])
    with pytest.raises(LeaseLost):
        store.fail("a", fence, "internal", "no")
    assert store.job("a") == before


def test_a_renewed_lease_is_kept(store: Store, clock: Clock) -> None:
    store.submit(ask())
    fence = claimed(store).fence
    for _ in range(5):
        clock.now += 9
        assert store.renew("a", fence) is Control.RUN
        assert store.claim("driver-2") is None


def test_a_late_renewal_counts_while_nobody_has_taken_the_job(store: Store, clock: Clock) -> None:
    store.submit(ask())
    fence = claimed(store).fence
    clock.now += 60
    store.renew("a", fence)
    assert store.claim("driver-2") is None


def test_a_job_whose_workers_keep_dying_is_given_up(store: Store, clock: Clock) -> None:
    store.submit(ask())
    for _ in range(3):
        claimed(store)
        clock.now += 11
    assert store.waiting() == 1
    assert store.claim("driver-1") is None
    job = store.job("a")
    assert (job.state, job.error_code) == (State.FAILED, "stage_failed")
    assert "3 times" in job.error
    assert store.waiting() == 0
    assert [outcome for _, _, outcome in outcomes(store)] == ["lost"] * 3


def test_giving_one_up_does_not_keep_the_next_waiting(store: Store, clock: Clock) -> None:
    store.submit(ask())
    for _ in range(3):
        claimed(store)
        clock.now += 11
    store.submit(ask("b"))
    assert claimed(store).id == "b"


def test_orderly_ends_are_no_attempts(store: Store, clock: Clock) -> None:
    store.submit(ask())
    for _ in range(5):
        assert store.release("a", claimed(store).fence) is State.WAITING
    for _ in range(5):
        job = claimed(store)
        store.control("a", Control.PAUSE)
        assert store.paused("a", job.fence) is State.PAUSED
        store.control("a", Control.RUN)
    assert claimed(store).attempts == 1
    clock.now += 11
    assert claimed(store).attempts == 2


def test_a_run_that_came_further_than_any_before_counts_as_the_first_attempt(store: Store, clock: Clock) -> None:
    store.submit(ask())
    for percent in (10.0, 20.0, 30.0, 40.0, 50.0):
        store.renew("a", claimed(store).fence, Progress(percent=percent))
        clock.now += 11
    for attempt in (2, 3):
        job = claimed(store)
        assert job.attempts == attempt
        store.renew("a", job.fence, Progress(percent=50.0))  # as far as before, and no further
        clock.now += 11
    assert store.claim("driver") is None
    assert store.job("a").state is State.FAILED


def test_a_retry_counts_as_an_attempt(store: Store) -> None:
    store.submit(ask())
    assert store.retry("a", claimed(store).fence) is State.WAITING
    assert claimed(store).attempts == 2


def test_thirty_two_claimants_in_threads_share_the_jobs(store: Store) -> None:
    for number in range(20):
        store.submit(ask(f"job-{number}", tenant=f"t{number % 3}"))
    with ThreadPoolExecutor(32) as pool:
        got = [job.id for job in pool.map(lambda n: store.claim(f"driver-{n}"), range(32)) if job]
    assert sorted(got) == sorted(f"job-{number}" for number in range(20))


# -- fairness --------------------------------------------------------------------------------------------------------


def test_a_newcomer_does_not_wait_behind_a_backlog_even_with_one_driver(store: Store, clock: Clock) -> None:
    for number in range(10):
        store.submit(ask(f"busy-{number}", tenant="busy"))
        clock.now += 1
    store.submit(ask("new", tenant="new"))
    order = []
    for _ in range(3):
        job = claimed(store)
        order.append(job.id)
        store.complete(job.id, job.fence, RESULT)
    assert order == ["busy-0", "new", "busy-1"]


def test_running_jobs_count_against_their_tenant_and_weights_for_it(opened: Callable[..., Store], clock: Clock) -> None:
    store = opened()
    Tenants(store.database).add(Tenant("gold", weight=3.0))
    for number in range(8):
        store.submit(ask(f"plain-{number}", tenant="plain"))
        store.submit(ask(f"gold-{number}", tenant="gold"))
        clock.now += 0.1
    tenants = [claimed(store).request.tenant for _ in range(8)]
    assert tenants.count("gold") == 6


# -- what Drivers write ----------------------------------------------------------------------------------------------


def test_a_renewal_writes_progress_lines_and_insights(store: Store, clock: Clock) -> None:
    store.submit(ask())
    fence = claimed(store).fence
    progress = Progress(percent=12.0, stage="tts", preview_ids=("seg_001", "seg_002"), hardware={"cpu": "x"}, eta_s=3.5)
    insight = Insight("a-1", "decision", "Title", "why", "high", "2026-01-01T00:00:00.000001Z", {"k": [1, 2]})
    clock.now += 1
    store.renew("a", fence, progress, [line(1), line(2)], [insight])
    store.renew("a", fence, progress, [line(3)])
    assert store.job("a").progress == progress
    assert store.job("a").updated_at > store.job("a").created_at
    assert store.logs("a") == [line(1), line(2), line(3)]
    assert store.logs("a", last=2) == [line(2), line(3)]
    assert store.insights("a") == [insight]


def test_a_log_line_may_mention_anything(store: Store) -> None:
    store.submit(ask())
    odd = replace(line(1), extra={"path": Path("/x")})
    store.renew("a", claimed(store).fence, None, [odd])
    assert store.logs("a")[0].extra == {"path": "/x"}


def test_what_not_every_database_can_keep_is_written_without_it(store: Store) -> None:
    store.submit(ask())
    fence = claimed(store).fence
    odd = replace(line(1), message="a\0b \ud800", extra={"loudness": float("-inf"), "name": "\0"})
    store.renew("a", fence, None, [odd])
    assert store.logs("a")[0].message == "a\ufffdb ?"
    assert store.logs("a")[0].extra == {"loudness": None, "name": "\0"}
    store.complete("a", fence, replace(RESULT, quality=Quality(lufs=float("-inf"))))
    assert store.job("a").result == replace(RESULT, quality=Quality())


def test_a_completed_job_keeps_its_result_and_ends_at_a_hundred(store: Store) -> None:
    store.submit(ask())
    job = claimed(store)
    assert store.complete("a", job.fence, RESULT, Progress(percent=99.9), [line(1)]) is State.COMPLETED
    job = store.job("a")
    assert (job.state, job.result, job.progress.percent) == (State.COMPLETED, RESULT, 100.0)
    assert store.logs("a") == [line(1)]
    assert outcomes(store) == [(1, "driver-1", "completed")]


def test_updated_at_grows_even_when_the_clock_goes_back(store: Store, clock: Clock) -> None:
    stamps = [store.submit(ask()).updated_at]
    fence = claimed(store).fence
    clock.now -= 100
    for write in (
        lambda: store.renew("a", fence),
        lambda: store.control("a", Control.PAUSE),
        lambda: store.complete("a", fence, RESULT),
    ):
        write()
        stamps.append(store.job("a").updated_at)
    assert stamps == sorted(set(stamps))


def test_snapshots_hold_each_known_job_with_its_latest_lines(store: Store) -> None:
    for job_id in ("a", "b", "c"):
        store.submit(ask(job_id))
    for _ in range(2):
        job = claimed(store)
        store.renew(job.id, job.fence, None, [line(n) for n in range(30)])
    found = store.snapshots(["a", "b", "c", "unknown"])
    assert set(found) == {"a", "b", "c"}
    assert found["a"] == (store.job("a"), [line(n) for n in range(10, 30)])
    assert found["b"] == (store.job("b"), store.logs("b"))
    assert found["c"] == (store.job("c"), [])
    assert store.snapshots([]) == {}


@pytest.mark.parametrize(("film", "percent"), [("10 5", 40.0), ("", 40.0), ("10 6", 0.0)])
def test_another_film_under_the_same_path_begins_at_its_beginning(store: Store, film: str, percent: float) -> None:
    store.submit(ask(), 10, "10 5")
    store.fail("a", claimed(store).fence, "no_speech", "nothing was said", Progress(percent=40.0))
    assert store.submit(replace(ask(), title="Another name"), 10, film).progress.percent == percent
    store.fail("a", claimed(store).fence, "no_speech", "nothing was said", Progress(percent=60.0))
    assert store.submit(ask(), 10, film or "10 5").progress.percent == 60.0


# -- what owners ask -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "control", "end"),
    [
        (State.COMPLETED, Control.RUN, State.COMPLETED),
        (State.COMPLETED, Control.PAUSE, State.COMPLETED),
        (State.COMPLETED, Control.CANCEL, State.CANCELLED),
        (State.FAILED, Control.PAUSE, State.FAILED),
        (State.FAILED, Control.CANCEL, State.CANCELLED),
        (State.PAUSED, Control.PAUSE, State.PAUSED),
        (State.PAUSED, Control.RUN, State.WAITING),
        (State.PAUSED, Control.CANCEL, State.CANCELLED),
        (State.WAITING, Control.RUN, State.WAITING),
        (State.WAITING, Control.PAUSE, State.PAUSED),
        (State.WAITING, Control.CANCEL, State.CANCELLED),
        (State.CANCELLED, Control.CANCEL, State.CANCELLED),
        (State.CANCELLED, Control.RUN, State.CANCELLED),
    ],
)
def test_where_a_run_lands(outcome: State, control: Control, end: State) -> None:
    assert landing(outcome, control) is end


def test_pause_resume_and_cancel_of_a_waiting_job_take_effect_at_once(store: Store) -> None:
    store.submit(ask())
    for _ in range(2):
        assert store.control("a", Control.PAUSE).state is State.PAUSED
    assert store.waiting() == 0
    assert store.claim("driver-1") is None
    for _ in range(2):
        assert store.control("a", Control.RUN).state is State.WAITING
    for _ in range(2):
        assert store.control("a", Control.CANCEL).state is State.CANCELLED
    assert store.claim("driver-1") is None


def test_a_paused_job_can_be_cancelled(store: Store) -> None:
    store.submit(ask())
    store.control("a", Control.PAUSE)
    assert store.control("a", Control.CANCEL).state is State.CANCELLED


def test_a_running_job_hears_of_it_at_its_next_renewal(store: Store) -> None:
    store.submit(ask())
    fence = claimed(store).fence
    assert store.control("a", Control.PAUSE).state is State.RUNNING
    assert store.renew("a", fence) is Control.PAUSE
    assert store.control("a", Control.RUN).control is Control.RUN
    assert store.renew("a", fence) is Control.RUN
    store.control("a", Control.CANCEL)
    assert store.control("a", Control.CANCEL).state is State.RUNNING
    assert store.renew("a", fence) is Control.CANCEL
    with pytest.raises(WrongState, match="being cancelled"):
        store.control("a", Control.RUN)


def test_an_acknowledged_cancel_wins_over_a_run_that_completes(store: Store) -> None:
    store.submit(ask())
    fence = claimed(store).fence
    store.control("a", Control.CANCEL)
    assert store.complete("a", fence, RESULT) is State.CANCELLED
    assert store.job("a").result is None
    assert outcomes(store) == [(1, "driver-1", "cancelled")]


@pytest.mark.parametrize(("control", "end"), [(Control.PAUSE, State.PAUSED), (Control.CANCEL, State.CANCELLED)])
@pytest.mark.parametrize("asked", ["before", "after"])
def test_a_job_that_lost_its_driver_is_parked_as_asked(
    store: Store, clock: Clock, control: Control, end: State, asked: str
) -> None:
    store.submit(ask())
    claimed(store)
    if asked == "before":
        store.control("a", control)
    clock.now += 11
    if asked == "after":
        assert store.control("a", control).state is end
    else:
        assert store.waiting() == 1
        assert store.claim("driver-2") is None
    assert store.job("a").state is end
    assert store.waiting() == 0
    assert outcomes(store) == [(1, "driver-1", "lost")]


def test_resuming_a_job_that_lost_its_driver_still_counts_the_attempt(store: Store, clock: Clock) -> None:
    store.submit(ask())
    claimed(store)
    clock.now += 11
    assert store.control("a", Control.RUN).state is State.RUNNING
    assert claimed(store).attempts == 2


def test_what_has_ended_cannot_be_controlled(store: Store) -> None:
    store.submit(ask("done"))
    store.complete("done", claimed(store).fence, RESULT)
    store.submit(ask("failed"))
    store.fail("failed", claimed(store).fence, "no_speech", "nothing was said")
    store.submit(ask("cancelled"))
    store.control("cancelled", Control.CANCEL)
    refused = [("done", Control.CANCEL), ("failed", Control.CANCEL)]
    refused += [(job_id, c) for job_id in ("done", "failed", "cancelled") for c in (Control.PAUSE, Control.RUN)]
    for job_id, control in refused:
        with pytest.raises(WrongState):
            store.control(job_id, control)


# -- readers and failures --------------------------------------------------------------------------------------------


def test_unknown_ids(store: Store) -> None:
    for ask_for in (store.job, lambda job_id: store.control(job_id, Control.CANCEL), lambda i: store.renew(i, 1)):
        for unknown in ("unknown", "a\0b", "x" * 1000):
            with pytest.raises(JobNotFound, match="no job with this id"):
                ask_for(unknown)
    assert store.logs("unknown") == []
    assert store.insights("unknown") == []


def test_jobs_are_listed_newest_first_and_by_tenant(store: Store, clock: Clock) -> None:
    for job_id, tenant in (("a", "x"), ("b", "y"), ("c", "x")):
        store.submit(ask(job_id, tenant))
        clock.now += 1
    assert [job.id for job in store.jobs()] == ["c", "b", "a"]
    assert [job.id for job in store.jobs("x")] == ["c", "a"]
    assert [job.id for job in store.jobs(limit=1)] == ["c"]
    assert store.jobs("nobody") == []


def test_rows_outlive_the_process_that_wrote_them(store: Store, opened: Callable[..., Store]) -> None:
    store.submit(ask())
    store.close()
    assert opened().job("a").request == ask()


def test_a_row_of_another_version_is_read_as_far_as_it_is_known(store: Store) -> None:
    store.submit(ask())
    with engine(store).begin() as connection:
        connection.exec_driver_sql('UPDATE jobs SET progress = \'{"percent": 5.0, "unheard_of": 1}\'')
    assert store.job("a").progress == Progress(percent=5.0)


def test_a_write_that_fails_halfway_leaves_nothing(store: Store) -> None:
    store.submit(ask())
    fence = claimed(store).fence
    before = store.job("a")

    def fail(*args: Any) -> None:
        if args[2].startswith("INSERT INTO logs"):
            raise ConnectionError("no")

    event.listen(engine(store), "before_cursor_execute", fail)
    with pytest.raises(ConnectionError):
        store.complete("a", fence, RESULT, Progress(percent=50.0), [line(1)])
    assert store.job("a") == before


def test_jobs_are_counted_by_state_and_by_the_drivers_they_need(store: Store, clock: Clock) -> None:
    assert store.counts() == {"waiting": 0, "running": 0, "paused": 0, "completed": 0, "failed": 0, "cancelled": 0}
    for job_id in ("a", "b", "c", "d"):
        store.submit(ask(job_id))
    store.complete("a", claimed(store).fence, RESULT)
    store.control("b", Control.PAUSE)
    assert claimed(store).id == "c"
    assert store.counts() == {"waiting": 1, "running": 1, "paused": 1, "completed": 1, "failed": 0, "cancelled": 0}
    assert (store.waiting(), store.unfinished()) == (1, 2)
    store.control("c", Control.CANCEL)
    clock.now += 11
    assert (store.waiting(), store.unfinished()) == (2, 2)


def test_an_id_that_one_film_has_used_takes_no_other(store: Store) -> None:
    store.submit(ask())
    first = claimed(store)
    store.fail("a", first.fence, "stage_failed", "broken", Progress(duration_s=60.0))
    with pytest.raises(InvalidJob, match="another video"):
        store.submit(replace(ask(), path="/other.mp4"))
    assert store.submit(ask(target="es")).state is State.WAITING
