"""The real voice detector: speech is found where it is, and music is not speech."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from faster_whisper import decode_audio

from configs.engines import VadSettings
from models.segment import RECOGNITION_RATE, Clip
from models.vad.silero import SileroVad


@pytest.fixture(scope="module")
def vad():
    return SileroVad(VadSettings())


def test_the_four_phrases_of_a_speech(vad, media):
    jfk = decode_audio(str(media / "jfk.flac"))
    (spans,) = vad.detect([Clip(jfk, start=100.0)])
    assert [span.start for span in spans] == pytest.approx([100.2, 103.2, 105.3, 108.1], abs=0.2)
    assert [span.end for span in spans] == pytest.approx([102.4, 104.5, 107.8, 110.7], abs=0.2)
    assert all(type(value) is float for span in spans for value in (span.start, span.end))


def test_spans_ascend_inside_the_clip_and_touching_ones_are_one(media):
    jfk = decode_audio(str(media / "jfk.flac"))[: 6 * 16_000]
    (spans,) = SileroVad(VadSettings(pad_s=0.6)).detect([Clip(jfk)])
    assert len(spans) == 1 and spans[0].start == 0.0 and spans[0].end == 6.0


@pytest.mark.parametrize("name", ["chaplin.mp4", "big_buck_bunny_0_30.webm"])
def test_music_and_noise_are_no_speech(vad, media, name):
    assert vad.detect([Clip(decode_audio(str(media / name)))]) == [[]]


@pytest.mark.parametrize("name", ["jfk.flac", "multilingual.mp3"])
def test_quiet_speech_is_speech_and_quiet_noise_is_none(vad, media, name):
    audio = decode_audio(str(media / name))
    quiet = (np.round(audio * 0.002 * 32768) / 32768).astype(np.float32)  # as a 16-bit file has it
    (loud,), (heard,) = vad.detect([Clip(audio)]), vad.detect([Clip(quiet)])
    assert sum(span.duration for span in heard) > 0.85 * sum(span.duration for span in loud)
    hiss = 1e-3 * np.random.default_rng(3).standard_normal(30 * RECOGNITION_RATE)
    assert vad.detect([Clip(hiss.astype(np.float32))]) == [[]]


def test_threads_share_it(vad, media):
    clip = Clip(decode_audio(str(media / "jfk.flac")))
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: vad.detect([clip]), range(4)))
    assert all(result == results[0] for result in results)
