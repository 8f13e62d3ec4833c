"""The translation room with the embedded model: what must not be damaged is not."""

import asyncio
from pathlib import Path

import pytest

from configs.engines import TranslationSettings
from configs.pipeline import TranslateSettings
from models.segment import Segment, Sentence
from models.translation.marian import Marian
from models.translation.sentences import PROTECTED
from serve_app.jobs.report import Report
from serve_app.stages.translate import translate

DEMO = Path(__file__).parents[2] / "models" / "demo" / "en-es"


@pytest.fixture(scope="module")
def marian() -> Marian:
    return Marian(TranslationSettings(artifacts=(str(DEMO),), device="cpu", threads=1))


async def room(marian: Marian, *texts: str, **settings: object) -> list[Segment]:
    async def engine(sentence: Sentence) -> Sentence:
        return (await asyncio.to_thread(marian.translate, [sentence]))[0]

    given = [Segment(i, 9.0 * i, 9.0 * i + 8, text) for i, text in enumerate(texts)]
    wanted = TranslateSettings.model_validate(settings)
    return await translate(given, source="en", target="es", translate=engine, settings=wanted, report=Report("job"))


async def test_addresses_come_out_byte_for_byte(marian: Marian) -> None:
    done = await room(
        marian,
        "Visit https://example.org/help?page=2 for more details.",
        "Please write to anna.smith@mail.example.org before Friday.",
        "Write to help@example.com or visit www.museum.org today.",
        "My friend @juan_perez took this photo.",
        "See https://a.org, https://b.org and https://a.org for more.",
        "The word 漢字 means characters.",
    )
    for segment in done:
        assert sorted(PROTECTED.findall(segment.translation or "")) == sorted(PROTECTED.findall(segment.text))
        assert segment.flags == ()
        assert segment.translation != segment.text
    assert "漢字" in str(done[-1].translation)


async def test_numbers_come_out(marian: Marian) -> None:
    texts = ("The bridge was built in 1847.", "The city has 83,412 people.", "The light needs 499 seconds.")
    done = await room(marian, *texts, "He was born in 1564 and died in 1616.")
    for segment, numbers in zip(done, (["1847"], ["83", "412"], ["499"], ["1564", "1616"]), strict=True):
        assert all(number in str(segment.translation) for number in numbers)
        assert segment.flags == ()


async def test_terms_form_and_scores(marian: Marian) -> None:
    terms = {"en-es": {"graphics card": "tarjeta gráfica"}}
    card, loud, dash = await room(
        marian, "The graphics card needs a lot of power.", "LOOK OUT! THE HOUSE IS OLD!", "— No, I don't think so… 🎉",
        glossary=terms,
    )  # fmt: skip
    assert "tarjeta gráfica" in str(card.translation)
    assert str(loud.translation).isupper()
    assert str(loud.translation).endswith("!")
    assert str(dash.translation).startswith("— ")
    assert str(dash.translation).endswith("… 🎉")
    assert 0 < len(card.alternatives) <= 3
    assert card.score is not None
    assert card.score < 0
