"""When each clip starts and how fast it is played: one plan over all clips of a stretch of film, the cheapest there is.

It is a linear programme. Each clip may start earlier or later than its original, be played faster or slower, and end
beside its original; what must hold are the limits (no two clips at once, a pause between them, nothing outside the
stretch, no tempo beyond the greatest), and what is minimised is the sum over all clips of

    cost a second   of what
    0.5             slower than spoken
    0.8 3 4         faster than spoken: up to a gentle tempo, up to a natural one, up to the greatest
    1.0 1.2         starting late or early, within the slack in which an eye sees no difference
    6               starting late or early, beyond that
    0.9 1.1         ending early or late by more than its slack

Only the order of these figures matters, and it is the order in which means are taken: a gentle tempo brings the end to
its place, a longer clip borrows from the pause that follows, neighbours give way within the slack, then tempo rises to
the greatest, and only then does a clip start where one sees that it does not belong. Costs that grow in steps move few
clips, and leave the others exactly in their places, where squares would move all of them a little.

Where even the greatest tempo is not enough the limit rises, for those clips that are too long for the time until the
next one begins; should that not do, for all alike. The plan does not listen: a clip's inner pauses are stretched as its
words are.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

from configs.pipeline import SyncSettings
from models.errors import StageFailed
from models.segment import Span

GENTLE = 0.5
"""Of the way from 1.0 to the natural tempo: so little that nobody hears it."""

SLOWER, GENTLY, FASTER, FASTEST, RUSHED = 0.5, 0.8, 3.0, 4.0, 50.0
LATE, EARLY, MISPLACED = 1.0, 1.2, 6.0
ENDS_EARLY, ENDS_LATE = 0.9, 1.1

Row = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Placement:
    """A clip of `seconds` as spoken, played `tempo` times as fast from `place`, in seconds of the video."""

    place: float
    tempo: float
    seconds: float

    @property
    def end(self) -> float:
        return self.place + self.seconds / self.tempo


def plan(spoken: Sequence[tuple[Span, float]], window: Span, settings: SyncSettings) -> list[Placement]:
    """One placement for each (original span, seconds of its clip), ascending by start.

    Ascending and without overlap; every one lies inside `window`, whatever was asked. Raises StageFailed when there is
    no plan, which is a fault of the solver.
    """
    if not spoken:
        return []
    total = sum(seconds for _, seconds in spoken)
    pause = min(settings.keep_pause_s, 0.2 * window.duration / len(spoken))
    # a little more than needed, so that the solver's own tolerance cannot make it impossible
    needed = 1.0001 * total / (window.duration - pause * (len(spoken) - 1))
    for limits in _limits(spoken, window, pause, needed, settings.max_tempo):
        programme = _Programme(len(spoken), window.duration)
        for index, ((span, seconds), limit) in enumerate(zip(spoken, limits, strict=True)):
            own = Span(span.start - window.start, span.end - window.start)
            programme.clip(index, own, seconds, limit, settings)
        if found := programme.solved(pause):
            return _exact(spoken, window, *found)
    raise StageFailed("audio_sync", "the clips could not be laid out in time; submit the job again")


def _limits(
    spoken: Sequence[tuple[Span, float]], window: Span, pause: float, needed: float, most: float
) -> Iterator[list[float]]:
    """Greatest tempos of the clips, to be tried one after the other; there is a plan for the last ones."""
    if needed > most:
        ends = [*(span.start - pause for span, _ in spoken[1:]), window.end]
        rooms = [max(end - span.start, 0.1) for (span, _), end in zip(spoken, ends, strict=True)]
        yield [max(most, 1.0001 * seconds / room) for (_, seconds), room in zip(spoken, rooms, strict=True)]
    yield [max(most, needed)] * len(spoken)


class _Programme:
    """The linear programme: a start and a length for each clip, first; then what deviates, each at its cost."""

    def __init__(self, clips: int, duration: float) -> None:
        self._clips = clips
        self._duration = duration
        self._costs = [0.0] * (2 * clips)
        self._bounds: list[tuple[float, float | None]] = [(0.0, None)] * (2 * clips)
        self._equal: list[tuple[dict[int, float], float]] = []
        self._at_most: list[tuple[dict[int, float], float]] = []

    def clip(self, index: int, span: Span, seconds: float, limit: float, settings: SyncSettings) -> None:
        """Clip `index`, spoken in `seconds`, whose original is at `span`, counted from the window's start."""
        start, length = index, self._clips + index
        self._starts(start, span.start, settings.start_slack_s)
        self._lasts(length, seconds, limit, settings)
        ends = {start: 1.0, length: 1.0}
        late, early = self._deviation(ENDS_LATE), self._deviation(ENDS_EARLY)
        self._at_most.append((ends | {late: -1.0}, span.end + settings.end_slack_s))
        earliest = span.end - settings.end_slack_s
        self._at_most.append((dict.fromkeys((start, length, early), -1.0), -earliest))

    def _starts(self, start: int, wished: float, slack: float) -> None:
        late = [self._deviation(LATE, slack), self._deviation(MISPLACED)]
        early = [self._deviation(EARLY, slack), self._deviation(MISPLACED)]
        parts = dict.fromkeys(late, -1.0) | dict.fromkeys(early, 1.0)
        self._equal.append(({start: 1.0} | parts, wished))

    def _lasts(self, length: int, seconds: float, limit: float, settings: SyncSettings) -> None:
        gentle = 1 + GENTLE * (settings.natural_tempo - 1)
        steps = ((gentle, GENTLY), (settings.natural_tempo, FASTER), (settings.max_tempo, FASTEST), (limit, RUSHED))
        tempo, parts = 1.0, {}
        for faster, cost in steps:
            parts[self._deviation(cost, seconds / tempo - seconds / faster)] = 1.0
            tempo = faster
        parts[self._deviation(SLOWER, seconds / settings.min_tempo - seconds)] = -1.0
        self._equal.append(({length: 1.0} | parts, seconds))

    def _deviation(self, cost: float, most: float | None = None) -> int:
        """A variable of its own: seconds from 0 up to `most`, each at `cost`."""
        self._costs.append(cost)
        self._bounds.append((0.0, most))
        return len(self._costs) - 1

    def solved(self, pause: float) -> tuple[list[float], list[float]] | None:
        """Starts and lengths in seconds, each clip ending a `pause` before the next begins; None: there is no plan."""
        for index in range(self._clips - 1):
            ends = {index: 1.0, self._clips + index: 1.0, index + 1: -1.0}
            self._at_most.append((ends, -pause))
        self._at_most.append(({self._clips - 1: 1.0, 2 * self._clips - 1: 1.0}, self._duration))
        most, equal = self._matrix(self._at_most), self._matrix(self._equal)
        found = linprog(self._costs, most[0], most[1], equal[0], equal[1], self._bounds, method="highs")
        if found.x is None:
            return None
        solution = [float(value) for value in found.x]
        return solution[: self._clips], solution[self._clips : 2 * self._clips]

    def _matrix(self, rows: list[tuple[dict[int, float], float]]) -> tuple[Row, Row]:
        matrix = np.zeros((len(rows), len(self._costs)))
        for number, (entries, _) in enumerate(rows):
            matrix[number, list(entries)] = list(entries.values())
        return matrix, np.array([value for _, value in rows])


def _exact(
    spoken: Sequence[tuple[Span, float]], window: Span, starts: Sequence[float], lengths: Sequence[float]
) -> list[Placement]:
    """The solver's answer without its rounding: no clip begins before the last one ends, none leaves the window."""
    placements: list[Placement] = []
    at = window.start
    for (_, seconds), start, length in zip(spoken, starts, lengths, strict=True):
        place = max(at, window.start + start)
        tempo = seconds / max(min(length, window.end - place), 1e-3)
        placements.append(Placement(place, 1.0 if abs(tempo - 1) < 1e-6 else tempo, seconds))
        at = placements[-1].end
    return placements
