"""Batches of clips across callers, with a network of strings below: who goes with whom, and who waits for whom."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field

import pytest

from models.asr.batcher import Batcher, Limits
from models.meter import Meter

WAIT_S = 5.0


@dataclass(eq=False)
class Tone:
    name: str
    key: str = "en"
    seconds: float = 10.0
    prepared: bool = False


@dataclass
class Ear:
    """Hears names in capitals; `gate` holds every batch until it is opened. Breaks on "bad"."""

    gate: threading.Event = field(default_factory=threading.Event)
    batches: list[str] = field(default_factory=list)
    inside: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    prepared: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def prepare(self, one: Tone) -> None:
        if one.name == "unreadable":
            raise ValueError("no spectrum")
        one.prepared = True
        self.prepared.release()

    def hear(self, some: list[Tone]) -> list[str]:
        assert all(one.prepared for one in some) and len({one.key for one in some}) == 1
        self.batches.append("".join(one.name for one in some))
        self.inside.release()
        assert self.gate.wait(WAIT_S)
        if any(one.name == "bad" for one in some):
            raise RuntimeError("a bad clip")
        return [one.name.upper() for one in some]

    @property
    def after(self) -> list[str]:
        """The batches without those that kept the threads busy, in no order: two threads made them."""
        return sorted(batch for batch in self.batches if not batch.isdigit())

    def batcher(self, workers: int = 1, batch_s: float = 40.0) -> Batcher[Tone, str]:
        return Batcher(self.prepare, self.hear, Limits(workers, batch_s))


@pytest.fixture
def ear() -> Iterator[Ear]:
    made = Ear()
    yield made
    made.gate.set()


def busy(ear: Ear, batcher: Batcher[Tone, str], threads: int = 2) -> "list[Future[str]]":
    """Keeps all threads at work: one batch computes, one is prepared and waits."""
    held = []
    for number in range(threads):
        held.append(batcher.submit(Tone(str(number), f"hold {number}"), "hold"))
        assert ear.prepared.acquire(timeout=WAIT_S)
    assert ear.inside.acquire(timeout=WAIT_S)
    return held


def results(futures: "list[Future[str]]") -> str:
    return "".join(future.result(WAIT_S) for future in futures)


def test_waiting_clips_of_one_key_go_together_as_far_as_the_seconds_reach(ear: Ear) -> None:
    batcher = ear.batcher()
    busy(ear, batcher)
    futures = [batcher.submit(Tone(name)) for name in "abcde"]
    futures += [batcher.submit(Tone(name, "es")) for name in "xy"]
    ear.gate.set()
    assert results(futures) == "ABCDEXY"
    assert ear.after == ["abcd", "e", "xy"]


def test_a_long_clip_goes_alone(ear: Ear) -> None:
    batcher = ear.batcher(batch_s=20)
    busy(ear, batcher)
    futures = [batcher.submit(Tone(name, seconds=30)) for name in "ab"]
    ear.gate.set()
    assert results(futures) == "AB" and ear.after == ["a", "b"]


def test_one_clip_waits_for_one_turn_and_not_for_an_hour_of_another(ear: Ear) -> None:
    batcher = ear.batcher()
    busy(ear, batcher)
    hour = [batcher.submit(Tone("h", "hour", 30.0), "rich") for _ in range(120)]
    short = batcher.submit(Tone("s"), "poor")
    ear.gate.set()
    assert short.result(WAIT_S) == "S"
    assert ear.batches.index("s") <= 5  # the two held ones, a batch of the hour for each thread
    assert results(hour) == "H" * 120


def test_callers_share_a_batch_in_turn(ear: Ear) -> None:
    batcher = ear.batcher()
    busy(ear, batcher)
    futures = [batcher.submit(Tone(name), "a") for name in "abcdef"] + [batcher.submit(Tone("z"), "b")]
    ear.gate.set()
    assert results(futures) == "ABCDEFZ"
    assert "azbc" in ear.batches


def test_a_clip_that_comes_back_is_first_in_its_line(ear: Ear) -> None:
    batcher = ear.batcher(batch_s=10)
    busy(ear, batcher)
    futures = [batcher.submit(Tone(name), "a") for name in "ab"] + [batcher.submit(Tone("r"), "a", first=True)]
    ear.gate.set()
    assert results(futures) == "ABR"
    assert ear.batches.index("r") < ear.batches.index("b")


def test_what_waits_is_shared_among_the_workers(ear: Ear) -> None:
    batcher = ear.batcher(workers=2, batch_s=400)
    held = busy(ear, batcher, threads=3)
    futures = [batcher.submit(Tone(name)) for name in "abcdefgh"]
    ear.gate.set()
    assert results(futures) == "ABCDEFGH" and results(held) == "012"
    assert max(len(batch) for batch in ear.batches) == 4


def test_the_next_batch_is_prepared_while_one_computes_and_no_more(ear: Ear) -> None:
    batcher = ear.batcher()
    busy(ear, batcher)
    futures = [batcher.submit(Tone(name, name)) for name in "abc"]
    assert not ear.prepared.acquire(timeout=0.05)
    assert ear.batches == ["0"]
    ear.gate.set()
    assert results(futures) == "ABC"


def test_a_clip_that_breaks_fails_alone(ear: Ear) -> None:
    batcher = ear.batcher()
    busy(ear, batcher)
    futures = {name: batcher.submit(Tone(name)) for name in ("a", "bad", "unreadable", "c")}
    ear.gate.set()
    assert results([futures["a"], futures["c"]]) == "AC"
    with pytest.raises(RuntimeError, match="a bad clip"):
        futures["bad"].result(WAIT_S)
    with pytest.raises(ValueError, match="no spectrum"):
        futures["unreadable"].result(WAIT_S)
    assert batcher.submit(Tone("d")).result(WAIT_S) == "D"


def test_cancelled_clips_leave_the_queue_and_the_prepared_batch(ear: Ear) -> None:
    batcher = ear.batcher()
    held = busy(ear, batcher)
    futures = [batcher.submit(Tone(name)) for name in "abc"]
    assert futures[1].cancel() and held[1].cancel()
    ear.gate.set()
    assert results([futures[0], futures[2]]) == "AC"
    assert "".join(ear.batches) == "0ac"


def test_an_answer_of_another_length_is_an_error_and_not_a_mix_up(ear: Ear) -> None:
    batcher: Batcher[Tone, str] = Batcher(ear.prepare, lambda some: ["A"] * (len(some) + 1), Limits(1, 40))
    with pytest.raises(ValueError):
        batcher.submit(Tone("a")).result(WAIT_S)


def test_threads_end_when_nothing_waits_and_start_again(ear: Ear) -> None:
    ear.gate.set()
    batcher = ear.batcher()
    for _ in range(3):
        assert batcher.submit(Tone("a")).result(WAIT_S) == "A"
        for thread in [one for one in threading.enumerate() if one.name == "recognition"]:
            thread.join(WAIT_S)
        assert batcher._threads == 0


class Billing(Meter):
    """Time passes while somebody hears, and at no other moment."""

    def __init__(self) -> None:
        self.now = 0.0
        super().__init__(cpu=lambda: self.now)


def test_a_batch_costs_its_callers_by_the_length_of_their_clips(ear: Ear) -> None:
    bill = Billing()

    def hear(some: list[Tone]) -> list[str]:
        answer = ear.hear(some)
        bill.now += 12.0
        return answer

    batcher: Batcher[Tone, str] = Batcher(ear.prepare, hear, Limits(1, 40), bill)
    held = busy(ear, batcher)
    futures = [batcher.submit(Tone("a", seconds=10), "one"), batcher.submit(Tone("b", seconds=20), "two")]
    ear.gate.set()
    results([*held, *futures])
    assert (bill.take("one").cpu_s, bill.take("two").cpu_s) == (pytest.approx(4.0), pytest.approx(8.0))


def test_what_breaks_is_settled_as_well(ear: Ear) -> None:
    bill = Billing()
    batcher: Batcher[Tone, str] = Batcher(ear.prepare, ear.hear, Limits(1, 40), bill)
    ear.gate.set()
    for name in ("bad", "unreadable"):
        with pytest.raises((RuntimeError, ValueError)):
            batcher.submit(Tone(name), "one").result(WAIT_S)
    bill.now += 100.0
    bill.end(bill.begin("two"))
    assert bill.take("one").cpu_s == bill.take("two").cpu_s == 0.0
