"""Arithmetic on sound: arrays in, arrays out, float32 mono.

Resampling and peaks between samples go through libswresample (PyAV is a dependency already), loudness through
pyloudnorm (ITU-R BS.1770). `stretch` asks ffmpeg's atempo (WSOLA); it costs a child process of about 0.1 s, and
whoever cancels has to wait for that. Rubberband, as the ffmpeg of the wheel has it, was tried first: it made speech
1 to 4 LU quieter by smearing its onsets, where atempo stayed within 0.5, and with its default for transients it was
2 to 4 % off in pitch on steady tones. Nothing here streams: these functions are for clips of seconds, not for films.

The limiter works on blocks of 5 ms instead of sample by sample: it needs no loop in Python, and each block's gain
is reached before its peak comes. It does not know of anything but peaks: pulled hard (10 dB and more), it is audible.
"""

import math
import os
import subprocess
import tempfile
from pathlib import Path

import av
import numpy as np
import soundfile
from numpy.typing import NDArray

from models.errors import OutOfSpace, StageFailed
from models.segment import Audio
from serve_app.media import ffmpeg

SILENT = float("-inf")
"""Level of digital silence, in dB or LUFS."""

_FRAME_S = 0.01  # what trim judges at once
_EDGE_S = 0.02  # what trim leaves at each end, for the onset of a soft consonant
_GATE_S = 0.4  # BS.1770 measures in blocks of this length
_BLOCK_S = 0.005  # what the limiter turns down at once
_TAIL_S = 0.1  # silence after a clip to be stretched, because atempo ends up to 20 ms early
_STRETCH_TIMEOUT_S = 60.0


def read(path: str | Path) -> tuple[Audio, int]:
    """The sound of a WAV (or FLAC, Ogg, MP3) file, channels averaged, and its rate in Hz."""
    audio, rate = soundfile.read(str(path), dtype="float32", always_2d=True)
    return audio.mean(axis=1, dtype=np.float32), int(rate)


def write(path: str | Path, audio: Audio, rate: int, subtype: str = "PCM_16") -> None:
    """A WAV file at `path`, whole or not at all. `subtype` is PCM_16 or FLOAT; 16 bits clip outside [-1, 1].

    Raises OutOfSpace.
    """
    path = Path(path)
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".wav")
    os.close(handle)
    try:
        soundfile.write(draft, audio, rate, subtype=subtype, format="WAV")
        Path(draft).replace(path)
    except soundfile.LibsndfileError as error:  # it does not say why it could not write
        raise OutOfSpace("a clip of sound could not be written; free some space and submit the job again") from error
    finally:
        Path(draft).unlink(missing_ok=True)


def resample(audio: Audio, rate: int, to: int) -> Audio:
    """The same sound at `to` Hz; the length is round(len · to / rate)."""
    if rate == to or not len(audio):
        return audio.astype(np.float32)
    resampler = av.AudioResampler(format="fltp", layout="mono", rate=to)
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(audio, np.float32)[None], format="fltp", layout="mono")
    frame.sample_rate = rate
    parts = [part.to_ndarray()[0] for part in (*resampler.resample(frame), *resampler.resample(None))]
    return fit(np.concatenate(parts), round(len(audio) * to / rate))


def fit(audio: Audio, length: int) -> Audio:
    """`audio` with exactly `length` samples: cut or followed by silence."""
    return np.pad(audio[:length], (0, max(0, length - len(audio)))).astype(np.float32)


def trim(audio: Audio, rate: int, silence_db: float) -> Audio:
    """Without the quiet edges: what lies `silence_db` below the loudest 10 ms. Silence comes back empty."""
    size = max(1, round(_FRAME_S * rate))
    count = -(-len(audio) // size)
    levels = np.sqrt(np.mean(fit(audio, count * size).reshape(count, size) ** 2, axis=1)) if count else np.zeros(0)
    if not count or levels.max() < 1e-5:
        return np.zeros(0, np.float32)
    loud = np.flatnonzero(levels > levels.max() * 10 ** (silence_db / 20))
    edge = round(_EDGE_S * rate)
    return audio[max(0, loud[0] * size - edge) : (loud[-1] + 1) * size + edge].astype(np.float32)


def loudness(audio: Audio, rate: int) -> float:
    """Integrated loudness in LUFS; a clip shorter than the 0.4 s of a gating block is measured as if it went on."""
    import pyloudnorm  # it brings scipy.signal, whose import takes seconds that only those who measure should wait

    if not len(audio) or not np.any(audio):
        return SILENT
    needed = int(_GATE_S * rate) + 1
    repeated = np.tile(audio, -(-needed // len(audio)))
    with np.errstate(divide="ignore"):
        return float(pyloudnorm.Meter(rate).integrated_loudness(repeated.astype(np.float64)))


def true_peak_db(audio: Audio, rate: int) -> float:
    """The highest peak in dBTP, between samples too (four times oversampled)."""
    peak = float(np.abs(resample(audio, rate, 4 * rate)).max(initial=0.0))
    peak = max(peak, float(np.abs(audio).max(initial=0.0)))
    return 20 * float(np.log10(peak)) if peak > 0 else SILENT


def normalize(audio: Audio, rate: int, lufs: float, peak_db: float) -> Audio:
    """At `lufs` and with no true peak above `peak_db`; limiting may leave it a little quieter. Silence stays silent."""
    measured = loudness(audio, rate)
    if measured == SILENT:
        return audio.astype(np.float32)
    return limit(audio * 10 ** ((lufs - measured) / 20), rate, peak_db)


def limit(audio: Audio, rate: int, peak_db: float) -> Audio:
    """Peaks above `peak_db` dBTP turned down, everything else untouched."""
    if true_peak_db(audio, rate) <= peak_db:
        return audio.astype(np.float32)
    size = max(1, round(_BLOCK_S * rate))
    needed = _block_gains(audio, rate, size, 10 ** ((peak_db - 0.1) / 20))
    around = np.minimum(needed, np.minimum(np.append(needed[1:], 1.0), np.append(1.0, needed[:-1])))
    gain = np.interp(np.arange(len(audio)), np.arange(len(around)) * size + size / 2, around)
    return np.asarray(audio * gain, np.float32)


def _block_gains(audio: Audio, rate: int, size: int, ceiling: float) -> NDArray[np.float64]:
    """For each block of `size` samples the gain, at most 1, that brings its true peak down to `ceiling`."""
    count = -(-len(audio) // size)
    dense = np.abs(fit(resample(audio, rate, 4 * rate), 4 * count * size)).reshape(count, 4 * size).max(axis=1)
    plain = np.abs(fit(audio, count * size)).reshape(count, size).max(axis=1)
    return np.asarray(np.minimum(1.0, ceiling / np.maximum(np.maximum(dense, plain), 1e-9)), np.float64)


def fade(audio: Audio, rate: int, seconds: float) -> Audio:
    """Faded in and out over `seconds` each; in a clip shorter than both, over half of it."""
    length = min(round(seconds * rate), len(audio) // 2)
    if not length:
        return audio.astype(np.float32)
    ramp = np.sin(np.linspace(0, np.pi / 2, length, dtype=np.float32)) ** 2
    faded = audio.astype(np.float32, copy=True)
    faded[:length] *= ramp
    faded[-length:] *= ramp[::-1]
    return faded


def stretch(audio: Audio, rate: int, tempo: float) -> Audio:
    """`tempo` times as fast at the same pitch, round(len / tempo) samples. Blocks.

    Raises StageFailed when ffmpeg cannot do it.
    """
    if abs(tempo - 1) < 0.005 or not len(audio):
        return fit(audio, round(len(audio) / tempo))
    steps = max(1, math.ceil(abs(math.log2(tempo))))  # beyond twice as fast, one step would skip instead of blend
    chain = ",".join([f"atempo={tempo ** (1 / steps):.8f}"] * steps)
    tail = np.zeros(round(_TAIL_S * rate * tempo), np.float32)
    return fit(_filtered(np.concatenate([audio, tail]), rate, chain), round(len(audio) / tempo))


def _filtered(audio: Audio, rate: int, chain: str) -> Audio:
    raw = ("-f", "f32le", "-ar", str(rate), "-ac", "1")
    args = [*raw, "-i", "pipe:0", "-af", chain, *raw, "pipe:1"]
    try:
        sound = ffmpeg.short(args, timeout_s=_STRETCH_TIMEOUT_S, feed=audio.astype("<f4").tobytes())
    except (OSError, subprocess.SubprocessError) as error:
        raise StageFailed("audio_sync", "ffmpeg could not stretch a clip", transient=True) from error
    return np.frombuffer(sound, "<f4").astype(np.float32)
