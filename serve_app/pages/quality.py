"""The quality report of a job as a page for people, made from its JSON.

One line of the timeline is a minute of film: the original's sentences, below them the dub's in the colour of their
tempo, and below these the loudness of the output. It is plain HTML with drawings in it: no script, nothing is fetched,
so the file can be kept, mailed and opened anywhere. All texts come from films and are escaped.
"""

from collections.abc import Iterator
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from configs.pipeline import STAGES

LINE_S = 60.0
WIDTH, HEIGHT, CURVE = 1000.0, 84.0, 40.0
"""Of one line of the timeline, in units of the drawing; the loudness has the lower part of it."""

LOUDEST, QUIETEST = -10.0, -50.0
"""LUFS at the upper and the lower edge."""

PACES = (
    (0.995, "slow", "slower than spoken"),
    (1.1, "own", "up to 1.10"),
    (1.2, "brisk", "up to 1.20"),
    (1.35, "fast", "up to 1.35"),
    (float("inf"), "rushed", "faster"),
)
"""Tempos up to here, the colour's name, and its words."""

_pages = Environment(
    loader=PackageLoader("serve_app.pages", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)


def page(report: dict[str, Any]) -> str:
    """HTML of a report as `report_schema` has it."""
    lines = list(timeline(report["segments"], report["output"].get("loudness", ()), report["output"]["duration"]))
    stages = [(stage, report["stage_seconds"][stage]) for stage in STAGES if stage in report["stage_seconds"]]
    facts = {
        "report": report,
        "stages": stages,
        "lines": lines,
        "width": WIDTH,
        "height": HEIGHT,
        "paces": [p[1:] for p in PACES],
    }
    return _pages.get_template("quality.html.j2").render(
        facts, clock=clock, percent=percent, minus=minus, remarks=remarks, seconds=sum(spent for _, spent in stages)
    )


def percent(value: float | None) -> int | None:
    return None if value is None else round(value)


def minus(value: float | None) -> str | None:
    """With the sign that figures have in print."""
    return None if value is None else str(value).replace("-", "−")


def remarks(segment: dict[str, Any]) -> list[str]:
    """What is to be said of a sentence beside its figures; a report of an earlier release says less."""
    heard = segment.get("understood")
    return [
        *segment["flags"],
        *(["said in fewer words"] if segment.get("condensed") else []),
        *segment.get("retries", ()),
        *([] if heard is None else [f"{heard:.0%} of its words recognised"]),
    ]


def timeline(segments: list[dict[str, Any]], loudness: Any, duration: float) -> Iterator[dict[str, Any]]:
    """What is drawn in each line; a sentence that crosses its end goes on in the next. A short film fills its line."""
    start, line_s = 0.0, min(LINE_S, duration)
    while start < duration:
        end = min(duration, start + LINE_S)
        spoken = [s for s in segments if s["place"] is not None]
        yield {
            "start": start,
            "ends": round((end - start) / line_s * WIDTH, 1),
            "heard": list(_bars(((s, s["start"], s["end"]) for s in segments), start, end, WIDTH / line_s)),
            "dubbed": list(_bars(((s, s["place"], s["dub_end"]) for s in spoken), start, end, WIDTH / line_s)),
            "loudness": _curve(loudness[round(start) : round(end)], WIDTH / line_s),
        }
        start += LINE_S


def _bars(spans: Any, start: float, end: float, scale: float) -> Iterator[dict[str, Any]]:
    for segment, first, last in spans:
        low, high = max(first, start), min(last, end)
        if high > low:
            x, width = ((value * scale) for value in (low - start, high - low))
            yield {"segment": segment, "x": round(x, 1), "width": round(width, 1), "pace": pace(segment["tempo"])}


def pace(tempo: float | None) -> str:
    """The name of a tempo's colour."""
    return next(name for limit, name, _ in PACES if (tempo or 1.0) <= limit + 1e-3)


def _curve(loudness: Any, scale: float) -> str:
    """Points of a line, each at the end of its second."""
    shares = (min(1.0, max(0.0, (value - QUIETEST) / (LOUDEST - QUIETEST))) for value in loudness)
    return " ".join(f"{(i + 1) * scale:.1f},{HEIGHT - CURVE * share:.1f}" for i, share in enumerate(shares))


def clock(seconds: float | None) -> str:
    """Minutes and seconds, with hours where there are any; a dash for None."""
    if seconds is None:
        return "–"
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02}:{rest:04.1f}" if hours else f"{minutes}:{rest:04.1f}"
