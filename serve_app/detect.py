"""Which language does a video speak? Listens at a few places spread over the file, and never guesses.

Intros, jingles and quotations speak for the first half minute only, so the votes come from all over. Each place is
decoded on its own by a child process: the answer takes as long for a film as for a clip.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from configs.pipeline import PipelineSettings
from models.errors import NoSpeech, UnsupportedLanguage
from models.segment import RECOGNITION_RATE, Audio, Clip, Transcript
from serve_app import ffmpeg
from serve_app.media import Source, probe

LISTEN_S = 15.0
PLACES = 4
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
    source = await asyncio.to_thread(probe, str(path), settings.prepare)
    clips = await asyncio.gather(*(listen(source, start, settings.stall_s) for start in places(source.duration)))
    heard = await asyncio.gather(*(recognize(Clip(audio)) for audio in clips if len(audio)))
    return verdict([transcript for transcript in heard if transcript.words])


def places(duration: float) -> list[float]:
    """Starts of the stretches to listen to, in seconds."""
    if duration <= LISTEN_S * PLACES:
        return [n * LISTEN_S for n in range(int(duration // LISTEN_S) + 1)]
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


def verdict(heard: list[Transcript]) -> Detection:
    """The language with the largest share of the votes, weighted by probability."""
    if not heard:
        raise NoSpeech("no speech was found at the places that were listened to; choose the language by hand")
    votes: dict[str, float] = defaultdict(float)
    for transcript in heard:
        votes[transcript.language] += transcript.language_probability
    language = max(votes, key=lambda name: votes[name])
    confidence = votes[language] / len(heard)
    if confidence < CERTAIN:
        raise UnsupportedLanguage("the language could not be told with certainty; choose it by hand")
    agreed = sum(transcript.language == language for transcript in heard)
    return Detection(language, confidence, f"detected {language} in {agreed} of {len(heard)} stretches of speech")
