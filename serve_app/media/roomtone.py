"""The sound of the room while nobody speaks: what is left when the old voice is taken out must not be dead silence.

It is made, not copied: noise with the average spectrum of the quietest tenth of the last twenty seconds, which are the
pauses, and within speech the gaps between words. So no word of the original comes back, however long the dub speaks.
It comes out some 2 dB quieter than the room, since the quietest moments are chosen; a steady hum becomes a hiss of the
same colour; and over music, whose quietest moments are not the room's, the level is held at that of a loud room.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from serve_app.media.ffmpeg import Samples

FRAME_S = 0.04
MEMORY_S = 20.0
QUIETEST = 0.1
LOUDEST = 10 ** (-46 / 20)
"""Root mean square, full scale 1.0: no room is louder."""

NOISES = 256
"""Frames of noise that are drawn from: to make each anew would cost three times as much, and sounds the same."""


class RoomTone:
    """A stream of room tone for a stream of sound at `rate` Hz with `channels` channels. Deterministic."""

    def __init__(self, rate: int, channels: int) -> None:
        self._size = 2 * round(FRAME_S * rate / 2)
        self._hop = self._size // 2
        self._channels = channels
        self._down = np.full(channels, 1 / channels, np.float32)  # numpy's own mean of two takes 25 times as long
        # its squares, half a frame apart, add up to one
        self._window = np.sin(np.pi * (np.arange(self._size) + 0.5) / self._size).astype(np.float32)
        self._random = np.random.default_rng(0)
        frames = round(MEMORY_S * rate / self._hop)
        self._spectra = np.zeros((frames, self._hop + 1), np.float32)
        self._energies = np.full(frames, np.inf)
        self._count = 0
        phases = self._random.random((NOISES, self._hop + 1)) * 2 * np.pi
        self._noise = np.exp(1j * phases).astype(np.complex64)
        self._ends = np.zeros((channels, 1, self._hop), np.float32)  # what the next frame is added to
        self._ready = np.zeros((0, channels), np.float32)

    def hear(self, sound: Samples) -> None:
        """Learns from original sound (samples, channels), speech and all."""
        usable = len(sound) // self._hop * self._hop
        if usable < self._size:
            return
        halves = (sound[:usable] @ self._down).reshape(-1, self._hop)
        frames = np.concatenate([halves[:-1], halves[1:]], axis=1)
        frames -= frames.mean(axis=1, keepdims=True)  # an offset is no sound
        power = np.abs(fft.rfft(frames * self._window)) ** 2
        places = (self._count + np.arange(len(power))) % len(self._spectra)
        self._spectra[places], self._energies[places] = power, power.sum(axis=1)
        self._count += len(power)

    def make(self, samples: int) -> Samples:
        """The next `samples` of the room, (samples, channels), in the channels independent of each other."""
        missing = samples - len(self._ready)
        if missing > 0:
            self._ready = np.concatenate([self._ready, self._more(-(-missing // self._hop))])
        made, self._ready = self._ready[:samples], self._ready[samples:]
        return made

    def _magnitude(self) -> NDArray[np.float32]:
        """Of a frame's spectrum; zeros before anything was heard."""
        known = min(self._count, len(self._spectra))
        if not known:
            return np.zeros(self._hop + 1, np.float32)
        quiet = np.argsort(self._energies[:known])[: max(1, int(QUIETEST * known))]
        power = self._spectra[quiet].mean(axis=0)
        level = np.sqrt(2 * power.sum() / (self._window**2).mean()) / self._size
        return np.asarray(np.sqrt(power) * min(1.0, LOUDEST / max(level, 1e-12)), np.float32)

    def _more(self, halves: int) -> Samples:
        """So many halves of a frame: noise whose spectrum has this magnitude, each frame over the end of the last."""
        picked = self._noise[self._random.integers(0, NOISES, (self._channels, halves))]
        # a frame was heard through the window once; made, it goes through it again
        gain = self._magnitude() / np.sqrt((self._window**2).mean())
        frames = fft.irfft(picked * gain, self._size) * self._window
        ends = np.concatenate([self._ends, frames[:, :, self._hop :]], axis=1)
        self._ends = ends[:, -1:]
        halved: Samples = (frames[:, :, : self._hop] + ends[:, :-1]).reshape(self._channels, -1).T
        return halved
