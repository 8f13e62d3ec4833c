"""Room 3, recognize: what was said in one window of the video, and when.

Whoever recognises words is bad at silence: it stretches a word over the pause before it and invents text where nobody
speaks. Voice detection is good at silence and knows no words. So words are pulled to the speech that they overlap most,
and those that lie far from any speech are dropped. The price: what the detector misses altogether is lost.

A recogniser sometimes begins in the middle of what it hears, and the words before are missing. Where speech is long and
no word lies in it, that stretch is heard once more, alone. It costs a decoding where somebody laughs or sings.

A window in which the language changes is heard part by part, each in its own, and so is a clip that turns out to be in
another one. No segment bridges two languages or two speakers, where they are told apart.
"""

import asyncio
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from statistics import fmean

from configs.pipeline import RecognizeSettings
from models.segment import Segment, Span, Transcript, Word
from serve_app.hearing import transcripts
from serve_app.hearing.edges import reaching
from serve_app.hearing.interludes import asked, interludes, tell, whole
from serve_app.hearing.languages import Hear, Part, Spoken, hear, together
from serve_app.hearing.listen import LISTENING, Heard
from serve_app.hearing.speakers import Cast, gendered, runs
from serve_app.hearing.speech import read
from serve_app.hearing.windows import clips
from serve_app.jobs.report import Report
from serve_app.sentences import segments

STAGE = "transcription"

WORD_S = 1.0
"""No word takes longer; the end of a word is what its time is good for, so a longer one covers only its last part."""


async def said(
    wav: Path, window: Span, heard: Heard, recognizer: Hear, settings: RecognizeSettings, first_id: int, report: Report
) -> list[Segment]:
    """The segments of one window: recognised, or as the transcript that came with the job has them."""
    if heard.cues is None:
        made = await recognize(
            wav, window, heard.speech, heard.spoken, recognizer, settings, first_id, report, heard.cast
        )
        return reaching(made, heard.speech, window)
    told = transcripts.segments(heard.cues, window, heard.spoken.language, first_id)
    report.advance(STAGE, sum(segment.duration for segment in told))
    return await asyncio.to_thread(gendered, wav, told, heard.cast)


async def recognize(
    wav: Path,
    window: Span,
    speech: list[Span],
    spoken: Spoken,
    recognizer: Hear,
    settings: RecognizeSettings,
    first_id: int,
    report: Report,
    cast: Cast = Cast(),  # noqa: B008 - frozen
) -> list[Segment]:
    """The segments of one window, numbered from `first_id`, with times from the start of the video; maybe none.

    Raises StageFailed, transient, when a clip could not be recognised.
    """
    near = [span for span in speech if span.end > window.start and span.start < window.end]
    cast = cast.within(window)
    made: list[Segment] = []
    for part in spoken.within(window):
        for piece, words in await _told(wav, part, near, recognizer, settings, report):
            made += _segments(words, piece, cast, settings, first_id + len(made))
    return await asyncio.to_thread(gendered, wav, made, cast)


def _segments(words: list[Word], part: Part, cast: Cast, settings: RecognizeSettings, first_id: int) -> list[Segment]:
    """The words of one language, speaker by speaker; a speaker has the time until the next one begins."""
    said = runs(words, cast)
    ends = [run[0].start for _, run in said[1:]] + [part.end]
    made: list[Segment] = []
    for (speaker, run), end in zip(said, ends, strict=False):
        free = Span(made[-1].end if made else part.start, end)
        found = segments(run, part.language, settings, first_id + len(made), free)
        made += [replace(segment, language=part.language, speaker=speaker) for segment in found]
    return made


async def _told(
    wav: Path, part: Part, speech: list[Span], recognizer: Hear, settings: RecognizeSettings, report: Report
) -> list[tuple[Part, list[Word]]]:
    """The words of the part: in one piece, or in several where some of it turns out to be in another language."""
    spans = clips(speech, Span(part.start, part.end), settings.clip_s, settings.max_clip_s)
    heard = await together([_heard(wav, span, part.language, recognizer, report) for span in spans])
    told: list[tuple[Part, list[Word]]] = [(part, [])]
    rows = list(zip(spans, heard, strict=True))
    for (span, transcript), doubt in zip(rows, asked(rows, settings), strict=True):
        pieces = whole(span, transcript)
        if doubt:
            pieces = await interludes(wav, span, transcript, speech, recognizer, settings)
        for piece, said in pieces:
            words = await _words(wav, piece, said, speech, recognizer, settings, report)
            before = told[-1][0]
            if piece.language == before.language:
                told[-1][1].extend(words)
            else:
                told[-1] = (replace(before, end=piece.start), told[-1][1])
                told.append((replace(piece, end=part.end), words))
    tell([piece for piece, _ in told], part.language, report)
    return told


async def _words(
    wav: Path,
    piece: Part,
    transcript: Transcript,
    speech: list[Span],
    recognizer: Hear,
    settings: RecognizeSettings,
    report: Report,
) -> list[Word]:
    for text, reason in transcript.dropped:
        _drop(text, reason, report)
    said = _said(transcript.words, speech, settings.near_s, report)
    for hole in holes(said, speech, Span(piece.start, piece.end), settings.hole_s) if said else []:
        said = await _filled(said, hole, wav, piece.language, recognizer, settings)
    return said


def holes(words: list[Word], speech: list[Span], span: Span, least_s: float) -> list[Span]:
    """The stretches of speech in `span`, of `least_s` and more, that no word covers, ascending."""
    covered = [Span(max(word.start, word.end - WORD_S), word.end) for word in words]
    found: list[Span] = []
    for one in speech:
        at, end = max(one.start, span.start), min(one.end, span.end)
        for word in [word for word in covered if word.end > at and word.start < end]:
            found.append(Span(at, word.start))
            at = max(at, word.end)
        found.append(Span(at, end))
    return [hole for hole in found if hole.duration >= least_s]


async def _filled(
    words: list[Word], hole: Span, wav: Path, language: str, recognizer: Hear, settings: RecognizeSettings
) -> list[Word]:
    """The words with those that are heard in the hole; as they are when nothing is, or nobody is sure of it.

    It is heard up to the end of the word behind it, because where that begins is not known; said again, it ends there.
    """
    before = [word for word in words if word.end <= hole.start]
    after = [word for word in words if word.end > hole.start]
    end = min(hole.end + WORD_S, after[0].end) if after else hole.end
    again = await hear(await asyncio.to_thread(read, wav, Span(hole.start, end), language), recognizer)
    known = _letters(after[0]) if after else ""
    said = takewhile(lambda word: not known or _letters(word) != known, again.words)
    found = [word for word in said if word.start >= hole.start]
    if not found or fmean(word.probability for word in found) < settings.hole_probability:
        return words
    return [*before, *found, *(_behind(word, found[-1].end) for word in after)]


def _letters(word: Word) -> str:
    return "".join(filter(str.isalnum, word.text)).lower()


def _behind(word: Word, time: float) -> Word:
    start = max(word.start, time)
    return replace(word, start=start, end=max(word.end, start))


async def _heard(wav: Path, span: Span, language: str, recognizer: Hear, report: Report) -> Transcript:
    transcript = await hear(await asyncio.to_thread(read, wav, span, language), recognizer)
    report.advance(STAGE, (1 - LISTENING) * span.duration)
    return transcript


def _said(words: tuple[Word, ...], speech: list[Span], near_s: float, report: Report) -> list[Word]:
    """The words at the times of the speech that they belong to, without those that belong to none."""
    said, invented = [], ""
    for word in words:
        if pulled := _pulled(word, speech, near_s):
            said.append(pulled)
        else:
            invented += word.text
    if invented:
        _drop(invented, "nobody speaks there", report)
    return said


def _pulled(word: Word, speech: list[Span], near_s: float) -> Word | None:
    """The part of the word that lies in speech; the word itself close to speech; None far from it."""
    nearest = max(speech, key=lambda span: min(word.end, span.end) - max(word.start, span.start), default=None)
    if nearest is None or word.start > nearest.end + near_s or word.end < nearest.start - near_s:
        return None
    start, end = max(word.start, nearest.start), min(word.end, nearest.end)
    return Word(start, end, word.text, word.probability) if start <= end else word


def _drop(text: str, reason: str, report: Report) -> None:
    shown = text.strip() if len(text.strip()) <= 60 else f"{text.strip()[:59]}…"
    report.log(STAGE, f"dropped as not said ({reason}): {shown!r}", "warning")
