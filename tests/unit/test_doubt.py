"""When text is heard again, and when it is dropped."""

import pytest

from configs.engines import AsrSettings
from models.asr.doubt import Decoded, behind, doubtful, merit, objection
from models.segment import Word

SETTINGS = AsrSettings()


def decoded(text: str = " Good morning.", log: float = -0.2, silence: float = 0.1, tokens: int = 5) -> Decoded:
    return Decoded([1] * tokens, text, log, silence, room=100)


def words(*starts: float) -> list[Word]:
    return [Word(start, start, " word", 0.5) for start in starts]


def spoken(*starts: float) -> list[Word]:
    return [Word(start, start + 0.3, " word", 0.5) for start in starts]


@pytest.mark.parametrize(
    ("one", "reason"),
    [
        (decoded(), ""),
        (decoded(log=-1.1), ""),
        (decoded(silence=0.9), ""),
        (decoded(log=-1.1, silence=0.9), "no speech"),
        (decoded(log=-1.7), "improbable"),
        (decoded(text=" . . ."), "no words"),
        (decoded(text=" 1 °"), ""),
        (decoded(text=""), ""),
        (
            decoded(
                text=" one and two, one or two, two and one, two or one, one and one, two or two, one and two or one, "
                * 2
            ),
            "repetitive",
        ),
        (decoded(text=" ha" * 60), ""),  # a loop is cut out, which is better than to drop all
    ],
)
def test_each_objection_has_its_reason(one: Decoded, reason: str) -> None:
    assert objection(one, spoken(0.5, 1.0), SETTINGS) == reason


@pytest.mark.parametrize(
    ("one", "again"),
    [
        (decoded(), False),
        (decoded(log=-1.1), True),
        (decoded(log=-1.1, silence=0.9), False),  # sure of silence
        (decoded(silence=0.9), True),  # says something, and hears silence
        (decoded(text=" ha" * 60), True),
        (decoded(tokens=100), True),  # was cut off
        (decoded(text=""), True),
        (decoded(text="", silence=0.9), False),
    ],
)
def test_what_is_in_doubt_is_heard_again(one: Decoded, again: bool) -> None:
    assert doubtful(one, words(0.5), 3.0, SETTINGS) is again


def test_two_words_at_the_very_end_have_no_sound_left() -> None:
    assert behind(words(0.1, 2.98, 2.99, 3.0), 3.0) == 3
    assert behind(words(0.1, 2.99), 3.0) == behind(words(2.99, 2.5), 3.0) == behind([], 3.0) == 0
    assert doubtful(decoded(), words(0.1, 2.99, 3.0), 3.0, SETTINGS)


def test_the_better_of_two_attempts_ends_does_not_repeat_itself_and_is_sure() -> None:
    ranked = [decoded(tokens=100, log=-0.1), decoded(text=" ha" * 60, log=-0.1), decoded(log=-0.9), decoded(log=-0.3)]
    assert sorted(ranked, key=lambda one: merit(one, SETTINGS)) == ranked


def test_every_threshold_is_a_setting() -> None:
    assert objection(decoded(log=-0.5), [], AsrSettings(hopeless_log_probability=-0.4)) == "improbable"
    strict = AsrSettings(min_log_probability=-0.1, no_speech_probability=0.05)
    assert objection(decoded(), [], strict) == "no speech"


def test_doubtful_words_that_take_no_time_were_not_said() -> None:
    thanks = [Word(0.0, 5.2, " Thank", 0.02), Word(5.2, 5.2, " you.", 0.94)]
    assert objection(decoded(log=-1.1), thanks, SETTINGS) == "without time to say it"
    assert objection(decoded(log=-0.5, silence=0.9), thanks, SETTINGS) == "without time to say it"
    assert objection(decoded(log=-0.9), thanks, SETTINGS) == objection(decoded(log=-1.1), [], SETTINGS) == ""
    assert objection(decoded(log=-1.1), [*thanks, *spoken(6.0)], SETTINGS) == ""
