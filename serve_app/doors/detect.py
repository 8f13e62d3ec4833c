"""Which language does a video speak? Listens at a few places spread over the file, and never guesses.

Intros, jingles and quotations speak for the first half minute only, so the votes come from all over. Each place is
decoded on its own by a child process: the answer takes as long for a film as for a clip. A child looks into the file as
well, at the price of half a second: this runs in the process that holds everybody's streams, which a file that crashes
libav must not end, and a thread, unlike a child, cannot be stopped.
"""

import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import numpy as np

from configs.pipeline import PipelineSettings, PrepareSettings
from models.errors import NoSpeech, StageFailed, UnreadableMedia, UnsupportedLanguage
from models.segment import RECOGNITION_RATE, Audio, Clip, Span, Transcript
from serve_app.hearing.languages import Vote, clock, counted, vote
from serve_app.media import ffmpeg
from serve_app.media.probe import Source

logger = logging.getLogger(__name__)

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
    source = await look(path, settings.prepare)
    spans = [Span(start, start + LISTEN_S) for start in places(source.duration)]
    votes = await asyncio.gather(*(ask(source, span, recognize, settings.stall_s) for span in spans))
    return verdict(votes)


async def ask(source: Source, span: Span, recognize: Callable[[Clip], Awaitable[Transcript]], stall_s: float) -> Vote:
    audio = await listen(source, span.start, stall_s)
    return vote(span, await recognize(Clip(audio, span.start)) if len(audio) else Transcript((), ""))


async def look(path: Path, settings: PrepareSettings) -> Source:
    """`media.probe` of an absolute path in a child process, which is gone when this returns, is cancelled or fails.

    Raises UnreadableMedia, also for a file that ends the child; StageFailed when the child cannot do its work.
    """
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "serve_app.media.probe", str(path), settings.model_dump_json()),
        stdout=pipe,
        stderr=pipe,
        cwd=Path(__file__).parents[2],  # where `-m` finds this very code, installed or not
        start_new_session=True,
    )
    try:
        answer, complaint = await child.communicate()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        await asyncio.shield(child.communicate())  # asyncio sees the end only of a child whose pipes are empty
    return answered(child.returncode, answer, complaint)


def answered(code: int | None, answer: bytes, complaint: bytes) -> Source:
    if code is not None and code < 0:
        raise UnreadableMedia("the file is damaged in a way that no reader survives; convert it and try again")
    if code != 0:
        logger.error("the child that reads headers ended with %s: %s", code, complaint.decode(errors="replace"))
        raise StageFailed("transcription", "the file could not be looked into; the operator finds why in the log")
    found = json.loads(answer)
    if "unreadable" in found:
        raise UnreadableMedia(found["unreadable"])
    return Source(**found["source"])


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
    language, confidence, count = counted(votes)
    if not count:
        raise NoSpeech("no speech was found at the places that were listened to; choose the language by hand")
    heard = [one for one in votes if one.language]
    each = ", ".join(f"{clock(one.span.start)} {one.language} {one.probability:.0%}" for one in heard)
    if confidence < CERTAIN:
        raise UnsupportedLanguage(f"the language could not be told with certainty ({each}); choose it by hand")
    agreed = sum(one.language == language for one in heard)
    return Detection(language, confidence, f"detected {language} in {agreed} of {count} stretches of speech: {each}")
