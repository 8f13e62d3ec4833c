"""Cutting and joining text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.translation.sentences import around, clauses, fixed, join, sentences


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Yes. I do! Why? Because…  Well.", ["Yes.", "I do!", "Why?", "Because…", "Well."]),
        ("It costs 1,000.50 at 10:45 a.m. on site.", ["It costs 1,000.50 at 10:45 a.m. on site."]),
        ("Dr. Smith met Mr. J. Doe. They left.", ["Dr. Smith met Mr. J. Doe.", "They left."]),
        ("He said “Go.” Then he went.", ["He said “Go.”", "Then he went."]),
        ("¿Qué? ¡No! Él vino.", ["¿Qué?", "¡No!", "Él vino."]),
        ("Բարև։ Ինչպե՞ս ես։", ["Բարև։", "Ինչպե՞ս ես։"]),
        ("Это дом. Там кот.", ["Это дом.", "Там кот."]),
        ("大家好。你好吗？很好", ["大家好。", "你好吗？", "很好"]),
        ("no full stop", ["no full stop"]),
        ("   ", []),
    ],
)
def test_sentences(text: str, parts: list[str]) -> None:
    assert sentences(text) == parts


@given(st.text(alphabet="aB .!?。,:1\n'\"", max_size=60))
def test_no_sign_is_lost_between_sentences(text: str) -> None:
    assert "".join("".join(sentences(text)).split()) == "".join(text.split())


def test_clauses_are_cut_where_both_sides_have_substance() -> None:
    assert clauses("Before we start the lesson, take a pen and paper.") == [
        "Before we start the lesson,",
        "take a pen and paper.",
    ]
    assert clauses("Yes, of course we can.") == ["Yes, of course we can."]
    assert clauses("今天我们来谈谈历史，明天我们去博物馆。") == ["今天我们来谈谈历史，", "明天我们去博物馆。"]


def test_addresses_are_cut_out_without_the_punctuation_behind_them() -> None:
    assert around("See https://a.org/x?y=1, or write to jo.do@mail.example.org.") == [
        "See", "https://a.org/x?y=1", ",", "or write to", "jo.do@mail.example.org", ".",
    ]  # fmt: skip


def test_what_needs_no_translation() -> None:
    assert all(fixed(part) for part in ("https://a.org", "jo@a.org", "10:45", "…", "$1,250.00"))
    assert not any(fixed(part) for part in ("ok", "3D", "see https://a.org", "è"))


def test_joining_follows_the_script_and_the_punctuation() -> None:
    assert (
        join(["Ver", "https://a.org", ", o escribir a", "jo@a.org", "."], "es")
        == "Ver https://a.org, o escribir a jo@a.org."
    )
    assert join(["大家好。", "", "很好。"], "zh") == "大家好。很好。"
    assert join([], "es") == ""
