"""A clip that is bad is said by another engine, if there is one that says it better."""

import numpy as np
import pytest

from configs.pipeline import SpeakSettings
from models.errors import StageFailed
from models.segment import Segment, Speech, Utterance
from serve_app.retakes import Judge, Retakes

RATE = 22_050
SEGMENT = Segment(1, 0.0, 2.0, "text", translation="Dos perros corren.")
SAID = Utterance("Dos perros corren.", "es")


class Shelf:
    """`voices` in their order of preference: a clip, or None for one that fails."""

    def __init__(self, **voices: np.ndarray | None) -> None:
        self.voices = voices
        self.asked: list[tuple[str, ...]] = []

    async def __call__(self, utterance: Utterance) -> Speech:
        self.asked.append(utterance.avoid)
        failed: list[str] = []
        for name, sound in self.voices.items():
            if name in utterance.avoid:
                continue
            if sound is not None:
                return Speech(sound, RATE, f"{name}:voice", tuple(failed))
            failed.append(f"{name} is offline")
        raise StageFailed("tts", "no speech engine could say it")


def tone(seconds: float = 2.0) -> np.ndarray:
    return (0.3 * np.sin(np.arange(round(seconds * RATE)) / 20)).astype(np.float32)


def click() -> np.ndarray:
    return np.where(np.arange(2 * RATE) < 60, tone(), 0).astype(np.float32)


def judge(**matches: float) -> Judge:
    async def understand(speech: Speech, text: str) -> float:
        return matches[speech.voice.partition(":")[0]]

    return Judge(understand, 0.5)


async def best(shelf: Shelf, listening: Judge | None = None) -> tuple[str, float | None, list[str]]:
    retakes = Retakes(shelf, SpeakSettings(), listening)
    take, match = await retakes.best(SEGMENT, SAID, 3.0)
    return take.speech.voice, match, retakes.reasons


async def test_a_good_clip_is_asked_for_once():
    shelf = Shelf(one=tone(), two=tone())
    assert await best(shelf) == ("one:voice", None, []) and shelf.asked == [()]


async def test_reasons_of_the_shelf_are_kept():
    assert await best(Shelf(one=None, two=tone())) == ("two:voice", None, ["one is offline"])


async def test_of_a_click_nothing_is_left_and_the_next_engine_speaks():
    shelf = Shelf(one=click(), two=tone())
    voice, _, reasons = await best(shelf)
    assert voice == "two:voice" and shelf.asked == [(), ("one",)]
    assert len(reasons) == 1 and reasons[0].startswith("one:voice")


async def test_a_click_of_the_only_engine_is_a_failure_with_its_reason():
    with pytest.raises(StageFailed, match="one:voice"):
        await best(Shelf(one=click()))


@pytest.mark.parametrize(
    ("matches", "voice", "match"),
    [
        ({"one": 0.9, "two": 1.0}, "one:voice", 0.9),
        ({"one": 0.2, "two": 0.8}, "two:voice", 0.8),
        ({"one": 0.2, "two": 0.1}, "one:voice", 0.2),
    ],
)
async def test_the_one_that_is_understood_better_is_kept(matches: dict[str, float], voice: str, match: float):
    found = await best(Shelf(one=tone(), two=tone()), judge(**matches))
    assert found[:2] == (voice, match)
    assert bool(found[2]) is (matches["one"] < 0.5)


async def test_the_only_engine_stays_however_it_is_understood():
    assert (await best(Shelf(one=tone()), judge(one=0.1)))[:2] == ("one:voice", 0.1)


async def test_a_recogniser_that_is_out_of_order_says_nothing_about_a_voice():
    async def understand(speech: Speech, text: str) -> float:
        raise StageFailed("transcription", "out of order")

    assert await best(Shelf(one=tone()), Judge(understand, 0.5)) == ("one:voice", None, [])
