"""Who joins the running batch when, with a network that counts down: the source [n] becomes n, …, 2, 1, end."""

import threading
import time
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait

import numpy as np
import pytest

from models.meter import Meter
from models.translation.batcher import PATIENCE, SMALLEST, Batcher, Job, Limits
from models.translation.network import Array
from models.translation.search import Beam, Greedy, Rules, Search

END, PAD, WORDS, REFUSED = 0, 999, 1000, 666
RULES = Rules(END, PAD)


class Countdown:
    """A network whose rows remember a number. `gate` holds a step back; `steps` are the numbers that were live, `fed`
    the tokens that came with them; `joined` are the numbers that came, each with the largest that was live then."""

    def __init__(self, width: int = 1) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.steps: list[list[int]] = []
        self.fed: list[list[int]] = []
        self.joined: list[tuple[int, int]] = []
        self.encoded: list[list[list[int]]] = []
        self.broken = 0
        self.pace = 0.0
        self.width = width

    def remember(self, rows: Sequence[list[int]]) -> Array:
        if any(row[0] == REFUSED for row in rows):
            raise ValueError("refused")
        self.encoded.append(list(rows))
        return np.array([row[0] for row in rows])

    def rows(self, capacity: int, places: int) -> "Countdown":
        self.left, self.capacity = [0] * capacity, capacity
        return self

    def join(self, row: int, memory: int) -> None:
        self.joined.append((int(memory), max(self.left)))
        self.left[row] = int(memory)

    def step(self, count: int, tokens: Sequence[int]) -> Array:
        assert self.gate.wait(10)
        time.sleep(self.pace)
        assert len(tokens) == count <= self.capacity
        if self.broken:
            self.broken -= 1
            raise RuntimeError("the processor melted")
        self.steps.append(self.left[:count])
        self.fed.append(list(tokens))
        scores = np.zeros((count, WORDS), np.float32)
        for row in range(count):
            scores[row, self.left[row]] = 20
            self.left[row] -= 1
        return scores

    def follow(self, first: int, parents: Sequence[int]) -> None:
        self.left[first : first + len(parents)] = [self.left[first + parent] for parent in parents]

    def move(self, source: int, target: int) -> None:
        self.left[target] = self.left[source]

    def leave(self, row: int) -> None:
        self.left[row] = -1


class Broken(Greedy):
    def advance(self, _logits: Array) -> Sequence[tuple[int, int]]:
        raise ValueError("no such word")


class Several(Countdown):
    """The same with rows of their own for each worker."""

    def __init__(self) -> None:
        super().__init__()
        self.workers: list[Countdown] = []

    def rows(self, capacity: int, places: int) -> Countdown:
        worker = Countdown()
        worker.gate, worker.pace = self.gate, self.pace
        self.workers.append(worker)
        return worker.rows(capacity, places)


def rest(shared: Batcher) -> None:
    """Returns when the workers have ended."""
    for worker in list(shared._workers):
        worker.join(10)
    assert not shared._workers


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def batcher(network: Countdown, budget: int = 1000, chunk: int = 100) -> Batcher:
    return Batcher(network, PAD, Limits(network.width, budget, 100, chunk))  # type: ignore[arg-type]


def job(number: int, width: int = 1, words: int = 1, opening: Sequence[int] = (), room: int = 90) -> Job:
    search: Search = Greedy(RULES, room, opening) if width == 1 else Beam(RULES, room, width, opening=opening)
    return Job([number] * words, search, len(opening) + room)


def said(future: "Future[list[list[int]]]") -> list[int]:
    return future.result(10)[0]


@pytest.mark.parametrize("width", [1, 3])
def test_every_sentence_is_finished_whoever_joins_and_leaves(width: int) -> None:
    shared = batcher(Countdown(width), budget=1500)
    numbers = [7, 30, 2, 55, 1, 30, 12, 3, 44, 5] * 3
    futures = [shared.submit(job(number, width)) for number in numbers]
    assert [said(future) for future in futures] == [list(range(number, -1, -1)) for number in numbers]


def test_a_short_sentence_joins_a_long_one_and_leaves_before_it() -> None:
    network = Countdown()
    shared = batcher(network)
    network.gate.clear()
    long = shared.submit(job(80))
    short = shared.submit(job(2))
    order: list[str] = []
    long.add_done_callback(lambda _: order.append("long"))
    short.add_done_callback(lambda _: order.append("short"))
    network.gate.set()
    wait([long, short], 10)
    assert order == ["short", "long"]
    assert [80 - step[0] for step in network.steps if len(step) == 2] in ([0, 1, 2], [1, 2, 3])
    assert len(network.steps) <= 82


@pytest.mark.parametrize("width", [1, 3])
def test_openings_of_different_lengths_share_a_batch_and_are_fed_to_the_network(width: int) -> None:
    """A row counts down at every step, also at those that are forced: 20 with an opening of two goes on at 18."""
    network = Countdown(width)
    shared = batcher(network, budget=1500)
    network.gate.clear()
    openings = {20: (700, 701), 9: (), 15: (800,), 30: (900, 901, 902, 903)}
    futures = [shared.submit(job(number, width, opening=opening)) for number, opening in openings.items()]
    network.gate.set()
    for future, (number, opening) in zip(futures, openings.items(), strict=True):
        assert said(future) == [*opening, *range(number - len(opening), -1, -1)]
    assert max(map(len, network.steps)) == 4 * width
    row = [fed for step, fed in zip(network.steps, network.fed, strict=True) if step[0] > 0]
    assert [tokens[0] for tokens in row[:4]] == [PAD, 700, 701, 18]


@pytest.mark.parametrize("width", [1, 3])
def test_each_sentence_ends_at_its_own_greatest_length(width: int) -> None:
    shared = batcher(Countdown(width), budget=1500)
    rooms = {50: 3, 40: 1, 9: 30, 30: 12}
    futures = [shared.submit(job(number, width, room=room)) for number, room in rooms.items()]
    assert [said(future) for future in futures] == [[50, 49, 0], [0], list(range(9, -1, -1)), [*range(30, 19, -1), 0]]


def test_the_budget_of_tokens_is_kept() -> None:
    network = Countdown()
    shared = batcher(network, budget=3 * 91)
    futures = [shared.submit(job(5)) for _ in range(8)]
    assert all(said(future) == [5, 4, 3, 2, 1, 0] for future in futures)
    assert max(map(len, network.steps)) == 3


def test_a_sentence_above_the_budget_runs_alone() -> None:
    network = Countdown()
    shared = batcher(network, budget=SMALLEST)
    futures = [shared.submit(job(number)) for number in (4, 3)]
    assert [said(future) for future in futures] == [[4, 3, 2, 1, 0], [3, 2, 1, 0]]
    assert max(map(len, network.steps)) == 1


def test_a_sentence_that_does_not_fit_is_passed_but_not_for_ever() -> None:
    network = Countdown()
    shared = batcher(network, budget=300, chunk=300)
    network.gate.clear()
    small = [shared.submit(job(9)) for _ in range(150)]
    big = shared.submit(job(6, words=200))
    later = [shared.submit(job(8)) for _ in range(300)]
    network.gate.set()
    wait([big, *small, *later], 30)
    joined = [rows[0] for rows in network.encoded]
    place = next(i for i, row in enumerate(joined) if len(row) == 200)
    before = sum(len(rows) for rows in network.encoded[:place])
    assert 0 < before < 150 + 3 * (PATIENCE + 20)
    assert said(big) == [6, 5, 4, 3, 2, 1, 0]


def test_only_sentences_of_one_length_are_encoded_together() -> None:
    network = Countdown()
    shared = batcher(network)
    network.gate.clear()
    first = shared.submit(job(1))
    futures = [shared.submit(job(3, words=words)) for words in (2, 5, 2, 4, 5)]
    network.gate.set()
    wait([first, *futures], 10)
    assert all(len({len(row) for row in rows}) == 1 for rows in network.encoded)
    assert sum(map(len, network.encoded)) == 6


def test_what_breaks_is_heard_by_the_batch_and_the_others_go_on() -> None:
    network = Countdown()
    shared = batcher(network, budget=2 * 91)
    network.gate.clear()
    first = shared.submit(job(30))
    until(lambda: network.encoded)
    second = [shared.submit(job(3)) for _ in range(3)]
    network.broken = 1
    network.gate.set()
    for future in (first, *second):
        wait([future], 10)
    broken = [future for future in (first, *second) if future.exception()]
    assert first in broken and len(broken) <= 2
    assert all(said(future) == [3, 2, 1, 0] for future in second if future not in broken)
    assert "the processor melted" in str(first.exception())


def test_a_sentence_that_nobody_waits_for_is_dropped() -> None:
    network = Countdown()
    shared = batcher(network, budget=91)
    network.gate.clear()
    first, second = shared.submit(job(2)), shared.submit(job(50))
    assert second.cancel()
    network.gate.set()
    assert said(first) == [2, 1, 0]
    assert said(shared.submit(job(1))) == [1, 0]
    assert max(max(step) for step in network.steps) == 2


def test_the_thread_ends_with_the_last_sentence() -> None:
    shared = batcher(Countdown())
    assert said(shared.submit(job(3))) == [3, 2, 1, 0]
    rest(shared)
    assert said(shared.submit(job(2))) == [2, 1, 0]


def test_workers_share_the_sentences_evenly_and_end_when_there_are_none() -> None:
    network = Several()
    network.pace = 0.005
    network.gate.clear()
    shared = Batcher(network, PAD, Limits(1, 10_000, 100, 10_000, workers=2))  # type: ignore[arg-type]
    numbers = range(60, 52, -1)  # long enough that neither is done before the other has woken up
    futures = [shared.submit(job(number)) for number in numbers]
    until(lambda: len(network.workers) == 2)
    network.gate.set()
    assert [said(future) for future in futures] == [list(range(number, -1, -1)) for number in numbers]
    assert [max(len(step) for step in worker.steps) for worker in network.workers] == [4, 4]
    rest(shared)


def test_two_workers_share_by_length_and_not_by_number() -> None:
    network = Several()
    network.gate.clear()
    shared = Batcher(network, PAD, Limits(1, 10_000, 100, 10_000, workers=2))  # type: ignore[arg-type]
    futures = [shared.submit(job(number, words=number)) for number in (50, 5)]
    until(lambda: len(network.encoded) == 2)
    numbers = [6, 40, 6, 38, 6, 36, 6, 6]
    futures += [shared.submit(job(number, words=number)) for number in numbers]
    network.gate.set()
    assert [said(future) for future in futures] == [list(range(n, -1, -1)) for n in (50, 5, *numbers)]
    long = next(worker for worker in network.workers if worker.steps[0] == [50])
    assert all(number > 6 or largest <= 10 for number, largest in long.joined)  # short ones only when it is nearly done


def test_closing_waits_for_what_was_submitted_and_lets_go_of_the_network() -> None:
    network = Countdown()
    shared, gone = batcher(network), weakref.ref(network)
    futures = [shared.submit(job(60)), shared.submit(job(3))]
    shared.close()
    assert all(future.done() for future in futures)
    del network
    assert gone() is None


def test_a_running_sentence_that_is_given_up_leaves_the_batch() -> None:
    network = Countdown()
    network.pace = 0.002
    shared = batcher(network)
    given_up, other = shared.submit(job(80)), shared.submit(job(40))
    until(lambda: any(len(step) == 2 for step in network.steps))
    assert given_up.cancel()
    assert said(other) == list(range(40, -1, -1))
    assert said(shared.submit(job(3))) == [3, 2, 1, 0]
    rest(shared)
    assert len(network.steps) < 80


def test_a_thousand_cancelled_sentences_do_not_run() -> None:
    network = Countdown()
    shared = batcher(network, budget=91)
    network.gate.clear()
    first = shared.submit(job(2))
    given_up = [shared.submit(job(50)) for _ in range(1000)]
    last = shared.submit(job(3))
    assert all(future.cancel() for future in given_up)
    network.gate.set()
    assert (said(first), said(last)) == ([2, 1, 0], [3, 2, 1, 0])
    assert len(network.steps) < 50


def test_a_caller_with_one_sentence_waits_for_room_and_not_for_those_with_many() -> None:
    network = Countdown()
    shared = batcher(network, budget=4 * 91)
    network.gate.clear()
    many = [shared.submit(job(9), "many") for _ in range(500)]
    one = shared.submit(job(50), "one")
    network.gate.set()
    assert said(one) == list(range(50, -1, -1))
    assert sum(future.done() for future in many) < 60
    joined = [row[0] for rows in network.encoded for row in rows]
    assert joined.index(50) <= 5
    wait(many, 30)


def test_what_breaks_in_one_search_is_heard_there_alone() -> None:
    network = Countdown()
    shared = batcher(network)
    bad = job(7)
    bad.search = Broken(RULES, 90)
    good, heard = shared.submit(job(9)), shared.submit(bad)
    with pytest.raises(ValueError, match="no such word"):
        heard.result(10)
    assert said(good) == list(range(9, -1, -1))


def test_what_the_encoder_refuses_fails_alone() -> None:
    network = Countdown()
    shared = batcher(network)
    network.gate.clear()
    futures = [shared.submit(job(number, words=words)) for number, words in ((5, 1), (REFUSED, 2), (4, 3))]
    network.gate.set()
    with pytest.raises(ValueError, match="refused"):
        futures[1].result(10)
    assert (said(futures[0]), said(futures[2])) == ([5, 4, 3, 2, 1, 0], [4, 3, 2, 1, 0])


def test_without_buffers_everybody_hears_of_it() -> None:
    network = Countdown()
    network.rows = lambda *_: (_ for _ in ()).throw(MemoryError())  # type: ignore[method-assign]
    shared = batcher(network)
    with pytest.raises(MemoryError):
        shared.submit(job(3)).result(10)


def test_an_error_that_is_kept_keeps_no_buffers() -> None:
    network = Countdown()
    network.broken = 1
    shared, gone = batcher(network), weakref.ref(network)
    error = shared.submit(job(3)).exception(10)
    shared.close()
    del network
    assert error and gone() is None


def test_each_caller_is_charged_by_its_tokens_and_steps_and_nobody_after_the_end() -> None:
    steps = [0.0]
    meter = Meter(cpu=lambda: steps[0])

    class Paid(Countdown):
        def step(self, count: int, tokens: Sequence[int]) -> Array:
            steps[0] += 1
            return super().step(count, tokens)

    network = Paid()
    network.gate.clear()
    shared = Batcher(network, PAD, Limits(1, 1000, 100, 100), meter)  # type: ignore[arg-type]
    long, short = shared.submit(job(9), "long"), shared.submit(job(3), "short")
    network.gate.set()
    said(long), said(short)
    broken = shared.submit(Job([4], Broken(RULES, 90), 90), "broken")
    refused = shared.submit(job(REFUSED), "refused")
    given_up = shared.submit(job(50), "given up")
    given_up.cancel()
    for future in (broken, refused):
        with pytest.raises(ValueError, match=r"no such word|refused"):
            said(future)
    rest(shared)
    costs = {name: meter.take(name).cpu_s for name in ("long", "short", "broken", "refused", "given up")}
    assert costs["long"] > 2 * costs["short"] > 0
    assert sum(costs.values()) == pytest.approx(steps[0])
    steps[0] += 100
    meter.end(meter.begin("later"))
    assert meter.take("later").cpu_s == 0.0
