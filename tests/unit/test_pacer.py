"""How fast a service is asked, on a clock that is set by hand."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from models.tts.pacer import FIRST_DELAY_S, Pacer, TooFar, retry_after


class Bench:
    """A pacer whose sleeping moves its clock."""

    def __init__(self, **settings: float) -> None:
        self.now, self.naps = 50.0, []
        rules = {"per_s": 2.0, "burst": 3, "at_once": 1, "max_delay_s": 4.0, "patience_s": 9.0, **settings}
        self.pacer = Pacer(clock=lambda: self.now, sleep=self.nap, **rules)  # type: ignore[arg-type]

    def nap(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now += seconds

    def call(self) -> float:
        """How long it waited for its turn."""
        with self.pacer.turn():
            return self.naps[-1]


def test_a_few_at_once_and_then_so_many_a_second():
    bench = Bench()
    assert [bench.call() for _ in range(6)] == pytest.approx([0, 0, 0, 0.5, 0.5, 0.5])
    bench.now += 60
    assert [bench.call() for _ in range(4)] == pytest.approx([0, 0, 0, 0.5])


def test_the_delay_grows_with_refusals_up_to_its_bound_and_shrinks_with_answers():
    bench = Bench(per_s=1000)
    delays = []
    for _ in range(6):
        bench.pacer.pushed_back()
        delays.append(bench.pacer.delay_s)
    assert delays == [FIRST_DELAY_S, 0.5, 1.0, 2.0, 4.0, 4.0]
    bench.call()
    assert 4.0 <= bench.call() <= 5.0
    bench.pacer.went_well()
    assert bench.pacer.delay_s == pytest.approx(3.2)
    for _ in range(30):
        bench.pacer.went_well()
    assert bench.pacer.delay_s == 0 and bench.call() <= 5.0 and bench.call() <= 0.001


def test_a_rest_that_is_asked_for_is_held_and_one_too_long_is_not_waited_for():
    bench = Bench()
    bench.pacer.pushed_back(retry_after_s=6.0)
    assert bench.call() == pytest.approx(6.0)
    bench.pacer.pushed_back(retry_after_s=30.0)
    with pytest.raises(TooFar) as caught:
        bench.call()
    assert caught.value.seconds == pytest.approx(30.0) and len(bench.naps) == 1
    bench.now += 25
    assert bench.call() == pytest.approx(5.0)  # who gave up took no turn from anyone


def test_a_call_that_fails_gives_its_place_back():
    bench = Bench()
    for _ in range(3):
        with pytest.raises(RuntimeError), bench.pacer.turn():
            raise RuntimeError
    assert bench.call() >= 0


def test_retry_after_in_both_of_its_forms():
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    assert retry_after({"Retry-After": "7"}) == 7
    assert 90 < retry_after({"Retry-After": soon}) <= 100
    for none in (None, {}, {"Retry-After": "soon"}, {"Retry-After": "-3"}, {"Retry-After": ""}):
        assert retry_after(none) == 0
