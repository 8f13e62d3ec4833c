"""Room 6, sync: each clip to its place in time, stretched to fit.

Where and how fast is decided for all clips between two parts that keep their original sound at once (`isochrony`);
nothing is ever cut, laid over another clip or over such a part. A translation that is too long even so is said in the
report; to say it shorter belongs to another room.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from configs.pipeline import SyncSettings
from models.segment import Segment, Span
from serve_app.isochrony import Placement, plan
from serve_app.jobs.report import Report
from serve_app.media import audio, ffmpeg

STAGE = "audio_sync"


async def sync(
    segments: list[Segment], *, window: Span, folder: Path, settings: SyncSettings, report: Report
) -> list[Segment]:
    """The segments with `place`, `tempo` and `dub` (folder/<id>.dub.wav); all None where nothing was spoken.

    A segment with nothing to say keeps its original sound. Raises StageFailed when a clip cannot be stretched.
    """
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    placed = await asyncio.to_thread(lambda: dict(_placements(segments, window, settings)))
    done = []
    for segment in segments:
        done.append(await _laid(segment, placed.get(segment.id), folder, settings))
        report.advance(STAGE, segment.duration)
    _tell([segment for segment in done if segment.place is not None], settings, report)
    return done


def _placements(segments: Sequence[Segment], window: Span, settings: SyncSettings) -> Iterator[tuple[int, Placement]]:
    """Where each spoken segment goes, by its id."""
    for stretch in _stretches(segments, window):
        inside = [s for s in segments if s.speech and s.spoken and stretch.start <= s.start < stretch.end]
        inside.sort(key=lambda segment: segment.start)
        placements = plan([(Span(s.start, s.end), s.spoken or 0.0) for s in inside], stretch, settings)
        yield from ((segment.id, placement) for segment, placement in zip(inside, placements, strict=True))


def _stretches(segments: Sequence[Segment], window: Span) -> Iterator[Span]:
    """The window between the parts that keep their original sound."""
    at = window.start
    for kept in sorted((s for s in segments if not (s.translation or s.speech)), key=lambda segment: segment.start):
        if kept.start > at:
            yield Span(at, kept.start)
        at = max(at, kept.end)
    if window.end > at:
        yield Span(at, window.end)


async def _laid(segment: Segment, placement: Placement | None, folder: Path, settings: SyncSettings) -> Segment:
    if placement is None or segment.speech is None:
        return replace(segment, place=None, tempo=None, dub=None)
    dub = folder / f"{segment.id}.dub.wav"
    await ffmpeg.in_thread(_render, Path(segment.speech), dub, placement, settings.fade_s)
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
