"""The chosen sound track of a film, as ffmpeg reads it."""

from serve_app.media import ffmpeg
from serve_app.media.probe import Source

LEAD_S = 5.0
"""Before a place that is sought in the sound."""


def sound(source: Source, rate: int) -> list[str]:
    """Arguments for ffmpeg that read the chosen track at `rate` Hz: sample 0 lies at video time 0, gaps are silent.

    Errors of the decoder are passed over: what cannot be decoded is a gap. Where time 0 lies far inside the file, which
    is so for a part of a film, it is sought.
    """
    before = source.origin - LEAD_S if source.origin > 2 * LEAD_S else 0.0
    shift = f"asetpts=PTS-({source.origin - before:.6f})/TB"
    fill = f"aresample={rate}:async=1:first_pts=0,atrim=end={source.duration:.6f}"
    seek = ["-ss", f"{before:.6f}"] if before else []
    file = ffmpeg.source(source.path, *seek, formats=source.container)
    return ["-max_error_rate", "1", *file, "-map", f"0:{source.audio_index}", "-af", f"{shift},{fill}"]
