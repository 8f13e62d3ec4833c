"""Batches across callers: clips that are heard the same way, for as long as a batch may be.

A free worker takes whoever's turn it is, and with it those next in turn that go through the model in the same shape: in
one language, padded to one length, at the same attempt. So no clip is padded for its neighbours' sake, and a caller
with one clip waits for the batches at work and for its turn, however many hours of sound the others brought.

There is one thread more than the model has workers: what it does for its next batch (the spectra) goes on while the
others compute. Threads start with the first clip and end when nothing waits. A clip whose future is cancelled leaves
the queue, or its batch before the model sees it. A batch that breaks is done again clip by clip, so that one bad clip
fails alone; the price is one more run for its neighbours.

What it does not do: take a clip out of a batch that computes, or put one in.
"""

import threading
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from models import batches
from models.futures import answer, fail
from models.meter import Meter
from models.turns import Turns

AHEAD = 256
"""Waiting clips that are looked at for one batch."""


class Item(Protocol):
    @property
    def key(self) -> Hashable:
        """Clips of one key go through the model together."""
        ...

    @property
    def seconds(self) -> float:
        """What it takes of a batch: its length with its padding."""
        ...


Clip = TypeVar("Clip", bound=Item)
Heard = TypeVar("Heard")


@dataclass(frozen=True, slots=True)
class Limits:
    """`workers`: batches that compute at once. `batch_s`: seconds of padded sound in a batch. `wait_s`: how long an
    idle batcher waits for those that come at the same time."""

    workers: int
    batch_s: float
    wait_s: float = 0.0


@dataclass(slots=True, eq=False)
class Waiting(Generic[Clip, Heard]):
    item: Clip
    future: "Future[Heard]"
    caller: str = ""
    mark: Any = field(default_factory=lambda: batches.MARK())


class Batcher(Generic[Clip, Heard]):
    """`prepare` is called for each clip, while others compute; `hear` for each batch, and answers in its order.

    Safe to call from several threads, and from the callbacks of its own futures.
    """

    def __init__(
        self,
        prepare: Callable[[Clip], None],
        hear: Callable[[list[Clip]], Sequence[Heard]],
        limits: Limits,
        meter: Meter | None = None,
    ):
        self._meter = meter or Meter()
        self._prepare, self._hear, self._limits = prepare, hear, limits
        self._waiting: Turns[Waiting[Clip, Heard]] = Turns()
        self._lock = threading.Lock()
        self._workers = threading.Semaphore(limits.workers)
        self._threads = 0

    def submit(self, item: Clip, caller: str = "", first: bool = False) -> "Future[Heard]":
        """Queues a clip in the line of its caller, at its head if it is to be `first`; the future can be cancelled."""
        future: Future[Heard] = Future()
        with self._lock:
            self._waiting.add(caller, Waiting(item, future, caller), first)
            if self._threads <= self._limits.workers:
                self._threads += 1
                threading.Thread(target=self._work, name="recognition", daemon=True).start()
        return future

    def _work(self) -> None:
        time.sleep(self._limits.wait_s)
        while (batch := self._next()) is not None:
            self._do(batch)
            del batch

    def _next(self) -> list[Waiting[Clip, Heard]] | None:
        """The next batch; None, once and for all, when nothing waits: the next clip starts a new thread."""
        with self._lock:
            seen = self._waiting.first(AHEAD)
            gone = [(caller, one) for caller, one in seen if one.future.cancelled()]
            self._waiting.serve(gone)
            batch = self._together([(caller, one) for caller, one in seen if not one.future.cancelled()])
            self._waiting.serve(batch)
            if not batch and not self._waiting:
                self._threads -= 1
                return None
        return [one for _, one in batch]

    def _together(self, seen: list[tuple[str, Waiting[Clip, Heard]]]) -> list[tuple[str, Waiting[Clip, Heard]]]:
        """Whose turn it is, and its like, for a fair share of the workers."""
        alike = [(caller, one) for caller, one in seen if one.item.key == seen[0][1].item.key]
        share = sum(one.item.seconds for _, one in alike) / self._limits.workers
        room = min(self._limits.batch_s, share)
        batch: list[tuple[str, Waiting[Clip, Heard]]] = []
        for caller, one in alike:
            if batch and one.item.seconds > room:
                break
            room -= one.item.seconds
            batch.append((caller, one))
        return batch

    def _do(self, batch: list[Waiting[Clip, Heard]]) -> None:
        ready = [one for one in batch if self._prepared(one)]
        with self._workers:
            self._answer([one for one in ready if not one.future.cancelled()])

    def _prepared(self, one: Waiting[Clip, Heard]) -> bool:
        try:
            with self._metered([one]):
                self._prepare(one.item)
        except Exception as error:
            fail(one.future, error)
            return False
        return True

    def _answer(self, batch: list[Waiting[Clip, Heard]]) -> None:
        if not batch:
            return None
        try:
            with self._metered(batch), self._told(batch):
                heard = list(zip(batch, self._hear([one.item for one in batch]), strict=True))
        except Exception as error:
            if len(batch) == 1:
                return fail(batch[0].future, error)
            for one in batch:
                self._answer([one])
        else:
            for one, found in heard:
                answer(one.future, partial(_same, found))

    def _told(self, batch: list[Waiting[Clip, Heard]]) -> AbstractContextManager[None]:
        fill = sum(one.item.seconds for one in batch) / self._limits.batch_s
        return batches.told("asr", len(batch), fill, [one.mark for one in batch])

    @contextmanager
    def _metered(self, batch: list[Waiting[Clip, Heard]]) -> Iterator[None]:
        """Each clip costs by its length; its caller is charged before it has the answer."""
        works = [self._meter.begin(one.caller, one.item.seconds) for one in batch]
        try:
            yield
        finally:
            for work in works:
                self._meter.end(work)


def _same(found: Heard) -> Heard:
    return found
