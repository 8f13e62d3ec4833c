"""Room 8, video_combination: the dubbed sound and the pictures become one mp4, and the result is measured.

Two passes. The first streams the mix (`media.mix`) into a FLAC file while its loudness is measured; the second
brings it to the wanted loudness with one constant gain, so that nothing pumps, and writes the mp4 (`media.mp4`).
Only where that gain might push peaks over the limit is a limiter put in (`media.master`), and the gain measured again.

The output is written beside its place, and moved there after it was probed and its sound measured, which costs one more
pass. What AAC made louder or quieter than it should be, such as noise up to the highest frequencies, or hard edges, is
written once more with another gain and limit; a copy of the pictures that fails, or comes out with another length, is
done again by encoding, and what a GPU fails to encode by the processor.
"""

import asyncio
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from configs.pipeline import MuxSettings, PrepareSettings, Subtitles
from models.errors import StageFailed, UnreadableMedia
from models.segment import Segment
from serve_app.jobs.report import Report
from serve_app.media import ffmpeg
from serve_app.media.loudness import FILTER, Loudness, Meter, measure
from serve_app.media.master import BETWEEN_DB, OVERSHOOT_DB, TOLERANCE_LU, Master
from serve_app.media.mix import CHANNELS, HEADROOM, mixed
from serve_app.media.mp4 import Plan, choose_encoder, command, copies, lay_out
from serve_app.media.music import Piece
from serve_app.media.probe import Source, probe

STAGE = "video_combination"
MAX_GAIN_DB = 30.0
BROKEN_LU = 6.0  # no coder comes out so far from the wanted loudness
RESTORE_DB = -20 * math.log10(HEADROOM)
SURPLUS_FRAMES, SURPLUS_S = 16, 1.0  # what a cut between copies has too: those kept before one that is shown sooner
MIX_SHARE, FINAL_SHARE = 0.35, 0.9  # of the stage's progress, at the end of each pass

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Dub:
    """What becomes one film: the original of `source` and the dubs of `segments`, with `music` that stays under them.

    Without segments the original sound stays as it is. `subtitles` are an SRT file for a track of its own, or an ASS
    file to be drawn into the pictures, as `mode` says; `language` tags the tracks. With `cut` the film goes on after
    `source.duration`, and the output does not.
    """

    source: Source
    segments: Sequence[Segment]
    subtitles: Path | None = None
    mode: Subtitles = "none"
    language: str = ""
    music: Sequence[Piece] = ()
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Mixed:
    """Measured on the output: seconds, LUFS and dBTP (None for silence), bytes.

    `loudness` is the loudness of three seconds, in LUFS, at the end of each second.
    """

    duration: float
    lufs: float | None
    true_peak_db: float | None
    bytes: int
    loudness: tuple[float, ...] = ()


async def mux(dub: Dub, out: Path, work: Path, settings: MuxSettings, stall_s: float, report: Report) -> Mixed:
    """Writes the film to `out`; `work` is a folder for the mix.

    Raises StageFailed when the output is not what was asked for, OutOfSpace when the disk is full.
    """
    await asyncio.to_thread(work.mkdir, parents=True, exist_ok=True)
    shown = dub.subtitles if dub.mode != "none" else None
    captions = await asyncio.to_thread(lay_out, work, shown, settings.fonts)
    mix, spoken = work / "mix.flac", bool(dub.segments)
    try:
        loudness = await _mix(dub, mix, settings, stall_s, report)
        master = await _master(mix, loudness, spoken, settings, stall_s)
        _explain(master, loudness, spoken, settings, report)
        encoder = await ffmpeg.in_thread(choose_encoder, settings.encoder)
        plan = Plan(dub.source, mix, "", captions, dub.mode, False, encoder, dub.language, settings, dub.cut)
        with ffmpeg.whole(out) as draft:
            result = await _mastered(plan, master, draft, stall_s, report)
    finally:
        mix.unlink(missing_ok=True)
    report.fraction(STAGE, 1.0)
    return result


# -- sound -------------------------------------------------------------------------------------------------------------


async def _mix(dub: Dub, mix: Path, settings: MuxSettings, stall_s: float, report: Report) -> Loudness:
    """Writes the mix at half its level; its loudness as written."""
    meter, rate = Meter(), settings.sample_rate
    sound = mixed(
        dub.source,
        dub.segments,
        rate=rate,
        fade_s=settings.duck_fade_s,
        stage=STAGE,
        stall_s=stall_s,
        music=dub.music,
        share=settings.music,
    )
    read = ["-f", "f32le", "-ar", str(rate), "-ac", str(CHANNELS), "-i", "pipe:0"]
    form = ["-c:a", "flac", "-sample_fmt", "s32", "-compression_level", "3", "-f", "flac"]
    with ffmpeg.whole(mix) as draft:
        await ffmpeg.run(
            [*read, "-af", FILTER, *form, ffmpeg.file_url(draft)],
            stage=STAGE,
            stall_s=stall_s,
            duration=dub.source.duration,
            on_progress=lambda fraction: report.fraction(STAGE, MIX_SHARE * fraction),
            on_log=meter.hear,
            stdin=sound,
            verbosity="info",
        )
    return meter.loudness


async def _master(mix: Path, measured: Loudness, dubbed: bool, settings: MuxSettings, stall_s: float) -> Master:
    gain = RESTORE_DB
    if dubbed and measured.lufs is not None:
        most = RESTORE_DB + MAX_GAIN_DB
        gain = min(most, settings.lufs - measured.lufs)
        if gain == most:
            return Master(gain, settings.peak_db, None)
    ceiling = settings.peak_db - OVERSHOOT_DB
    if measured.peak_db is None or measured.peak_db + BETWEEN_DB + gain <= ceiling:
        return Master(gain, None, None if measured.lufs is None else measured.lufs + gain)
    return await _limited(mix, gain, ceiling, dubbed, settings, stall_s)


async def _limited(
    mix: Path, gain: float, ceiling: float, dubbed: bool, settings: MuxSettings, stall_s: float
) -> Master:
    """With a limiter, which takes loudness away: the gain is corrected twice at most by what is then measured."""
    for attempt in range(3):
        master, read = Master(gain, ceiling, None), ffmpeg.source(mix, formats="flac")
        before = master.filters(settings.sample_rate)
        reached = (await measure(read, stage=STAGE, stall_s=stall_s, before=before)).lufs
        if not dubbed or reached is None or attempt == 2 or abs(reached - settings.lufs) < 0.3:
            break
        gain += settings.lufs - reached
    return replace(master, lufs=reached)


def _explain(master: Master, measured: Loudness, dubbed: bool, settings: MuxSettings, report: Report) -> None:
    if not dubbed or measured.lufs is None:
        return
    if master.lufs is None or abs(master.lufs - settings.lufs) > TOLERANCE_LU:
        report.log(STAGE, f"The wanted loudness of {settings.lufs:g} LUFS is out of reach for this sound", "warning")
    else:
        change = master.lufs - measured.lufs - RESTORE_DB
        report.log(STAGE, f"Using a gain of {change:+.1f} dB to bring the sound to {master.lufs:.1f} LUFS")


# -- the file ----------------------------------------------------------------------------------------------------------


async def _mastered(plan: Plan, master: Master, draft: Path, stall_s: float, report: Report) -> Mixed:
    """Writes the file; once more where its sound is not what it should be. What is not mended by that is told.

    Raises StageFailed for a sound that is quite another.
    """
    settings, rate = plan.settings, plan.settings.sample_rate
    made = await _write(replace(plan, audio_filters=master.filters(rate)), draft, stall_s, report)
    if better := master.corrected(made.lufs, made.true_peak_db, settings.peak_db):
        report.log(STAGE, f"The sound came out {_told(made)}, retrying with another gain")
        made = await _write(replace(plan, audio_filters=better.filters(rate)), draft, stall_s, report)
        if abs(master.off(made.lufs)) > BROKEN_LU:
            raise StageFailed(STAGE, f"the sound came out {_level(made)} instead of {master.lufs:.1f}")
        if master.corrected(made.lufs, made.true_peak_db, settings.peak_db):
            report.log(STAGE, f"The sound came out {_told(made)}, which is not quite what is wanted", "warning")
    return made


def _level(made: Mixed) -> str:
    return "silent" if made.lufs is None else f"at {made.lufs:.1f} LUFS"


def _told(made: Mixed) -> str:
    peaks = "" if made.true_peak_db is None else f", with peaks of {made.true_peak_db:.1f} dBTP"
    return f"{_level(made)}{peaks}"


async def _write(plan: Plan, draft: Path, stall_s: float, report: Report) -> Mixed:
    """Copies the pictures where that will do, else, or where that fails, encodes them; without the GPU if need be."""
    hopeful = []
    if copies(plan):
        hopeful.append((replace(plan, copy=True), "Copying the pictures failed, using a new encoding as fallback"))
    if plan.encoder == "h264_nvenc" and plan.source.video_codec:
        hopeful.append((plan, "Encoding on the GPU failed, using the processor as fallback"))
    for way, complaint in hopeful:
        try:
            return await _attempt(way, draft, stall_s, report)
        except StageFailed as failure:
            report.log(STAGE, complaint, "warning")
            log.warning("%s: %s", complaint, failure)
    certain = replace(plan, encoder="libx264") if plan.encoder == "h264_nvenc" else plan
    return await _attempt(certain, draft, stall_s, report)


async def _attempt(plan: Plan, draft: Path, stall_s: float, report: Report) -> Mixed:
    if plan.source.video_codec:
        report.log(STAGE, "Using the original pictures" if plan.copy else f"Using {plan.encoder} for the pictures")
    missing = _MissingGlyphs()
    await ffmpeg.run(
        command(plan, draft),
        stage=STAGE,
        stall_s=stall_s,
        duration=plan.source.duration,
        on_progress=lambda done: report.fraction(STAGE, MIX_SHARE + (FINAL_SHARE - MIX_SHARE) * done),
        on_log=missing.hear,
        cwd=plan.mix.parent,
    )
    missing.complain(report)
    return await _verify(plan.source, draft, stall_s, _surplus(plan) if plan.copy and plan.cut else 0.0)


def _surplus(plan: Plan) -> float:
    return min(SURPLUS_FRAMES / (plan.source.frame_rate or 20), SURPLUS_S)


class _MissingGlyphs:
    """Hears libass say that no font has a character."""

    def __init__(self) -> None:
        self._codes: set[str] = set()

    def hear(self, line: str) -> None:
        _, said, code = line.partition("failed to find any fallback with glyph ")
        if said:
            self._codes.add(code.split()[0])

    def complain(self, report: Report) -> None:
        if self._codes:
            characters = "".join(chr(int(code, 16)) for code in sorted(self._codes)[:20])
            message = (
                f"No font of this server has these characters of the subtitles: {characters}; install one that does, "
                "such as Noto Sans (for Chinese and Japanese: pip install 'dubserve[cjk]')"
            )
            report.log(STAGE, message, "warning", glyphs=len(self._codes))
            log.warning("%d characters of burnt subtitles are in no font of this machine", len(self._codes))


# -- the result --------------------------------------------------------------------------------------------------------


async def _verify(source: Source, draft: Path, stall_s: float, surplus: float) -> Mixed:
    """Probes the written file, which may last `surplus` seconds longer.

    Raises StageFailed when streams or duration are wrong.
    """
    try:
        made = await asyncio.to_thread(probe, draft, PrepareSettings(max_duration_s=source.duration + 3600))
    except UnreadableMedia as error:
        raise StageFailed(STAGE, "the written video cannot be read back; start the job again") from error
    if (made.video_index is None) != (source.video_index is None) or made.audio_codec != "aac":
        raise StageFailed(STAGE, "the written video lacks pictures or sound; start the job again")
    frame = 1 / (source.frame_rate or 20) + 0.001
    if not -frame <= made.duration - source.duration <= frame + surplus:
        raise StageFailed(STAGE, f"the written video lasts {made.duration:.2f} s instead of {source.duration:.2f} s")
    heard = [*ffmpeg.source(draft, formats=made.container), "-map", "0:a:0"]
    loudness = await measure(heard, stage=STAGE, stall_s=stall_s, output=True)
    return Mixed(made.duration, loudness.lufs, loudness.peak_db, made.size, loudness.curve)
