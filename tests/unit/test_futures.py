"""Futures one after the other: results, errors, and giving up."""

import gc
import weakref
from collections.abc import Callable
from concurrent.futures import Future

import pytest

from models.futures import answer, done, fail, gather, then


def test_results_and_errors_are_passed_on() -> None:
    first: Future[int] = Future()
    last = then(then(first, lambda x: done(x + 1)), lambda x: done(x * 10))
    assert not last.done()
    first.set_result(4)
    assert last.result(1) == 50

    def refuse(_: int) -> "Future[int]":
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        then(then(done(1), refuse), lambda x: done(x)).result(1)


def test_giving_up_reaches_what_is_waited_for_now() -> None:
    first: Future[int] = Future()
    second: Future[int] = Future()
    last = then(then(first, lambda _: second), lambda x: done(x))
    first.set_result(1)
    assert last.cancel()
    assert second.cancelled()
    before: Future[int] = Future()
    assert then(before, lambda x: done(x)).cancel()
    assert before.cancelled()


def test_what_is_given_up_is_not_begun() -> None:
    first: Future[int] = Future()
    first.set_running_or_notify_cancel()
    begun: list[int] = []

    def begin(x: int) -> "Future[int]":
        begun.append(x)
        return done(x)

    assert then(first, begin).cancel()
    first.set_result(1)
    assert begun == []


def test_work_that_is_cancelled_from_below_cancels_the_result() -> None:
    below: Future[int] = Future()
    last = then(done(1), lambda _: below)
    whole = gather([last, done(2)])
    below.cancel()
    assert last.cancelled() and whole.cancelled()


def test_gathering_keeps_the_order_and_cancels_the_rest_after_an_error() -> None:
    futures: list[Future[int]] = [Future() for _ in range(3)]
    whole = gather(futures)
    for i in (2, 0, 1):
        assert not whole.done()
        futures[i].set_result(i)
    assert whole.result(1) == [0, 1, 2]
    assert gather([]).result(1) == []

    futures = [Future() for _ in range(3)]
    whole = gather(futures)
    futures[1].set_exception(ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        whole.result(1)
    assert futures[0].cancelled() and futures[2].cancelled()


@pytest.mark.parametrize("settle", [lambda f: answer(f, lambda: 2), lambda f: fail(f, ValueError())])
def test_what_is_settled_or_cancelled_stays_so(settle: Callable[[Future[int]], None]) -> None:
    cancelled: Future[int] = Future()
    cancelled.cancel()
    settle(cancelled)
    assert cancelled.cancelled()
    known = done(1)
    settle(known)
    assert known.result() == 1


def test_nothing_is_kept_by_what_is_done() -> None:
    gc.collect()
    gc.disable()
    try:
        first: Future[int] = Future()
        whole = gather([then(first, lambda x: done(x)), then(first, lambda x: then(done(x), done))])
        gone = [weakref.ref(future) for future in (first, whole)]
        first.set_result(3)
        assert whole.result(1) == [3, 3]
        del first, whole
        assert [future() for future in gone] == [None, None]
    finally:
        gc.enable()
