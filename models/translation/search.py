"""What to say next: greedy and beam search of one sentence, over the scores of its rows.

Both follow transformers token for token, so that an fp32 export can be held against torch. A sentence may have an
`opening`: tokens that are said first, whatever the scores; they take no room, and no part in scores and lengths. The
beam keeps the best `width` unfinished hypotheses and, apart, the best finished ones by log probability over
length ** penalty; it stops when no running one, at its present length, beats the worst of them. In one point it stops
earlier: when the best that is running has become hopeless beside the best finished one. transformers would go on to the
last place after a sure sentence; on 200 test sentences of the embedded model the outcome is the same. Nothing is drawn
at random.

The greatest few of 65,001 scores are found in two levels, group by group: a sort, or a partition, of all of them would
cost as much as the network.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

GROUP = 16
NEVER = -1.0e9

HOPELESS = 10.0
"""Natural logarithm of how much less probable a running hypothesis may be than the best finished one."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What may be said. `banned` are token sequences; a sequence of one token is never said at all."""

    end: int
    pad: int
    no_repeat: int = 0
    banned: tuple[tuple[int, ...], ...] = ()

    def forbidden(self, said: Sequence[int]) -> list[int]:
        """Tokens that must not follow `said`."""
        endings = [ids[-1] for ids in self.banned if tuple(said[len(said) - len(ids) + 1 :]) == ids[:-1]]
        return [self.pad, *endings, *repeating(said, self.no_repeat)]


class Search(Protocol):
    width: int
    """Rows that the sentence takes."""

    def advance(self, logits: Array, /) -> Sequence[tuple[int, int]]:
        """(parent row, token) for each row's next step; empty when the sentence is done.

        `logits` (width, words) may be overwritten.
        """
        ...

    def best(self) -> list[list[int]]:
        """Token ids with the end, best first."""
        ...


@dataclass(slots=True)
class Greedy:
    """The likeliest token each time; `room` tokens at most after the opening, and the last place is the end's."""

    rules: Rules
    room: int
    opening: Sequence[int] = ()
    said: list[int] = field(default_factory=list)
    width: int = 1

    def advance(self, logits: Array) -> Sequence[tuple[int, int]]:
        token = self._next(logits[0])
        self.said.append(token)
        return () if token == self.rules.end else ((0, token),)

    def _next(self, line: Array) -> int:
        new = len(self.said) - len(self.opening)
        if new < 0:
            return self.opening[new]
        line[self.rules.forbidden(self.said)] = -np.inf
        return self.rules.end if new + 1 >= self.room else int(line.argmax())

    def best(self) -> list[list[int]]:
        return [self.said]

    def scores(self) -> list[float]:
        """None: the sum over all words, which a probability needs, takes a fifth of the time of a step."""
        return []


@dataclass(slots=True)
class Beam:
    """`width` hypotheses side by side; see the top of the module."""

    rules: Rules
    room: int
    width: int
    penalty: float = 1.0
    opening: Sequence[int] = ()
    _running: list[tuple[float, list[int]]] = field(init=False)
    _finished: list[tuple[float, list[int]]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self._running = [(NEVER * (i > 0), []) for i in range(self.width)]

    def advance(self, logits: Array) -> Sequence[tuple[int, int]]:
        new = len(self._running[0][1]) - len(self.opening)
        return self._forced(self.opening[new]) if new < 0 else self._chosen(logits, new + 1)

    def _forced(self, token: int) -> Sequence[tuple[int, int]]:
        self._running = [(chance, [*ids, token]) for chance, ids in self._running]
        return [(row, token) for row in range(self.width)]

    def _chosen(self, logits: Array, said: int) -> Sequence[tuple[int, int]]:
        """`said`: tokens after the opening, with this one."""
        chances = self._candidates(logits, said)
        going: list[tuple[float, int, int]] = []
        for rank, (chance, row, token) in enumerate(chances):
            if token != self.rules.end:
                going.append((chance, row, token))
            elif rank < self.width:
                self._finish(chance / said**self.penalty, [*self._running[row][1], token])
        going = going[: self.width]
        if self._settled(going, said):
            return ()
        self._running = [(chance, [*self._running[row][1], token]) for chance, row, token in going]
        return [(row, token) for _, row, token in going]

    def best(self) -> list[list[int]]:
        return [ids for _, ids in self._finished]

    def scores(self) -> list[float]:
        """Mean log probability of the tokens after the opening, end included, of each of `best`."""
        return [score * self._new(ids) ** (self.penalty - 1) for score, ids in self._finished]

    def _new(self, ids: list[int]) -> int:
        return len(ids) - len(self.opening)

    def _candidates(self, logits: Array, new: int) -> list[tuple[float, int, int]]:
        """(log probability of the whole, row, token) of twice the width continuations, best first."""
        said = [ids for _, ids in self._running]
        before = np.array([chance for chance, _ in self._running], np.float32)
        if new >= self.room:
            return sorted(((float(chance), row, self.rules.end) for row, chance in enumerate(before)), reverse=True)
        tokens, found = self._allowed(logits, said)
        chances = found - log_sums(logits)[:, None] + before[:, None]
        order = np.argsort(-chances, axis=None, kind="stable")[: 2 * self.width]
        rows, places = np.unravel_index(order, chances.shape)
        return [(float(chances[r, p]), int(r), int(tokens[r, p])) for r, p in zip(rows, places, strict=True)]

    def _allowed(self, logits: Array, said: list[list[int]]) -> tuple[Array, Array]:
        """Each row's greatest logits among what may be said: their indices and values, (width, 2 × width)."""
        silent = [(row, token) for row, ids in enumerate(said) for token in self.rules.forbidden(ids)]
        places = tuple(np.array(silent).T)
        kept = logits[places]
        logits[places] = -np.inf
        tokens = greatest(logits, 2 * self.width)
        found = np.take_along_axis(logits, tokens, 1)
        logits[places] = kept
        return tokens, found

    def _finish(self, score: float, ids: list[int]) -> None:
        if score > NEVER / 2:
            self._finished = sorted([*self._finished, (score, ids)], key=lambda one: -one[0])[: self.width]

    def _settled(self, going: list[tuple[float, int, int]], said: int) -> bool:
        if len(going) < self.width:
            return True
        chance, score = going[0][0], going[0][0] / said**self.penalty
        if not self._finished or score > self._finished[0][0]:
            return False
        best, ids = self._finished[0]
        full = len(self._finished) == self.width
        hopeless = chance < best * self._new(ids) ** self.penalty - HOPELESS
        return hopeless or (full and score <= self._finished[-1][0])


def greatest(scores: Array, count: int) -> Array:
    """Indices (rows, count) of each row's greatest scores, greatest first.

    Word i belongs to group i modulo the number of groups, so that the greatest of each group is found in long strides.
    """
    rows, words = scores.shape
    groups = words // GROUP
    if groups <= count:
        return np.argsort(-scores, axis=1, kind="stable")[:, :count]
    tops = scores[:, : groups * GROUP].reshape(rows, GROUP, groups).max(1)
    best = np.argpartition(tops, groups - count, axis=1)[:, groups - count :]
    inside = (best[:, :, None] + groups * np.arange(GROUP)).reshape(rows, -1)
    rest = np.broadcast_to(np.arange(groups * GROUP, words), (rows, words - groups * GROUP))
    places = np.concatenate([inside, rest], axis=1)
    found = np.take_along_axis(scores, places, 1)
    near = np.argpartition(found, -count, axis=1)[:, -count:]
    places, found = np.take_along_axis(places, near, 1), np.take_along_axis(found, near, 1)
    return np.take_along_axis(places, np.lexsort((places, -found), axis=1), 1)


def log_sums(logits: Array) -> Array:
    """log Σ exp of each row, (rows,). Overwrites `logits`, since as much new memory costs more."""
    tops = logits.max(1, keepdims=True)
    logits -= tops
    np.exp(logits, out=logits)
    norms: Array = np.log(logits.sum(1)) + tops[:, 0]
    return norms


def repeating(said: Sequence[int], size: int) -> list[int]:
    """Tokens that would complete an n-gram of `size` that was said before; none for size 0."""
    tail = said[len(said) - size + 1 :]
    return [said[i + size - 1] for i in range(len(said) - size + 1) if size and said[i : i + size - 1] == tail]
