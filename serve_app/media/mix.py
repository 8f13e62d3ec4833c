"""The mix: the original, ducked out under speech, with the dub on top; a stream, so that memory stays flat for hours.

Where the original is gone its room stays: noise of the same colour takes its place (`roomtone`).

It is numpy and no filter graph, because a graph with a branch for each of a thousand sentences takes ffmpeg minutes and
gigabytes. The sound is stereo float at half its level: dub and original may touch full scale, and a FLAC file would
clip there. A mono clip is laid on both channels 3 dB lower, which keeps its loudness.

Under speech the original is gone, music included, unless a separation engine has taken the music from the voices: then
it lies there at a share of its level (`music`). As much as is left of it, so much less of the room is made up.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing

import numpy as np
import soundfile
from numpy.typing import NDArray

from models.segment import Audio, Segment, Span
from serve_app.media import audio, ffmpeg
from serve_app.media.ffmpeg import Samples
from serve_app.media.music import Music, Piece
from serve_app.media.probe import Source
from serve_app.media.roomtone import RoomTone
from serve_app.media.track import sound

HEADROOM = 0.5  # what the mix is multiplied with
CHANNELS = 2
CHUNK_S = 1.0
SPREAD = np.float32(np.sqrt(0.5))  # one channel on two loudspeakers


async def mixed(
    source: Source,
    segments: Sequence[Segment],
    *,
    rate: int,
    fade_s: float,
    stage: str,
    stall_s: float,
    music: Sequence[Piece] = (),
    share: float = 0.0,
) -> AsyncGenerator[bytes, None]:
    """The mix as interleaved stereo float32, exactly as many samples as the video is long.

    `share` is how much of the level of the `music` stays under the dub. Raises like ffmpeg.pcm.
    """
    total, at = round(source.duration * rate), 0
    mixer = await asyncio.to_thread(Mixer, segments, rate, fade_s, music, share)
    original = ffmpeg.pcm(
        sound(source, rate), stage=stage, stall_s=stall_s, rate=rate, channels=CHANNELS, chunk_s=CHUNK_S
    )
    async with aclosing(original) as chunks:
        async for chunk in chunks:
            yield (await asyncio.to_thread(mixer.mix, chunk[: total - at], at)).tobytes()
            at += len(chunk)
            if at >= total:
                break
    while at < total:
        silence = np.zeros((min(round(CHUNK_S * rate), total - at), CHANNELS), np.float32)
        yield (await asyncio.to_thread(mixer.mix, silence, at)).tobytes()
        at += len(silence)


class Mixer:
    """Lays dubs over chunks that come in order. Holds only the clips that the current chunk touches."""

    def __init__(
        self,
        segments: Iterable[Segment],
        rate: int,
        fade_s: float,
        music: Sequence[Piece] = (),
        share: float = 0.0,
    ) -> None:
        self._rate = rate
        self._room = RoomTone(rate, CHANNELS)
        self._music, self._share = Music(music, rate), np.float32(share)
        spoken = [s for s in segments if s.text or s.dub]
        self._gain = envelope([span for s in spoken for span in _spans(s)], fade_s)
        self._waiting = sorted((s for s in spoken if s.dub), key=_place, reverse=True)
        self._playing: list[tuple[int, Audio]] = []

    def mix(self, original: Samples, at: int) -> Samples:
        """`original` (samples, 2), whose first sample is number `at` of the video, with the dub."""
        end = at + len(original)
        times = np.arange(at, end) / self._rate
        gain = np.interp(times, *self._gain).astype(np.float32)[:, None]
        self._room.hear(original)
        out = original * gain
        if gain.min() < 1:
            music, there = self._music.take(at, len(original))
            out += music * self._share * (1 - gain)
            left = gain + there * self._share * (1 - gain)
            out += self._room.make(len(original)) * np.sqrt(1 - left**2)
        self._load(end)
        for start, clip in self._playing:
            low, high = max(at, start), min(end, start + len(clip))
            if low < high:
                out[low - at : high - at] += clip[low - start : high - start, None] * SPREAD
        self._playing = [(start, clip) for start, clip in self._playing if start + len(clip) > end]
        return np.asarray(out * HEADROOM, np.float32)

    def _load(self, end: int) -> None:
        while self._waiting and round(_place(self._waiting[-1]) * self._rate) < end:
            segment = self._waiting.pop()
            clip, rate = audio.read(str(segment.dub))
            self._playing.append((round(_place(segment) * self._rate), audio.resample(clip, rate, self._rate)))


def ducked(segments: Iterable[Segment], fade_s: float) -> list[Span]:
    """Where some of the original is missing, fades included, in seconds; the spans may overlap. Reads files; blocks."""
    spans = [span for s in segments if s.text or s.dub for span in _spans(s)]
    return [Span(span.start - fade_s, span.end + fade_s) for span in _merged(spans, 2 * fade_s)]


def envelope(spans: Iterable[Span], fade_s: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Times and gains for np.interp: 0 within each span, 1 outside, fading over `fade_s` before and after.

    Spans nearer than two fades are one, so that the original does not pump up between two words.
    """
    times, gains = [-1.0 - fade_s], [1.0]
    for span in _merged(spans, 2 * fade_s):
        times += [span.start - fade_s, span.start, span.end, span.end + fade_s]
        gains += [1.0, 0.0, 0.0, 1.0]
    return np.maximum.accumulate(np.array(times)), np.array(gains)


def _merged(spans: Iterable[Span], gap: float) -> list[Span]:
    result: list[Span] = []
    for span in sorted(spans, key=lambda span: span.start):
        if result and span.start <= result[-1].end + gap:
            result[-1] = Span(result[-1].start, max(result[-1].end, span.end))
        else:
            result.append(span)
    return result


def _place(segment: Segment) -> float:
    return segment.start if segment.place is None else segment.place


def _spans(segment: Segment) -> list[Span]:
    """Where the original must be gone: where it spoke, and where the dub does."""
    spans = [Span(segment.start - segment.lead, segment.end + segment.trail)]
    if segment.dub:
        start = _place(segment)
        spans.append(Span(start, start + float(soundfile.info(segment.dub).duration)))
    return spans
