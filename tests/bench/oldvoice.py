"""How loud is the old voice in a dub? Measured on the files, against the source, in the stretches where it spoke.

What of the source comes out is what is in step with it: the cross spectrum of both over the spectrum of the source,
averaged over hundreds of frames, is the gain by which the source passes; back in time it is a pulse, as high as that
gain, at the delay of the leak. Frames and frequencies count by how little else is in them (the likeliest gain, if all
else is noise). New voice and room tone are in step with nothing and average out, to about -45 dB in half a minute of
speech; so what is given is an upper bound.

That average says nothing of a syllable that comes through before its sentence. `leaks` looks at each moment of the film
in which the source is loud, whoever says that there is speech: in how many does the dub follow it?
"""

from collections.abc import Sequence

import numpy as np

from models.segment import Audio, Span

FRAME_S = 0.064
LEAST_HZ, MOST_HZ = 150.0, 5000.0
DELAY_S = 0.025


def leak_db(source: Audio, dub: Audio, rate: int, spans: Sequence[Span]) -> float:
    """The gain of `source` in `dub` within `spans`, in dB; both mono at `rate`, both from the start of the video."""
    size = round(FRAME_S * rate)
    length = min(len(source), len(dub))
    starts = [
        at
        for span in spans
        for at in range(round(span.start * rate), min(round(span.end * rate), length) - size, size // 2)
    ]
    window = np.hanning(size)
    one, two = (np.fft.rfft([sound[at : at + size] * window for at in starts]) for sound in (source, dub))
    hertz = np.fft.rfftfreq(size, 1 / rate)
    heard = (hertz > LEAST_HZ) & (hertz < MOST_HZ)
    loud = np.sum(np.abs(two[:, heard]) ** 2, axis=1, keepdims=True)
    certain = 1 / np.maximum(loud, 0.1 * np.median(loud) + 1e-12)
    noise = np.maximum((certain * np.abs(two) ** 2).sum(axis=0), 1e-12)
    cross = np.where(heard, (certain * np.conj(one) * two).sum(axis=0) / noise, 0.0)
    whole = float((certain * np.abs(one) ** 2).sum(axis=0)[heard] @ (1 / noise[heard]))
    pulse = np.abs(np.fft.irfft(cross)) * size / 2 / whole
    near = round(DELAY_S * rate)
    return 20 * float(np.log10(max(pulse[:near].max(), pulse[-near:].max(), 1e-9)))


LOUD_DB = -25.0
"""Below the loudest moment of the source: what is louder is speech, in a film of speech."""

ALIKE = 0.6
LEAST_GAIN = 0.1


def leaks(source: Audio, dub: Audio, rate: int, kept: Sequence[Span] = ()) -> list[float]:
    """The moments, in seconds, at which loud sound of the source is in the dub at a tenth of its level or more.

    Each stands for FRAME_S; those within `kept` are left out, where the source is meant to be heard.
    """
    size, reach = round(FRAME_S * rate), round(0.0025 * rate)
    length = min(len(source), len(dub))
    frames = source[: length // size * size].reshape(-1, size)
    energies = np.square(frames, dtype=np.float64).sum(axis=1)
    loud = np.flatnonzero(energies > energies.max(initial=0.0) * 10 ** (LOUD_DB / 10))
    found = []
    for at in loud * size:
        if reach <= at < length - size - reach and not any(s.start <= at / rate < s.end for s in kept):
            one, around = source[at : at + size], dub[at - reach : at + size + reach]
            shares = np.correlate(around.astype(np.float64), one.astype(np.float64))
            best = int(np.argmax(np.abs(shares)))
            two = around[best : best + size]
            alike = abs(shares[best]) / (np.linalg.norm(one) * np.linalg.norm(two) + 1e-12)
            if alike > ALIKE and abs(shares[best]) / float(np.dot(one, one)) > LEAST_GAIN:
                found.append(at / rate)
    return found
