"""The edge engine against a stand-in for its library: what is asked, what comes back, and how the service fails."""

import asyncio
import io
from typing import ClassVar

import aiohttp
import numpy as np
import pytest
import soundfile
from edge_tts.exceptions import NoAudioReceived

from configs.engines import TtsSettings
from configs.pipeline import LANGUAGES
from models.errors import StageFailed
from models.registry import load
from models.segment import Utterance
from models.tts import edge

RATE = 24_000


def mp3(seconds: float) -> bytes:
    file = io.BytesIO()
    tone = 0.4 * np.sin(2 * np.pi * 200 * np.arange(round(seconds * RATE)) / RATE)
    soundfile.write(file, tone, RATE, format="MP3")
    return file.getvalue()


@pytest.fixture
def service(monkeypatch):
    """A library that answers with `sound`, or fails with `error`, and keeps what it was asked."""

    class Communicate:
        sound, error, delay = mp3(2.0), None, 0.0
        asked: ClassVar[list[tuple[str, str, str]]] = []

        def __init__(self, text, voice, *, rate):
            self.state = {"chunk_audio_bytes": 0}
            self.asked.append((text, voice, rate))

        async def stream(self):
            await asyncio.sleep(self.delay)
            if self.error:
                raise self.error
            yield {"type": "SentenceBoundary", "offset": 0}
            half = len(self.sound) // 2
            yield {"type": "audio", "data": self.sound[:half]}
            yield {"type": "audio", "data": self.sound[half:]}

    Communicate.asked = []
    monkeypatch.setattr("edge_tts.Communicate", Communicate)
    return Communicate


def engine(**settings):
    return load("tts", "edge", TtsSettings(**settings))


def test_the_mp3_becomes_samples(service):
    (speech,) = engine().speak([Utterance("Es una casa grande.", "es", "male", rate=1.12)])
    assert service.asked == [("Es una casa grande.", "es-ES-AlvaroNeural", "+12%")]
    assert speech.voice == "edge:es-ES-AlvaroNeural" and speech.sample_rate == RATE
    assert speech.duration == pytest.approx(2.0, abs=0.1)
    assert speech.audio.dtype == np.float32 and speech.audio.max() == pytest.approx(0.4, abs=0.05)


def test_slower_speech_has_a_minus(service):
    engine().speak([Utterance("Hola a todos.", "es", rate=0.9), Utterance("Hola a todos.", "es")])
    assert [rate for *_, rate in service.asked] == ["-10%", "+0%"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_two_voices_that_the_library_accepts(language):
    import edge_tts

    assert engine().supports(language)
    female, male = edge.VOICES[language]
    assert female != male
    for voice in (female, male):
        assert voice.startswith(f"{language}-")
        assert edge_tts.Communicate("x", voice).tts_config.voice.startswith("Microsoft Server Speech")


def test_settings_override_the_table_and_add_languages(service):
    custom = engine(edge_voices={"es-female": "es-MX-DaliaNeural", "nl-male": "nl-NL-MaartenNeural"})
    assert custom.supports("nl") and not engine().supports("nl")
    custom.speak([Utterance("Hola a todos.", "es"), Utterance("Hallo allemaal.", "nl", "female")])
    assert [voice for _, voice, _ in service.asked] == ["es-MX-DaliaNeural", "nl-NL-MaartenNeural"]


def test_a_language_without_a_voice(service):
    with pytest.raises(StageFailed, match="no voice for nl"):
        engine().speak([Utterance("Hallo.", "nl")])


def refused(status: int) -> aiohttp.ClientResponseError:
    return aiohttp.WSServerHandshakeError(None, (), status=status)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "transient", "message"),
    [
        (refused(429), True, "refused with 429"),
        (refused(503), True, "refused with 503"),
        (refused(403), False, "refused with 403"),
        (aiohttp.ClientConnectionError("dns"), True, "cannot be reached"),
        (ConnectionResetError("reset"), True, "cannot be reached"),
        (TimeoutError(), True, "no answer"),
        (NoAudioReceived("nothing"), False, "sent no sound"),
    ],
)
def test_failures_have_a_type(service, error, transient, message):
    service.error = error
    with pytest.raises(StageFailed, match=message) as caught:
        engine().speak([Utterance("Hola a todos.", "es")])
    assert caught.value.transient is transient
    assert caught.value.__cause__ is not None


def test_a_mistyped_voice_is_a_final_failure():
    with pytest.raises(StageFailed, match="cannot use the voice es-Elvira; correct its name in edge_voices") as caught:
        engine(edge_voices={"es-female": "es-Elvira"}).speak([Utterance("Hola a todos.", "es", "female")])
    assert not caught.value.transient


def test_a_service_that_hangs_is_left(service):
    service.delay = 5.0
    with pytest.raises(StageFailed, match=r"no answer in 0\.05 s") as caught:
        engine(edge_timeout_s=0.05).speak([Utterance("Hola a todos.", "es")])
    assert caught.value.transient


@pytest.mark.parametrize("sound", [b"", b"<html>busy</html>" * 20])
def test_what_is_no_sound_is_a_failure(service, sound):
    service.sound = sound
    with pytest.raises(StageFailed, match="no readable sound"):
        engine().speak([Utterance("Hola a todos.", "es")])


def test_a_clip_that_breaks_off_is_a_failure(service):
    service.sound = mp3(0.2)
    with pytest.raises(StageFailed, match="too short"):
        engine().speak([Utterance("Esta frase es mucho más larga que el sonido.", "es")])


def test_certificates_are_verified():
    from edge_tts import communicate

    assert communicate._SSL_CTX.verify_mode.name == "CERT_REQUIRED" and communicate._SSL_CTX.check_hostname
