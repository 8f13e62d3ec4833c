"""Room 6, sync: where each clip starts, and how fast it is played.

`plan` is one pure function over all segments of a window. Backwards it finds how late each clip may start so that all
after it still fit; forwards it places one after another, taking the gentlest of these that suffices:

1. at its original start, at a natural tempo, borrowing from the pause that follows;
2. up to `start_slack_s` early, and faster, up to `max_tempo`;
3. ending late, so that the next one starts up to `start_slack_s` late, and earlier still, into the pause before it;
4. ending later than that: the next one is late, and takes it back from later pauses.

Only when the window is too short for all its clips at `max_tempo` does the limit rise, for all clips of the window
alike: nothing is ever cut, laid over another clip, or placed outside the window. A fifth way, to translate shorter,
belongs to another room. The plan does not listen: it stretches a clip's inner pauses as it does its words.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from configs.pipeline import SyncSettings
from models.segment import Segment, Span
from serve_app.jobs.report import Report
from serve_app.media import audio

STAGE = "audio_sync"


@dataclass(frozen=True, slots=True)
class Placement:
    """A clip of `seconds` as spoken, played `tempo` times as fast from `place`, in seconds of the video."""

    place: float
    tempo: float
    seconds: float

    @property
    def end(self) -> float:
        return self.place + self.seconds / self.tempo


def plan(spoken: Sequence[tuple[Span, float]], window: Span, settings: SyncSettings) -> list[Placement]:
    """One placement for each (original span, seconds of its clip), ascending by start.

    Ascending and without overlap; every one lies inside `window`, whatever was asked.
    """
    if not spoken:
        return []
    total = sum(seconds for _, seconds in spoken)
    pause = min(settings.keep_pause_s, 0.2 * window.duration / len(spoken))
    limit = max(settings.max_tempo, total / (window.duration - pause * (len(spoken) - 1)))
    latest = _latest_starts([seconds for _, seconds in spoken], window.end, pause, limit)
    placements: list[Placement] = []
    for index, (span, seconds) in enumerate(spoken):
        earliest = placements[-1].end + pause if placements else window.start
        must_end = latest[index + 1] - pause if index + 1 < len(spoken) else window.end
        wish = min(spoken[index + 1][0].start - pause, must_end) if index + 1 < len(spoken) else window.end
        bounds = _Bounds(earliest, latest[index], max(wish, span.start), must_end, limit)
        placements.append(_placed(span, seconds, bounds, settings))
    return placements


def _latest_starts(seconds: list[float], end: float, pause: float, tempo: float) -> list[float]:
    """How late each clip may start if it and all after it are played at `tempo` and end by `end`."""
    starts = []
    for length in reversed(seconds):
        starts.append(end - length / tempo)
        end = starts[-1] - pause
    return starts[::-1]


@dataclass(frozen=True, slots=True)
class _Bounds:
    earliest: float  # the clip before has ended, and a pause
    latest: float  # else the rest of the window does not fit
    wish: float  # ending here, the next clip is not moved
    must_end: float  # ending here, the rest of the window still fits
    limit: float  # the fastest tempo


def _placed(span: Span, seconds: float, bounds: _Bounds, settings: SyncSettings) -> Placement:
    slack = settings.start_slack_s
    start = max(min(span.start, bounds.latest), bounds.earliest)
    tempo = _natural(span.end - start, seconds, settings)
    if start + seconds / tempo > bounds.wish:
        start = min(start, max(bounds.earliest, start - slack, bounds.wish - seconds / settings.natural_tempo))
        tempo = _between(seconds, bounds.wish - start, tempo, bounds.limit)
    if start + seconds / tempo > bounds.wish:
        goal = min(bounds.wish + slack, bounds.must_end)
        start = min(start, max(bounds.earliest, goal - seconds / tempo))
    if start + seconds / tempo > bounds.must_end:
        tempo = seconds / (bounds.must_end - start)
    return Placement(start, tempo, seconds)


def _natural(room: float, seconds: float, settings: SyncSettings) -> float:
    """1.0 where the clip ends near enough to its original's end; else a natural tempo that brings it nearer."""
    slack = 0.9 * settings.end_slack_s
    if seconds < room - slack:
        return max(settings.min_tempo, seconds / (room - slack))
    return _between(seconds, room + slack, 1.0, settings.natural_tempo)


def _between(seconds: float, room: float, low: float, high: float) -> float:
    """The tempo at which `seconds` fill `room`, kept between `low` and `high`."""
    return min(high, max(low, seconds / room)) if room > 0 else high


async def sync(
    segments: list[Segment], *, window: Span, folder: Path, settings: SyncSettings, report: Report
) -> list[Segment]:
    """The segments with `place`, `tempo` and `dub` (folder/<id>.dub.wav); all None where nothing was spoken.

    Raises StageFailed when a clip cannot be stretched.
    """
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    spoken = sorted((s for s in segments if s.speech and s.spoken), key=lambda segment: segment.start)
    placements = plan([(Span(s.start, s.end), s.spoken or 0.0) for s in spoken], window, settings)
    placed = {segment.id: placement for segment, placement in zip(spoken, placements, strict=True)}
    done = []
    for segment in segments:
        done.append(await _laid(segment, placed.get(segment.id), folder, settings))
        report.advance(STAGE, segment.duration)
    _tell([segment for segment in done if segment.place is not None], settings, report)
    return done


async def _laid(segment: Segment, placement: Placement | None, folder: Path, settings: SyncSettings) -> Segment:
    if placement is None or segment.speech is None:
        return replace(segment, place=None, tempo=None, dub=None)
    dub = folder / f"{segment.id}.dub.wav"
    await asyncio.to_thread(_render, Path(segment.speech), dub, placement, settings.fade_s)
    return replace(segment, place=placement.place, tempo=placement.tempo, dub=str(dub))


def _render(speech: Path, dub: Path, placement: Placement, fade_s: float) -> None:
    """Writes the clip as it is laid on the track: stretched, exactly as long as planned, faded."""
    sound, rate = audio.read(speech)
    length = int((placement.end - placement.place) * rate)
    stretched = audio.fit(audio.stretch(sound, rate, placement.tempo), length)
    audio.write(dub, audio.fade(stretched, rate, fade_s), rate)


def _tell(placed: list[Segment], settings: SyncSettings, report: Report) -> None:
    """One line on the window, and one for each clip that had to be played faster than it should be."""
    if not placed:
        return
    tempos = [segment.tempo or 1.0 for segment in placed]
    moved = sum(abs((s.place or 0.0) - s.start) > settings.start_slack_s + 1e-6 for s in placed)
    summary = f"{len(placed)} clips placed, mean tempo {sum(tempos) / len(tempos):.2f}"
    report.log(STAGE, f"{summary}, {moved} moved by more than {1000 * settings.start_slack_s:.0f} ms", "debug")
    for segment, tempo in zip(placed, tempos, strict=True):
        if tempo > settings.max_tempo + 1e-6:
            where = f"Segment {segment.id} at {segment.start:.1f} s"
            message = f"{where} is played at {tempo:.2f} times its speed: its translation is too long for the time"
            report.log(STAGE, message, "warning", chunk_id=str(segment.id), tempo=tempo)
