"""The echo engines: what goes in decides, exactly, what comes out."""

import numpy as np
import pytest

from configs.engines import AsrSettings, SeparationSettings, TranslationSettings, TtsSettings, VadSettings
from models import echo
from models.registry import load
from models.segment import RECOGNITION_RATE, Clip, Sentence, Span, Utterance


def beeps(*spans: tuple[float, float], duration: float) -> np.ndarray:
    """Silence of `duration` seconds with a tone in each span."""
    audio = np.zeros(round(duration * RECOGNITION_RATE), np.float32)
    for start, end in spans:
        part = audio[round(start * RECOGNITION_RATE) : round(end * RECOGNITION_RATE)]
        part[:] = 0.3 * np.sin(2 * np.pi * 300 * np.arange(len(part)) / RECOGNITION_RATE)
    return audio


def test_vad_finds_the_loud_parts_padded_and_offset():
    clip = Clip(beeps((1.0, 2.0), (3.0, 4.0), duration=5.0), start=100.0)
    assert echo.EchoVad(VadSettings(pad_s=0.1)).detect([clip]) == [
        [Span(pytest.approx(100.9), pytest.approx(102.1)), Span(pytest.approx(102.9), pytest.approx(104.1))]
    ]


def test_vad_bridges_short_pauses_and_ignores_clicks():
    clip = Clip(beeps((0.5, 1.0), (1.2, 2.0), (3.0, 3.04), duration=4.0))
    assert echo.EchoVad(VadSettings(pad_s=0.0)).detect([clip]) == [[Span(0.5, 2.0)]]


def test_padding_stays_inside_the_clip_and_never_makes_overlaps():
    clip = Clip(beeps((0.0, 1.0), (1.4, 2.0), duration=2.0))
    assert echo.EchoVad(VadSettings(pad_s=0.3)).detect([clip]) == [[Span(0.0, 2.0)]]


@pytest.mark.parametrize("samples", [0, 100, 16_000])
def test_silence_holds_neither_speech_nor_words(samples):
    clip = Clip(np.zeros(samples, np.float32))
    assert echo.EchoVad(VadSettings()).detect([clip]) == [[]]
    assert echo.EchoRecognizer(AsrSettings()).recognize([clip])[0].words == ()


def test_recognizer_numbers_words_over_the_loud_parts():
    clip = Clip(beeps((1.0, 2.2), (4.0, 5.2), duration=6.0), start=10.0)
    transcript = echo.EchoRecognizer(AsrSettings()).recognize([clip])[0]
    assert "".join(word.text for word in transcript.words) == " word1 word2 word3. word4 word5 word6."
    assert [transcript.words[i].start for i in (0, 3)] == pytest.approx([11.0, 14.0])
    assert [transcript.words[i].end for i in (2, 5)] == pytest.approx([12.2, 15.2])
    assert (transcript.language, transcript.language_probability) == ("en", 0.6)


def test_recognizer_believes_the_language_it_is_told():
    clip = Clip(beeps((0, 1), duration=1), language="hy")
    transcript = load("asr", "echo", AsrSettings()).recognize([clip])[0]
    assert (transcript.language, transcript.language_probability) == ("hy", 0.0)
    assert echo.languages(AsrSettings()) is None


def test_translator_keeps_the_text_behind_its_language():
    one, two = echo.EchoTranslator(TranslationSettings()).translate(
        [Sentence("Hello.", "en", "hy"), Sentence("Hola.", "es", "en")]
    )
    assert one == Sentence("Hello.", "en", "hy", ("[hy] Hello.",))
    assert two.candidates == ("[en] Hola.",)
    pairs = echo.available(TranslationSettings())
    assert len(pairs) == 90 and ("en", "hy") in pairs and ("en", "en") not in pairs


def test_voice_lasts_in_proportion_to_the_text_and_inverse_to_the_rate():
    long, short, fast, empty = echo.EchoTts(TtsSettings()).speak(
        [
            Utterance("a" * 20, "hy"),
            Utterance("a" * 10, "hy", "female"),
            Utterance("a" * 20, "hy", rate=2.0),
            Utterance("", "hy"),
        ]
    )
    assert long.duration == pytest.approx(2 * short.duration, rel=1e-3) == pytest.approx(2 * fast.duration, rel=1e-3)
    assert short.voice == "echo:female" and long.audio.dtype == np.float32
    assert 0.1 < np.abs(long.audio).max() <= 0.2 and abs(long.audio[0]) < 1e-6 and abs(long.audio[-1]) < 1e-3
    assert 0 < empty.duration < 0.2


def test_separator_keeps_what_differs_between_left_and_right():
    rng = np.random.default_rng(1)
    voice, music = rng.normal(0, 0.1, (2, 44_100)).astype(np.float32)
    sound = np.stack([voice + music, voice - music])
    kept, mono = load("separation", "echo", SeparationSettings()).separate([sound, np.stack([voice, voice])])
    assert kept == pytest.approx(np.stack([music, -music]), abs=1e-6)
    assert not mono.any()
