"""Another language, for a minute: what the votes on a recording's language did not come across.

A recogniser that is told a language writes down whatever it hears in that one, and what was said in another becomes
nonsense, or a translation. Having listened, it can say at no cost what the clip sounded like. Where that is something
else, and it is sure, the clip is asked in short stretches and each part is heard once more in its own language; this
counts where its words are likelier than those before. So an accent, a name or a song changes nothing.

A clip next to one that is suspicious is asked as well: the change may lie in it.

The price: what lasts less than `min_language_s`, or is less than half of a clip and all of it, goes unnoticed.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from configs.pipeline import RecognizeSettings
from models.segment import Span, Transcript, Word
from serve_app.hearing.languages import Hear, Part, Spoken, ask, clock, hear, parts, stretches, together
from serve_app.hearing.speech import read
from serve_app.jobs.report import Report

STAGE = "transcription"

Told = list[tuple[Part, Transcript]]


async def interludes(
    wav: Path,
    span: Span,
    transcript: Transcript,
    speech: list[Span],
    recognize: Hear,
    settings: RecognizeSettings,
) -> Told:
    """What was said in the clip `span`, part by part: one part in the language it was heard in, or several.

    `transcript` is what was heard in the language that was told.
    """
    plain = whole(span, transcript)
    votes = await ask(wav, stretches(speech, span), recognize)
    found = Spoken(transcript.language, tuple(parts(votes, span.end, settings, transcript.language))).within(span)
    if {part.language for part in found} == {transcript.language}:
        return plain
    sounds = [await asyncio.to_thread(read, wav, Span(part.start, part.end), part.language) for part in found]
    heard = await together([hear(clip, recognize) for clip in sounds])
    if sure([word for one in heard for word in one.words]) <= sure(transcript.words):
        return plain
    return list(zip(found, heard, strict=True))


def whole(span: Span, transcript: Transcript) -> Told:
    """A clip in one part."""
    return [(Part(span.start, span.end, transcript.language), transcript)]


def asked(heard: Sequence[tuple[Span, Transcript]], settings: RecognizeSettings) -> list[bool]:
    """Which clips in a row to ask for their language: the suspicious ones and their neighbours."""
    flags = [False, *(suspicious(transcript, span, settings) for span, transcript in heard), False]
    return [any(flags[at : at + 3]) for at in range(len(heard))]


def suspicious(transcript: Transcript, span: Span, settings: RecognizeSettings) -> bool:
    """Whether the clip may be in another language than the one that was told."""
    return bool(
        settings.languages == "many"
        and transcript.sounds_like not in ("", transcript.language)
        and transcript.likeness >= settings.mismatch_probability
        and span.duration >= settings.min_language_s
    )


def sure(words: Sequence[Word]) -> float:
    """The mean probability of the words; 0 without any."""
    return fmean(word.probability for word in words) if words else 0.0


def tell(pieces: Sequence[Part], told: str, report: Report) -> None:
    """Reports those pieces of a part in language `told` that are in another one; nothing when none is."""
    found = [piece for piece in pieces if piece.language != told]
    if not found:
        return
    listed = ", ".join(f"{one.language} from {clock(one.start)} to {clock(one.end)}" for one in found)
    report.log(STAGE, f"another language for a while: {listed}; recognised in its own", "warning")
    spans = [[round(one.start, 2), round(one.end, 2), one.language] for one in found]
    said = f"The recording is in {told!r}, but for {listed}"
    report.insight("decision", "Another language for a while", said, "medium", language=told, spans=spans)
