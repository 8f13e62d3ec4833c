"""What must come out as it went in: found, replaced by numbers, and put back."""

from models.translation.kept import STAND_INS, Glossary, addresses, everything, figures, mask

PLAIN = Glossary(
    {"graphics card": "tarjeta gráfica", "card": "carta", "GPU": "chip", "Old Town": "Ciudad Vieja", "猫": "gato"}
)


def said(text: str, glossary: Glossary = PLAIN, source: str = "en") -> list[str]:
    return [kept.said for kept in everything(text, source, glossary)]


def test_terms_in_small_letters_are_found_in_any_case_and_others_as_written() -> None:
    assert said("The graphics card and a card.") == ["tarjeta gráfica", "carta"]
    assert said("Graphics Card! CARD") == ["Tarjeta gráfica", "Carta"]
    assert said("GPU, gpu, GPUs and discard") == ["chip"]
    assert said("the old town, the Old  Town") == ["Ciudad Vieja"]
    assert said("我的猫很好", source="zh") == ["gato"]


def test_missing_terms_are_counted() -> None:
    assert PLAIN.missing("A card and a card.", "Una carta y otra.") == ["carta"]
    assert PLAIN.missing("A card and a card.", "Carta y carta.") == []
    assert PLAIN.missing("No term.", "Nada.") == []


def test_addresses_numbers_and_foreign_words_are_found_apart() -> None:
    text = "Write 漢字 to jo27@a.org at 10:45 on 12/05/2023, call +1 (555) 010-9999, v2.0 costs 1,250.50 or 5."
    assert said(text) == ["漢字", "jo27@a.org", "10:45", "12/05/2023", "+1 (555) 010-9999", "1,250.50"]
    assert [kept.said for kept in figures("x27 3 42")] == ["42"]


def test_a_script_is_foreign_where_it_is_not_the_languages_own() -> None:
    text = "Слово 漢字 значит iPhone"
    assert [kept.said for kept in addresses(text, "ru")] == ["漢字"]
    assert [kept.said for kept in addresses(text, "ja")] == ["Слово", "значит"]
    assert addresses("猫がすき", "ja") == []


def test_a_mask_comes_off_wherever_the_numbers_went() -> None:
    masked = mask("See a@b.org and c@d.org.", addresses("See a@b.org and c@d.org.", "en"), STAND_INS[0])
    assert masked.text == "See 24 and 36."
    assert masked.whole("Vea 36 y 24.")
    assert masked.fill("Vea 36 y 24, 240 o 2.24.") == "Vea c@d.org y a@b.org, 240 o 2.24."
    assert not masked.whole("Vea 36.")
    assert not masked.whole("Vea 36, 24 y 24.")


def test_numbers_of_the_text_are_no_stand_ins() -> None:
    text = "In 24 days, a@b.org"
    assert mask(text, addresses(text, "en"), STAND_INS[0]).text == "In 24 days, 36"


def test_more_parts_than_stand_ins_stay_as_they_are() -> None:
    text = "a@b.org c@d.org"
    assert mask(text, addresses(text, "en"), [24]).text == "24 c@d.org"
