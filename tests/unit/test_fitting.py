"""A voice is brought to the length of the original, whatever it makes of the rates that it is asked for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.pipeline import SpeakSettings
from models.errors import StageFailed
from models.segment import Alternative, Segment, Speech, Utterance
from models.translation.quality import speech_seconds
from serve_app.fitting import Fitting

RULES = SpeakSettings()


class Voice:
    """Takes `seconds` for what it says, and makes of a rate its power of `obeys`; other texts by their length."""

    def __init__(self, seconds: float, obeys: float = 1.0, **others: float) -> None:
        self.seconds, self.obeys, self.others = seconds, obeys, others
        self.asked: list[Utterance] = []
        self.names = ["piper:anna"] * 9

    async def __call__(self, utterance: Utterance) -> Speech:
        name = self.names[len(self.asked)]
        self.asked.append(utterance)
        if not name:
            raise StageFailed("tts", "offline")
        seconds = self.others.get(utterance.text, self.seconds) / utterance.rate**self.obeys
        return Speech(np.zeros(round(seconds * 1000), np.float32), 1000, name)


async def paced(voice: Voice, wanted: float, **rules: float) -> float:
    take = await Fitting(voice, SpeakSettings(**rules)).paced(Utterance("text", "es"), wanted)
    return take.seconds


async def test_near_enough_is_not_asked_again():
    voice = Voice(3.0)
    assert await paced(voice, 2.9) == 3.0 and len(voice.asked) == 1


async def test_a_voice_that_does_half_of_what_it_is_asked_is_asked_for_more():
    voice = Voice(5.0, obeys=0.55)
    assert await paced(voice, 4.0, close_s=0.05) == pytest.approx(4.0, abs=0.2)
    assert [round(one.rate, 2) for one in voice.asked] == [1.0, 1.25, pytest.approx(1.38, abs=0.01)]
    lazy = Voice(5.0, obeys=0.0)
    assert await paced(lazy, 4.0, asks=6) == 5.0 and max(one.rate for one in lazy.asked) <= 1.8


@settings(deadline=None, max_examples=60)
@given(st.floats(0.3, 12), st.floats(0.3, 12), st.floats(0.3, 1.3))
async def test_never_further_from_the_goal_than_the_voice_comes_by_itself(own, wanted, obeys):
    voice = Voice(own, obeys)
    seconds = await paced(voice, wanted)
    goal = min(max(wanted, own / RULES.max_rate), own / RULES.min_rate)
    assert abs(seconds - goal) <= abs(own - goal) + 0.002 and len(voice.asked) <= RULES.asks


async def test_of_a_rate_that_fails_or_another_voice_the_first_clip_stays():
    for second in ("", "espeak:es"):
        voice = Voice(5.0)
        voice.names[1] = second
        assert await paced(voice, 4.0) == 5.0 and len(voice.asked) == 2


def segment(*others: Alternative, **more: object) -> Segment:
    return Segment(1, 0, 2.0, "text", translation="the first words", alternatives=others, **more)  # type: ignore[arg-type]


async def best(voice: Voice, one: Segment, slot: float, **rules: int) -> tuple[str, float]:
    utterance = Utterance(one.translation or "", "es")
    take = await Fitting(voice, SpeakSettings(**rules)).best(one, utterance, slot)
    return take.text, take.seconds


async def test_of_shorter_words_the_best_that_should_fit_are_tried_first():
    """The voice takes 4 s for what is estimated at `whole`: so half of that should fit a slot of 2.5 s."""
    whole = speech_seconds("the first words", "es")
    long, half, least = (Alternative(name, share * whole) for name, share in (("a", 0.9), ("b", 0.5), ("c", 0.2)))
    voice = Voice(4.0, a=3.6, b=2.1, c=0.8)
    assert await best(voice, segment(long, half, least), 2.5) == ("b", 2.1)
    assert [one.text for one in voice.asked if one.rate == 1.0] == ["the first words", "b"]


async def test_what_was_measured_decides_and_not_what_was_expected():
    whole = speech_seconds("the first words", "es")
    liar, modest = Alternative("a", 0.3 * whole), Alternative("b", 0.6 * whole)
    assert (await best(Voice(4.0, a=5.0, b=2.6), segment(liar, modest), 2.3))[0] == "b"
    assert (await best(Voice(4.0, a=5.0, b=6.0), segment(liar, modest), 2.3))[0] == "the first words"


async def test_what_fails_more_checks_or_cannot_be_said_or_is_no_shorter_is_left_out():
    whole = speech_seconds("the first words", "es")
    wrong, longer = Alternative("a", 0.3 * whole, flags=("numbers",)), Alternative("b", 1.2 * whole)
    voice = Voice(4.0, a=1.0, b=1.0)
    assert (await best(voice, segment(wrong, longer), 2.3))[0] == "the first words"
    assert {one.text for one in voice.asked} == {"the first words"}
    assert (await best(Voice(4.0, a=1.0), segment(wrong, flags=("numbers", "length")), 2.3))[0] == "a"
    mute = Voice(4.0)
    mute.names[3:] = [""] * 6
    assert (await best(mute, segment(Alternative("a", 0.3 * whole)), 2.3))[0] == "the first words"
    assert (await best(Voice(4.0, a=1.0), segment(Alternative("a", 0.3 * whole)), 2.3, shorter=0))[0] != "a"
