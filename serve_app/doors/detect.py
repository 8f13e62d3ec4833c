"""Which language does a video speak? Listens at a few places spread over the file, and never guesses.

Intros, jingles and quotations speak for the first half minute only, so the votes come from all over. Each place is
decoded on its own by a child process: the answer takes as long for a film as for a clip. A child looks into the file as
well: this runs in the process that holds everybody's streams.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import numpy as np

from configs.pipeline import PipelineSettings
from models.errors import NoSpeech, UnsupportedLanguage
from models.segment import RECOGNITION_RATE, Audio, Clip, Span, Transcript
from serve_app.hearing.languages import Vote, clock, counted, vote
from serve_app.media import ffmpeg
from serve_app.media.probe import Source, look
from serve_app.spending import count

LISTEN_S = 10.0
PLACES = 4
SLIVER_S = 2.0
"""The end of a short file is not listened to when it is shorter than this."""
CERTAIN = 0.5
"""Mean probability below which there is no answer."""


@dataclass(frozen=True, slots=True)
class Detection:
    language: str  # ISO-639-1
    confidence: float  # 0–1
    message: str


async def detect_language(
    path: Path,
    recognize: Callable[[Clip], Awaitable[Transcript]],
    hears: frozenset[str] | None,
    settings: PipelineSettings,
) -> Detection:
    """Raises UnsupportedLanguage when the model knows one language or the votes are split, NoSpeech without words."""
    if hears is not None and len(hears) == 1:
        raise UnsupportedLanguage(
            f"the loaded speech model understands {', '.join(hears)} alone and cannot tell languages apart; "
            "load a multilingual one"
        )
    source = await look(path, settings.prepare, stage="transcription")
    spans = [Span(start, start + LISTEN_S) for start in places(source.duration)]
    votes = await asyncio.gather(*(ask(source, span, recognize, settings.stall_s) for span in spans))
    return verdict(votes)


async def ask(source: Source, span: Span, recognize: Callable[[Clip], Awaitable[Transcript]], stall_s: float) -> Vote:
    audio = await listen(source, span.start, stall_s)
    count(audio_s=len(audio) / RECOGNITION_RATE)
    return vote(span, await recognize(Clip(audio, span.start)) if len(audio) else Transcript((), ""))


def places(duration: float) -> list[float]:
    """Starts of the stretches to listen to, in seconds."""
    if duration <= LISTEN_S * PLACES:
        return [n * LISTEN_S for n in range(max(1, ceil((duration - SLIVER_S) / LISTEN_S)))]
    return [duration * (n + 0.5) / PLACES for n in range(PLACES)]


async def listen(source: Source, start: float, stall_s: float) -> Audio:
    """LISTEN_S seconds of the chosen track from `start`, mono at 16 kHz."""
    opened = ffmpeg.source(source.path, "-ss", str(start), "-t", str(LISTEN_S), formats=source.container)
    sound = ffmpeg.pcm(
        [*opened, "-map", f"0:{source.audio_index}"],
        stage="transcription",
        stall_s=stall_s,
        rate=RECOGNITION_RATE,
        channels=1,
    )
    async with aclosing(sound) as chunks:
        parts = [chunk[:, 0] async for chunk in chunks]
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def verdict(votes: list[Vote]) -> Detection:
    """The language with the largest share of the votes, weighted by probability; the message names each vote."""
    language, confidence, many = counted(votes)
    if not many:
        raise NoSpeech("no speech was found at the places that were listened to; choose the language by hand")
    heard = [one for one in votes if one.language]
    each = ", ".join(f"{clock(one.span.start)} {one.language} {one.probability:.0%}" for one in heard)
    if confidence < CERTAIN:
        raise UnsupportedLanguage(f"the language could not be told with certainty ({each}); choose it by hand")
    agreed = sum(one.language == language for one in heard)
    return Detection(language, confidence, f"detected {language} in {agreed} of {many} stretches of speech: {each}")
