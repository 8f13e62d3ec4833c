"""Everything that may happen to jobs, in any order: what the store promises holds after every step.

Several Drivers claim, renew, lose their leases without knowing it and write late; owners submit, pause, resume and
cancel; the clock jumps ahead and, a little, back. A small model beside the store says what each answer has to be.
"""

from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from configs.app import JobSettings
from models.errors import WrongState
from serve_app.jobs.claim import FAR_S
from serve_app.jobs.job import Control, Job, Progress, Quality, Request, Result, State
from serve_app.jobs.store import LeaseLost, Store
from serve_app.jobs.tables import metadata

LEASE_S = 10.0
JOBS = tuple(f"job-{number}" for number in range(2))
RESULT = Result("v", "o", "t", "r", 1.0, 1, 1, 1.0, Quality())
SETTINGS = JobSettings(lease_s=LEASE_S, attempts=3)


@dataclass
class Seen:
    """What is known of a job from outside."""

    fence: int = 0
    lease_until: float = 0.0
    completed: int = 0
    fences: list[int] = field(default_factory=list)


class Jobs(RuleBasedStateMachine):
    url = ""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000_000.0
        self.store = Store(self.url, SETTINGS, clock=lambda: self.now)
        self.store.create()
        with self.store.database.write() as connection:
            for table in reversed(metadata.sorted_tables):
                connection.execute(table.delete())
        self.seen: dict[str, Seen] = {}
        self.pausing: dict[str, float] = {}

    def teardown(self) -> None:
        self.store.close()

    runs = Bundle("runs")
    """Claims that somebody believes to have, right or wrong."""

    # -- owners ----------------------------------------------------------------------------------------------------

    @initialize()
    def begin(self) -> None:
        self.submit(JOBS[0])

    @rule(job=st.sampled_from(JOBS))
    def submit(self, job: str) -> None:
        before = self.state(job)
        found = self.store.submit(Request(job, "/film.mp4", "en", "es", tenant=f"tenant-{job[-1]}"))
        self.seen.setdefault(job, Seen())
        expected = State.WAITING if before in (None, State.FAILED, State.CANCELLED) else before
        assert found.state is expected

    @rule(job=st.sampled_from(JOBS), wish=st.sampled_from(Control))
    @precondition(lambda self: self.seen)
    def control(self, job: str, wish: Control) -> None:
        before = self.state(job)
        if before is None:
            return
        try:
            after = self.store.control(job, wish)
        except WrongState:
            assert not before.live or self.store.job(job).control is Control.CANCEL
            return
        if wish is Control.CANCEL:
            assert after.state is State.CANCELLED or after.control is Control.CANCEL
        if before is State.PAUSED and wish is Control.RUN:
            assert after.state is State.WAITING

    # -- Drivers ---------------------------------------------------------------------------------------------------

    @rule(target=runs, owner=st.sampled_from("xyz"))
    def claim(self, owner: str) -> object:
        before = {job.id: job for job in self.store.jobs()}
        self.shorten()
        job = self.store.claim(owner)
        if job is None:
            after = {job.id: job for job in self.store.jobs()}
            assert not [j for j in after.values() if j.state is State.WAITING and self.ripe(j)]
            return multiple()
        was, seen = before[job.id], self.seen[job.id]
        assert was.state is State.WAITING or (was.state is State.RUNNING and seen.lease_until <= self.now)
        assert was.control is Control.RUN
        assert job.fence == was.fence + 1 and job.fence not in seen.fences
        assert 1 <= job.attempts <= SETTINGS.attempts
        seen.fence, seen.lease_until = job.fence, self.now + LEASE_S
        seen.fences.append(job.fence)
        return (job.id, job.fence)

    def shorten(self) -> None:
        """A claim lets nothing lie further ahead than anything is ever set, as it does when the clock was set back."""
        far, near = self.now + FAR_S, self.now + LEASE_S
        for seen in self.seen.values():
            seen.lease_until = near if seen.lease_until > far else seen.lease_until
        self.pausing = {job: near if until > far else until for job, until in self.pausing.items()}

    def ripe(self, job: Job) -> bool:
        return job.id not in self.pausing or self.pausing[job.id] <= self.now

    @rule(run=runs, percent=st.floats(0, 100))
    def renew(self, run: tuple[str, int], percent: float) -> None:
        if self.owns(run):
            wish = self.store.renew(*run, Progress(percent=percent))
            assert wish is self.store.job(run[0]).control
            self.seen[run[0]].lease_until = self.now + LEASE_S
        else:
            self.refused(run, "renew")

    @rule(run=consumes(runs), how=st.sampled_from(("complete", "fail", "cancelled", "paused", "release", "retry")))
    def end(self, run: tuple[str, int], how: str) -> None:
        if not self.owns(run):
            self.refused(run, how)
            return
        job = self.store.job(run[0])
        facts = {"complete": (RESULT,), "fail": ("internal", "broken")}.get(how, ())
        waits = {"wait_s": 7.0} if how == "retry" else {}
        state = getattr(self.store, how)(*run, *facts, **waits)
        if job.control is Control.CANCEL:
            assert state is State.CANCELLED
        elif how == "complete":
            assert state is State.COMPLETED
            self.seen[run[0]].completed += 1
        if state is State.WAITING and how == "retry":
            self.pausing[run[0]] = self.now + 7.0
        assert self.store.job(run[0]).state is state

    def refused(self, run: tuple[str, int], how: str) -> None:
        """A write that comes too late changes nothing at all."""
        before = self.store.job(run[0])
        facts = {"complete": (RESULT,), "fail": ("internal", "broken")}.get(how, ())
        with pytest.raises(LeaseLost):
            getattr(self.store, how)(*run, *facts, Progress(percent=99))
        assert self.store.job(run[0]) == before

    def owns(self, run: tuple[str, int]) -> bool:
        """A lease that has run out is still good as long as nobody else has taken the job."""
        return self.seen[run[0]].fence == run[1] and self.state(run[0]) is State.RUNNING

    # -- the world -------------------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from((0.5, 1000.0, -2.0, -100_000.0)))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    @precondition(lambda self: any(seen.fence for seen in self.seen.values()))
    def every_driver_falls_silent(self) -> None:
        self.now += LEASE_S + 1

    @rule()
    @precondition(lambda self: any(seen.lease_until > self.now for seen in self.seen.values()))
    def a_lease_is_about_to_end(self) -> None:
        self.now = min(seen.lease_until for seen in self.seen.values() if seen.lease_until > self.now) - 0.01

    @rule()
    def everything_starts_again(self) -> None:
        self.store.close()
        self.store = Store(self.url, SETTINGS, clock=lambda: self.now)
        self.store.create()

    # -- what always holds -----------------------------------------------------------------------------------------

    def state(self, job: str) -> State | None:
        return self.store.job(job).state if job in self.seen else None

    @invariant()
    def the_rows_make_sense(self) -> None:
        rows = {job.id: job for job in self.store.jobs()}
        assert set(rows) == set(self.seen), "a job was lost, or invented"
        for job_id, seen in self.seen.items():
            job = rows[job_id]
            assert job.fence == len(seen.fences) and seen.fences == sorted(seen.fences)
            assert 0 <= job.attempts <= SETTINGS.attempts
            assert seen.completed <= 1 and (job.result is not None) == bool(seen.completed)
            assert (job.state is State.COMPLETED) == bool(seen.completed), "a result was lost, or overwritten"
            assert job.control is {State.WAITING: Control.RUN, State.PAUSED: Control.PAUSE}.get(job.state, job.control)


def test_what_the_store_promises_holds_whatever_happens(url: str) -> None:
    class Here(Jobs):
        pass

    Here.url = url
    rules = settings(
        max_examples=15,
        stateful_step_count=40,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.explicit, Phase.reuse, Phase.generate),  # to find the shortest way to a fault takes minutes
    )
    run_state_machine_as_test(Here, settings=rules)
