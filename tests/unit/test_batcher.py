"""Who joins the running batch when, with a network that counts down: the source [n] becomes n, …, 2, 1, end."""

import threading
from collections.abc import Sequence
from concurrent.futures import Future, wait

import numpy as np
import pytest

from models.translation.batcher import PATIENCE, SMALLEST, Batcher, Job, Limits
from models.translation.network import Array
from models.translation.search import Beam, Greedy, Rules, Search

END, PAD, WORDS = 0, 999, 1000
RULES = Rules(END, PAD)


class Countdown:
    """A network whose rows remember a number. `gate` holds a step back; `steps` are the numbers that were live."""

    def __init__(self, width: int = 1) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.steps: list[list[int]] = []
        self.encoded: list[list[list[int]]] = []
        self.broken = False
        self.width = width

    def remember(self, rows: Sequence[list[int]]) -> Array:
        self.encoded.append(list(rows))
        return np.array([row[0] for row in rows])

    def rows(self, capacity: int, places: int) -> "Countdown":
        self.left, self.capacity = [0] * capacity, capacity
        return self

    def join(self, row: int, memory: int) -> None:
        self.left[row] = int(memory)

    def step(self, count: int, tokens: Sequence[int]) -> tuple[Array, Array]:
        assert self.gate.wait(10)
        assert len(tokens) == count <= self.capacity
        if self.broken:
            raise RuntimeError("the processor melted")
        self.steps.append(self.left[:count])
        scores = np.zeros((count, WORDS), np.float32)
        for row in range(count):
            scores[row, self.left[row]] = 20
            self.left[row] -= 1
        return scores, np.ones(count, np.float32)

    def follow(self, first: int, parents: Sequence[int]) -> None:
        self.left[first : first + len(parents)] = [self.left[first + parent] for parent in parents]

    def move(self, source: int, target: int) -> None:
        self.left[target] = self.left[source]

    def leave(self, row: int) -> None:
        self.left[row] = -1


def batcher(network: Countdown, budget: int = 1000, chunk: int = 100) -> Batcher:
    return Batcher(network, PAD, Limits(network.width, budget, 100, chunk))  # type: ignore[arg-type]


def job(number: int, width: int = 1, words: int = 1) -> Job:
    search: Search = Greedy(RULES, 90) if width == 1 else Beam(RULES, 90, width)
    return Job([number] * words, search, 90)


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


def test_what_breaks_is_heard_by_all_who_wait_and_the_next_one_works() -> None:
    network = Countdown()
    shared = batcher(network, budget=100)
    network.broken = True
    futures = [shared.submit(job(3)) for _ in range(3)]
    for future in futures:
        with pytest.raises(RuntimeError, match="the processor melted"):
            future.result(10)
    network.broken = False
    assert said(shared.submit(job(3))) == [3, 2, 1, 0]


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
    said(shared.submit(job(3)))
    thread = shared._thread
    if thread:
        thread.join(10)
    assert shared._thread is None
