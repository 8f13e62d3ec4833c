"""How far a voice reaches beyond the words that were recognised of it: what is taken out with it, and is no sync point.

A recogniser begins a word where it is sure of it, a tenth of a second after the lips have opened; voice detection is
generous. Between two segments each has half of the pause, so that nobody takes the voice of a neighbour who stays.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from models.segment import Segment, Span

MOST_S = 0.5
"""Speech that is further from any word was not understood; it is reported, and stays."""


def reaching(segments: Sequence[Segment], speech: Sequence[Span], window: Span) -> list[Segment]:
    """The `segments` of one window, ascending, with `lead` and `trail` up to the edges of the `speech` they lie in."""
    middles = [(one.end + two.start) / 2 for one, two in pairwise(segments)]
    free = pairwise([window.start, *middles, window.end])
    return [_reaching(segment, speech, Span(*pair)) for segment, pair in zip(segments, free, strict=False)]


def _reaching(segment: Segment, speech: Sequence[Span], free: Span) -> Segment:
    around = [span for span in speech if span.start < segment.end and span.end > segment.start]
    first = min((span.start for span in around), default=segment.start)
    last = max((span.end for span in around), default=segment.end)
    lead = segment.start - max(first, free.start, segment.start - MOST_S)
    trail = min(last, free.end, segment.end + MOST_S) - segment.end
    return replace(segment, lead=max(0.0, lead), trail=max(0.0, trail))
