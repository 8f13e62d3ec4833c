"""espeak for every language, and the bound below which a clip cannot hold its text."""

import sys
import threading

import numpy as np
import pytest

from configs.engines import TtsSettings
from configs.pipeline import LANGUAGES
from models.errors import ArtifactMissing, StageFailed
from models.registry import load
from models.segment import Speech, Utterance
from models.tts import espeak, kana, plausible

TEXTS = {
    "en": "The house stands on the hill.",
    "hy": "Տունը կանգնած է բլրի վրա։",
    "ru": "Дом стоит на холме.",
    "es": "La casa está en la colina.",
    "fr": "La maison est sur la colline.",
    "de": "Das Haus steht auf dem Hügel.",
    "it": "La casa è sulla collina.",
    "pt": "A casa fica na colina.",
    "zh": "房子在山上。",
    "ja": "いえはおかのうえにあります。",
}


@pytest.fixture(scope="module")
def engine():
    return load("tts", "espeak", TtsSettings())


def pitch(speech: Speech) -> float:
    """Median fundamental frequency of the voiced frames, by autocorrelation, in Hz."""
    size, found = 4096, []
    for at in range(0, len(speech.audio) - size, size // 2):
        frame = speech.audio[at : at + size] * np.hanning(size)
        low, high = speech.sample_rate // 350, speech.sample_rate // 65
        spectrum = np.abs(np.fft.rfft(frame, 2 * size)) ** 2
        found.append(speech.sample_rate / (low + np.argmax(np.fft.irfft(spectrum)[low:high])))
    return float(np.median(found))


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_sounds_and_no_two_alike(engine, language):
    assert engine.supports(language)
    (speech,) = engine.speak([Utterance(TEXTS[language], language)])
    assert speech.audio.dtype == np.float32 and speech.sample_rate == 22_050
    assert 0.8 < speech.duration < 3
    assert 0.1 < np.abs(speech.audio).max() <= 1
    assert speech.voice == f"espeak:{espeak.LANGUAGE_VOICES[language]}"


@pytest.mark.parametrize("language", LANGUAGES)
def test_women_and_men_differ_in_pitch(engine, language):
    female, male = engine.speak([Utterance(TEXTS[language], language, gender) for gender in ("female", "male")])
    assert pitch(female) > 1.5 * pitch(male)
    assert (female.voice[-3:], male.voice[-3:]) == ("+f3", "+m3")


def test_voices_may_be_others_than_those_of_the_table():
    engine = load("tts", "espeak", TtsSettings(espeak_voices={"es": "es-419", "es-male": "es+m7", "fr": "nobody"}))
    voices = [engine.speak([Utterance(TEXTS["es"], "es", gender)])[0].voice for gender in ("neutral", "female", "male")]
    assert voices == ["espeak:es-419", "espeak:es-419+f3", "espeak:es+m7"]
    with pytest.raises(StageFailed, match="correct its name in espeak_voices"):
        engine.speak([Utterance(TEXTS["fr"], "fr")])


def test_the_rate_is_what_was_asked(engine):
    text = "La casa está en la colina y el río pasa por el pueblo."
    slow, own, fast = (engine.speak([Utterance(text, "es", rate=rate)])[0].duration for rate in (0.8, 1.0, 1.25))
    assert own / fast == pytest.approx(1.25, abs=0.12)
    assert own / slow == pytest.approx(0.8, abs=0.12)


def test_threads_do_not_get_each_others_words(engine):
    long, short = Utterance("La casa está en la colina y el río pasa.", "es"), Utterance("Hola.", "es")
    expected = {u: len(engine.speak([u])[0].audio) for u in (long, short)}
    wrong = []

    def work(utterance):
        for _ in range(5):
            got = len(engine.speak([utterance])[0].audio)
            if abs(got - expected[utterance]) > 0.05 * expected[utterance]:  # its wave generator carries on
                wrong.append((utterance, got))

    threads = [threading.Thread(target=work, args=(u,)) for u in (long, short) * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_language_without_a_voice(engine):
    assert not engine.supports("tlh")
    with pytest.raises(StageFailed, match="no voice for tlh"):
        engine.speak([Utterance("nuqneH", "tlh")])


def test_a_voice_that_the_library_does_not_have(engine, monkeypatch):
    monkeypatch.setitem(espeak.LANGUAGE_VOICES, "es", "no-such-voice")
    with pytest.raises(StageFailed, match="no voice no-such-voice"):
        engine.speak([Utterance("hola", "es")])


@pytest.mark.parametrize("text", ["", "   ", "…"])
def test_a_text_without_sound_is_a_failure(engine, text):
    with pytest.raises(StageFailed, match="no sound"):
        engine.speak([Utterance(text, "es")])


def test_text_with_a_null_character_is_said_whole(engine):
    whole, cut = engine.speak([Utterance("La casa\0 está en la colina.", "es"), Utterance("La casa", "es")])
    assert whole.duration > 1.5 * cut.duration


def test_an_installation_without_the_library(monkeypatch):
    monkeypatch.setattr("espeakng_loader.get_library_path", lambda: "/nonexistent/libespeak-ng.so")
    with pytest.raises(ArtifactMissing, match="pip install espeakng-loader"):
        espeak._Library()


def test_an_installation_without_voice_data(monkeypatch):
    def gone():
        raise RuntimeError("data path not exists")

    monkeypatch.setattr("espeakng_loader.get_data_path", gone)
    with pytest.raises(ArtifactMissing, match="pip install espeakng-loader"):
        espeak._Library()


@pytest.mark.parametrize(
    ("part", "language"), [("donaudampf", "de"), ("7070707070", "en"), ("さくらがさいたとり", "ja")]
)
def test_a_word_without_end_is_said_to_its_end(engine, part, language):
    whole, parts = engine.speak([Utterance(gap.join([part] * 40), language) for gap in ("", " ")])
    assert whole.duration > 0.75 * parts.duration > 20


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("町には川が流れています。", "マチニワカワガナガレテイマス。"),
        ("東京駅で、友達を待つ。", "トーキョーエキデ、トモダチヲマツ。"),
        ("ジョン・スミスさん、１０分！", "ジョン スミスサン、10フン！"),
        ("三ヶ月も人々は〇〇と", "サンカゲツモヒトビトワレイレイト"),
        ("かなだけは、そのまま", "かなだけは、そのまま"),
    ],
)
def test_kanji_become_kana(text, read):
    assert kana.kana(text) == read


@pytest.mark.parametrize(
    ("kanji", "read"),
    [
        ("町には川が流れています。", "まちにわかわがながれています。"),
        ("明日の会議は午後に始まります。", "あしたのかいぎわごごにはじまります。"),
        ("昨日、古い映画を見ました。", "きのう、ふるいえいがをみました。"),
    ],
)
def test_kanji_last_as_long_as_their_kana(engine, kanji, read):
    said, wanted = (engine.speak([Utterance(text, "ja")])[0].duration for text in (kanji, read))
    assert said == pytest.approx(wanted, rel=0.25)


def test_chinese_characters_are_read_in_chinese(engine):
    said, pinyin = engine.speak([Utterance("你好，世界", "zh"), Utterance("ni3 hao3, shi4 jie4", "zh")])
    assert said.duration == pytest.approx(pinyin.duration, rel=0.25)


def test_without_a_dictionary_kanji_are_an_error_that_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "janome.tokenizer", None)
    kana._dictionary.cache_clear()
    shelf = load("tts", "fallback", TtsSettings(engines=("espeak",)))
    with pytest.raises(StageFailed, match=r"pip install 'dubserve\[cjk\]'"):
        shelf.speak([Utterance("町には川が流れています。", "ja")])
    assert shelf.speak([Utterance("まちにはかわがながれています。", "ja")])[0].duration > 1


def test_a_character_without_a_reading_is_an_error_and_not_left_out(engine):
    with pytest.raises(StageFailed, match="cannot read 龘"):
        engine.speak([Utterance("龘が見える。", "ja")])


def speech(seconds: float, level: float = 0.5) -> Speech:
    return Speech(np.full(round(seconds * 100), level, np.float32), 100, "echo:tone")


def test_a_clip_that_lost_most_of_its_words_is_found():
    utterance = Utterance("The house stands on the hill and looks at the river.", "en")
    assert plausible.require_plausible(speech(2.5), utterance).duration == 2.5
    with pytest.raises(StageFailed, match="too short"):
        plausible.require_plausible(speech(0.6), utterance)
    with pytest.raises(StageFailed, match="no sound"):
        plausible.require_plausible(speech(2.5, level=0.0), utterance)


def test_the_bound_knows_scripts_and_rates():
    assert plausible.shortest("房子在山上") > plausible.shortest("hello")
    assert plausible.shortest("hello", rate=2.0) == plausible.shortest("hello") / 2
    assert plausible.shortest("... !") == 0
    assert plausible.sayable("No. 7") and plausible.sayable("是") and not plausible.sayable(" … ?")
