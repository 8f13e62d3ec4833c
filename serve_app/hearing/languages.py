"""In which language, and where does it change? Clips of speech from all over a recording vote, each with a probability.

Intros, jingles and quotations speak for the first half minute only, so nobody trusts it. When the votes agree, that is
all: a few clips are heard twice. When a clip is sure of another language, the recording is heard once more in short
stretches, each on its own; neighbours of one language become a part, and each part is recognised in its language.

The price: a change is known to a stretch (at most eight seconds, cut at pauses) and not to a word. A language that is
spoken for less than the distance of two votes may never be asked here; see `interludes`.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from pathlib import Path

from configs.pipeline import RecognizeSettings
from models.errors import DubError, StageFailed, UnsupportedLanguage
from models.segment import Clip, Span, Transcript
from serve_app.hearing.speech import duration, read
from serve_app.hearing.windows import clips
from serve_app.jobs.report import Report

STAGE = "transcription"

SAMPLE_S = 12.0
"""Longest clip that votes on the language."""

STRETCH_S = 8.0
"""Longest clip that is asked for its language when a recording is in several."""

CHANGE_S = 0.7
"""A pause in which the language may change: nobody is asked across it."""

Hear = Callable[[Clip], Awaitable[Transcript]]


@dataclass(frozen=True, slots=True)
class Vote:
    """What one clip says: its language and how probable that is, 0–1. A clip without words has no language."""

    span: Span
    language: str
    probability: float


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of the recording in one language."""

    start: float
    end: float
    language: str


@dataclass(frozen=True, slots=True)
class Spoken:
    """The language of a recording (ISO-639-1); `parts`, when it changes, cover all of it in order."""

    language: str
    parts: tuple[Part, ...] = ()

    def within(self, window: Span) -> list[Part]:
        """The parts of `window`, ascending; one when the language does not change in it."""
        inside = [
            replace(part, start=max(part.start, window.start), end=min(part.end, window.end))
            for part in self.parts
            if part.end > window.start and part.start < window.end
        ]
        return inside or [Part(window.start, window.end, self.language)]


async def identify(
    wav: Path,
    speech: list[Span],
    given: str,
    recognize: Hear,
    hears: frozenset[str] | None,
    settings: RecognizeSettings,
    report: Report,
) -> Spoken:
    """The language to recognise in; `given` is what the user said, "" or "auto" when nothing.

    A confident vote overrules the user, and says so; an undecided one does not. Raises UnsupportedLanguage when the
    model cannot hear the given language, or when nobody knows which one it is.
    """
    given = "" if given == "auto" else given
    if hears is not None and given and given not in hears:
        raise UnsupportedLanguage(
            f"speech in {given!r} cannot be recognised by the model in use, which hears: {', '.join(sorted(hears))}"
        )
    if hears is not None and len(hears) == 1:
        return Spoken(_only(next(iter(hears)), given, report))
    votes = await ask(wav, samples(speech, _count(speech, settings)), recognize)
    if settings.languages == "many" and differ(votes, settings.mismatch_probability):
        length = await asyncio.to_thread(duration, wav)
        votes = await ask(wav, stretches(speech, Span(0.0, speech[-1].end)), recognize)
        found = parts(votes, length, settings)
        if len(found) > 1:
            return _many(found, given, report)
    return Spoken(_settled(given, votes, settings, report))


def _only(language: str, given: str, report: Report) -> str:
    if not given:
        report.log(STAGE, f"language assumed, not verified: the model in use hears only {language!r}", "warning")
    return language


def _count(speech: Sequence[Span], settings: RecognizeSettings) -> int:
    spoken = sum(span.duration for span in speech)
    return min(settings.max_language_windows, max(settings.language_windows, int(spoken / settings.language_every_s)))


def samples(speech: list[Span], count: int) -> list[Span]:
    """The longest stretch of speech from each of `count` equal parts of the file."""
    stretches = clips(speech, Span(0.0, speech[-1].end), SAMPLE_S) if speech else []
    count = min(count, len(stretches))
    edges = [len(stretches) * index // count for index in range(count + 1)] if count else [0]
    return [max(stretches[one:two], key=lambda stretch: stretch.duration) for one, two in pairwise(edges)]


def stretches(speech: list[Span], window: Span) -> list[Span]:
    """The speech of the window in pieces that each are probably in one language."""
    return clips(speech, window, STRETCH_S, gap_s=CHANGE_S)


# -- asking ------------------------------------------------------------------------------------------------------------


async def ask(wav: Path, spans: Sequence[Span], recognize: Hear) -> list[Vote]:
    """One vote for each span, a few at once."""
    gate = asyncio.Semaphore(4)  # a long file is not read into memory to be asked

    async def one(span: Span) -> Transcript:
        async with gate:
            return await hear(await asyncio.to_thread(read, wav, span), recognize)

    heard = await together([one(span) for span in spans])
    return [vote(span, transcript) for span, transcript in zip(spans, heard, strict=True)]


def vote(span: Span, transcript: Transcript) -> Vote:
    """A clip in which nothing was understood says nothing about its language."""
    return Vote(span, transcript.language if transcript.words else "", transcript.language_probability)


async def hear(clip: Clip, recognize: Hear) -> Transcript:
    """What was said in the clip. Raises StageFailed, transient, where the recogniser broke down."""
    try:
        return await recognize(clip)
    except DubError:
        raise
    except Exception as error:
        raise StageFailed(STAGE, f"the speech at {clip.start:.0f} s could not be recognised", transient=True) from error


async def together(work: Sequence[Awaitable[Transcript]]) -> list[Transcript]:
    """All of them, at once; when one fails, the others are not left running."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()


# -- counting ----------------------------------------------------------------------------------------------------------


def counted(votes: Iterable[Vote]) -> tuple[str, float, int]:
    """(language, mean probability over all who voted, how many voted); ("", 0.0, 0) when nobody did."""
    valid = [one for one in votes if one.language]
    shares: defaultdict[str, float] = defaultdict(float)
    for one in valid:
        shares[one.language] += one.probability / len(valid)
    language = max(shares, key=lambda code: shares[code], default="")
    return language, shares[language], len(valid)


def differ(votes: Iterable[Vote], sure: float) -> bool:
    """Whether two votes are each sure of another language."""
    return len({one.language for one in votes if one.language and one.probability >= sure}) > 1


def parts(votes: Sequence[Vote], length: float, settings: RecognizeSettings, known: str = "") -> list[Part]:
    """Parts of a recording of `length` seconds, one behind the other; none when nobody is sure.

    Who is sure speaks for himself, the others follow the neighbour before them (the first ones, that after them).

    Neighbours of one language become a part; the border lies in the middle of the pause. A language with less than
    `min_language_s` of sure speech in all of them is nobody's, unless it is `known` to be spoken.
    """
    sure = [one for one in votes if one.language and one.probability >= settings.mismatch_probability]
    spoken: defaultdict[str, float] = defaultdict(float)
    for one in sure:
        spoken[one.language] += one.span.duration
    sure = [one for one in sure if one.language == known or spoken[one.language] >= settings.min_language_s]
    runs = [list(run) for _, run in groupby(sure, key=lambda one: one.language)]
    if not runs:
        return []
    starts = [0.0, *(_border(one[-1].span, two[0].span, votes) for one, two in pairwise(runs))]
    ends = [*starts[1:], length]
    return [Part(start, end, run[0].language) for start, end, run in zip(starts, ends, runs, strict=True)]


def _border(before: Span, after: Span, votes: Sequence[Vote]) -> float:
    """Where the language changes: those between the two spans who are unsure belong to the first."""
    last = max(one.span.end for one in votes if one.span.end <= after.start and one.span.start >= before.start)
    return (last + after.start) / 2


# -- telling -----------------------------------------------------------------------------------------------------------


def _settled(given: str, votes: Sequence[Vote], settings: RecognizeSettings, report: Report) -> str:
    """The one language of the recording."""
    language, probability, count = counted(votes)
    if given and (not count or probability < settings.mismatch_probability):
        if language != given:
            report.log(STAGE, f"language {given!r} used as given: the speech did not tell it clearly", "warning")
        return given
    if probability < settings.told_probability:
        raise UnsupportedLanguage("the spoken language could not be told; say which it is in source_lang")
    measured = f"{probability:.0%} over {count} samples of the speech"
    if given and language != given:
        _corrected(given, language, measured, votes, report)
    else:
        report.log(STAGE, f"language detected: {language!r} ({measured})", votes=_told(votes))
    return language


def _corrected(given: str, language: str, measured: str, votes: Sequence[Vote], report: Report) -> None:
    using = f"detected {language!r} instead of {given!r}: {measured}; using the detected one"
    report.log(STAGE, using, "warning", votes=_told(votes))
    said = f"The source language was given as {given!r}, but the speech is {language!r} ({measured})"
    report.insight("decision", "Source language corrected", said, "high", given=given, detected=language)


def _many(found: list[Part], given: str, report: Report) -> Spoken:
    """The language of the job is the given one where it is spoken, else the one of the longest parts."""
    spoken: defaultdict[str, float] = defaultdict(float)
    for one in found:
        spoken[one.language] += one.end - one.start
    language = given if given in spoken else max(spoken, key=lambda code: spoken[code])
    listed = ", ".join(f"{one.language} from {clock(one.start)}" for one in found)
    report.log(STAGE, f"the language changes: {listed}; each part is recognised in its own", "warning")
    spans = [[round(one.start, 2), round(one.end, 2), one.language] for one in found]
    if given and given not in spoken:
        listed += f" (given was {given!r})"
    report.insight("decision", "Several languages are spoken", f"Heard: {listed}", "high", given=given, spans=spans)
    return Spoken(language, tuple(found))


def _told(votes: Sequence[Vote]) -> list[list[object]]:
    """[second, language, probability] of each clip that was asked, for the report."""
    return [[round(one.span.start, 1), one.language, round(one.probability, 3)] for one in votes]


def clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"
