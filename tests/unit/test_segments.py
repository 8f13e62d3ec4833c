"""Sentences: cut where they end, never across a pause, and not one letter lost."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.pipeline import RecognizeSettings
from models.segment import Span, Word
from serve_app.sentences import segments

SETTINGS = RecognizeSettings()
EVER = Span(0.0, 1e6)


def said(text, language="en", step=0.4, pause_after=(), pause=1.2, split=None):
    """The texts of the segments of `text`, a word every `step` seconds; `split` cuts words as a recogniser would."""
    pieces = split or [f" {piece}" for piece in text.split()]
    words, at = [], 0.0
    for piece in pieces:
        words.append(Word(at, at + step, piece, 0.9))
        at += step + (pause if piece.strip() in pause_after else 0.0)
    return [segment.text for segment in segments(words, language, SETTINGS, 0, EVER)]


def test_a_segment_carries_its_words_times_and_mean_probability():
    words = [Word(5.0, 5.5, " Hello", 0.8), Word(5.6, 6.4, " there.", 0.6), Word(6.9, 8.4, " Bye.", 1.0)]
    one, two = segments(words, "en", SETTINGS, 7, EVER)
    assert (one.id, one.start, one.end, one.text, one.words) == (7, 5.0, 6.4, "Hello there.", tuple(words[:2]))
    assert one.confidence == pytest.approx(0.7)
    assert (two.id, two.start, two.end, two.text) == (8, 6.9, 8.4, "Bye.")


@pytest.mark.parametrize(
    "text",
    [
        "We met Dr. Smith at noon yesterday.",
        "It costs 1,000.50 dollars and not 3.5 or 3 cats.",
        "The U.S. Army left at 10:45 in the morning.",
        "They came at 9 a.m. and left early.",
        "It was J. R. R. Tolkien who wrote it.",
        "Fruit, bread, etc. were on the table.",
        "See no. 5 on the list.",
        "I was... thinking about it.",
        "Go to www.example.com/a.b?c=1 for more.",
        '"Why?" he asked me then.',
    ],
)
def test_what_is_no_end_of_a_sentence_is_not_cut(text):
    assert said(text) == [text]


@pytest.mark.parametrize(
    ("language", "sentences"),
    [
        ("en", ["Where were you going?", "I saw it there!", "Now we all know."]),
        ("en", ["It was in the year 2019.", "Then they all left."]),
        ("en", ["No, we really said no.", "I did not ask."]),
        ("ru", ["Мы встретились в 2020 г.", "Потом всё изменилось быстро."]),
        ("hy", ["Բարև ձեզ բոլորիդ։", "Ինչպե՞ս եք դուք այսօր։", "Շատ լավ եմ:", "Շնորհակալ եմ շատ այսօր։"]),
        ("es", ["¿Dónde está la casa?", "¡Aquí está la casa!"]),
        ("de", ["Wir kamen am 3. Oktober an.", "Es war sehr kalt."]),
    ],
)
def test_sentences_end_in_every_script(language, sentences):
    assert said(" ".join(sentences), language) == sentences


def test_scripts_without_spaces_are_joined_without_spaces():
    pieces = [
        "今日",
        "は",
        "いい",
        "天気",
        "です",
        "。",
        "3",
        ".5",
        "度",
        "です",
        "か",
        "？",
        "「はい",
        "そう",
        "です。",
        "」",
    ]
    assert said("", "ja", split=pieces) == ["今日はいい天気です。", "3.5度ですか？", "「はいそうです。」"]
    assert said("", "zh", split=["你", "好", "吗", "？", "我", "很", "好", "！"]) == ["你好吗？", "我很好！"]


def test_pieces_of_a_number_or_a_word_stay_together():
    pieces = [" At", " 10", ":45", " it", " cost", " 1", ",000", ".50", ",", " I", " don", "'t", " know", "."]
    assert said("", split=pieces) == ["At 10:45 it cost 1,000.50, I don't know."]


def test_a_pause_always_ends_a_segment():
    assert said("and so my fellow Americans ask not", pause_after=("Americans", "not")) == [
        "and so my fellow Americans",
        "ask not",
    ]
    assert said("", split=[" well", " ten", "ish"], pause_after=("ten",)) == ["well ten", "ish"]


def test_a_short_utterance_joins_what_it_touches_and_else_stays_alone():
    assert said("Yes. I really think so now.") == ["Yes. I really think so now."]
    assert said("Yes. I really think so now.", pause_after=("Yes.",), pause=0.5) == ["Yes.", "I really think so now."]
    assert said("Yes.", step=0.2) == ["Yes."]


def test_many_short_remarks_do_not_become_a_minute():
    assert all(text in ("Yes. No. Yes.", "No. Yes. No.") for text in said("Yes. No. " * 39))
    assert "".join(said("Yes. No. " * 40)).replace(" ", "") == "Yes.No." * 40


def test_a_long_sentence_is_cut_at_its_comma():
    first = "this is what we said when all of it was still new to everyone who came,"
    second = "and then it went on and on until nobody could remember how it had begun at all."
    assert said(f"{first} {second}") == [first, second]


def test_marks_that_nobody_said_are_no_segments():
    assert said("♪ ♪ ...") == []
    assert said("Hello there everyone . . .", pause_after=("everyone",)) == ["Hello there everyone"]
    assert segments([], "en", SETTINGS, 0, EVER) == []


texts = st.sampled_from(
    [" one", " two,", " three.", " 10", ":45", " Dr.", " Yes.", "。", "今", "は", " ?!", " …", " Ա։", " z"]
)
steps = st.sampled_from([0.0, 0.05, 0.3, 0.9, 3.0, 15.0])
gaps = st.sampled_from([0.0, 0.0, 0.1, 0.4, 0.99, 1.0, 5.0])


def spoken(words):
    return [word for word in words if any(character.isalnum() for character in word.text)]


@settings(deadline=None)
@given(st.lists(st.tuples(texts, steps, gaps), max_size=60), st.sampled_from([0.0, 0.01, 0.5]))
def test_everything_is_kept_in_order_and_fits(rows, after):
    words, at = [], 2.0
    for text, step, gap in rows:
        words.append(Word(at, at + step, text, 0.5))
        at += step + gap
    window = Span(2.0, max([word.end for word in words], default=2.0) + after)
    made = segments(words, "hy", SETTINGS, 3, window)
    assert [segment.id for segment in made] == list(range(3, 3 + len(made)))
    kept = [word for segment in made for word in segment.words]
    assert spoken(kept) == spoken(words)
    assert all(any(character.isalnum() for character in segment.text) for segment in made)
    for segment in made:
        assert 0 < segment.duration <= 12 + 1e-9 and segment.text == "".join(w.text for w in segment.words).strip()
        assert all(two.start - one.end < SETTINGS.max_pause_s for one, two in pairwise(segment.words))
    assert all(one.end <= two.start + 1e-9 for one, two in pairwise(made))
    roomy = window.duration >= 0.02 * len(made)  # a recording of no length has no room for anything
    assert not roomy or all(window.start <= one.start and one.end <= window.end + 1e-9 for one in made)


def test_a_word_on_the_very_end_has_room_inside():
    words = [Word(0.0, 5.0, " One.", 0.9), Word(5.0, 5.0, " Two.", 0.9), Word(5.0, 5.0, " Three.", 0.9)]
    apart = RecognizeSettings(min_segment_s=0.001)
    made = segments(words, "en", apart, 0, Span(0.0, 5.0))
    assert "".join(one.text for one in made) == "One.Two. Three." or len(made) == 3
    assert made[-1].end <= 5.0 and all(one.duration >= 0.019 for one in made)
    assert all(one.end <= two.start for one, two in pairwise(made))
