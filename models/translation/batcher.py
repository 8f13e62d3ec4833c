"""Continuous batching: sentences join the running batch between two steps, and leave it when they end.

Each processor has a worker: a thread with a running batch of its own, from the first sentence until nothing is left to
do; then it ends, and its buffers with it. Two batches side by side, each on one thread, take about as long as one of
them alone, while a product that is split between two threads waits for the slower one. Workers share the sentences out
evenly, two of them by length where all that wait fit (`sharing`). Callers are served in turn, each in the order of
arrival, as long as what their sentences may need at most, source and target tokens of all their rows, fits the budget.
A sentence that does not fit yet lets smaller ones pass, but not for more than `PATIENCE` steps. So a long sentence
costs its neighbours nothing but its share of each step, a short one never waits for it, and a caller with one sentence
waits for room in the batch and not for those with many.

Sentences of one length are encoded together, others apart: nothing is padded, so what a sentence becomes does not
depend on its company. The last sentence takes the rows of one that ends, so the live rows stay the first ones.

A sentence whose future is cancelled leaves the queue, or the batch before the next step. What breaks is heard by those
whom it broke: one sentence by its search, a group by the encoder, the whole batch by a step; who waits goes on.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import groupby, islice
from typing import Any

from models import batches
from models.futures import answer, fail, forget
from models.meter import Meter, Work
from models.translation.network import Array, Network
from models.translation.search import Search
from models.translation.sharing import share
from models.turns import Turns

AHEAD = 64
"""Waiting sentences that are looked at between two steps."""

PATIENCE = 64
"""Steps for which a sentence lets others pass."""

SMALLEST = 32
"""Tokens of cache a row is given at least: bounds the number of rows."""


@dataclass(frozen=True, slots=True)
class Limits:
    """`width`: rows a sentence. `budget`: tokens of a worker's cache. `places`: longest source or target. `chunk`:
    source tokens that a worker encodes between two steps."""

    width: int
    budget: int
    places: int
    chunk: int
    workers: int = 1


@dataclass(slots=True, eq=False)
class Job:
    """One sentence: its source ids, how to search, and most target tokens."""

    source: list[int]
    search: Search
    room: int
    future: "Future[list[list[int]]]" = field(default_factory=Future)
    feed: list[int] = field(default_factory=list)  # the tokens that its rows say next
    said: int = 0
    passed: int = 0
    caller: str = ""
    work: Work | None = None  # from when it is taken until it leaves
    joined: float = 0.0  # then, in Unix seconds
    mark: Any = field(default_factory=lambda: batches.MARK())

    @property
    def left(self) -> int:
        """Tokens that it will still say, as far as its source tells."""
        return max(1, len(self.source) - self.said)

    def tokens(self, width: int) -> int:
        """Places in the cache that it may need at most."""
        return width * max(SMALLEST, len(self.source) + self.room)


class Batcher:
    """Runs the sentences of all callers through one network. Safe to call from several threads."""

    def __init__(self, network: Network, start: int, limits: Limits, meter: Meter | None = None) -> None:
        self._network, self._start, self._limits = network, start, limits
        self._meter = meter or Meter()
        self._waiting: Turns[Job] = Turns()
        self._lock = threading.Lock()
        self._workers: dict[threading.Thread, list[int]] = {}  # with what is left of the sentences in their batches

    def submit(self, job: Job, caller: str = "") -> "Future[list[list[int]]]":
        """Queues a sentence; the future gives its target ids, best first, and can be cancelled until it does."""
        with self._lock:
            job.caller = caller
            self._waiting.add(caller, job)
            if len(self._workers) < self._limits.workers:
                worker = threading.Thread(target=self._work, name="translation", daemon=True)
                self._workers[worker] = []
                worker.start()
        return job.future

    def close(self) -> None:
        """Lets what was submitted end, then lets go of the network. Nothing may be submitted any more."""
        with self._lock:
            workers = list(self._workers)
        for worker in workers:
            worker.join()
        del self._network

    def _work(self) -> None:
        live: Live | None = None
        while self._goes_on(live):
            try:
                live = live or Live(self._network, self._start, self._limits, self._meter)
                live.drop()
                live.arriving += self._joining(live)
                live.join()
                live.step()
            except BaseException as error:
                self._fail(live, error)
                live = None

    def _goes_on(self, live: "Live | None") -> bool:
        """False, once and for all, when nothing runs and nothing waits: a later sentence starts a new worker."""
        with self._lock:
            if self._waiting or (live and live.jobs):
                return True
            del self._workers[threading.current_thread()]
            return False

    def _joining(self, live: "Live") -> list[Job]:
        """Takes from the queue what fits, up to an even share, and what nobody waits for any more."""
        with self._lock:
            mine = self._workers[threading.current_thread()] = [job.left for job in live.jobs]
            joining = self._by_length(live, mine) if self._roomy(live) else self._in_turn(live, mine)
            self._waiting.serve(joining)
            mine += [job.left for _, job in joining]
        return [job for _, job in joining if not job.future.cancelled()]

    def _roomy(self, live: "Live") -> bool:
        """Whether there are two workers, and this one could take all that wait."""
        if not len(self._workers) == self._limits.workers == 2 or len(self._waiting) > AHEAD:
            return False
        jobs, width = [job for _, job in self._waiting.first(AHEAD)], self._limits.width
        fits = sum(job.tokens(width) for job in (*live.jobs, *jobs)) <= self._limits.budget
        return fits and sum(len(job.source) for job in jobs) <= self._limits.chunk

    def _by_length(self, live: "Live", mine: list[int]) -> list[tuple[str, Job]]:
        fitting = list(self._fitting(live))
        (theirs,) = (held for held in self._workers.values() if held is not mine)
        return [fitting[i] for i in share([job.left for _, job in fitting], mine, theirs, self._limits.width)]

    def _in_turn(self, live: "Live", mine: list[int]) -> list[tuple[str, Job]]:
        everything = len(self._waiting) + sum(map(len, self._workers.values()))
        return list(islice(self._fitting(live), max(0, -(-everything // self._limits.workers) - len(mine))))

    def _fitting(self, live: "Live") -> Iterator[tuple[str, Job]]:
        width, alone = self._limits.width, not live.jobs
        room = self._limits.budget - sum(job.tokens(width) for job in live.jobs)
        chunk = self._limits.chunk
        if room < width * SMALLEST and not alone:
            return
        for caller, job in self._waiting.first(AHEAD):
            if job.future.cancelled():
                yield caller, job
            elif alone or (job.tokens(width) <= room and len(job.source) <= chunk):
                alone, room, chunk = False, room - job.tokens(width), chunk - len(job.source)
                yield caller, job
            else:
                job.passed += 1
                if job.passed > PATIENCE:
                    return

    def _fail(self, live: "Live | None", error: BaseException) -> None:
        """Those in the batch hear of it; without a batch, all do, since none can be had."""
        forget(error)
        concerned = [*live.jobs, *live.arriving] if live else []
        if live:
            live.settle()
        if not concerned:
            with self._lock:
                concerned = list(self._waiting.clear())
        for job in concerned:
            fail(job.future, error)


class Live:
    """The running sentences: job i has the rows from i × width on. `arriving` have been taken, and not yet encoded."""

    def __init__(self, network: Network, start: int, limits: Limits, meter: Meter) -> None:
        self._network, self._start, self._width, self._meter = network, start, limits.width, meter
        self._budget = limits.budget
        self._rows = network.rows(max(limits.budget // SMALLEST, limits.width), limits.places)
        self.jobs: list[Job] = []
        self.arriving: list[Job] = []

    def drop(self) -> None:
        """Sentences that nobody waits for any more leave."""
        self._remove([i for i, job in enumerate(self.jobs) if job.future.cancelled()])

    def join(self) -> None:
        """Encodes those who arrive, in groups of one length, and gives them rows."""
        for job in self.arriving:
            job.work = self._meter.begin(job.caller, len(job.source) + 1)
            job.joined = time.time()
        self.arriving.sort(key=lambda job: len(job.source))
        for _, group in groupby(list(self.arriving), key=lambda job: len(job.source)):
            self._encode(list(group))
        self.arriving.clear()

    def _encode(self, jobs: list[Job]) -> None:
        try:
            memories = self._network.remember([job.source for job in jobs])
        except Exception as error:
            for job in jobs:
                self._settle(job)
                fail(job.future, error)
            return
        for job, memory in zip(jobs, memories, strict=True):
            for row in self._rows_of(len(self.jobs)):
                self._rows.join(row, memory)
            job.feed = [self._start] * self._width
            self.jobs.append(job)

    def step(self) -> None:
        """One token for every row; sentences that are done leave, and their futures know."""
        if not self.jobs:
            return
        tokens = [token for job in self.jobs for token in job.feed]
        logits = self._rows.step(len(tokens), tokens)
        done = []
        for i, job in enumerate(self.jobs):
            rows = self._rows_of(i)
            chosen = _advance(job, logits[rows.start : rows.stop])
            job.feed, job.said = [token for _, token in chosen], job.said + 1
            if chosen:
                self._rows.follow(rows.start, [parent for parent, _ in chosen])
            else:
                done.append(i)
        self._remove(done)

    def _remove(self, done: Sequence[int]) -> None:
        for i in reversed(done):
            job, last = self.jobs[i], self.jobs.pop()
            if last is not job:
                self.jobs[i] = last
                for target, source in zip(self._rows_of(i), self._rows_of(len(self.jobs)), strict=True):
                    self._rows.move(source, target)
            for row in self._rows_of(len(self.jobs)):
                self._rows.leave(row)
            self._settle(job)
            self._tell(job)
            if not job.future.done():
                answer(job.future, job.search.best)

    def _tell(self, job: Job) -> None:
        """In what company a sentence was that leaves."""
        company = [*self.jobs, job]
        tokens = sum(one.tokens(self._width) for one in company)
        batches.tell("translation", len(company), tokens / self._budget, job.joined, [job.mark])

    def _settle(self, job: Job) -> None:
        """Its caller is charged before it has the answer."""
        if job.work is not None:
            self._meter.end(job.work)
            job.work = None

    def settle(self) -> None:
        """All that are in it leave as they are."""
        for job in (*self.jobs, *self.arriving):
            self._settle(job)

    def _rows_of(self, i: int) -> range:
        return range(i * self._width, (i + 1) * self._width)


def _advance(job: Job, logits: Array) -> Sequence[tuple[int, int]]:
    """What its rows say next; nothing when it is done, or when its search broke."""
    try:
        return job.search.advance(logits)
    except Exception as error:
        fail(job.future, error)
        return ()
