"""How much of a text was recognised."""

import numpy as np
import pytest

from models.segment import Clip, Speech, Transcript, Word
from serve_app.backcheck import match, understanding


@pytest.mark.parametrize(
    ("text", "heard", "language", "share"),
    [
        ("Dos perros corren.", "dos perros corren", "es", 1.0),
        ("¿Cómo estás, José?", "Como estas Jose", "es", 1.0),
        ("Dos perros corren.", "", "es", 0.0),
        ("Dos perros corren.", "corren perros dos", "es", 1 / 3),
        ("Tiene 40 habitantes.", "tiene cuarenta habitantes", "es", 1.0),
        ("El puente es viejo.", "El puente muy viejo.", "es", 3 / 4),
        ("Two dogs run over the field.", "Zwei Hunde laufen über das Feld.", "en", 0.2),
        ("天气很好。", "天气好", "zh", 3 / 4),
        ("Собака бежит.", "собака бежит", "ru", 1.0),
    ],
)
def test_match(text: str, heard: str, language: str, share: float) -> None:
    assert match(text, heard, language) == pytest.approx(share, abs=0.2 if share == 0.2 else 0.001)


def test_a_misheard_word_counts_by_its_letters() -> None:
    assert 0.8 < match("habitaciones", "habitacione", "es") < 1.0
    assert match("habitaciones", "perro", "es") == 0.0


async def test_a_clip_is_listened_to_in_its_language_at_the_rate_of_recognition() -> None:
    heard: list[Clip] = []

    async def recognize(clip: Clip) -> Transcript:
        heard.append(clip)
        return Transcript((Word(0, 1, " Dos", 0.9), Word(1, 2, " perros", 0.9)), "es")

    understood = understanding(recognize, "es")
    speech = Speech(np.zeros(22_050, np.float32), 22_050, "x:y")
    assert await understood(speech, "Dos perros corren.") == pytest.approx(2 / 3)
    assert await understood(speech, "1984") is None
    [clip] = heard
    assert (len(clip.audio), clip.language) == (16_000, "es")
