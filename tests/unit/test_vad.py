"""What the voice detector makes of the network's answer; the network itself is tested with the weights."""

import numpy as np
import pytest
from faster_whisper import vad as upstream

from configs.engines import VadSettings
from models.segment import Clip, Span
from models.vad.silero import SileroVad


@pytest.fixture
def detector(monkeypatch):
    """A detector whose network says what it is told, in samples."""

    def make(*found, **settings):
        monkeypatch.setattr(upstream, "get_vad_model", lambda: None)
        calls = []

        def timestamps(audio, options, rate):
            calls.append((audio, options, rate))
            return [{"start": start, "end": end} for start, end in found]

        monkeypatch.setattr(upstream, "get_speech_timestamps", timestamps)
        return SileroVad(VadSettings(**settings)), calls

    return make


def test_samples_become_seconds_of_the_video(detector):
    vad, calls = detector((1600, 8000), (16_000, 32_000), threshold=0.4, min_silence_s=0.25, pad_s=0.1)
    assert vad.detect([Clip(np.zeros(32_000, np.float32), start=10.0)]) == [[Span(10.1, 10.5), Span(11.0, 12.0)]]
    options = calls[0][1]
    assert (options.threshold, options.min_silence_duration_ms, options.speech_pad_ms) == (0.4, 250, 100)
    assert options.min_speech_duration_ms == 100


def test_spans_that_touch_are_one_and_stay_inside_the_clip(detector):
    vad, _ = detector((0, 8000), (8000, 16_000), (16_800, 40_000))
    assert vad.detect([Clip(np.zeros(32_000, np.float32))]) == [[Span(0.0, 1.0), Span(1.05, 2.0)]]


def test_an_empty_clip_is_not_shown_to_the_network_and_broken_samples_are_silence(detector):
    vad, calls = detector((0, 8000))
    assert vad.detect([Clip(np.zeros(0, np.float32))]) == [[]] and calls == []
    vad.detect([Clip(np.full(16_000, np.nan, np.float32))])
    assert not calls[0][0].any()
