"""What a replica asks its engines before it serves: each one itself, and nothing that another one would answer."""

import logging
from typing import Any

import numpy as np
import pytest

from configs.engines import SeparationSettings, TtsSettings
from configs.pipeline import LANGUAGES
from models import golden
from models.errors import ArtifactMissing
from models.registry import load
from models.segment import Speech, Utterance

MISSING = {"es": "/nowhere/anna.onnx"}


def speak(*engines: str, **settings: Any) -> None:
    golden.speak(load("tts", "fallback", TtsSettings(engines=engines, **settings)))


class Voice:
    """Speaks its languages and keeps what it was asked."""

    def __init__(self, *languages: str, level: float = 0.5) -> None:
        self.languages, self.level, self.asked = languages, level, list[Utterance]()

    def supports(self, language: str) -> bool:
        return language in self.languages

    def speak(self, utterances: list[Utterance]) -> list[Speech]:
        self.asked += utterances
        return [Speech(np.full(16_000, self.level, np.float32), 16_000, "stub:x") for _ in utterances]


@pytest.fixture
def piper(monkeypatch: pytest.MonkeyPatch) -> Voice:
    """Stands where piper stands, and speaks Spanish only."""
    voice = Voice("es")
    monkeypatch.setattr("models.tts.piper.PiperTts", lambda _: voice)
    return voice


def test_an_engine_is_asked_in_a_language_that_it_speaks(piper: Voice) -> None:
    speak("piper")
    assert piper.asked == [Utterance("Uno, dos, tres.", "es")]


def test_there_is_something_to_say_in_every_language() -> None:
    assert set(golden.COUNTING) == set(LANGUAGES)
    espeak = load("tts", "espeak", TtsSettings())
    for language, text in golden.COUNTING.items():
        (speech,) = espeak.speak([Utterance(text, language)])
        assert speech.duration > 0.5


def test_engines_that_speak_say_nothing_in_the_log(caplog: pytest.LogCaptureFixture, piper: Voice) -> None:
    speak("piper", "espeak", "echo")
    assert not caplog.records


def test_a_missing_voice_is_a_warning_while_another_engine_speaks(caplog: pytest.LogCaptureFixture) -> None:
    speak("piper", "espeak", piper_voices=MISSING)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "speech engine piper" in record.message and "put anna.onnx and anna.onnx.json into place" in record.message


def test_an_engine_without_any_voice_is_a_warning_too(caplog: pytest.LogCaptureFixture) -> None:
    speak("piper", "espeak")
    (record,) = caplog.records
    assert "piper has no voice; set one up in piper_voices or take piper from the list" in record.message


@pytest.mark.parametrize(
    ("voices", "advice"), [(MISSING, "put anna.onnx and anna.onnx.json into place"), ({}, "set one up in piper_voices")]
)
def test_without_any_engine_that_speaks_the_service_does_not_start(voices: dict[str, str], advice: str) -> None:
    with pytest.raises(ArtifactMissing, match=f"no speech engine can speak: .*{advice}"):
        speak("piper", piper_voices=voices)


def test_a_silent_engine_does_not_count(piper: Voice) -> None:
    piper.level = 0.0
    with pytest.raises(ArtifactMissing, match="piper speaks a silent or empty clip"):
        speak("piper")


def test_an_engine_that_breaks_is_told_without_words_of_python(piper: Voice) -> None:
    piper.level = "loud"  # type: ignore[assignment]
    with pytest.raises(ArtifactMissing, match=r"no speech engine can speak: piper is out of order$"):
        speak("piper")


def test_an_online_engine_is_not_asked(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr("models.tts.edge.EdgeTts.speak", lambda *_: pytest.fail("edge was asked"))
    speak("edge")
    assert not caplog.records
    speak("edge", "piper", piper_voices=MISSING)
    assert "speech engine piper" in caplog.text


def test_an_engine_that_leaves_the_voice_there_may_not_serve():
    golden.separate(load("separation", "echo", SeparationSettings()))

    class Deaf:
        def separate(self, sounds):
            return sounds

    with pytest.raises(ArtifactMissing, match="it leaves 0 dB of a voice"):
        golden.separate(Deaf())
