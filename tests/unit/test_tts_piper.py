"""The piper engine without a voice: which one is chosen, and what is said when it is not there."""

import pytest

from configs.engines import TtsSettings
from models.errors import ArtifactMissing, StageFailed
from models.registry import load
from models.segment import Utterance
from models.tts import piper


def engine(**voices: str):
    return load("tts", "piper", TtsSettings(piper_voices={key.replace("_", "-"): v for key, v in voices.items()}))


def test_it_supports_the_languages_that_are_configured():
    assert not engine().supports("es")
    assert engine(es="a.onnx").supports("es") and engine(es_male="a.onnx").supports("es")
    assert not engine(es="a.onnx").supports("e")


def test_the_voice_of_the_gender_is_preferred():
    both = engine(es="any.onnx", es_female="f.onnx")
    assert both._key("es", "female") == "es-female"
    assert both._key("es", "male") == "es"
    assert engine(es_female="f.onnx")._key("es", "male") == "es-female"


def test_without_a_voice_for_the_language():
    with pytest.raises(StageFailed, match="no voice for de"):
        engine(es="a.onnx").speak([Utterance("Hallo", "de")])


def test_a_missing_file_says_what_to_put_where(tmp_path):
    with pytest.raises(ArtifactMissing, match=r"piper_voices\.es .*anna\.onnx and anna\.onnx\.json") as caught:
        engine(es=str(tmp_path / "anna.onnx")).speak([Utterance("Hola", "es")])
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("config", ["not json", "{}"])
def test_a_damaged_voice_says_so(tmp_path, config):
    (tmp_path / "anna.onnx").write_bytes(b"no model")
    (tmp_path / "anna.onnx.json").write_text(config)
    with pytest.raises(ArtifactMissing, match=r"piper_voices\.es cannot be read; download anna\.onnx"):
        engine(es=str(tmp_path / "anna.onnx")).speak([Utterance("Hola", "es")])


def test_a_hub_name_is_fetched_with_its_settings(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(
        "huggingface_hub.hf_hub_download", lambda repo, path: asked.append((repo, path)) or str(tmp_path / "v.onnx")
    )
    assert piper.locate("es", "es_ES-davefx-medium") == tmp_path / "v.onnx"
    path = "es/es_ES/davefx/medium/es_ES-davefx-medium.onnx"
    assert asked == [(piper.HUB, f"{path}.json"), (piper.HUB, path)]


def test_a_voice_that_cannot_be_downloaded_gives_the_command(monkeypatch):
    def offline(*args):
        raise OSError("no route to host")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", offline)
    with pytest.raises(ArtifactMissing, match="hf download rhasspy/piper-voices fr/fr_FR/siwis/low"):
        piper.locate("fr", "fr_FR-siwis-low")


def test_what_is_neither_file_nor_name():
    with pytest.raises(ArtifactMissing, match=r"piper_voices\.fr must be"):
        piper.locate("fr", "../../etc/passwd")
