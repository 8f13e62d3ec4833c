"""What is amiss in a dub, sentence by sentence, and whether the whole of it is good enough to be delivered.

A fault belongs to a segment, or to a stretch of speech that no segment has. What a room could mend is a fault as well,
a `mended` one: who reads the report should know which engine failed where. A gate is a bound on a share of the whole
job. Falling short of one makes warnings; whether it makes a failed job is the operator's to say (`on_failure`).

It does not know what a recogniser left out inside a segment: coverage is measured in time, not in words.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from configs.pipeline import PipelineSettings, QualitySettings
from models.errors import BelowQuality
from models.segment import Segment, Span
from models.tts.plausible import sayable
from serve_app.jobs.job import Quality
from serve_app.jobs.report import Report

STAGE = "video_combination"

PAD_S = 0.4
"""Beyond the words of a segment: detected speech has edges of silence, so that no consonant is lost."""

MISSED_S = 1.0
"""Detected speech without a segment: shorter stretches are breath and noise."""


@dataclass(frozen=True, slots=True)
class Fault:
    """`start` and `end` are seconds of the video; `segment` is None where speech became no text."""

    kind: str
    message: str
    start: float
    end: float
    segment: int | None = None
    mended: bool = False


@dataclass(frozen=True, slots=True)
class Gate:
    """A share in percent, and the least that is wanted; `value` None: there was nothing to measure."""

    name: str
    value: float | None
    wanted: float

    @property
    def passed(self) -> bool:
        return self.value is None or self.value >= self.wanted - 1e-6


def faults(dubbed: Sequence[Segment], missed: Sequence[Span], settings: PipelineSettings) -> list[Fault]:
    """All of them, in the order of the video."""
    found = [
        Fault(kind, message, segment.start, segment.end, segment.id, mended)
        for segment in dubbed
        for kind, message, mended in _of_segment(segment, settings)
    ]
    found += [Fault("unheard", "speech was detected, and none was understood", s.start, s.end) for s in missed]
    return sorted(found, key=lambda fault: fault.start)


def _of_segment(segment: Segment, settings: PipelineSettings) -> Iterator[tuple[str, str, bool]]:
    if segment.retries:
        yield "respoken", "; ".join(segment.retries), segment.speech is not None
    if segment.flags:
        yield "translation", f"its translation fails: {', '.join(segment.flags)}", False
    if sayable(segment.text) and not sayable(segment.translation or ""):
        yield "untranslated", "it has no translation, so nothing is said", False
    elif sayable(segment.translation or "") and segment.speech is None:
        yield "silent", "no engine could say it", False
    if segment.tempo is not None and segment.tempo > settings.sync.max_tempo + 1e-3:
        yield "rushed", f"it is played at {segment.tempo:.2f} times its speed", False
    if segment.place is not None and abs(segment.place - segment.start) > settings.sync.start_slack_s + 1e-3:
        late = segment.place - segment.start
        yield "misplaced", f"it starts {abs(late):.2f} s {'after' if late > 0 else 'before'} the original", False
    if segment.understood is not None and segment.understood < settings.quality.min_match:
        yield "misunderstood", f"{segment.understood:.0%} of its words were recognised", False


def coverage(speech: Sequence[Span], segments: Sequence[Segment]) -> tuple[float | None, list[Span]]:
    """Percent of the seconds of detected speech that lie in segments, and the stretches that lie in none."""
    total = sum(span.duration for span in speech)
    if not total:
        return None, []
    heard = _merged(Span(s.start - PAD_S, s.end + PAD_S) for s in segments)
    missed = [part for span in speech for part in _without(span, heard)]
    return 100 * (1 - sum(part.duration for part in missed) / total), [p for p in missed if p.duration >= MISSED_S]


def _merged(spans: Iterable[Span]) -> list[Span]:
    """The same stretches, ascending and apart."""
    merged: list[Span] = []
    for span in sorted(spans, key=lambda span: span.start):
        if merged and span.start <= merged[-1].end:
            merged[-1] = Span(merged[-1].start, max(merged[-1].end, span.end))
        else:
            merged.append(span)
    return merged


def _without(span: Span, others: Sequence[Span]) -> Iterator[Span]:
    """The parts of `span` that are in none of `others`, which ascend and are apart."""
    at = span.start
    first = bisect_right(others, at, key=lambda other: other.end)
    for index in range(first, len(others)):
        other = others[index]
        if other.start >= span.end:
            break
        if other.start > at:
            yield Span(at, other.start)
        at = other.end
    if at < span.end:
        yield Span(at, span.end)


def gates(quality: Quality, settings: QualitySettings) -> list[Gate]:
    return [
        Gate("spoken", quality.spoken, settings.min_spoken),
        Gate("coverage", quality.coverage, settings.min_coverage),
        Gate("translation", quality.translation, settings.min_translation),
        Gate("lip_sync", quality.lip_sync, settings.min_lip_sync),
        Gate("understood", quality.understood, settings.min_understood),
        Gate("voice", quality.voice, settings.min_voice),
        Gate("tempo", quality.tempo, settings.min_tempo),
    ]


WORDS = {
    "spoken": "of the sentences are spoken",
    "coverage": "of the detected speech became text",
    "translation": "of the translations pass every check",
    "lip_sync": "of the sentences start and end in time",
    "understood": "of the dub's words were recognised in it",
    "voice": "of the sentences are well spoken, at a natural tempo and the wanted loudness",
    "tempo": "of the sentences that are spoken are no faster than they may be",
}


def judge(checked: Sequence[Gate], settings: QualitySettings, report: Report) -> None:
    """Tells which gates were not passed; raises BelowQuality for them where the operator wants that."""
    short = [
        f"{gate.value:.0f} % {WORDS[gate.name]}, and {gate.wanted:.0f} % are wanted"
        for gate in checked
        if gate.value is not None and not gate.passed
    ]
    for message in short:
        report.log(STAGE, f"Below the wanted quality: {message}", "warning")
    if not short:
        return
    report.insight("warning", "Below the wanted quality", "; ".join(short), "high")
    if settings.on_failure == "fail":
        raise BelowQuality(f"the dub is below the wanted quality: {'; '.join(short)}; its report names the sentences")
