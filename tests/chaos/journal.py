"""What the engines were asked, read from their journal, and what of it they were asked in vain.

An answer is safe once its asker has written it down, which takes a moment and happens in another process. So a call
that is made again is excused when something was killed, or parts were being replaced, while the first was under way or
within a moment of its answer: nobody can have kept that one. Every other repetition is work that was finished and done
twice. The moment is `GRACE_S` and the time of one more call, for what an asker does with an answer before it is kept.
"""

import itertools
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

GRACE_S = 0.3

Work = tuple[str, str]
"""A verb, and a hash of what was asked."""

Span = tuple[float, float]
"""Unix seconds from a beginning to an end; of a kill both are the same."""


@dataclass(frozen=True)
class Call:
    """Unix seconds; `ended` is None for a call whose process was killed before it answered."""

    work: Work
    began: float
    ended: float | None


def read(path: Path) -> list[Call]:
    """The calls of a journal in the order in which they began; a line that a kill has torn is passed over."""
    calls: list[Call] = []
    open_calls: dict[tuple[Work, int], float] = {}
    for line in path.read_bytes().splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        work, pid = (row["verb"], row["asked"]), row["pid"]
        if row["phase"] == "began":
            open_calls[work, pid] = row["at"]
        else:
            calls.append(Call(work, open_calls.pop((work, pid)), row["at"]))
    calls += [Call(work, began, None) for (work, _), began in open_calls.items()]
    return sorted(calls, key=lambda call: call.began)


def done(calls: Iterable[Call]) -> set[Work]:
    return {call.work for call in calls if call.ended is not None}


def repeated(
    calls: Sequence[Call], cuts: Sequence[Span], work: set[Work], call_s: float
) -> tuple[list[Call], list[Call]]:
    """Calls for `work` that had been answered before: those without an excuse, and those with one."""
    grace = GRACE_S + call_s
    answered: defaultdict[Work, list[Call]] = defaultdict(list)
    for call in calls:
        if call.ended is not None and call.work in work:
            answered[call.work].append(call)
    again = [(first, call) for one in answered.values() for first, call in itertools.pairwise(one)]
    vain = [call for first, call in again if not _cut_off(first, cuts, grace)]
    return vain, [call for first, call in again if _cut_off(first, cuts, grace)]


def _cut_off(call: Call, cuts: Sequence[Span], grace: float) -> bool:
    assert call.ended is not None
    return any(call.began <= until and since <= call.ended + grace for since, until in cuts)
