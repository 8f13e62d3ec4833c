"""OpenAI's routes over echo engines: five shapes of an answer, what is refused and how, and nothing is left behind.

A recording is bursts of a tone with pauses; the echo engine hears numbered words in them, 0.4 s each.
"""

import io
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
from pydantic import SecretStr

from configs.app import AppSettings, JobSettings, Roots
from configs.pipeline import LANGUAGES
from models.echo import EchoRecognizer, EchoTranslator, EchoTts, EchoVad
from models.errors import ArtifactMissing, StageFailed, UnsupportedLanguage
from models.segment import Clip, Segment, Span, Speech, Transcript, Utterance, Word
from serve_app.doors.access import FORM_BYTES, Access
from serve_app.doors.desk import Desk
from serve_app.doors.http import build_api
from serve_app.doors.openai import NAMES, name_of, written
from serve_app.doors.speech import Announcer
from serve_app.doors.transcribe import Transcriber
from serve_app.jobs.store import Store
from serve_app.jobs.tenants import Tenants

AUDIO_BYTES = 400_000
URL = "/v1/audio/transcriptions"
Sound = Callable[..., bytes]


class Engines:
    """Echo engines; a test may put an error into the recogniser's mouth, or say what the language is."""

    def __init__(self, settings: AppSettings) -> None:
        self._recognizer = EchoRecognizer(settings.engines.asr)
        self._translator = EchoTranslator(settings.engines.translation)
        self._vad = EchoVad(settings.engines.vad)
        self._voice = EchoTts(settings.engines.tts)
        self.said: list[Utterance] = []
        self.error: Exception | None = None
        self.asked: list[str | None] = []
        self.callers: set[str] = set()

    async def detect(self, clip: Clip) -> list[Span]:
        return self._vad.detect([clip])[0]

    async def recognize(self, clip: Clip, caller: str = "") -> Transcript:
        self.callers.add(caller)
        self.asked.append(clip.language)
        if self.error:
            raise self.error
        return self._recognizer.recognize([clip])[0]

    async def hears(self) -> None:
        return None

    async def translate(self, sentence: Any, caller: str) -> Any:
        return self._translator.translate([sentence])[0]

    async def say(self, utterance: Utterance) -> Speech:
        self.said.append(utterance)
        if self.error:
            raise self.error
        return self._voice.speak([utterance])[0]

    async def pairs(self) -> frozenset[tuple[str, str]]:
        return frozenset({("es", "en")})


@pytest.fixture
def settings() -> AppSettings:
    limits = {"max_audio_bytes": AUDIO_BYTES, "max_audio_s": 10.0, "max_upload_bytes": 2 * AUDIO_BYTES}
    return AppSettings.model_validate({"ingress": limits, "engines": {"asr": {"model": "/models/own-whisper"}}})


@pytest.fixture
def engines(settings: AppSettings) -> Engines:
    return Engines(settings)


@pytest.fixture
async def http(tmp_path: Path, settings: AppSettings, engines: Engines) -> AsyncIterator[httpx.AsyncClient]:
    roots = Roots(uploads=tmp_path, artifacts=tmp_path, work=tmp_path, database_url=SecretStr(""))
    store = Store(f"sqlite:///{tmp_path / 'jobs.sqlite'}", JobSettings())
    store.create()

    async def ready() -> dict[str, bool]:
        return {}

    e = engines
    transcriber = Transcriber(settings, tmp_path, e.detect, e.recognize, e.hears, e.translate, e.pairs)
    announcer = Announcer(e.say, settings.pipeline.speak)
    access = Access(Tenants(store.database), anonymous=True)
    api = build_api(
        Desk(store, settings, roots, e.recognize, e.hears, e.detect), access, ready, transcriber, announcer, settings
    )
    transport = httpx.ASGITransport(api, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://door") as client:
        yield client
    store.close()
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith("jobs")] == []


def tone(*bursts: float, rate: int = 8000, pause: float = 1.5, form: str = "FLAC") -> bytes:
    """A file with bursts of so many seconds, a pause before each."""
    time = np.arange(round(max(bursts, default=0) * rate)) / rate
    parts: list[Any] = []
    for burst in bursts:
        parts += [np.zeros(round(pause * rate)), 0.3 * np.sin(2 * np.pi * 300 * time[: round(burst * rate)])]
    file = io.BytesIO()
    soundfile.write(file, np.concatenate([*parts, np.zeros(rate)]), rate, format=form)
    return file.getvalue()


async def ask(http: httpx.AsyncClient, content: bytes, url: str = URL, **fields: Any) -> httpx.Response:
    return await http.post(url, data={"model": "whisper-1", **fields}, files={"file": ("a.flac", content)})


def refused(answer: httpx.Response, status: int, code: str, param: str | None) -> str:
    """Checks the shape that OpenAI's clients read; returns the sentence."""
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (status, code, param), error
    assert sorted(error) == ["code", "message", "param", "type"]
    assert error["type"] == ("server_error" if status >= 500 else "invalid_request_error")
    sentence: str = error["message"]
    return sentence


# -- answers -----------------------------------------------------------------------------------------------------------


async def test_json_is_text_and_what_it_costs(http: httpx.AsyncClient, engines: Engines) -> None:
    answer = await ask(http, tone(2.0, 1.2), language=" EN ", prompt="ignored", temperature="0.4")
    assert answer.status_code == 200, answer.text
    assert answer.json() == {
        "text": "word1 word2 word3 word4 word5. word6 word7 word8.",
        "usage": {"type": "duration", "seconds": 8},
    }
    assert answer.headers["openai-model"] == "own-whisper"
    assert set(engines.asked) == {"en"} and len(engines.callers) == 1
    await ask(http, tone(1.0))
    assert len(engines.callers) == 2  # each upload has its turns


async def test_verbose_json_has_segments_that_lie_on_the_bursts(http: httpx.AsyncClient) -> None:
    body = (await ask(http, tone(2.0, 1.2), response_format="verbose_json", temperature=0.4)).json()
    assert (body["task"], body["language"], body["duration"]) == ("transcribe", "english", 7.2)
    assert "words" not in body
    rows = body["segments"]
    assert [(row["id"], row["text"]) for row in rows] == [
        (0, " word1 word2 word3 word4 word5."),
        (1, " word6 word7 word8."),
    ]
    assert [(row["start"], row["end"]) for row in rows] == [
        (pytest.approx(1.5, abs=0.05), pytest.approx(3.5, abs=0.05)),
        (pytest.approx(5.0, abs=0.05), pytest.approx(6.2, abs=0.05)),
    ]
    assert rows[1]["seek"] == round(rows[1]["start"] * 100)
    assert all(row["temperature"] == 0.4 and row["avg_logprob"] == 0.0 and row["tokens"] == [] for row in rows)
    assert all(0.4 < row["compression_ratio"] < 2 and row["no_speech_prob"] == 0 for row in rows)


@pytest.mark.parametrize(
    ("wanted", "keys"),
    [(["word"], {"words"}), (["segment"], {"segments"}), (["word", "segment"], {"words", "segments"})],
)
async def test_granularities(http: httpx.AsyncClient, wanted: list[str], keys: set[str]) -> None:
    fields = {"timestamp_granularities[]": wanted, "response_format": "verbose_json"}
    body = (await ask(http, tone(1.2), **fields)).json()
    assert keys == {"words", "segments"} & set(body)
    if "word" in wanted:
        assert [word["word"] for word in body["words"]] == ["word1", "word2", "word3."]
        assert [word["start"] for word in body["words"]] == pytest.approx([1.5, 1.9, 2.3], abs=0.05)


async def test_short_speech_is_heard_once_and_long_speech_votes(http: httpx.AsyncClient, engines: Engines) -> None:
    assert (await ask(http, tone(2.0, 1.2))).json()["text"].endswith("word8.")
    assert engines.asked == [None]
    engines.asked.clear()
    assert (await ask(http, tone(1.2, 1.2, pause=3.0))).json()["text"] == "word1 word2 word3. word1 word2 word3."
    assert engines.asked == [None, None, "en", "en"]


async def test_text_srt_and_vtt(http: httpx.AsyncClient) -> None:
    file = tone(1.2)
    assert (await ask(http, file, response_format="text")).text == "word1 word2 word3.\n"
    srt = await ask(http, file, response_format="srt")
    assert srt.headers["content-type"].startswith("text/plain")
    assert srt.text.startswith("1\n00:00:01,") and srt.text.endswith("\nword1 word2 word3.\n\n")
    vtt = (await ask(http, file, response_format="vtt")).text
    assert vtt.startswith("WEBVTT\n\n00:00:01.") and "word3." in vtt


async def test_silence_is_an_empty_answer(http: httpx.AsyncClient, engines: Engines) -> None:
    silence = tone()
    assert (await ask(http, silence)).json()["text"] == ""
    body = (await ask(http, silence, response_format="verbose_json")).json()
    assert (body["segments"], body["duration"], body["language"]) == ([], 1.0, "")
    assert (await ask(http, silence, response_format="srt")).text == ""
    assert (await ask(http, silence, response_format="vtt")).text == "WEBVTT\n\n"
    assert (await ask(http, silence, "/v1/audio/translations")).json()["text"] == ""
    assert engines.asked == []


@pytest.mark.parametrize("form", ["WAV", "OGG", "MP3"])
async def test_other_containers(http: httpx.AsyncClient, form: str) -> None:
    answer = await ask(http, tone(1.2, form=form))
    assert answer.json().get("text") == "word1 word2 word3.", answer.text


async def test_models_are_listed_by_name(http: httpx.AsyncClient) -> None:
    [row] = (await http.get("/v1/models")).json()["data"]
    assert (row["id"], row["object"]) == ("own-whisper", "model")
    assert [name_of(model) for model in ("tiny.en", "a/b", "../x/y")] == ["tiny.en", "a/b", "y"]


async def test_a_translation_is_english_and_keeps_its_times(http: httpx.AsyncClient, engines: Engines) -> None:
    body = (await ask(http, tone(1.2), "/v1/audio/translations", response_format="verbose_json")).json()
    assert (body["task"], body["language"], body["text"]) == ("translate", "english", "word1 word2 word3.")
    spanish = engines._recognizer.recognize

    def heard(clips: list[Clip]) -> list[Transcript]:
        return [Transcript(one.words, "es", 0.9) for one in spanish(clips)]

    engines._recognizer.recognize = heard  # type: ignore[method-assign]
    body = (await ask(http, tone(1.2), "/v1/audio/translations", response_format="verbose_json")).json()
    assert (body["language"], body["text"]) == ("english", "[en] word1 word2 word3.")
    assert body["segments"][0]["start"] == pytest.approx(1.5, abs=0.05)


# -- refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"model": ""}, "model", "invalid_request"),
        ({"response_format": "yaml"}, "response_format", "invalid_request"),
        ({"temperature": "2"}, "temperature", "invalid_request"),
        ({"language": "english please"}, "language", "invalid_request"),
        ({"timestamp_granularities[]": ["letter"]}, "timestamp_granularities", "invalid_request"),
        ({"timestamp_granularities[]": ["word"]}, "timestamp_granularities", "unsupported_value"),
        ({"stream": "true"}, "stream", "unsupported_value"),
    ],
)
async def test_fields_that_do_not_fit(http: httpx.AsyncClient, fields: dict[str, Any], param: str, code: str) -> None:
    sentence = refused(await ask(http, tone(1.0), **fields), 400, code, param)
    assert "yaml" not in sentence and "please" not in sentence


async def test_a_request_without_its_parts(http: httpx.AsyncClient) -> None:
    assert "file, model" in refused(await http.post(URL, data={"x": "y"}), 400, "invalid_request", "file")
    headers = {"content-type": "multipart/form-data; boundary=b"}
    refused(await http.post(URL, content=b"no form", headers=headers), 400, "bad_request", None)
    refused(await http.get(URL), 405, "method_not_allowed", None)
    refused(await http.post("/v1/audio/else"), 404, "not_found", None)


async def test_files_that_are_none(http: httpx.AsyncClient, talk: Path) -> None:
    for content in (b"", b"no sound" * 500, tone(1.0)[:40]):
        assert "flac, mp3" in refused(await ask(http, content), 400, "unreadable_media", "file")
    playlist = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n/etc/passwd\n"
    refused(await ask(http, playlist), 400, "unreadable_media", "file")


async def test_a_recording_that_is_too_long(http: httpx.AsyncClient) -> None:
    assert "0.166667 minutes" in refused(await ask(http, tone(9.0)), 400, "unreadable_media", "file")


async def test_bodies_and_files_that_are_too_large(http: httpx.AsyncClient) -> None:
    assert "MiB that may be sent" in refused(await ask(http, bytes(AUDIO_BYTES + 1)), 413, "too_large", "file")
    refused(await ask(http, bytes(AUDIO_BYTES + FORM_BYTES)), 413, "too_large", "file")

    async def unannounced() -> AsyncIterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'
        for _ in range(100):
            yield bytes(10_000)

    headers = {"content-type": "multipart/form-data; boundary=b"}
    refused(await http.post(URL, content=unannounced(), headers=headers), 413, "too_large", "file")


@pytest.mark.parametrize(
    ("error", "status", "code", "param"),
    [
        (UnsupportedLanguage("no"), 400, "unsupported_language", "language"),
        (StageFailed("transcription", "broken"), 500, "stage_failed", None),
        (ArtifactMissing("get it"), 503, "artifact_missing", None),
        (RuntimeError("secret"), 500, "stage_failed", None),
    ],
)
async def test_what_engines_raise(
    http: httpx.AsyncClient, engines: Engines, error: Exception, status: int, code: str, param: str | None
) -> None:
    engines.error = error
    assert "secret" not in refused(await ask(http, tone(1.0)), status, code, param)


async def test_a_language_without_a_model_for_its_translation(http: httpx.AsyncClient, engines: Engines) -> None:
    plain = engines._recognizer.recognize

    def heard(clips: list[Clip]) -> list[Transcript]:
        return [Transcript(one.words, "de", 0.9) for one in plain(clips)]

    engines._recognizer.recognize = heard  # type: ignore[method-assign]
    sentence = refused(await ask(http, tone(1.0), "/v1/audio/translations"), 400, "unsupported_language", "language")
    assert "de to en" in sentence


def test_pieces_of_a_word_are_one_word() -> None:
    pieces = [" At", " 10", ":45", " we", " don", "'t", "."]
    words = tuple(Word(i, i + 0.5, text, 1 - i / 10) for i, text in enumerate(pieces))
    segment = Segment(1, 0.0, 7.0, "At 10:45 we don't.", words)
    found = written(segment, "en")
    assert [(word.text, word.start, word.end) for word in found] == [
        (" At", 0, 0.5), (" 10:45", 1, 2.5), (" we", 3, 3.5), (" don't.", 4, 6.5)
    ]  # fmt: skip
    assert found[1].probability == pytest.approx(0.8)
    assert written(segment, "ja") == list(words)


def test_every_language_of_the_product_has_a_name() -> None:
    assert set(NAMES) == set(LANGUAGES)
