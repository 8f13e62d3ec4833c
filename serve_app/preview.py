"""The early preview: the first seconds of the dub, while the rest of it is still being made.

It is cut from the mix that the whole film will get, with the same subtitles, and brought to the same loudness; only the
pictures are encoded in haste. So it costs a share of what the film does, which is why short films get short ones, and
films of which the dub will be there as soon get none. It ends where nobody speaks, if there is such a place.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from configs.pipeline import PipelineSettings
from models.segment import Segment
from serve_app.jobs.report import Report
from serve_app.quality import end_of_dub
from serve_app.stages.mux import Dub, mux

log = logging.getLogger(__name__)


def length(segments: Sequence[Segment], duration: float, ready: float, settings: PipelineSettings) -> float | None:
    """Seconds that a preview of a film of `duration` shows when it is dubbed up to `ready`; None: it gets none."""
    rules = settings.preview
    most = min(rules.seconds, ready)
    if not rules.enabled or most < rules.min_s or duration < 2 * rules.min_s:
        return None
    wished = min(most, max(rules.min_s, rules.share * duration))
    quiet = [end for end in pauses(segments, rules.tail_s) if rules.min_s <= end <= most]
    return min(quiet, key=lambda end: abs(end - wished), default=wished)


def pauses(segments: Sequence[Segment], tail_s: float) -> list[float]:
    """Where a sentence has been over for `tail_s`, in both languages, and no other one is being said."""
    spans = [
        (min(s.start, s.start if s.place is None else s.place), max(s.end, end_of_dub(s) or 0.0)) for s in segments
    ]
    ends = [end + tail_s for _, end in spans]
    return [at for at in ends if not any(start < at < end for start, end in spans)]


async def preview(dub: Dub, seconds: float, out: Path, work: Path, settings: PipelineSettings) -> None:
    """Writes the first `seconds` of a dub, whose segments and subtitles may end there, to `out`.

    Raises what `mux` raises.
    """
    beginning = replace(dub.source, duration=seconds, picture=min(dub.source.picture, seconds))
    heard = [segment for segment in dub.segments if segment.start < seconds]
    hasty = settings.mux.model_copy(update={"x264_preset": "ultrafast"})
    short = replace(dub, source=beginning, segments=heard, cut=True)
    await mux(short, out, work, hasty, settings.stall_s, Report("preview"))
