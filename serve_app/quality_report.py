"""How the report of a finished job is filled: from what was measured, into `report_schema`."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from models.segment import Segment
from serve_app.gates import Fault, Gate
from serve_app.jobs.job import Quality, Request
from serve_app.jobs.report import Report
from serve_app.media.probe import Source
from serve_app.quality import end_of_dub
from serve_app.report_schema import (
    CONTRACT,
    FaultRow,
    Figures,
    GateRow,
    Input,
    InsightRow,
    LogRow,
    Output,
    QualityReport,
    SegmentRow,
)
from serve_app.stages.mux import Mixed


def report_json(
    request: Request,
    source: Source,
    language: str,
    segments: Sequence[Segment],
    mixed: Mixed,
    quality: Quality,
    found: Sequence[Fault],
    checked: Sequence[Gate],
    report: Report,
) -> dict[str, Any]:
    """The report of a job, as JSON knows it."""
    return QualityReport(
        job=request.job_id,
        title=request.title,
        input=Input(**{**asdict(source), "path": Path(source.path).name}),
        source_language=language,
        target_language=request.target_lang,
        segments=[segment_row(segment) for segment in segments],
        stage_seconds={stage: round(seconds, 3) for stage, seconds in report.stage_seconds().items()},
        output=Output(**asdict(mixed)),
        quality=figures(quality),
        gates=[GateRow(**asdict(gate), passed=gate.passed) for gate in checked],
        faults=[FaultRow(**asdict(fault)) for fault in found],
        log=[LogRow(**asdict(line)) for line in report.lines()],
        insights=[InsightRow(**asdict(insight)) for insight in report.insights()],
    ).model_dump()


def segment_row(segment: Segment) -> SegmentRow:
    fields = asdict(segment)
    for inner in ("words", "speech", "dub"):
        del fields[inner]
    engine = segment.voice.partition(":")[0] if segment.voice else None
    return SegmentRow(**fields, engine=engine, dub_end=end_of_dub(segment), spoken_at_all=segment.speech is not None)


def figures(quality: Quality) -> Figures:
    measured = asdict(quality)
    return Figures(**measured, **{name: measured[ours] for name, ours in CONTRACT.items()})
