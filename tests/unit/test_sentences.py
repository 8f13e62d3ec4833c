"""Cutting and joining text."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from models.translation.sentences import PROTECTED, around, clauses, cut, join, sentences

TEXTS = st.one_of(
    st.text(max_size=80),
    st.text(alphabet="aBя。！.!?…։:,;1 2\n\t'\"「」”（)—-あ漢Ա🎉\u200d\u0301", max_size=80),
    st.lists(
        st.sampled_from("Dr. No. 3. a.m. Yes! 「はい。」 https://a.org/x. 2 000 000 — , ։ Բ A. I".split()), max_size=20
    ).map(" ".join),
)


def signs(text: str) -> str:
    return "".join(text.split())


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Yes. I do! Why? Because…  Well.", ["Yes.", "I do!", "Why?", "Because…", "Well."]),
        ("It costs 1,000.50 at 10:45 a.m. on site.", ["It costs 1,000.50 at 10:45 a.m. on site."]),
        ("Dr. Smith met Mr. J. Doe. They left.", ["Dr. Smith met Mr. J. Doe.", "They left."]),
        ("He said “Go.” Then he went.", ["He said “Go.”", "Then he went."]),
        ("He asked “why?” and left. (He did.)", ["He asked “why?” and left.", "(He did.)"]),
        ("¿Qué? ¡No! Él vino. ¿y tú?", ["¿Qué?", "¡No!", "Él vino.", "¿y tú?"]),
        ("Բարև։ Ինչպե՞ս ես։ Ո՜վ գիտի։Լավ։", ["Բարև։", "Ինչպե՞ս ես։", "Ո՜վ գիտի։", "Լավ։"]),
        ("Բարև: Ինչպես ես:", ["Բարև:", "Ինչպես ես:"]),
        ("Это дом. Там кот.", ["Это дом.", "Там кот."]),
        ("А. С. Пушкин жил там. Это был я. Потом ушёл.", ["А. С. Пушкин жил там.", "Это был я.", "Потом ушёл."]),
        ("Родился в 1799 г. в Москве и т. д. на ул. Ленина.", ["Родился в 1799 г. в Москве и т. д. на ул. Ленина."]),
        ("大家好。你好吗？很好", ["大家好。", "你好吗？", "很好"]),
        ("“你好。”他说。 再见！", ["“你好。”他说。", "再见！"]),
        ("我……我不知道。真的？！好", ["我……我不知道。", "真的？！", "好"]),
        ("「行こう。」と言った。「はい。」「いいえ。」", ["「行こう。」と言った。", "「はい。」", "「いいえ。」"]),
        ("See www.a.org/b.c. Then go to example.com. Now.", ["See www.a.org/b.c.", "Then go to example.com.", "Now."]),
        ("1. Open the file. 2. Save it.", ["1. Open the file.", "2. Save it."]),
        ("No. 5 is alive. No. He is not.", ["No. 5 is alive.", "No.", "He is not."]),
        ("- Yes. - No. – Maybe!", ["- Yes.", "- No.", "– Maybe!"]),
        ("Well... I see. hm... no", ["Well...", "I see. hm... no"]),
        ("Title\n\nText goes\non here.", ["Title", "Text goes\non here."]),
        ("no full stop", ["no full stop"]),
        ("   ", []),
    ],
)
def test_sentences(text: str, parts: list[str]) -> None:
    assert sentences(text) == parts


def test_german_ordinals_are_no_ends() -> None:
    text = "Am 3. Oktober kam er."
    assert sentences(text, "de") == [text]
    assert sentences("We have 3. Then he came.") == ["We have 3.", "Then he came."]


@given(TEXTS)
@example("a\x1fb. C")
@example("1 2 3 – 4 5 6")
def test_nothing_but_white_space_is_lost(text: str) -> None:
    for parts in (sentences(text), sentences(text, "de"), clauses(text)):
        assert signs("".join(parts)) == signs(text)
        assert all(part == part.strip() and part for part in parts)


@given(TEXTS, st.integers(1, 12), st.sampled_from(["en", "ja", "hy", "zh"]))
def test_cut_loses_nothing_and_keeps_to_the_limit(text: str, limit: int, language: str) -> None:
    parts = cut(text, len, limit, language)
    assert signs("".join(parts)) == signs(text)
    if len(text) > limit:
        assert all(parts)
        assert all(len(part) <= limit or not any(sign.isspace() for sign in part) for part in parts)


def words(text: str) -> int:
    return len(text.split())


@pytest.mark.parametrize(
    ("text", "limit", "language", "parts"),
    [
        ("It is short, really.", 9, "en", ["It is short, really."]),
        ("One two three. Four five, six seven.", 4, "en", ["One two three.", "Four five, six seven."]),
        ("One two, three; four five six, seven.", 4, "en", ["One two, three;", "four five six, seven."]),
        ("we saw the old town and they saw the river", 5, "en", ["we saw the old town", "and they saw the river"]),
        ("about 2 000 000 people", 3, "en", ["about", "2 000 000", "people"]),
        ("он пришёл домой но никого не было", 4, "ru", ["он пришёл домой", "но никого не было"]),
    ],
)
def test_cut_takes_the_best_border(text: str, limit: int, language: str, parts: list[str]) -> None:
    assert cut(text, words, limit, language) == parts


def test_cut_without_spaces_and_inside_long_words() -> None:
    assert cut("今天我们来谈谈历史，明天我们去博物馆。", len, 10, "zh") == [
        "今天我们来谈谈历史，",
        "明天我们去博物馆。",
    ]
    assert cut("私は東京の古い町に行った", len, 8, "ja") == ["私は東京の", "古い町に行った"]
    assert cut("x" * 10, len, 5, "en") == ["x" * 5, "x" * 5]
    assert cut("👩‍👧👩‍👧", len, 4, "en") == ["👩‍👧", "👩‍👧"]
    assert cut("👩‍👧", len, 1, "en") == ["👩", "\u200d", "👧"]
    assert cut("see https://a.org/aaaaaaaaaaaaaa now", len, 33, "en") == ["see https://a.org/aaaaaaaaaaaaaa", "now"]
    assert cut("  a  ", lambda _: 9, 1, "en") == ["a"]


def test_clauses_are_cut_where_both_sides_have_substance() -> None:
    assert clauses("Before we start the lesson, take a pen and paper.") == [
        "Before we start the lesson,",
        "take a pen and paper.",
    ]
    assert clauses("We went to town — it was closed.") == ["We went to town", "— it was closed."]
    assert clauses("Yes, of course we can.") == ["Yes, of course we can."]
    assert clauses("今天我们来谈谈历史，明天我们去博物馆。") == ["今天我们来谈谈历史，", "明天我们去博物馆。"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            "See https://a.org/x?y=1, or write to jo.do+x@mail.example.org.",
            ["https://a.org/x?y=1", "jo.do+x@mail.example.org"],
        ),
        ("On example.com, or docs.a-b.io/guide/x.html!", ["example.com", "docs.a-b.io/guide/x.html"]),
        ("@anna likes #OldTown, but #1 costs 3@.", ["@anna", "#OldTown"]),
        ("联系a@b.cn谢谢，见https://a.org/b。", ["a@b.cn", "https://a.org/b"]),
        ("At 5 p.m. he said e.g. no.thing about 1.5 AT&T.", []),
    ],
)
def test_addresses_are_known_without_the_punctuation_behind_them(text: str, found: list[str]) -> None:
    assert [match.group() for match in PROTECTED.finditer(text)] == found


def test_what_is_kept_is_cut_out_with_the_punctuation_behind_it() -> None:
    text = "See X, or Y."
    assert around(text, [(4, 5, "U"), (10, 11, "V")]) == [
        ("See", None), ("X", "U"), (",", ","), ("or", None), ("Y", "V"), (".", "."),
    ]  # fmt: skip
    assert around("See it.", []) == [("See it.", None)]


def test_joining_follows_the_script_and_the_punctuation() -> None:
    assert join(["Ver", "https://a.org", ",", "o escribir a", "jo@a.org", "."], "es") == (
        "Ver https://a.org, o escribir a jo@a.org."
    )
    assert join(["Ver (", "https://a.org", ")"], "es") == "Ver (https://a.org)"
    assert join(["大家好。", "", "很好。"], "zh") == "大家好。很好。"
    assert join([], "es") == ""
