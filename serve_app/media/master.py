"""The filters that give a mix its final level: one gain, so that nothing pumps, and a limiter where peaks need one.

It works at four times the rate, since peaks between samples may be 1 dB above the highest of them; AAC adds as much, so
the limit is set that much lower. What the coder makes of it all is known when it has been measured: `corrected`.
"""

from dataclasses import dataclass, replace

from serve_app.media.loudness import SILENCE_LUFS

BETWEEN_DB = 1.0
"""What a true peak may have above the highest sample."""

OVERSHOOT_DB = 1.0
"""What AAC may add to a peak."""

TOLERANCE_LU = 1.0
TOLERANCE_DB = 0.05
"""Peaks are told with one decimal."""


@dataclass(frozen=True, slots=True)
class Master:
    """A gain, and a limiter where there is a ceiling, in dB.

    `lufs` is the loudness that it leads to, None where that is too quiet to tell.
    """

    gain: float
    ceiling: float | None
    lufs: float | None

    def filters(self, rate: int) -> str:
        limited = "" if self.ceiling is None else f",{limiter(self.ceiling, rate)}"
        return f"volume={self.gain:.3f}dB{limited}"

    def corrected(self, lufs: float | None, peak_db: float | None, most_db: float) -> "Master | None":
        """What it should have been, where the output, of this loudness and peak, is not as wanted; else None."""
        off = self.off(lufs)
        over = 0.0 if peak_db is None else max(0.0, peak_db - most_db)
        if abs(off) <= TOLERANCE_LU and over <= TOLERANCE_DB:
            return None
        ceiling = most_db - OVERSHOOT_DB if self.ceiling is None else self.ceiling
        return replace(self, gain=self.gain + off, ceiling=ceiling - over)

    def off(self, lufs: float | None) -> float:
        """How much louder the output should be, in LU; silence is as loud as what can just be measured."""
        return 0.0 if self.lufs is None else self.lufs - (SILENCE_LUFS if lufs is None else lufs)


def limiter(ceiling_db: float, rate: int) -> str:
    """No true peak above the ceiling; the level of all else stays as it is."""
    limiter = f"alimiter=limit={10 ** (ceiling_db / 20):.5f}:level=false:attack=2:release=80:latency=true"
    return f"aresample={4 * rate},{limiter},aresample={rate}"
