"""Who waits, and whose turn it is: one line a caller, served in turn, one job each.

So a caller with one job waits behind one job of every other caller, however many those have. Within a line the order
is that of arrival. A caller is whoever says the same key; one job of theirs weighs as much as any other.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain, islice, repeat, zip_longest
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Turns(Generic[Item]):
    """The lines. Not safe to use from several threads."""

    def __init__(self) -> None:
        self._lines: dict[str, deque[Item]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._lines.values()))

    def add(self, caller: str, item: Item, first: bool = False) -> None:
        """Puts `item` at the end of the caller's line, or at its head."""
        line = self._lines.setdefault(caller, deque())
        line.appendleft(item) if first else line.append(item)

    def first(self, count: int) -> list[tuple[str, Item]]:
        """(caller, item) of the `count` that are next, in order; they keep their places."""
        lines = [zip(repeat(caller), islice(line, count)) for caller, line in self._lines.items()]
        return list(islice((one for one in chain.from_iterable(zip_longest(*lines)) if one), count))

    def serve(self, served: Iterable[tuple[str, Item]]) -> None:
        """Takes out what `first` showed; each caller goes behind the others."""
        for caller, item in served:
            line = self._lines.pop(caller)
            line.remove(item)
            if line:
                self._lines[caller] = line

    def clear(self) -> Iterator[Item]:
        """Takes out everything, line by line."""
        lines, self._lines = self._lines, {}
        return chain.from_iterable(lines.values())
