"""Line breaks: of equal length, at the borders of phrases, and never where a script forbids it."""

import pytest

from serve_app.phrases import UNSPACED, balanced, parts, tokenize


@pytest.mark.parametrize(
    ("language", "width", "lines"),
    [
        ("en", 42, "He walked down to the river|and he sat there until dark"),
        ("en", 42, "This is the first one,|and that is how it was made"),
        ("es", 30, "La primera vez|que vimos el pueblo y el río"),
        ("de", 42, "Wir haben das alte Haus gesehen,|weil es am Fluss steht"),
        ("ru", 30, "Мы долго шли по старой дороге|и увидели реку"),
        ("zh", 16, "我们今天去看电影，然后回家吃晚饭"),
        ("zh", 16, "我们今天去看电影了，|然后一起回家吃晚饭"),
        ("ja", 13, "今日は友だちと|映画を見に行きました"),
        ("ja", 13, "コンピューターは|とてもべんりです"),
    ],
)
def test_lines_end_where_phrases_end(language: str, width: int, lines: str) -> None:
    text = lines.replace("|", "" if language in UNSPACED else " ")
    assert "|".join(balanced(tokenize(text, language), width, language)) == lines


def test_no_phrase_is_worth_a_third_line() -> None:
    lines = balanced(tokenize("A word. many small words that fill both of the lines up to the rim", "en"), 34, "en")
    assert len(lines) == 2 and max(map(len, lines)) <= 34


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "She bought the old house by the river because her mother had lived there."),
        ("zh", "他买了那座老房子，因为他的母亲住过。"),
    ],
)
def test_cues_are_cut_at_phrases_too(language: str, text: str) -> None:
    first, second = parts(tokenize(text, language), 2, language)
    assert (first[-1], second[0]) in {("river", "because"), ("子，", "因")}


def test_small_kana_long_marks_and_punctuation_cling() -> None:
    assert tokenize("きょう、キャー！", "ja") == ("きょ", "う、", "キャー！")
