"""What is taken off a sentence and put back on its translation."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.translation.form import peel, quiet, shaped, shouted, visible


@pytest.mark.parametrize(
    ("text", "core"),
    [
        ("- Yes.", "Yes."),
        ("— «Да», сказал он", "«Да», сказал он"),
        ("-5 degrees", "-5 degrees"),
        ("…and then", "and then"),
        ("2. Save it.", "Save it."),
        ("12) Save it.", "Save it."),
        ("2.5 metres", "2.5 metres"),
        ("♪ La la ♪", "La la"),
        ("“The king is old.”", "The king is old."),
        ('"I came. And', "I came. And"),
        ("「行こう。」", "行こう。"),
        ("“A” and “B”", "“A” and “B”"),
        ("(Laughs)", "Laughs"),
        ("🎉 We won! 🏆🥇", "We won!"),
        ("I don’t know’", "I don’t know’"),
        ("🎉", ""),
        ("", ""),
    ],
)
def test_peeling(text: str, core: str) -> None:
    peeled = peel(text)
    assert peeled.core == core
    assert peeled.wrap(core) == text


@given(st.text(max_size=40) | st.text(alphabet="aB -—“”\"'()♪…!🎉👩\u200d❤\ufe0f1", max_size=40))
def test_nothing_but_white_space_is_lost_in_peeling(text: str) -> None:
    peeled = peel(text)
    assert sorted("".join(peeled.wrap(peeled.core).split())) == sorted("".join(text.split()))
    if not peeled.pictures:
        assert peeled.wrap(peeled.core) == text


def test_emoji_inside_go_back_to_their_share_of_the_words() -> None:
    assert peel("Great news 🎉!").wrap("¡Buenas noticias!") == "¡Buenas noticias! 🎉"
    assert peel("I ❤️ this city.").core == "I this city."
    assert peel("I ❤️ this city.").wrap("Amo esta ciudad.") == "Amo ❤️ esta ciudad."


def test_control_characters_are_left_out_and_named() -> None:
    assert visible("a\u200bb\x07 \ufeffc\ud800") == ("ab c", ["U+0007", "U+200B", "U+D800", "U+FEFF"])
    assert visible("👨‍👩‍👧 a\tb\n") == ("👨‍👩‍👧 a\tb\n", [])


def test_lines_in_capitals() -> None:
    assert shouted("LOOK OUT!")
    assert not any(map(shouted, ("NASA", "Look OUT", "你好 世界", "12 34", "")))
    assert quiet("I THINK I KNOW.", "en") == "I think I know."
    assert quiet("24 УШЛИ ДОМОЙ", "ru") == "24 Ушли домой"


@pytest.mark.parametrize(
    ("text", "said", "target", "shape"),
    [
        ("for details", "Para más detalles.", "es", "para más detalles"),
        ("for details", "Einzelheiten", "de", "Einzelheiten"),
        ("the report", "NASA informó", "es", "NASA informó"),
        ("iPhone sales", "Ventas", "es", "Ventas"),
        ("Hello", "hola", "es", "Hola"),
        ("24 is good.", "el 24 es bueno.", "es", "el 24 es bueno."),
        ("Really?", "En serio.", "es", "¿En serio?"),
        ("Really?!", "¿En serio?", "es", "¿En serio?"),
        ("Go!", "Ve", "es", "¡Ve!"),
        ("Go!", "走。", "zh", "走！"),
        ("Wait...", "Espera.", "es", "Espera..."),
        ("Wait…", "Espera...", "es", "Espera…"),
        ("Wait…", "等", "zh", "等……"),
        ("If so,", "Si es así.", "es", "Si es así,"),
        ("No.", "No", "es", "No."),
        ("Good.", "Լավ", "hy", "Լավ։"),
        ("Good?", "Լա՞վ։", "hy", "Լա՞վ։"),
        ("It is.", "¿Es?", "es", "¿Es?"),
        ("He said “Go.”", "Dijo «Ve».", "es", "Dijo «Ve»."),
        ("Go", "Ve", "es", "Ve"),
        ("first; then", "primero: luego.", "es", "primero: luego"),
        ("Go!", "Ve?", "es", "Ve?"),
        ("Go", "", "es", ""),
    ],
)
def test_the_translation_takes_the_shape_of_the_original(text: str, said: str, target: str, shape: str) -> None:
    assert shaped(text, said, "en", target) == shape


def test_armenian_marks_questions_inside_the_word() -> None:
    assert shaped("Գալի՞ս ես։", "Are you coming.", "hy", "en") == "Are you coming?"
