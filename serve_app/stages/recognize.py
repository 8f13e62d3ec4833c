"""Room 3, recognize: what was said, when, and in which language.

Three steps on the 16 kHz WAV of the room before. `listen` hears where speech is, once, over the whole file; `identify`
settles the language on a few clips from all over it; `recognize` turns one window into segments. The file is read in
pieces, so that memory does not grow with its length.

Whoever recognises words is bad at silence: it stretches a word over the pause before it and invents text where nobody
speaks. Voice detection is good at silence and knows no words. So words are pulled to the speech that they overlap most,
and those that lie far from any speech are dropped. The price: what the detector misses altogether is lost.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import soundfile

from configs.pipeline import RecognizeSettings
from models.errors import DubError, NoSpeech, StageFailed, UnsupportedLanguage
from models.segment import RECOGNITION_RATE, Audio, Clip, Segment, Span, Transcript, Word
from serve_app.jobs.report import Report
from serve_app.sentences import segments
from serve_app.windows import clips

STAGE = "transcription"

Hear = Callable[[Clip], Awaitable[Transcript]]

OVERLAP_S = 1.0
"""Blocks overlap by this much, so that a word on their border is whole in one of them."""

MAX_SPAN_S = 29.0
"""Longer speech without a pause is cut at its quietest point: no later room has to cut a word."""

NEAR_S = 0.3
"""How far the time of a word may be off; one that is farther from any speech was not said."""

SAMPLE_S = 12.0
"""Longest clip that votes on the language."""

LIKELY = 0.5
"""The share of the vote that settles the language when none was given."""


# -- where is speech? --------------------------------------------------------------------------------------------------


async def listen(
    wav: Path, detect: Callable[[Clip], Awaitable[list[Span]]], block_s: float = 120.0, max_span_s: float = MAX_SPAN_S
) -> list[Span]:
    """Spans of speech in the whole file, ascending, without overlap, each at most `max_span_s` seconds.

    Raises NoSpeech when there are none.
    """
    duration = await asyncio.to_thread(_duration, wav)
    spans: list[Span] = []
    start = 0.0
    while start < duration:
        clip = await asyncio.to_thread(_read, wav, Span(max(0.0, start - OVERLAP_S), start + block_s))
        spans = _united(spans, await detect(clip))
        start += block_s
    if not spans:
        raise NoSpeech("no speech was found in the audio track; check that somebody speaks in it")
    return await asyncio.to_thread(lambda: [part for span in spans for part in _parted(wav, span, max_span_s)])


def _united(before: list[Span], found: list[Span]) -> list[Span]:
    """Both lists as one; spans that overlap or touch become one. `found` may only reach into the last of `before`."""
    united = before[:]
    for span in found:
        while united and span.start <= united[-1].end:
            last = united.pop()
            span = Span(min(last.start, span.start), max(last.end, span.end))
        united.append(span)
    return united


def _parted(wav: Path, span: Span, max_s: float) -> Iterator[Span]:
    """The span in parts of at most `max_s`, each cut at the quietest point of the second half of what fits."""
    start = span.start
    while span.end - start > max_s:
        tail = _read(wav, Span(start + max_s / 2, start + max_s))
        cut = tail.start + quietest(tail.audio)
        yield Span(start, cut)
        start = cut
    yield Span(start, span.end)


def quietest(audio: Audio) -> float:
    """Seconds from the first sample to the middle of the quietest tenth of a second of 16 kHz sound."""
    frame = RECOGNITION_RATE // 100
    power = np.square(audio[: len(audio) // frame * frame].reshape(-1, frame), dtype=np.float64).mean(axis=1)
    smooth = np.convolve(power, np.ones(10), mode="valid")
    return (int(np.argmin(smooth)) + 5) / 100


# -- in which language? ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Vote:
    """What the samples agreed on; `probability` is the mean over all of them, 0–1."""

    language: str
    probability: float
    samples: int


async def identify(
    wav: Path,
    speech: list[Span],
    given: str,
    recognize: Hear,
    hears: frozenset[str] | None,
    settings: RecognizeSettings,
    report: Report,
) -> str:
    """The ISO-639-1 code to recognise in; `given` is what the user said, "" or "auto" when nothing.

    Clips from all over the file vote. A confident vote overrules the user, and says so; an undecided one does not.
    Raises UnsupportedLanguage when the model cannot hear the given language, or when nobody knows which one it is.
    """
    given = "" if given == "auto" else given
    if hears is not None and given and given not in hears:
        raise UnsupportedLanguage(
            f"speech in {given!r} cannot be recognised by the model in use, which hears: {', '.join(sorted(hears))}"
        )
    if hears is not None and len(hears) == 1:
        return _only(next(iter(hears)), given, report)
    samples = _samples(speech, settings.language_windows)
    votes = await _all([_heard(wav, span, None, recognize) for span in samples])
    return _settled(given, _counted(votes), settings, report)


def _only(language: str, given: str, report: Report) -> str:
    if not given:
        report.log(STAGE, f"language assumed, not verified: the model in use hears only {language!r}", "warning")
    return language


def _samples(speech: list[Span], count: int) -> list[Span]:
    """The longest stretch of speech from each of `count` equal parts of the file."""
    stretches = clips(speech, Span(0.0, speech[-1].end), SAMPLE_S) if speech else []
    count = min(count, len(stretches))
    edges = [len(stretches) * index // count for index in range(count + 1)] if count else [0]
    return [max(stretches[one:two], key=lambda stretch: stretch.duration) for one, two in pairwise(edges)]


def _counted(transcripts: list[Transcript]) -> Vote | None:
    """The winner; clips in which nothing was understood do not vote."""
    heard = [transcript for transcript in transcripts if transcript.words]
    if not heard:
        return None
    shares: defaultdict[str, float] = defaultdict(float)
    for transcript in heard:
        shares[transcript.language] += transcript.language_probability / len(heard)
    language = max(shares, key=lambda code: shares[code])
    return Vote(language, shares[language], len(heard))


def _settled(given: str, vote: Vote | None, settings: RecognizeSettings, report: Report) -> str:
    if given and (vote is None or vote.probability < settings.mismatch_probability):
        if vote is None or vote.language != given:
            report.log(STAGE, f"language {given!r} used as given: the speech did not tell it clearly", "warning")
        return given
    if vote is None or vote.probability < LIKELY:
        raise UnsupportedLanguage("the spoken language could not be told; say which it is in source_lang")
    measured = f"{vote.probability:.0%} over {vote.samples} samples of the speech"
    if given and vote.language != given:
        said = f"The source language was given as {given!r}, but the speech is {vote.language!r} ({measured})"
        report.log(
            STAGE, f"detected {vote.language!r} instead of {given!r}: {measured}; using the detected one", "warning"
        )
        report.insight("decision", "Source language corrected", said, "high", given=given, detected=vote.language)
    else:
        report.log(STAGE, f"language detected: {vote.language!r} ({measured})")
    return vote.language


# -- what was said? ----------------------------------------------------------------------------------------------------


async def recognize(
    wav: Path,
    window: Span,
    speech: list[Span],
    language: str,
    hear: Hear,
    settings: RecognizeSettings,
    first_id: int,
    report: Report,
) -> list[Segment]:
    """The segments of one window, numbered from `first_id`, with times from the start of the video; maybe none.

    Raises StageFailed, transient, when a clip could not be recognised.
    """
    near = [span for span in speech if span.end > window.start and span.start < window.end]
    transcripts = await _all(
        [_heard(wav, span, language, hear, report) for span in clips(near, window, settings.max_clip_s)]
    )
    words: list[Word] = []
    for transcript in transcripts:
        for text, reason in transcript.dropped:
            _drop(text, reason, report)
        words += _said(transcript.words, near, report)
    return segments(words, language, settings, first_id)


async def _heard(wav: Path, span: Span, language: str | None, hear: Hear, report: Report | None = None) -> Transcript:
    """What was said in `span`; progress is told to `report`."""
    clip = await asyncio.to_thread(_read, wav, span, language)
    try:
        transcript = await hear(clip)
    except DubError:
        raise
    except Exception as error:
        raise StageFailed(STAGE, f"the speech at {clip.start:.0f} s could not be recognised", transient=True) from error
    if report:
        report.advance(STAGE, clip.duration)
    return transcript


async def _all(work: Sequence[Awaitable[Transcript]]) -> list[Transcript]:
    """All of them, at once; when one fails, the others are not left running."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()


def _said(words: tuple[Word, ...], speech: list[Span], report: Report) -> list[Word]:
    """The words at the times of the speech that they belong to, without those that belong to none."""
    said, invented = [], ""
    for word in words:
        if pulled := _pulled(word, speech):
            said.append(pulled)
        else:
            invented += word.text
    if invented:
        _drop(invented, "nobody speaks there", report)
    return said


def _pulled(word: Word, speech: list[Span]) -> Word | None:
    """The part of the word that lies in speech; the word itself close to speech; None far from it."""
    nearest = max(speech, key=lambda span: min(word.end, span.end) - max(word.start, span.start), default=None)
    if nearest is None or word.start > nearest.end + NEAR_S or word.end < nearest.start - NEAR_S:
        return None
    start, end = max(word.start, nearest.start), min(word.end, nearest.end)
    return Word(start, end, word.text, word.probability) if start <= end else word


def _drop(text: str, reason: str, report: Report) -> None:
    shown = text.strip() if len(text.strip()) <= 60 else f"{text.strip()[:59]}…"
    report.log(STAGE, f"dropped as not said ({reason}): {shown!r}", "warning")


# -- the file ----------------------------------------------------------------------------------------------------------


def _duration(wav: Path) -> float:
    return float(soundfile.info(wav).duration)


def _read(wav: Path, span: Span, language: str | None = None) -> Clip:
    """The sound of `span`, as far as the file goes."""
    first = round(span.start * RECOGNITION_RATE)
    with soundfile.SoundFile(wav) as file:
        first = min(first, file.frames)
        file.seek(first)
        audio = file.read(max(0, round(span.end * RECOGNITION_RATE) - first), dtype="float32")
    return Clip(audio, first / RECOGNITION_RATE, language)
