"""How good the dub came out: measured on what was made, or left unknown; never assumed.

Percentages are 0–100. lip_sync: share of segments that start and end within the slack that the settings of sync allow.
translation: share of segments whose final text passes every check. voice: share of segments that were spoken, at a
natural tempo, times one if the output's loudness and peak are within bounds and half if they are not. spoken: share of
segments with something to say that were spoken. tempo: share of spoken segments played no faster than the greatest
tempo. coverage: share of detected speech, in seconds, that became segments. understood: share of the dub's words that a
recogniser heard in it, where it was asked.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from configs.pipeline import PipelineSettings
from models.segment import Segment
from models.tts.plausible import sayable
from serve_app.jobs.job import Quality
from serve_app.jobs.report import Report
from serve_app.media.probe import Source
from serve_app.stages.mux import Mixed

LOUDNESS_TOLERANCE_LU = 1.0


def measure(segments: Sequence[Segment], source: Source, mixed: Mixed, settings: PipelineSettings) -> Quality:
    """What is measured on the segments that were to be dubbed, and on the output."""
    tempos = [s.tempo for s in segments if s.tempo is not None]
    frame = 1 / source.frame_rate if source.frame_rate else 0.05
    return Quality(
        lip_sync=share(in_time(s, settings) for s in segments),
        voice=voice(segments, mixed, settings),
        translation=share(bool(s.translation) and not s.flags for s in segments),
        duration_match=abs(mixed.duration - source.duration) <= frame + 1e-3,
        lufs=mixed.lufs,
        mean_tempo=sum(tempos) / len(tempos) if tempos else None,
        condensed=sum(s.condensed for s in segments),
        spoken=share(s.speech is not None for s in segments if sayable(s.translation or s.text)),
        tempo=share(tempo <= settings.sync.max_tempo + 1e-3 for tempo in tempos),
        understood=understood(segments),
    )


def share(outcomes: Any) -> float | None:
    """Percentage of true outcomes; None when there are none."""
    judged = list(outcomes)
    return 100 * sum(judged) / len(judged) if judged else None


def understood(segments: Sequence[Segment]) -> float | None:
    """Percentage over all words; None when nobody listened."""
    heard = [(s.understood, len(s.translation or "")) for s in segments if s.understood is not None]
    letters = sum(length for _, length in heard)
    return 100 * sum(match * length for match, length in heard) / letters if letters else None


def end_of_dub(segment: Segment) -> float | None:
    if segment.place is None or segment.spoken is None:
        return None
    return segment.place + segment.spoken / (segment.tempo or 1.0)


def in_time(segment: Segment, settings: PipelineSettings) -> bool:
    end = end_of_dub(segment)
    if segment.place is None or end is None:
        return False
    starts = abs(segment.place - segment.start) <= settings.sync.start_slack_s + 1e-3
    return starts and abs(end - segment.end) <= settings.sync.end_slack_s + 1e-3


def voice(segments: Sequence[Segment], mixed: Mixed, settings: PipelineSettings) -> float | None:
    natural = share(s.tempo is not None and s.tempo <= settings.sync.natural_tempo + 1e-3 for s in segments)
    if natural is None:
        return None
    loud = mixed.lufs is not None and abs(mixed.lufs - settings.mux.lufs) <= LOUDNESS_TOLERANCE_LU
    clean = mixed.true_peak_db is not None and mixed.true_peak_db <= settings.mux.peak_db + 0.5
    return natural if loud and clean else natural / 2


def tell(
    report: Report, segments: Sequence[Segment], dubbed: Sequence[Segment], quality: Quality, into: str = ""
) -> None:
    """The insight that every finished job has: what was measured on it. `into` names the language where it must."""
    said, flagged = sum(s.dub is not None for s in dubbed), sum(bool(s.flags) for s in dubbed)
    title = f"{said} of {len(dubbed)} segments dubbed" if dubbed else f"{len(segments)} segments subtitled"
    title += f" ({into})" if into else ""
    if quality.lip_sync is None:
        finding = "The languages are the same, so the original sound stays."
    else:
        finding = (
            f"{quality.lip_sync:.0f} % in time; {flagged} with an open translation check; "
            f"{quality.condensed} shortened to fit; {quality.faults} with a fault."
        )
    clean = not quality.faults
    report.insight("success" if clean else "warning", title, finding, "medium" if clean else "high", **asdict(quality))
    report.log("video_combination", f"Finished: {title}. {finding}", level="success")
