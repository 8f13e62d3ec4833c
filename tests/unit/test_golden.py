"""What a replica asks its engines before it serves: each one itself, and nothing that another one would answer."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from configs.engines import TranslationSettings, TtsSettings
from configs.pipeline import LANGUAGES
from models import golden
from models.errors import ArtifactMissing
from models.registry import load
from models.segment import Sentence, Speech, Utterance

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


class Translator:
    """Answers each pair as told."""

    def __init__(self, **answers: str) -> None:
        self.answers, self.asked = answers, list[str]()

    def translate(self, sentences: list[Sentence]) -> list[Sentence]:
        self.asked += [sentence.text for sentence in sentences]
        return [
            Sentence(one.text, one.source, one.target, (self.answers[f"{one.source}_{one.target}"],))
            for one in sentences
        ]


def artifact(folder: Path, sources: list[str], expected: str, kind: str = "translation") -> str:
    folder.mkdir()
    facts = {"kind": kind, "source": "lab/model", "revision": "1", "quantisation": "none", "created": "2025-01-01"}
    question = [[f"asked of {folder.name}", expected]]
    manifest = {**facts, "source_languages": sources, "target_language": "es", "golden": question, "files": {}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return str(folder)


def test_only_the_model_that_translates_a_pair_is_asked(tmp_path: Path) -> None:
    first = artifact(tmp_path / "z", ["en"], "Buenos días")
    shadowed = artifact(tmp_path / "a", ["en"], "Hola amigos")
    settings = TranslationSettings(artifacts=(first, shadowed))
    translator = Translator(en_es="Buenos días")
    golden.translate(translator, settings)
    assert translator.asked == ["asked of z"]


def test_a_shadowed_models_other_pairs_do_not_bring_its_question_back(tmp_path: Path) -> None:
    first = artifact(tmp_path / "a", ["en"], "Buenos días")
    partly = artifact(tmp_path / "b", ["en", "fr"], "Hola amigos")
    shadowed = artifact(tmp_path / "c", ["fr", "de"], "Adiós")
    other = artifact(tmp_path / "d", ["ru"], "Gracias")
    translator = Translator(en_es="Buenos días", fr_es="Hola amigos", ru_es="Gracias")
    golden.translate(translator, TranslationSettings(artifacts=(first, partly, shadowed, other)))
    assert translator.asked == ["asked of a", "asked of d"]


def test_another_kind_of_artifact_takes_no_pair(tmp_path: Path) -> None:
    recogniser = artifact(tmp_path / "a", ["en"], "", kind="asr")
    model = artifact(tmp_path / "b", ["en"], "Buenos días")
    translator = Translator(en_es="Good morning")
    with pytest.raises(ArtifactMissing, match="model b failed its golden question"):
        golden.translate(translator, TranslationSettings(artifacts=(recogniser, model)))
    assert translator.asked == ["asked of b"]
