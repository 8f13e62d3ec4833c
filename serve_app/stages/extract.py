"""Room 2, audio_extraction: the sound that the recogniser hears, 16 kHz mono, sample 0 at video time 0.

One track only: several tracks in one WAV are an error, and the wrong one is worse. The full-rate original is not
copied; mux reads it from the source again, which costs a second pass and saves ten gigabytes on a long film.

A damaged track is decoded as far as it goes, with silence for what is lost. ffmpeg's closing statistics say how many
packets went into the decoder and how many frames came out; when that is less than half, the job ends here with an
honest word instead of a dubbing of scraps. Garbage that decodes without an error is not noticed.
"""

import asyncio
import re
from pathlib import Path

from configs.pipeline import ExtractSettings
from models.errors import StageFailed, UnreadableMedia
from models.segment import RECOGNITION_RATE
from serve_app.jobs.report import Report
from serve_app.media import ffmpeg
from serve_app.media.probe import Source
from serve_app.media.track import sound

STAGE = "audio_extraction"
ENOUGH = 0.5  # of the packets have to decode


async def extract(source: Source, out: Path, settings: ExtractSettings, stall_s: float, report: Report) -> Path:
    """Writes the chosen track as 16-bit WAV to `out`, whole or not at all.

    Raises UnreadableMedia when hardly anything decodes, OutOfSpace, and StageFailed after the last try.
    """
    for attempt in range(1, settings.tries + 1):
        try:
            return await _decode(source, out, stall_s, report)
        except StageFailed as failure:
            if not failure.transient or attempt == settings.tries:
                raise
            report.log(STAGE, f"Reading the sound failed, using try {attempt + 1} of {settings.tries}", "warning")
            await asyncio.sleep(settings.backoff_s * 2 ** (attempt - 1))
    raise AssertionError("unreachable: the last try returns or raises")


async def _decode(source: Source, out: Path, stall_s: float, report: Report) -> Path:
    decoded = _Decoded(source.audio_index)
    form = ["-ac", "1", "-c:a", "pcm_s16le", "-f", "wav", "-rf64", "auto"]
    with ffmpeg.whole(out) as draft:
        try:
            await ffmpeg.run(
                [*sound(source, RECOGNITION_RATE), *form, ffmpeg.file_url(draft)],
                stage=STAGE,
                stall_s=stall_s,
                duration=source.duration,
                on_progress=lambda fraction: report.fraction(STAGE, fraction),
                on_log=decoded.hear,
                verbosity="verbose",
            )
        except StageFailed as failure:
            raise failure if failure.transient else _damaged() from failure
        _check(decoded, report)
    return out


class _Decoded:
    """Reads the decoder's closing statistics from ffmpeg's log."""

    def __init__(self, index: int) -> None:
        numbers = r"(\d+) packets.* (\d+) frames decoded; (\d+) decode errors"
        self._line = re.compile(rf"stream #0:{index} \(audio\): {numbers}")
        self.packets = self.frames = self.errors = 0

    def hear(self, line: str) -> None:
        if found := self._line.search(line):
            self.packets, self.frames, self.errors = (int(number) for number in found.groups())


def _check(decoded: _Decoded, report: Report) -> None:
    if decoded.frames < ENOUGH * decoded.packets or not decoded.frames:
        raise _damaged()
    if decoded.errors:
        share = min(1.0, decoded.frames / decoded.packets)
        message = f"The audio track is damaged in {decoded.errors} places, using the {share:.0%} that can be decoded"
        report.log(STAGE, message, "warning", decode_errors=decoded.errors)


def _damaged() -> UnreadableMedia:
    return UnreadableMedia("the audio track is damaged and hardly any of it can be played; upload the video again")
