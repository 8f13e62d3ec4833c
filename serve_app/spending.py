"""What one attempt at a job uses up, added up where it happens: sound heard, characters, seconds of CPU and GPU.

Whoever works for a job runs in its context, so a child that ends and an answer that comes back find its `Spending`
without being handed it. CPU is measured: the share of the Driver's process (`models.meter`), the children that it
waited for (`getrusage`), and what the engines in other replicas say of their own. What was read from a checkpoint asks
no engine, and so costs nothing again. Of an attempt that is killed, what it had used a moment before is known.
"""

import resource
import threading
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TypeVar

from models.meter import Cost, Meter
from models.segment import Clip, Sentence, Speech, Transcript, Utterance
from serve_app.engines import Models

Item = TypeVar("Item")
Answer = TypeVar("Answer")

PROCESS = Meter()
"""Splits this process over the jobs that are under way in it."""


@dataclass(slots=True)
class Spending:
    """Of one attempt; grows until it ends."""

    audio_s: float = 0.0  # recognised
    characters_translated: int = 0
    characters_spoken: int = 0
    cpu_s: float = 0.0
    gpu_s: float = 0.0

    def add(self, cost: Cost) -> None:
        self.cpu_s += cost.cpu_s
        self.gpu_s += cost.gpu_s


CURRENT: ContextVar[Spending | None] = ContextVar("spending", default=None)


class Attempt:
    """Books everything on `spending` that happens within the tasks begun after `enter`."""

    def __init__(self, name: str) -> None:
        self.spending = Spending()
        self._name = name
        self._work = PROCESS.begin(name)
        self._over = False

    def enter(self) -> None:
        CURRENT.set(self.spending)

    def so_far(self) -> Spending:
        """A copy of what has been used until now."""
        if not self._over:
            PROCESS.end(self._work)
            self._work = PROCESS.begin(self._name)
            self.spending.add(PROCESS.take(self._name))
        return replace(self.spending)

    def close(self) -> Spending:
        """The whole of it; afterwards the process works for others. May be called again."""
        if not self._over:
            self._over = True
            PROCESS.end(self._work)
            self.spending.add(PROCESS.take(self._name))
        return self.spending


def count(audio_s: float = 0.0, characters_translated: int = 0, characters_spoken: int = 0) -> None:
    """Adds to whatever this is done for, if to anything that counts."""
    spending = CURRENT.get()
    if spending is not None:
        spending.audio_s += audio_s
        spending.characters_translated += characters_translated
        spending.characters_spoken += characters_spoken


def book(cost: Cost) -> None:
    """Adds to whatever job this is done for, if to any."""
    spending = CURRENT.get()
    if spending is not None:
        spending.add(cost)


class Children:
    """The children's time grows when one has ended: so much the last one has used."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen = self._used()

    def ended(self) -> None:
        """To be called when a child has been waited for."""
        with self._lock:
            before, self._seen = self._seen, self._used()
            more = self._seen - before
        book(Cost(cpu_s=more))

    def _used(self) -> float:
        """Seconds of CPU of all children that were waited for."""
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime


CHILDREN = Children()


def metered(models: Models, spending: Spending) -> Models:
    """The same engines, with what they are asked counted."""

    def heard(clip: Clip, _: Transcript) -> None:
        spending.audio_s += clip.duration

    def translated(sentence: Sentence, _: Sentence) -> None:
        spending.characters_translated += len(sentence.text)

    def spoken(utterance: Utterance, _: Speech) -> None:
        spending.characters_spoken += len(utterance.text)

    return replace(
        models,
        recognize=counted(models.recognize, heard),
        translate=counted(models.translate, translated),
        speak=counted(models.speak, spoken),
    )


def counted(
    engine: Callable[[Item], Awaitable[Answer]], count: Callable[[Item, Answer], None]
) -> Callable[[Item], Awaitable[Answer]]:
    async def one(item: Item) -> Answer:
        answer = await engine(item)
        count(item, answer)
        return answer

    return one
