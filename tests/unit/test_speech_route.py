"""The speech route over an echo voice, whose tone lasts as long as its text would take to say."""

import io

import av
import httpx
import numpy as np
import pytest

from configs.engines import TtsSettings
from configs.pipeline import SpeakSettings
from models.echo import CHARACTER_S
from models.errors import StageFailed
from models.registry import load
from models.segment import Audio, Utterance
from serve_app.doors.speech import BREATH_S, FORMS, RATE, Announcer, SpeechRequest
from serve_app.local import in_thread
from serve_app.media import audio as sounds
from tests.unit.test_openai import Engines, engines, http, settings

__all__ = ["engines", "http", "settings"]  # fixtures of the other routes

URL = "/v1/audio/speech"
TEXT = "Good morning."


async def said(http: httpx.AsyncClient, **fields: object) -> httpx.Response:
    return await http.post(URL, json={"model": "tts-1", "voice": "alloy", "input": TEXT, **fields})


def heard(content: bytes, form: str) -> Audio:
    if form == "pcm":
        return (np.frombuffer(content, "<i2") / 32768).astype(np.float32)
    with av.open(io.BytesIO(content)) as file:
        resampler = av.AudioResampler("flt", "mono", RATE)
        frames = [out.to_ndarray()[0] for frame in file.decode(audio=0) for out in resampler.resample(frame)]
    return np.concatenate(frames).astype(np.float32)


@pytest.mark.parametrize("form", FORMS)
async def test_a_text_comes_out_as_sound_in_every_format(http: httpx.AsyncClient, form: str) -> None:
    answer = await said(http, response_format=form)
    assert answer.status_code == 200 and answer.headers["content-type"] == FORMS[form][0]
    sound = heard(answer.content, form)
    assert len(sound) / RATE == pytest.approx(len(TEXT) * CHARACTER_S, abs=0.15)
    assert sounds.loudness(sound, RATE) == pytest.approx(-23, abs=1.5)


async def test_sentences_are_said_one_by_one_with_a_breath_between(http: httpx.AsyncClient, engines: Engines) -> None:
    answer = await said(http, input="One fine day. Two fine days! 😀 Three.", response_format="pcm", speed=1.5)
    *said_so, measure = engines.said
    assert [one.text for one in said_so][:2] == ["One fine day.", "Two fine days!"]
    assert {one.rate for one in said_so} == {1.5} and measure == Utterance("Two fine days!", "en")
    loud = np.abs(heard(answer.content, "pcm")) > 0.01
    breaths = np.flatnonzero(np.diff(np.flatnonzero(loud)) > 0.9 * BREATH_S / 1.5 * RATE)
    assert len(breaths) == len(said_so) - 1 >= 2


@pytest.mark.parametrize(
    ("fields", "asked"),
    [
        ({}, ("en", "neutral")),
        ({"voice": "nova"}, ("en", "female")),
        ({"voice": "Onyx", "language": "FR"}, ("fr", "male")),
        ({"voice": "es-female"}, ("es", "female")),
        ({"voice": "hy"}, ("hy", "neutral")),
    ],
)
async def test_who_speaks(
    http: httpx.AsyncClient, engines: Engines, fields: dict[str, str], asked: tuple[str, str]
) -> None:
    assert (await said(http, **fields)).status_code == 200
    assert engines.said == [Utterance(TEXT, *asked)]


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Добрый день, друзья.", "ru"),
        ("Բարի օր, բարեկամներ։", "hy"),
        ("町には川が流れています。", "ja"),
        ("你好，世界", "zh"),
        ("OpenAI 的接口非常好用。", "zh"),
        ("ChatGPTを使っています。", "ja"),
        ("The word мир means peace.", "en"),
        ("Γεια σας", "en"),
        ("42", "en"),
    ],
)
async def test_where_nobody_says_the_language_the_script_does(
    http: httpx.AsyncClient, engines: Engines, text: str, language: str
) -> None:
    assert (await said(http, input=text)).status_code == 200
    assert {one.language for one in engines.said} == {language}
    engines.said.clear()
    assert (await said(http, input=text, language="fr")).status_code == 200
    assert (await said(http, input=text, voice="es-male")).status_code == 200
    assert [one.language for one in engines.said] == ["fr", "es"]


LONG = "The house stands on the hill, and a river passes by. Who lives there? Two dogs run over the field."


async def test_a_speed_is_kept_whatever_the_engine_makes_of_it() -> None:
    shelf = load("tts", "fallback", TtsSettings(engines=("espeak",)))
    announcer = Announcer(in_thread(shelf.speak), SpeakSettings())

    async def seconds(speed: float) -> float:
        asked = SpeechRequest(model="tts-1", input=LONG, voice="alloy", speed=speed)
        return len(await announcer.speak(asked)) / RATE

    own = await seconds(1.0)
    for speed in (0.25, 0.5, 0.8, 1.25, 2.0, 4.0):
        assert await seconds(speed) == pytest.approx(own / speed, rel=0.1), speed


@pytest.mark.parametrize(
    ("fields", "code", "words"),
    [
        ({"voice": "darth vader"}, "invalid_job", "female, male or neutral"),
        ({"language": "xx"}, "unsupported_language", "a language is one of"),
        ({"input": "… ?!"}, "invalid_job", "nothing to say"),
        ({"input": ""}, "invalid_request", "check input"),
        ({"input": "a" * 4097}, "invalid_request", "check input"),
        ({"speed": 9}, "invalid_request", "check speed"),
        ({"response_format": "midi"}, "invalid_request", "check response_format"),
        ({"stream_format": "sse"}, "invalid_request", "check stream_format"),
    ],
)
async def test_what_cannot_be_said_is_refused(
    http: httpx.AsyncClient, engines: Engines, fields: dict[str, object], code: str, words: str
) -> None:
    answer = await said(http, **fields)
    assert answer.status_code in (400, 422)
    assert answer.json()["error"]["code"] == code and words in answer.json()["error"]["message"]
    assert engines.said == []


async def test_a_voice_that_fails_says_so_in_openai_s_shape(http: httpx.AsyncClient, engines: Engines) -> None:
    engines.error = StageFailed("tts", "no speech engine could say it")
    answer = await said(http)
    assert answer.status_code == 500
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


async def test_an_encoder_that_is_not_there(http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve_app.media.ffmpeg.binary", lambda: "/nowhere/ffmpeg")
    monkeypatch.setattr(sounds, "loudness", lambda *_: -23.0)
    answer = await said(http)
    assert answer.status_code == 500 and "could not be encoded" in answer.json()["error"]["message"]


async def test_a_body_of_megabytes_is_not_even_read(http: httpx.AsyncClient, engines: Engines) -> None:
    answer = await said(http, junk=["x" * 1000] * 100)
    assert answer.status_code == 413 and "64 KiB" in answer.json()["error"]["message"]
    assert engines.said == []
