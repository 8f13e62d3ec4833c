"""How good the dub of one target came out: measured, held against the bounds, and written into its report."""

from collections.abc import Sequence
from dataclasses import replace

from models.errors import BelowQuality
from models.segment import Segment
from serve_app.film import Film
from serve_app.gates import coverage, faults, gates, judge
from serve_app.jobs.job import Quality, Request
from serve_app.jobs.workspace import Artifacts, write_atomically, write_json
from serve_app.pages.quality import page
from serve_app.quality import measure, tell
from serve_app.quality_report import report_json
from serve_app.stages.mux import Mixed


def verdict(
    film: Film, request: Request, files: Artifacts, segments: Sequence[Segment], dubbed: list[Segment], mixed: Mixed
) -> tuple[Quality, BelowQuality | None]:
    """The figures, and why the dub is not good enough to be delivered, if it is not: then too it has its report.

    `dubbed` are those of the `segments` that are to be spoken. Blocks.
    """
    rules, report = film.settings.pipeline, film.report
    covered, missed = coverage(film.speech, segments)
    found = faults(dubbed, missed, rules)
    amiss = {(fault.segment, fault.start) for fault in found if not fault.mended}
    quality = measure(dubbed, film.source, mixed, rules)
    quality = replace(quality, coverage=covered, faults=len(amiss))
    tell(report, segments, dubbed, quality, into=request.target_lang if request.also else "")
    checked, refused = gates(quality, rules.quality), None
    try:
        judge(checked, rules.quality, report)
    except BelowQuality as error:
        refused = error
    facts = report_json(request, film.source, film.language, segments, mixed, quality, found, checked, report)
    write_json(files.report, facts)
    write_atomically(files.report_page, page(facts).encode())
    return quality, refused
