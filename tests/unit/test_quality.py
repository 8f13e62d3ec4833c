"""The checks: each fault is seen, and its honest look-alike is not."""

import pytest

from models.translation.kept import Glossary
from models.translation.quality import flags, length_ratio, missing_numbers, numbers, speech_seconds


@pytest.mark.parametrize(
    ("text", "said", "source", "target", "expected"),
    [
        ("Hello, how are you?", "Hola, ¿cómo estás?", "en", "es", ()),
        ("Hello, how are you?", "  ", "en", "es", ("empty",)),
        ("", "", "en", "es", ()),
        ("Yes.", "Sí.", "en", "es", ()),
        ("2. Save it.", "2.", "en", "es", ("empty",)),
        ("Twelve.", "12.", "en", "es", ()),
        ("The cat is on the table and it sleeps there.", "El.", "en", "es", ("length",)),
        (
            "Good morning.",
            "Buenos días a todos los que han venido hoy a esta gran ciudad.",
            "en",
            "es",
            ("length",),
        ),
        ("The history of the old city.", "La historia historia historia.", "en", "es", ("repetition",)),
        ("We go to the old house again.", "Vamos a la vamos a la vamos a la casa.", "en", "es", ("repetition",)),
        ("No, no, no!", "¡No, no, no!", "en", "es", ()),
        ("A strange name.", "Un Kahonokkkkkk raro.", "en", "es", ("repetition",)),
        ("The weather is nice.", "天气很好天气很好天气很好", "en", "zh", ("repetition",)),
        ("The weather is nice today.", "The weather is nice today.", "en", "es", ("untranslated",)),
        ("The weather is nice today.", "The weather is good today.", "en", "ru", ("untranslated",)),
        ("Сегодня хорошая погода.", "Сегодня good погода.", "ru", "en", ("untranslated",)),
        ("GitHub Enterprise", "GitHub Enterprise", "en", "ru", ()),
        ("Johann Sebastian Bach", "Johann Sebastian Bach", "en", "hy", ()),
        ("It is important and popular there.", "Es importante y popular.", "en", "es", ()),
        ("See https://a.org/b for more.", "Ver https://a.org/ para más.", "en", "es", ("protected",)),
        ("See https://a.org/b for more.", "Para más, https://a.org/b.", "en", "es", ()),
        ("See https://a.org/b for more.", "Para más, https://a.org/b2.", "en", "es", ("protected",)),
        ("See a.com, b.com, a.com now.", "Vea a.com, b.com ahora.", "en", "es", ("protected",)),
        ("The word 漢字 is old.", "La palabra es vieja.", "en", "es", ("protected",)),
        ("The word 漢字 is old.", "La palabra 漢字 es vieja.", "en", "es", ()),
        ("THE WEATHER IS NICE TODAY.", "THE WEATHER IS NICE TODAY.", "en", "es", ("untranslated",)),
    ],
)
def test_flags(text: str, said: str, source: str, target: str, expected: tuple[str, ...]) -> None:
    assert flags(text, said, source, target) == expected


def test_a_term_that_did_not_come_out_is_a_flag() -> None:
    terms = Glossary({"stage": "etapa"})
    assert flags("The next stage.", "La próxima fase.", "en", "es", glossary=terms) == ("glossary",)
    assert flags("The next stage.", "La próxima etapa.", "en", "es", glossary=terms) == ()


def test_numbers_lose_separators_and_keep_hours_and_minutes_apart() -> None:
    assert numbers("1,000.50 at 10:45, 2 000 000 or 3.5% (see http://a.org/77), ２０２３") == [
        "1000.5", "10", "45", "2000000", "3.5", "2023",
    ]  # fmt: skip
    assert numbers("In 1999 500 came") == ["1999", "500"]


@pytest.mark.parametrize(
    ("text", "said", "missing"),
    [
        ("It costs 1,000.50.", "Cuesta 1.000,50.", []),
        ("It costs 1,000.", "Ça coûte 1 000.", []),
        ("3 cats", "tres gatos", []),
        ("3 cats", "4 gatos", ["3"]),
        ("100 degrees", "cien grados", []),
        ("100 degrees", "10 grados", ["100"]),
        ("in the 1990s", "en los 90", []),
        ("at 5:30 pm", "a las 17:30", []),
        ("in 1847 and 1852", "en 1847", ["1852"]),
        ("10,000 people", "1万人", []),
        ("16 of 16", "16 de 16", []),
        ("37.5 degrees", "37,5 grados", []),
        ("37.5 degrees", "375 grados", ["37.5"]),
        ("3.0 metres", "3 metros", []),
        ("on 12/05/2023", "el 12-5-2023", []),
    ],
)
def test_missing_numbers(text: str, said: str, missing: list[str]) -> None:
    assert missing_numbers(text, said) == missing


def test_lengths_are_measured_in_what_the_pair_needs() -> None:
    english, chinese = "Today we are going to talk about the history of this city.", "今天我们来谈谈这座城市的历史。"
    assert 0.7 < length_ratio(english, chinese, "en", "zh") < 1.4
    assert length_ratio(english, chinese, "en", "es") < 0.5


def test_speech_takes_longer_for_the_same_letters_in_chinese() -> None:
    assert speech_seconds("a" * 30, "en") == 2.0
    assert speech_seconds("in 1847", "en") > speech_seconds("in July", "en")
    assert speech_seconds("字" * 9, "zh") == 2.0
