"""Where to cut: a video into windows that flow through the rooms on their own, a window into clips for the recogniser.

Both are the same question, asked twice: of all the pauses that would make a piece of a fitting length, the longest is
the least likely to lie inside a sentence. The walk goes from left to right and decides each cut once, so it costs one
pass over the pauses and is not the best of all partitions, only a good one. Speech is cut through only where a single
span of speech is longer than a piece may be; `listen` has then already cut it at its quietest points.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from configs.pipeline import WindowSettings
from models.segment import Span

MAX_GAP_S = 2.0
"""Spans closer than this are heard in one clip: context helps the recogniser, long silence makes it invent text."""


def windows(speech: list[Span], duration: float, settings: WindowSettings) -> list[Span]:
    """A partition of [0, duration) in seconds, ascending; empty for an empty video.

    Each window is `min_s` to `max_s` long where the pauses allow, the first one shorter, and the last one as long as it
    comes out. `speech` ascends without overlap.
    """
    cuts = [0.0]
    pauses = list(_pauses(speech, duration))
    rules = _of_the_first(settings)
    while duration - cuts[-1] > rules.max_s:
        cut = _next_cut(pauses, cuts[-1], duration, rules)
        if cut >= duration:
            break
        cuts.append(cut)
        rules = settings
        pauses = [pause for pause in pauses if pause.end > cut]
    return [Span(start, end) for start, end in zip(cuts, [*cuts[1:], duration], strict=True) if end > start]


def free_time(window: Span, speech: Sequence[Span], lead_s: float) -> Span:
    """Where the clips of a window may lie: all of the pause behind it, up to `lead_s` seconds before the next speech.

    Those of the next window begin where these end.
    """
    return Span(*(_before(cut, speech, lead_s) for cut in (window.start, window.end)))


def _before(cut: float, speech: Sequence[Span], lead_s: float) -> float:
    at = bisect_left(speech, cut, key=lambda span: span.start)
    if not cut or at == len(speech) or (at and speech[at - 1].end > cut):
        return cut
    return max(cut, speech[at].start - lead_s)


def _of_the_first(settings: WindowSettings) -> WindowSettings:
    most, least = min(settings.first_s, settings.max_s), min(settings.first_s / 2, settings.min_s)
    return settings.model_copy(update={"min_s": least, "max_s": most})


def _pauses(speech: list[Span], duration: float) -> Iterator[Span]:
    """What lies between the spans of speech, also where two of them touch and nothing does."""
    at = 0.0
    for span in speech:
        if span.start >= duration:
            break
        yield Span(at, max(at, span.start))
        at = span.end
    if at < duration:
        yield Span(at, duration)


def _next_cut(pauses: list[Span], start: float, duration: float, settings: WindowSettings) -> float:
    """The end of the window that begins at `start`, more than a window before `duration`."""
    low = start + settings.min_s
    high = start + settings.max_s
    if duration - settings.min_s >= low:
        high = min(high, duration - settings.min_s)  # so that the last window is no sliver
    within = [pause for pause in pauses if pause.start <= high and pause.end >= low]
    if within:
        longest = max(within, key=lambda pause: (pause.duration, pause.start))
        if _middle(longest) < low and longest.end > high:
            return high  # the window is silence from end to end
        return min(max(_middle(longest), low), high)
    return _odd_cut(pauses, start, low, high, settings)


def _odd_cut(pauses: list[Span], start: float, low: float, high: float, settings: WindowSettings) -> float:
    """One span of speech covers all of [low, high]: end before it, else after it, else, when it is too long, inside."""
    earlier = [_middle(pause) for pause in pauses if pause.end < low and _middle(pause) > start]
    if earlier and earlier[-1] - start >= settings.min_s / 2:
        return earlier[-1]
    after = next((pause for pause in pauses if pause.start > high), None)
    if after and after.start - start <= settings.max_s + settings.min_s:
        return after.start + min(after.duration / 2, settings.min_s)
    return earlier[-1] if earlier else high


def _middle(span: Span) -> float:
    return (span.start + span.end) / 2


def clips(
    speech: list[Span], window: Span, clip_s: float, max_clip_s: float | None = None, gap_s: float = MAX_GAP_S
) -> list[Span]:
    """The speech inside `window` as clips, cut at silences, ascending.

    Neighbours less than `gap_s` apart are joined up to `clip_s`. Speech without a pause that is longer stays whole up
    to `max_clip_s` (the same if it is None); what is longer still is cut evenly. A clip begins and ends with speech.
    """
    made: list[Span] = []
    for run in _runs(_inside(speech, window, max_clip_s or clip_s), gap_s):
        made += _packed(run, clip_s)
    return made


def _inside(speech: list[Span], window: Span, max_clip_s: float) -> Iterator[Span]:
    for span in speech:
        start, end = max(span.start, window.start), min(span.end, window.end)
        if end <= start:
            continue
        count = int(-(-(end - start) // max_clip_s))
        step = (end - start) / count
        edges = [start + step * index for index in range(count)]
        yield from (Span(one, two) for one, two in zip(edges, [*edges[1:], end], strict=True))


def _runs(spans: Iterator[Span], gap_s: float) -> list[list[Span]]:
    """Spans that are close enough to be heard together."""
    runs: list[list[Span]] = []
    for span in spans:
        if runs and span.start - runs[-1][-1].end < gap_s:
            runs[-1].append(span)
        else:
            runs.append([span])
    return runs


def _packed(run: list[Span], clip_s: float) -> list[Span]:
    """The run as few clips; each ends at the longest gap in the second half of what fits."""
    packed = []
    while len(run) > 1 and run[-1].end - run[0].start > clip_s:
        fits = [at for at in range(1, len(run)) if run[at - 1].end - run[0].start <= clip_s] or [1]
        late = [at for at in fits if run[at - 1].end - run[0].start >= clip_s / 2] or fits[-1:]
        cut = max(late, key=lambda at: (run[at].start - run[at - 1].end, at))
        packed.append(Span(run[0].start, run[cut - 1].end))
        run = run[cut:]
    return [*packed, Span(run[0].start, run[-1].end)]
