"""Which language does a video speak? Listens at a few places spread over the file, and never guesses.

Intros, jingles and quotations speak for the first half minute only, so the votes come from all over. Each place is
decoded on its own by a child process: the answer takes as long for a film as for a clip. Where hardly any of the first
places has speech, as in a film with much music, more are listened to. Only speech is recognised: that takes longest
where there is nothing to understand. A child looks into the file as well: this runs in the process that holds
everybody's streams.
"""

import asyncio
from contextlib import aclosing
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import numpy as np

from configs.pipeline import PipelineSettings
from models.errors import NoSpeech, UnsupportedLanguage
from models.segment import RECOGNITION_RATE, Audio, Clip, Span
from serve_app.hearing.languages import Hear, Vote, clock, counted, vote
from serve_app.hearing.speech import Detect
from serve_app.media import ffmpeg
from serve_app.media.look import look
from serve_app.media.probe import Source
from serve_app.spending import count

LISTEN_S = 10.0
PLACES = 4
BETWEEN = (0.1, 0.3, 0.7)
"""Where more places are, as shares of the distance between two of the first."""
ENOUGH = 2
"""Places with speech for which no more are asked."""
AT_ONCE = 4
"""Child processes that decode at the same time."""
SLIVER_S = 2.0
"""The end of a short file is not listened to when it is shorter than this."""


@dataclass(frozen=True, slots=True)
class Detection:
    language: str  # ISO-639-1
    confidence: float  # 0–1
    message: str


async def detect_language(
    path: Path,
    detect: Detect,
    recognize: Hear,
    hears: frozenset[str] | None,
    settings: PipelineSettings,
) -> Detection:
    """`detect` finds speech, `recognize` tells its language.

    Raises UnsupportedLanguage when the model knows one language or the votes are split, NoSpeech without words.
    """
    if hears is not None and len(hears) == 1:
        raise UnsupportedLanguage(
            f"the loaded speech model understands {', '.join(hears)} alone and cannot tell languages apart; "
            "load a multilingual one"
        )
    source = await look(path, settings.prepare, stage="transcription")
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(start: float) -> Vote:
        async with gate:
            clip = Clip(await listen(source, start, settings.stall_s), start)
            return await ask(Span(start, start + LISTEN_S), clip, detect, recognize)

    votes = await asyncio.gather(*map(one, places(source.duration)))
    if sum(bool(vote.language) for vote in votes) < ENOUGH:
        votes += await asyncio.gather(*map(one, more(source.duration)))
    return verdict(sorted(votes, key=lambda vote: vote.span.start), settings.recognize.told_probability)


async def ask(place: Span, clip: Clip, detect: Detect, recognize: Hear) -> Vote:
    """What the speech in the clip says; nothing where there is none."""
    count(audio_s=clip.duration)
    speech = await detect(clip)
    if not speech:
        return Vote(place, "", 0.0)
    first, end = (round((time - clip.start) * RECOGNITION_RATE) for time in (speech[0].start, speech[-1].end))
    return vote(place, await recognize(Clip(clip.audio[first:end], speech[0].start)))


def places(duration: float) -> list[float]:
    """Starts of the stretches to listen to, in seconds."""
    if duration <= LISTEN_S * PLACES:
        return [n * LISTEN_S for n in range(max(1, ceil((duration - SLIVER_S) / LISTEN_S)))]
    return [duration * (n + 0.5) / PLACES for n in range(PLACES)]


def more(duration: float) -> list[float]:
    """Starts of stretches between `places`; none in a file that those cover."""
    if duration <= LISTEN_S * PLACES:
        return []
    return [duration * (n + share) / PLACES for n in range(PLACES) for share in BETWEEN]


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


def verdict(votes: list[Vote], certain: float) -> Detection:
    """The language with the largest share of the votes, weighted by probability; the message names each vote.

    Raises UnsupportedLanguage where that share is below `certain`, NoSpeech where nobody votes.
    """
    language, confidence, many = counted(votes)
    if not many:
        raise NoSpeech("no speech was found at the places that were listened to; choose the language by hand")
    heard = [one for one in votes if one.language]
    each = ", ".join(f"{clock(one.span.start)} {one.language} {one.probability:.0%}" for one in heard)
    if confidence < certain:
        raise UnsupportedLanguage(f"the language could not be told with certainty ({each}); choose it by hand")
    agreed = sum(one.language == language for one in heard)
    return Detection(language, confidence, f"detected {language} in {agreed} of {many} stretches of speech: {each}")
