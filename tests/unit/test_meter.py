"""Costs are split by weight among those at work, and all shares together are what was used."""

import threading
import time

import pytest

from models.meter import FREE, KEPT, Cost, Meter


class Clock:
    def __init__(self) -> None:
        self.now = 5.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_shares_follow_weight_and_time_together(clock: Clock) -> None:
    meter = Meter(cpu=clock)
    clock.now += 100  # nobody is at work
    first = meter.begin("a", 1)
    clock.now += 2
    second = meter.begin("b", 3)
    clock.now += 4
    meter.end(first)
    clock.now += 5
    meter.end(second)
    clock.now += 100
    assert meter.take("a").cpu_s == pytest.approx(2 + 1)
    assert meter.take("b").cpu_s == pytest.approx(3 + 5)
    assert meter.take("a") == meter.take("b") == FREE


def test_works_of_one_caller_add_up(clock: Clock) -> None:
    meter = Meter(cpu=clock)
    for _ in range(3):
        work = meter.begin("a")
        clock.now += 1
        meter.end(work)
    assert meter.take("a") == Cost(3.0)


def test_time_of_a_gpu_is_wall_time_with_work(clock: Clock) -> None:
    for on_gpu in (True, False):
        meter = Meter(on_gpu, cpu=lambda: 0.0, wall=clock)
        clock.now += 100
        works = [meter.begin(name) for name in "ab"]
        clock.now += 4
        for work in works:
            meter.end(work)
        assert meter.take("a").gpu_s == (2.0 if on_gpu else 0.0)


def test_callers_who_never_ask_are_forgotten(clock: Clock) -> None:
    meter = Meter(cpu=clock)
    for number in range(KEPT + 10):
        work = meter.begin(f"caller {number}")
        clock.now += 1
        meter.end(work)
    assert meter.take("caller 0") == FREE
    assert meter.take(f"caller {KEPT}") == Cost(1.0)


def test_work_in_threads_that_nobody_looks_into_is_measured() -> None:
    """As an engine's own threads: the thread that waits for them uses nothing itself."""
    meter = Meter()
    work = meter.begin("a")
    before = time.process_time(), time.thread_time()
    thread = threading.Thread(target=lambda: sum(n * n for n in range(2_000_000)))
    thread.start()
    thread.join()
    used, own = time.process_time() - before[0], time.thread_time() - before[1]
    meter.end(work)
    cost = meter.take("a").cpu_s
    assert cost == pytest.approx(used, rel=0.2, abs=0.01)
    assert cost > 5 * own
