"""Loudness of whole files, measured by ffmpeg's ebur128 filter while they are written or read (ITU-R BS.1770).

To look for peaks between the samples takes three times as long as all the rest of it, so only the output is measured
in this way. A file without anything above −70 LUFS has no loudness.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from serve_app.media import ffmpeg

SILENCE_LUFS = -70.0
"""Up to here there is no loudness."""

FILTER = "ebur128=peak=sample:framelog=quiet"

OUTPUT = "ebur128=peak=true:framelog=info"
"""With true peaks, and ten lines a second with the loudness of the last three seconds."""

_SHORT_TERM = re.compile(r"\bt: *([\d.]+) .* S: *(-?[\d.]+) ")
_NUMBER = re.compile(r"^(I|Peak):\s+(-?[\d.]+|-?inf|-?nan) (?:LUFS|dBFS)$")


@dataclass(frozen=True, slots=True)
class Loudness:
    """Integrated loudness in LUFS, and the highest peak in dB: of the samples, or the true one; None for silence.

    `curve` is the LUFS of three seconds at the end of each second, and nothing where it was not asked for.
    """

    lufs: float | None = None
    peak_db: float | None = None
    curve: tuple[float, ...] = ()


class Meter:
    """Reads the filter's summary from ffmpeg's log, which has to be at verbosity info."""

    def __init__(self) -> None:
        self._found: dict[str, float | None] = {}
        self._summary = False
        self._curve: list[float] = []

    def hear(self, line: str) -> None:
        if (moment := _SHORT_TERM.search(line)) and float(moment[1]) >= len(self._curve) + 0.95:
            self._curve.append(max(SILENCE_LUFS, float(moment[2])))
        self._summary = self._summary or line.endswith("Summary:")
        if self._summary and (found := _NUMBER.match(line)):
            value = float(found[2])
            self._found[found[1]] = value if value > SILENCE_LUFS and value != float("inf") else None

    @property
    def loudness(self) -> Loudness:
        return Loudness(self._found.get("I"), self._found.get("Peak"), tuple(self._curve))


async def measure(
    args: Sequence[str], *, stage: str, stall_s: float, before: str = "", output: bool = False
) -> Loudness:
    """Loudness of what the input arguments `args` select, after the filters `before`; of an `output` all of it.

    Raises like ffmpeg.run.
    """
    meter, listening = Meter(), OUTPUT if output else FILTER
    chain = f"{before},{listening}" if before else listening
    command = [*args, "-af", chain, "-f", "null", "-"]
    await ffmpeg.run(command, stage=stage, stall_s=stall_s, on_log=meter.hear, verbosity="info")
    return meter.loudness
