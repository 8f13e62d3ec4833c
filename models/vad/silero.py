"""Silero v6, the small recurrent network whose weights lie inside the faster-whisper wheel.

It hears voices, not loudness: music, wind and traffic stay silence, which keeps the recogniser from inventing text.
Only very quiet voices (-50 dB and less at their loudest) escape it, so a clip without a loud moment is amplified first.
It runs on one CPU core at several hundred times real time, so it never asks for a GPU, and its ONNX session is safe to
share between threads. What it does not know: who speaks, which language, and whether it is speech or singing.
"""

import numpy as np

from configs.engines import VadSettings
from models.segment import RECOGNITION_RATE, Clip, Span

LOUDEST = 99.9
"""The percentile of the samples that counts as the loudest moments: a click is none."""


class SileroVad:
    """The network is loaded once per process, with one thread of its own, whatever OMP_NUM_THREADS says."""

    def __init__(self, settings: VadSettings) -> None:
        from faster_whisper.vad import VadOptions, get_vad_model

        get_vad_model()
        self._settings = settings
        self._options = VadOptions(
            threshold=settings.threshold,
            min_speech_duration_ms=round(settings.min_speech_s * 1000),
            min_silence_duration_ms=round(settings.min_silence_s * 1000),
            speech_pad_ms=round(settings.pad_s * 1000),
        )

    def detect(self, clips: list[Clip]) -> list[list[Span]]:
        return [self._detect(clip) for clip in clips]

    def _detect(self, clip: Clip) -> list[Span]:
        from faster_whisper.vad import get_speech_timestamps

        if not len(clip.audio):
            return []
        audio = np.nan_to_num(clip.audio)
        loudest = max(float(np.percentile(np.abs(audio), LOUDEST)), 1e-9)
        gain = min(self._settings.max_gain, max(1.0, self._settings.quiet_level / loudest))
        found = get_speech_timestamps(audio * np.float32(gain), self._options, RECOGNITION_RATE)
        return _joined([(one["start"] / RECOGNITION_RATE, one["end"] / RECOGNITION_RATE) for one in found], clip)


def _joined(pairs: list[tuple[float, float]], clip: Clip) -> list[Span]:
    """Spans in video time; two that touch, because their padding filled the pause between them, become one."""
    spans: list[Span] = []
    for start, end in pairs:
        if spans and clip.start + start <= spans[-1].end:
            spans[-1] = Span(spans[-1].start, min(clip.start + end, clip.end))
        else:
            spans.append(Span(clip.start + start, min(clip.start + end, clip.end)))
    return spans
