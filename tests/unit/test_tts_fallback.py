"""Several engines as one, with engines that fail to order and a clock that is set by hand."""

import logging

import numpy as np
import pytest

from configs.engines import TtsSettings
from models.errors import ArtifactMissing, StageFailed
from models.registry import ENGINES, load
from models.segment import Speech, Utterance
from models.tts.fallback import FallbackTts

HELLO = Utterance("hola", "es")


class Stub:
    """Speaks Spanish, unless an error is set; counts its calls."""

    def __init__(self, name: str) -> None:
        self.name, self.calls, self.errors = name, 0, []
        self.languages = {"es"}

    def supports(self, language: str) -> bool:
        return language in self.languages

    def speak(self, utterances: list[Utterance]) -> list[Speech]:
        self.calls += 1
        if self.errors:
            error = self.errors.pop(0)
            if error:
                raise error
        return [Speech(np.ones(10, np.float32), 10, f"{self.name}:x") for _ in utterances]


class Desk:
    """A FallbackTts over stubs, its clock and its naps."""

    def __init__(self, monkeypatch, **settings) -> None:
        self.stubs = {name: Stub(name) for name in ("edge", "piper", "espeak")}
        self.loads: list[str] = []
        self.missing: set[str] = set()
        self.now, self.naps = 100.0, []
        monkeypatch.setattr("models.tts.fallback.load", self.load)
        wanted = TtsSettings(engines=("edge", "piper", "espeak"), **settings)
        self.engine = FallbackTts(wanted, clock=lambda: self.now, sleep=self.naps.append)

    def load(self, shelf, name, settings):
        self.loads.append(name)
        if name in self.missing:
            raise ArtifactMissing(f"{name} is not installed; run: pip install {name}")
        return self.stubs[name]

    def who(self) -> str:
        return self.engine.speak([HELLO])[0].voice.partition(":")[0]


@pytest.fixture
def desk(monkeypatch):
    return Desk(monkeypatch)


def transient(times: int = 100):
    return [StageFailed("tts", "told to wait", transient=True) for _ in range(times)]


def final(times: int = 100):
    return [StageFailed("tts", "no sound") for _ in range(times)]


def test_the_first_engine_speaks_and_the_others_are_not_loaded(desk):
    assert desk.who() == desk.who() == "edge"
    assert desk.loads == ["edge"]


def test_a_language_is_passed_on_to_who_speaks_it(desk):
    desk.stubs["edge"].languages = desk.stubs["piper"].languages = set()
    assert desk.who() == "espeak" and desk.engine.supports("es") and not desk.engine.supports("nl")
    assert not desk.stubs["edge"].calls


def test_a_transient_failure_is_tried_again(desk):
    desk.stubs["edge"].errors = transient(1)
    assert desk.who() == "edge"
    assert len(desk.naps) == 1 and 0.25 <= desk.naps[0] <= 0.75


def test_what_went_well_at_another_try_names_why_it_was_tried_again(desk):
    desk.stubs["edge"].errors = transient(1)
    (speech,) = desk.engine.speak([HELLO])
    assert (speech.failed, speech.tried) == ((), ("told to wait, asked again",))
    desk.stubs["edge"].errors, desk.stubs["piper"].errors = final(1), transient(1)
    (speech,) = desk.engine.speak([HELLO])
    assert (speech.failed, speech.tried) == (("no sound",), ("told to wait, asked again",))


def test_pauses_between_tries_double(monkeypatch):
    desk = Desk(monkeypatch, tries=4, backoff_s=1.0)
    desk.stubs["edge"].errors = transient(3)
    assert desk.who() == "edge"
    for nap, middle in zip(desk.naps, (1, 2, 4), strict=True):
        assert 0.5 * middle <= nap <= 1.5 * middle


def test_a_final_failure_is_not_tried_again_but_passed_on(desk, caplog):
    desk.stubs["edge"].errors = final(1)
    with caplog.at_level(logging.WARNING):
        assert desk.who() == "piper"
    assert desk.stubs["edge"].calls == 1 and not desk.naps
    assert "edge failed, falling back" in caplog.text


def test_an_engine_that_keeps_failing_rests_and_comes_back(desk):
    desk.stubs["edge"].errors = final(3)
    assert [desk.who() for _ in range(5)] == ["piper"] * 5
    assert desk.stubs["edge"].calls == 3
    desk.now += 31
    assert desk.who() == "edge"


def test_one_failure_after_the_rest_is_enough_for_another(desk):
    desk.stubs["edge"].errors = final(4)
    for _ in range(3):
        desk.who()
    desk.now += 31
    assert [desk.who(), desk.who()] == ["piper", "piper"]
    assert desk.stubs["edge"].calls == 4


def test_a_success_forgets_earlier_failures(desk):
    desk.stubs["edge"].errors = [*final(2), None, *final(2), None]
    assert [desk.who() for _ in range(6)] == ["piper", "piper", "edge"] * 2


def test_a_resting_engine_is_asked_before_giving_up(desk):
    desk.stubs["edge"].errors = final(3)
    for _ in range(3):
        desk.who()
    desk.stubs["piper"].errors, desk.stubs["espeak"].errors = final(1), final(1)
    assert desk.who() == "edge"


def test_an_engine_without_its_weights_is_passed_over(desk):
    desk.missing = {"edge"}
    assert desk.who() == "piper" and desk.engine.supports("es")


def test_when_all_fail_the_reasons_are_told(desk):
    desk.missing = {"piper"}
    desk.stubs["edge"].errors, desk.stubs["espeak"].errors = transient(), final()
    with pytest.raises(StageFailed) as caught:
        desk.who()
    expected = (
        "tts: no speech engine could say it: told to wait; piper is not installed; run: pip install piper; no sound"
    )
    assert str(caught.value) == expected


def test_an_unforeseen_error_is_final_for_that_sentence_and_another_engine_speaks(desk, caplog):
    desk.stubs["edge"].errors = [ValueError("Invalid voice 'x'.")]
    assert desk.who() == "piper"
    assert desk.stubs["edge"].calls == 1 and not desk.naps
    assert "edge failed, falling back" in caplog.text and "Traceback" in caplog.text
    assert desk.who() == "edge"


def test_the_reasons_hold_no_words_of_python(desk):
    desk.stubs["edge"].errors, desk.stubs["piper"].errors = [ValueError("0x7f")], [KeyError("phonemes")]
    desk.stubs["espeak"].errors = final(1)
    with pytest.raises(StageFailed) as caught:
        desk.who()
    expected = "tts: no speech engine could say it: edge is out of order; piper is out of order; no sound"
    assert str(caught.value) == expected


def test_an_engine_that_breaks_when_it_is_loaded_supports_nothing(desk, monkeypatch):
    monkeypatch.setattr("models.tts.fallback.load", lambda *_: 1 / 0)
    assert not desk.engine.supports("es")


def test_its_engines_can_be_asked_directly(desk):
    assert desk.engine.names == ("edge", "piper", "espeak")
    assert desk.engine.engine("piper") is desk.stubs["piper"] and desk.loads == ["piper"]


def test_a_mistyped_edge_voice_leaves_it_to_espeak(caplog):
    engine = load("tts", "fallback", TtsSettings(engines=("edge", "espeak"), edge_voices={"es-female": "Elvira"}))
    (speech,) = engine.speak([Utterance("La casa es grande.", "es", "female")])
    assert speech.voice == "espeak:es+f3"
    assert "correct its name in edge_voices" in caplog.text


def test_a_language_that_none_speaks(desk):
    with pytest.raises(StageFailed, match="none has a voice for nl"):
        desk.engine.speak([Utterance("hallo", "nl")])


def test_one_failed_utterance_of_two_is_spoken_by_another_engine(desk):
    desk.stubs["edge"].errors = [None, *final(1)]
    voices = [speech.voice for speech in desk.engine.speak([HELLO, HELLO])]
    assert voices == ["edge:x", "piper:x"]


def test_the_registry_knows_it_and_it_falls_back_to_espeak_for_real():
    assert "fallback" in ENGINES["tts"]
    engine = load("tts", "fallback", TtsSettings(engines=("piper", "espeak")))
    (speech,) = engine.speak([Utterance("La casa es grande.", "es", "female")])
    assert speech.voice == "espeak:es+f3" and speech.duration > 0.5
