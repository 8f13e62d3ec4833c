"""OpenAI's own client against the real service with a multilingual model: real speech, several languages, silence."""

import re
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
import soundfile

from configs.engines import TtsSettings
from models.registry import load
from models.segment import Utterance
from tests.service import service

BASE = {"engines": {"asr": {"model": "base"}, "translation": {"artifacts": ["models/demo/*"]}}}
SPANISH = "El tren sale a las nueve de la noche. Mi abuela guarda las cartas viejas. El médico le dijo que descansara."
JFK = "and so my fellow americans ask not what your country can do for you ask what you can do for your country"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[openai.OpenAI]:
    with service(tmp_path_factory.mktemp("base"), BASE) as running:
        url = f"{running.http_url}/v1"
        with openai.OpenAI(base_url=url, api_key="none", max_retries=0, timeout=120) as made:
            yield made


@pytest.fixture(scope="module")
def spanish(tmp_path_factory: pytest.TempPathFactory) -> Path:
    [speech] = load("tts", "espeak", TtsSettings()).speak([Utterance(SPANISH, "es")])
    path = tmp_path_factory.mktemp("es") / "spanish.wav"
    soundfile.write(path, speech.audio, speech.sample_rate)
    return path


def words(text: str) -> list[str]:
    return re.findall(r"[\w']+", text.lower())


def test_a_known_speech_word_by_word(client: openai.OpenAI, media: Path) -> None:
    heard = client.audio.transcriptions.create(
        model="whisper-1",
        file=media / "jfk.flac",
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
    )
    assert (heard.language, words(heard.text)) == ("english", JFK.split())
    assert heard.words and heard.segments
    assert [word for one in heard.words for word in words(one.word)] == JFK.split()
    starts = {word.word.strip(",.").lower(): word.start for word in heard.words[:8]}
    assert starts["fellow"] == pytest.approx(1.2, abs=0.5) and starts["ask"] == pytest.approx(3.3, abs=0.5)
    assert all(-1 < segment.avg_logprob < 0 for segment in heard.segments)


def test_the_language_is_heard_or_told(client: openai.OpenAI, spanish: Path) -> None:
    create = client.audio.transcriptions.create
    heard = create(model="whisper-1", file=spanish, response_format="verbose_json")
    assert heard.language == "spanish"
    told = create(model="whisper-1", file=spanish, language="es", response_format="verbose_json")
    for text in (heard.text, told.text):
        assert {"tren", "noche", "cartas"} <= set(words(text)), text


def test_what_is_no_speech_has_no_text(client: openai.OpenAI, media: Path) -> None:
    for name in ("big_buck_bunny_0_30.webm", "chaplin.mp4"):
        heard = client.audio.transcriptions.create(model="whisper-1", file=media / name)
        assert heard.text == "", name


def test_a_recording_that_changes_language(client: openai.OpenAI, media: Path) -> None:
    heard = client.audio.transcriptions.create(
        model="whisper-1", file=media / "multilingual.mp3", response_format="srt"
    )
    assert isinstance(heard, str) and heard.startswith("1\n00:00:") and len(words(heard)) > 60


def test_translation_needs_a_model_for_the_pair(client: openai.OpenAI, media: Path, spanish: Path) -> None:
    english = client.audio.translations.create(model="whisper-1", file=media / "jfk.flac")
    assert words(english.text) == JFK.split()
    with pytest.raises(openai.BadRequestError, match="no model translates es to en") as caught:
        client.audio.translations.create(model="whisper-1", file=spanish)
    assert (caught.value.code, caught.value.param) == ("unsupported_language", "language")


def test_files_without_sound(client: openai.OpenAI, media: Path) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.audio.transcriptions.create(model="whisper-1", file=media / "bitmap.mp4")
    assert (caught.value.code, caught.value.param) == ("unreadable_media", "file")
    with pytest.raises(openai.BadRequestError, match="language") as caught:
        client.audio.transcriptions.create(model="whisper-1", file=media / "jfk.flac", language="english")
    assert caught.value.param == "language"


def test_what_it_says_it_hears(client: openai.OpenAI, tmp_path: Path) -> None:
    said = client.audio.speech.create(
        model="tts-1", voice="alloy", input="El tren sale a las nueve de la noche.", extra_body={"language": "es"}
    )
    said.write_to_file(tmp_path / "said.mp3")
    heard = client.audio.transcriptions.create(model="whisper-1", file=tmp_path / "said.mp3", language="es")
    assert {"tren", "sale", "noche"} <= set(words(heard.text))
