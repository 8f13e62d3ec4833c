"""Is it a man or a woman? By how high the voice is and how long its throat; unsure is an answer, and a frequent one.

Two measures, because each errs where the other does not. Pitch alone takes an orator who shouts at 260 Hz for a woman,
and a woman with a calm, low voice for nobody. The distance between the resonances of the vocal tract (formants) hardly
changes with effort: a longer tract, as most men have, brings them closer together. Each measure votes between -1 (man)
and 1 (woman), and only a clear sum counts.

Pitch is YIN (de Cheveigné and Kawahara, 2002) on frames of 40 ms at 8 kHz: a period is the first lag at which the frame
hardly differs from itself. Formants are the poles of a linear predictor on frames of 32 ms at 10 kHz. Both are medians
over many frames, a few hundred times faster than the sound. The thresholds were set on adult voices, few of them; a
child counts as a woman, and what a person calls himself is not in the sound.
"""

import numpy as np
from numpy.typing import NDArray

from models.segment import RECOGNITION_RATE, Audio

MIDDLE_HZ, FEMALE_HZ = 162.0, 210.0
"""The pitch that votes for neither, and the one that votes 1; a pitch as far below the middle votes -1."""

MIDDLE_SPACING_HZ, CLEAR_SPACING_HZ = 1005.0, 40.0
"""The formant spacing that votes for neither, and how far from it the vote is whole."""

CLEAR = 0.6
"""What the two votes must come to."""

LOWEST_HZ, HIGHEST_HZ = 65.0, 400.0

APERIODIC = 0.15
"""How much a voiced frame may differ from itself one period later, 0–1."""

MIN_VOICED_S = 0.3

RATE = RECOGNITION_RATE // 2
FRAME = 320  # what is compared: 40 ms
HOP = 160
LAGS = int(RATE / LOWEST_HZ) + 2
QUIET_DB = 30.0
"""Frames so far below the loud ones are breath, room or the other speaker."""

BATCH = 2048
"""Frames that go through the FFT together: about 25 MB."""

TRACT_RATE = 10_000
TRACT_FRAME = 320
ORDER = 12  # two poles for each of five resonances, and two for the slope
MAX_FRAMES = 400
MIN_FRAMES = 15


def gender(audio: Audio) -> str | None:
    """male, female, or None where 16 kHz speech does not tell; half a second is enough, five are better."""
    hertz, spacing = pitch(audio), formant_spacing(audio)
    if hertz is None or spacing is None:
        return None
    high = np.clip(np.log(hertz / MIDDLE_HZ) / np.log(FEMALE_HZ / MIDDLE_HZ), -1, 1)
    short = np.clip((spacing - MIDDLE_SPACING_HZ) / CLEAR_SPACING_HZ, -1, 1)
    if abs(high + short) < CLEAR:
        return None
    return "female" if high + short > 0 else "male"


def pitch(audio: Audio) -> float | None:
    """The median pitch in Hz of the voiced frames of 16 kHz speech; None with less than 0.3 s of them."""
    halved = audio[: len(audio) // 2 * 2].reshape(-1, 2).mean(axis=1) if len(audio) > 1 else audio
    if len(halved) < FRAME + LAGS:
        return None
    frames = np.lib.stride_tricks.sliding_window_view(halved, FRAME + LAGS)[::HOP]
    power = np.square(frames[:, :FRAME], dtype=np.float32).mean(axis=1)
    loud = frames[power > max(1e-7, np.percentile(power, 95) * 10 ** (-QUIET_DB / 10))]
    found = [_periods(loud[at : at + BATCH]) for at in range(0, len(loud), BATCH)]
    hertz = np.concatenate([np.zeros(0), *found])
    return float(np.median(hertz)) if len(hertz) * HOP >= MIN_VOICED_S * RATE else None


def _periods(frames: NDArray[np.float32]) -> NDArray[np.float64]:
    """The pitch in Hz of those frames that have one."""
    unlike = _unlike(frames.astype(np.float64))
    low, high = int(RATE / HIGHEST_HZ), LAGS - 1
    below = unlike[:, low:high] < APERIODIC
    voiced = below.any(axis=1)
    unlike, first = unlike[voiced], low + below[voiced].argmax(axis=1)
    rows = np.arange(len(unlike))
    while True:  # from where it falls below the threshold down to the bottom of that dip
        deeper = (first + 1 < high) & (unlike[rows, np.minimum(first + 1, high)] < unlike[rows, first])
        if not deeper.any():
            break
        first = first + deeper
    return np.asarray(RATE / _between(unlike, rows, first), dtype=np.float64)


def _unlike(frames: NDArray[np.float64]) -> NDArray[np.float64]:
    """YIN's cumulative mean normalised difference at each lag: 1 on average, near 0 at a period."""
    size = 1 << (2 * FRAME + LAGS - 1).bit_length()
    spectrum = np.fft.rfft(frames, size)
    start = np.fft.rfft(frames[:, :FRAME], size)
    similar = np.fft.irfft(spectrum * start.conj(), size)[:, :LAGS]
    summed = np.concatenate([np.zeros((len(frames), 1)), np.cumsum(frames**2, axis=1)], axis=1)
    energy = summed[:, FRAME : FRAME + LAGS] - summed[:, :LAGS]
    difference = energy[:, :1] + energy - 2 * similar
    difference[:, 0] = 0
    mean = np.cumsum(difference, axis=1)[:, 1:] / np.arange(1, LAGS)
    normal: NDArray[np.float64] = np.ones_like(difference)
    np.divide(difference[:, 1:], mean, out=normal[:, 1:], where=mean > 0)
    return normal


def _between(unlike: NDArray[np.float64], rows: NDArray[np.int64], lag: NDArray[np.int64]) -> NDArray[np.float64]:
    """The lag with its fraction: the bottom of the parabola through the dip and its neighbours."""
    before, here, after = (unlike[rows, np.clip(lag + step, 0, LAGS - 1)] for step in (-1, 0, 1))
    bend = before - 2 * here + after
    shift = np.divide(before - after, 2 * bend, out=np.zeros_like(bend), where=bend > 1e-12)
    return np.asarray(lag + np.clip(shift, -0.5, 0.5), dtype=np.float64)


def formant_spacing(audio: Audio) -> float | None:
    """The distance in Hz at which the resonances of the vocal tract follow each other: c / 2L for a tract of length L.

    Fitted to the first four formants as those of a tube that is open at one end; None with too little voice.
    """
    frames = _loudest(_at_tract_rate(audio))
    if len(frames) < MIN_FRAMES:
        return None
    found = np.array([four for poles in _poles(frames) if (four := _formants(poles)) is not None])
    if len(found) < MIN_FRAMES:
        return None
    odd = np.array([0.5, 1.5, 2.5, 3.5])
    return float(np.median(found, axis=0) @ odd / (odd @ odd))


def _at_tract_rate(audio: Audio) -> NDArray[np.float64]:
    """The sound at 10 kHz, with its highs raised."""
    length = len(audio) * TRACT_RATE // RECOGNITION_RATE
    if length < TRACT_FRAME:
        return np.zeros(0)
    sound = np.fft.irfft(np.fft.rfft(audio)[: length // 2 + 1], length)
    return np.asarray(np.append(sound[0], sound[1:] - 0.95 * sound[:-1]), dtype=np.float64)


def _loudest(sound: NDArray[np.float64]) -> NDArray[np.float64]:
    """The louder frames, mostly vowels, at most MAX_FRAMES of them from all over the sound."""
    if len(sound) < TRACT_FRAME:
        return np.zeros((0, TRACT_FRAME))
    frames: NDArray[np.float64] = np.lib.stride_tricks.sliding_window_view(sound, TRACT_FRAME)[:: TRACT_FRAME // 2]
    power = np.square(frames).mean(axis=1)
    loud = frames[power > max(1e-9, np.percentile(power, 60))]
    return np.asarray(loud[:: max(1, len(loud) // MAX_FRAMES)], dtype=np.float64)


def _poles(frames: NDArray[np.float64]) -> NDArray[np.complex128]:
    """The poles of the linear predictor of each frame: autocorrelation method, as eigenvalues of its companion."""
    spectrum = np.fft.rfft(frames * np.hamming(TRACT_FRAME), 2 * TRACT_FRAME)
    similar = np.fft.irfft(np.abs(spectrum) ** 2)[:, : ORDER + 1]
    similar[:, 0] *= 1.0001
    grid = np.abs(np.subtract.outer(np.arange(ORDER), np.arange(ORDER)))
    predictor = np.linalg.solve(similar[:, grid], similar[:, 1:, None])[..., 0]
    companion = np.zeros((len(frames), ORDER, ORDER))
    companion[:, 0] = predictor
    companion[:, np.arange(1, ORDER), np.arange(ORDER - 1)] = 1
    return np.asarray(np.linalg.eigvals(companion), dtype=np.complex128)


def _formants(poles: NDArray[np.complex128]) -> NDArray[np.float64] | None:
    """The first four sharp resonances in Hz; None where a frame has fewer."""
    poles = poles[poles.imag > 0]
    hertz = np.angle(poles) * TRACT_RATE / (2 * np.pi)
    width = -np.log(np.abs(poles)) * TRACT_RATE / np.pi
    sharp = np.sort(hertz[(width < 400) & (hertz > 200) & (hertz < 0.48 * TRACT_RATE)])
    return sharp[:4] if len(sharp) >= 4 else None
