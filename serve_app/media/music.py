"""Music that stays under the dub, in pieces of ten seconds that lie on a grid of the film.

On a grid, because so a piece depends on the film alone: not on where the dub speaks, nor on its language, nor on what
its owner edits. Neighbours overlap for half a second and are faded over, so that there is no click where two of them
meet, nor where one is missing. Each is made from a second more of sound at either end, in which the engine finds its
feet. They are FLAC files of 16 bits at half their level, some 800 kB a piece: what is taken apart may be louder than
the whole was.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from models.errors import OutOfSpace
from models.segment import SEPARATION_RATE, Span, Stereo
from serve_app.media import audio, ffmpeg
from serve_app.media.ffmpeg import Samples

PIECE_S = 10.0
RAMP_S = 0.5
CONTEXT_S = 1.0
HEADROOM = 0.5


@dataclass(frozen=True, slots=True)
class Piece:
    """A file with music of the film from `start` on, in seconds; `made_from` is the key of its sound."""

    path: str
    start: float
    made_from: str


def numbers(spans: Iterable[Span]) -> list[int]:
    """The pieces of the grid that are needed to have music all over `spans`, ascending."""
    touched = (range(int(s.start // PIECE_S), int((s.end + RAMP_S) // PIECE_S) + 1) for s in spans)
    return sorted({max(0, number) for some in touched for number in some})


def covered(number: int) -> Span:
    """What piece `number` covers of the film. It fades in at its beginning and out at its end, for RAMP_S each.

    The first one begins before the film, so that it is there from the first sample on.
    """
    return Span(number * PIECE_S - RAMP_S, (number + 1) * PIECE_S)


def heard(number: int) -> Span:
    """What is taken apart for it."""
    piece = covered(number)
    return Span(piece.start - CONTEXT_S, piece.end + CONTEXT_S)


def keep(path: Path, sound: Stereo, rate: int) -> None:
    """Writes the music of all that was heard for a piece as this piece, at `rate` Hz. Raises OutOfSpace; blocks."""
    first, samples = round(CONTEXT_S * rate), round((PIECE_S + RAMP_S) * rate)
    left, right = (audio.resample(channel, SEPARATION_RATE, rate)[first : first + samples] for channel in sound)
    with ffmpeg.whole(path) as draft:
        try:
            soundfile.write(draft, HEADROOM * np.stack([left, right], axis=1), rate, subtype="PCM_16", format="FLAC")
        except soundfile.LibsndfileError as error:  # it does not say why it could not write
            raise OutOfSpace("a piece of music could not be written; free some space and submit it again") from error


class Music:
    """Pieces as a stream, asked for from front to back. Holds only those that the current chunk touches."""

    def __init__(self, pieces: Sequence[Piece], rate: int) -> None:
        self._rate = rate
        self._waiting = sorted(pieces, key=lambda piece: piece.start, reverse=True)
        self._playing: list[tuple[int, Samples, NDArray[np.float32]]] = []

    def take(self, at: int, samples: int) -> tuple[Samples, NDArray[np.float32]]:
        """Music (samples, 2) from sample `at` of the film on, and how much of it is there (samples, 1), 0–1."""
        end = at + samples
        sound, there = np.zeros((samples, 2), np.float32), np.zeros((samples, 1), np.float32)
        while self._waiting and round(self._waiting[-1].start * self._rate) < end:
            self._playing.append(self._faded(self._waiting.pop()))
        self._playing = [one for one in self._playing if one[0] + len(one[1]) > at]
        for start, piece, ramp in self._playing:
            low, high = max(at, start), min(end, start + len(piece))
            sound[low - at : high - at] += piece[low - start : high - start]
            there[low - at : high - at] += ramp[low - start : high - start]
        return sound, there

    def _faded(self, piece: Piece) -> tuple[int, Samples, NDArray[np.float32]]:
        sound, _ = soundfile.read(piece.path, dtype="float32", always_2d=True)
        inwards = (np.arange(len(sound), dtype=np.float32) + 0.5) / np.float32(RAMP_S * self._rate)
        ramp = np.clip(np.minimum(inwards, inwards[::-1]), 0, 1)[:, None]
        return round(piece.start * self._rate), sound * ramp / np.float32(HEADROOM), ramp
