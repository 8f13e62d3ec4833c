"""Futures one after the other, for an engine that knows no asyncio: a wait costs no thread, and can be given up.

Cancelling what comes last cancels what it waits for, down to the item in the running batch. Futures here stay
pending until they have a result, because a running one of the standard library cannot be cancelled any more.

Each holds those that wait for it, and not the other way round: a ring would keep what is done, and a model with it,
until the garbage collector comes by.
"""

import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from functools import partial
from traceback import clear_frames
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


def done(value: A) -> "Future[A]":
    future: Future[A] = Future()
    future.set_result(value)
    return future


def answer(future: "Future[A]", result: Callable[[], A]) -> None:
    """Settles `future` with what `result` returns or raises, unless it is settled or was cancelled."""
    try:
        value = result()
    except BaseException as error:
        fail(future, error)
    else:
        with suppress(InvalidStateError):
            future.set_result(value)


def fail(future: "Future[A]", error: BaseException) -> None:
    """The same with an error."""
    with suppress(InvalidStateError):
        future.set_exception(error)


def forget(error: BaseException | None) -> None:
    """Empties the frames of an error that has left them: its traceback would keep what they held."""
    while error:
        clear_frames(error.__traceback__)
        error = error.__cause__


def then(first: "Future[A]", work: "Callable[[A], Future[B]]") -> "Future[B]":
    """What `work` makes of the result of `first`; an error on the way is the result's error."""
    last: Future[B] = Future()
    _tie(last, first)
    first.add_done_callback(partial(_follow, last, work))
    return last


def gather(futures: "Sequence[Future[A]]") -> "Future[list[A]]":
    """All results, in order. The first error is the result's error, and cancels the others."""
    whole: Future[list[A]] = Future()
    results: dict[int, A] = {}
    count = len(futures)

    def one_done(place: int, future: "Future[A]") -> None:
        if future.cancelled():
            whole.cancel()
        elif (error := future.exception()) is not None:
            fail(whole, error)
        else:
            results[place] = future.result()
            if len(results) == count:
                answer(whole, lambda: [results[place] for place in range(count)])

    for future in futures:
        _tie(whole, future)
    for place, future in enumerate(futures):
        future.add_done_callback(partial(one_done, place))
    return whole if futures else done([])


def _tie(last: "Future[A]", first: "Future[B]") -> None:
    """Whoever gives up `last`, or hears that it failed, needs `first` no more."""
    needed = weakref.ref(first)

    def let_go(_: "Future[A]") -> None:
        if waiting := needed():
            waiting.cancel()

    last.add_done_callback(let_go)


def _follow(last: "Future[B]", work: "Callable[[A], Future[B]]", first: "Future[A]") -> None:
    if first.cancelled():
        last.cancel()
    if last.done():
        return
    try:
        second = work(first.result())
    except BaseException as error:
        fail(last, error)
    else:
        _tie(last, second)
        second.add_done_callback(partial(_pass_on, last))


def _pass_on(last: "Future[B]", second: "Future[B]") -> None:
    if second.cancelled():
        last.cancel()
    else:
        answer(last, second.result)
