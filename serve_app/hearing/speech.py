"""Where is speech? Listens to the 16 kHz WAV of a job in blocks, and reads pieces of it for whoever wants to hear them.

The file is never held whole, so memory is the same for a clip and for fifteen hours. A word on the border of two blocks
is whole in one of them, since they overlap. Speech without a pause is cut at its quietest point: no later room has to
cut a word. What the detector misses altogether is lost.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import numpy as np
import soundfile

from models.errors import NoSpeech
from models.segment import RECOGNITION_RATE, Audio, Clip, Span

OVERLAP_S = 1.0
"""Blocks overlap by this much."""

BLOCK_S = 60.0

MAX_SPAN_S = 29.0
"""Longer speech without a pause is cut."""

Detect = Callable[[Clip], Awaitable[list[Span]]]


async def listen(
    wav: Path,
    detect: Detect,
    block_s: float = BLOCK_S,
    max_span_s: float = MAX_SPAN_S,
    heard: Callable[[float], None] | None = None,
) -> list[Span]:
    """Spans of speech in the whole file, ascending, without overlap, each at most `max_span_s` seconds.

    `heard` is told the share of the file, 0–1, after each block. Raises NoSpeech when there are no spans.
    """
    length = await asyncio.to_thread(duration, wav)
    spans: list[Span] = []
    start = 0.0
    while start < length:
        clip = await asyncio.to_thread(read, wav, Span(max(0.0, start - OVERLAP_S), start + block_s))
        _unite(spans, await detect(clip))
        start += block_s
        if heard:
            heard(min(1.0, start / length))
    if not spans:
        raise NoSpeech("no speech was found in the audio track; check that somebody speaks in it")
    return await asyncio.to_thread(lambda: [part for span in spans for part in _parted(wav, span, max_span_s)])


def _unite(spans: list[Span], found: list[Span]) -> None:
    """Adds `found`, which may only reach into the last of `spans`; those that overlap or touch become one."""
    for span in found:
        while spans and span.start <= spans[-1].end:
            last = spans.pop()
            span = Span(min(last.start, span.start), max(last.end, span.end))
        spans.append(span)


def _parted(wav: Path, span: Span, max_s: float) -> Iterator[Span]:
    """The span in parts of at most `max_s`, each cut at the quietest point of the second half of what fits."""
    start = span.start
    while span.end - start > max_s:
        tail = read(wav, Span(start + max_s / 2, start + max_s))
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


def duration(wav: Path) -> float:
    """Seconds of sound in the file."""
    return float(soundfile.info(wav).duration)


def read(wav: Path, span: Span, language: str | None = None) -> Clip:
    """The sound of `span`, as far as the file goes."""
    first = round(span.start * RECOGNITION_RATE)
    with soundfile.SoundFile(wav) as file:
        first = min(first, file.frames)
        file.seek(first)
        audio = file.read(max(0, round(span.end * RECOGNITION_RATE) - first), dtype="float32")
    return Clip(audio, first / RECOGNITION_RATE, language)
