"""OpenAI's own client against the running service: what it parses, and which of its errors it raises.

The engines are echoes: a voice in the recording becomes numbered words, and every language is believed.
"""

from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from tests.service import Service


@pytest.fixture(scope="module")
def client(served: Service) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{served.http_url}/v1", api_key="none", max_retries=0, timeout=60) as made:
        yield made


def test_json_is_the_default(client: openai.OpenAI, short_talk: Path) -> None:
    with short_talk.open("rb") as file:
        heard = client.audio.transcriptions.create(model="whisper-1", file=file)
    assert heard.text.startswith("word1 word2") and heard.text.endswith(".")
    assert heard.usage is not None and heard.usage.type == "duration" and 9 <= heard.usage.seconds <= 11


def test_verbose_json_with_words_and_segments(client: openai.OpenAI, short_talk: Path) -> None:
    heard = client.audio.transcriptions.create(
        model="any-name",
        file=short_talk,
        language="en",
        response_format="verbose_json",
        temperature=0.2,
        timestamp_granularities=["word", "segment"],
    )
    assert (heard.language, heard.duration) == ("english", pytest.approx(10, abs=0.2))
    assert heard.words and heard.segments
    assert [word.word for word in heard.words] == heard.text.split()
    assert "".join(segment.text for segment in heard.segments).strip() == heard.text
    assert [segment.id for segment in heard.segments] == list(range(len(heard.segments)))
    ends = [time for segment in heard.segments for time in (segment.start, segment.end)]
    assert ends == sorted(ends) and ends[0] >= 0 and ends[-1] <= heard.duration
    assert all(one.temperature == 0.2 and one.avg_logprob == 0 and one.no_speech_prob == 0 for one in heard.segments)


@pytest.mark.parametrize(
    ("form", "start"), [("text", "word1 word2"), ("srt", "1\n00:00:0"), ("vtt", "WEBVTT\n\n00:00:0")]
)
def test_forms_that_are_text(client: openai.OpenAI, short_talk: Path, form: str, start: str) -> None:
    heard = client.audio.transcriptions.create(model="whisper-1", file=short_talk, response_format=form)  # type: ignore[call-overload]
    assert isinstance(heard, str) and heard.startswith(start) and "word3" in heard


def test_translations_are_english(client: openai.OpenAI, short_talk: Path) -> None:
    heard = client.audio.translations.create(model="whisper-1", file=short_talk, response_format="verbose_json")
    assert (heard.language, heard.segments is not None) == ("english", True)
    assert heard.text.startswith("word1")


def test_the_model_that_listened_is_named(client: openai.OpenAI, short_talk: Path) -> None:
    [model] = client.models.list().data
    raw = client.audio.transcriptions.with_raw_response.create(model="whisper-1", file=short_talk)
    assert raw.headers["openai-model"] == model.id


def test_errors_are_those_of_the_client(client: openai.OpenAI, short_talk: Path) -> None:
    create = client.audio.transcriptions.create
    with pytest.raises(openai.BadRequestError, match="flac, mp3") as caught:
        create(model="whisper-1", file=("a.mp3", b"no sound" * 100))
    assert (caught.value.code, caught.value.param, caught.value.type) == (
        "unreadable_media", "file", "invalid_request_error"
    )  # fmt: skip
    with pytest.raises(openai.BadRequestError) as caught:
        create(model="whisper-1", file=short_talk, timestamp_granularities=["word"])
    assert caught.value.param == "timestamp_granularities"
    with pytest.raises(openai.BadRequestError, match="leave out stream"):
        create(model="whisper-1", file=short_talk, stream=True)
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(model="text-embedding-3-small", input="hello")


def test_a_file_over_the_limit(client: openai.OpenAI) -> None:
    with pytest.raises(openai.APIStatusError, match="MiB that may be sent") as caught:
        client.audio.transcriptions.create(model="whisper-1", file=("a.wav", bytes(3 * 1024**2)))
    assert (caught.value.status_code, caught.value.code) == (413, "too_large")


def test_nothing_is_left_behind(served: Service) -> None:
    assert [path.name for path in served.work.iterdir() if path.name.startswith(".audio-")] == []
