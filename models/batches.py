"""What engines tell of their batches, to whoever wants to know; by default nobody does.

Engines know neither metrics nor traces. Whoever runs one sets `LISTENER`, and `MARK` for something that is taken along
from each question to the batch that answers it. A recogniser tells of a batch when it has computed. A translator's
batch runs on and on, so it tells of a sentence when that leaves: how long it was in, and in what company.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Batch:
    """`size` items, which are the share `fill` of what it may hold; began and ended in Unix seconds."""

    shelf: str
    size: int
    fill: float
    began: float
    ended: float
    marks: tuple[Any, ...]


LISTENER: Callable[[Batch], None] | None = None
MARK: Callable[[], Any] = lambda: None  # noqa: E731


def listen(listener: Callable[[Batch], None] | None, mark: Callable[[], Any] = lambda: None) -> None:
    """`listener` is called in the engines' threads, after each batch, and must be quick."""
    global LISTENER, MARK
    LISTENER, MARK = listener, mark


def tell(shelf: str, size: int, fill: float, began: float, marks: Sequence[Any]) -> None:
    if LISTENER is not None:
        LISTENER(Batch(shelf, size, fill, began, time.time(), tuple(marks)))


@contextmanager
def told(shelf: str, size: int, fill: float, marks: Sequence[Any]) -> Iterator[None]:
    """Around the computation of a batch."""
    began = time.time()
    yield
    tell(shelf, size, fill, began, marks)
