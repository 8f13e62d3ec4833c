"""Which language, by votes from all over the recording, and where it changes."""

import pytest

from configs.pipeline import RecognizeSettings
from models.errors import StageFailed, UnsupportedLanguage
from models.segment import Span, Transcript, Word
from serve_app.hearing.languages import Part, Spoken, Vote, counted, differ, identify, parts, samples
from serve_app.jobs.report import Report

SETTINGS = RecognizeSettings()


@pytest.fixture
def report():
    return Report("job")


def hearing(*transcripts):
    """A recogniser that answers with `transcripts`, one a call, and remembers the clips."""
    answers = iter(transcripts)

    async def hear(clip):
        hear.clips.append(clip)
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    hear.clips = []
    return hear


def heard(language, probability, *words):
    words = words or (Word(0.0, 1.0, " hm", 1.0),)
    return Transcript(tuple(words), language, probability)


def levels(report):
    return [(line.level, line.message) for line in report.lines()]


SPEECH = [Span(0, 10), Span(100, 105), Span(106, 110), Span(200, 201), Span(210, 220)]


@pytest.fixture
def long_wav(wav):
    return wav(duration=230)


async def test_samples_come_from_all_over_the_file(long_wav, report):
    hear = hearing(*[heard("en", 0.99)] * 3)
    assert await identify(long_wav, SPEECH, "en", hear, None, SETTINGS, report) == Spoken("en")
    asked = sorted((clip.start, clip.duration, clip.language) for clip in hear.clips)
    assert asked == [(0, 10, None), (100, 10, None), (210, 10, None)]
    assert levels(report) == [("info", "language detected: 'en' (99% over 3 samples of the speech)")]


async def test_a_confident_mismatch_overrules_the_user_and_says_so(long_wav, report):
    hear = hearing(*[heard("de", 0.97)] * 3)
    assert await identify(long_wav, SPEECH, "en", hear, None, SETTINGS, report) == Spoken("de")
    assert levels(report)[0][0] == "warning" and "'de' instead of 'en'" in levels(report)[0][1]
    assert report.lines()[0].extra["votes"] == [[0.0, "de", 0.97], [100.0, "de", 0.97], [210.0, "de", 0.97]]
    assert report.insights()[0].kind == "decision" and report.insights()[0].data == {"given": "en", "detected": "de"}


@pytest.mark.parametrize(
    "votes",
    [
        [heard("de", 0.79), heard("en", 0.9), heard("de", 0.79)],
        [heard("de", 0.6)] * 3,
        [Transcript((), "nn", 0.99)] * 3,
    ],
)
async def test_an_unsure_vote_leaves_the_language_as_given(long_wav, report, votes):
    assert await identify(long_wav, SPEECH, "en", hearing(*votes), None, SETTINGS, report) == Spoken("en")
    assert levels(report) == [("warning", "language 'en' used as given: the speech did not tell it clearly")]


@pytest.mark.parametrize("given", ["", "auto"])
async def test_detection_without_a_given_language(long_wav, report, given):
    votes = [heard("es", 0.9), Transcript((), "ko", 0.9), heard("es", 0.7)]
    assert await identify(long_wav, SPEECH, given, hearing(*votes), None, SETTINGS, report) == Spoken("es")
    with pytest.raises(UnsupportedLanguage, match="source_lang"):
        await identify(long_wav, SPEECH, given, hearing(*[heard("es", 0.3)] * 3), None, SETTINGS, report)
    with pytest.raises(UnsupportedLanguage, match="source_lang"):
        await identify(long_wav, [], given, hearing(), None, SETTINGS, report)


async def test_a_model_of_one_language(long_wav, report):
    only = frozenset({"en"})
    assert await identify(long_wav, SPEECH, "en", hearing(), only, SETTINGS, report) == Spoken("en")
    assert levels(report) == []
    assert await identify(long_wav, SPEECH, "auto", hearing(), only, SETTINGS, report) == Spoken("en")
    assert levels(report) == [("warning", "language assumed, not verified: the model in use hears only 'en'")]
    with pytest.raises(UnsupportedLanguage, match="hears: en"):
        await identify(long_wav, SPEECH, "hy", hearing(), only, SETTINGS, report)


# -- several languages -------------------------------------------------------------------------------------------------


def by_time(*borders):
    """A recogniser of a recording that changes its language: (end, language, probability) in turn."""

    async def hear(clip):
        middle = (clip.start + clip.end) / 2
        _, language, probability = next(one for one in borders if middle < one[0])
        hear.asked.append(clip.duration)
        return heard(language, probability)

    hear.asked = []
    return hear


TALKS = [Span(start, start + 6) for start in range(0, 60, 7)]


async def test_a_recording_that_changes_its_language_is_heard_again_in_parts(wav, report):
    hear = by_time((27.5, "en", 0.95), (60, "de", 0.9))
    spoken = await identify(wav(duration=62), TALKS, "en", hear, None, SETTINGS, report)
    assert spoken.language == "en"
    assert spoken.parts == (Part(0.0, 27.5, "en"), Part(27.5, 62.0, "de"))
    assert len(hear.asked) == 3 + len(TALKS) and max(hear.asked) <= 12
    assert levels(report) == [
        ("warning", "the language changes: en from 0:00, de from 0:27; each part is recognised in its own")
    ]
    assert report.insights()[0].data["spans"] == [[0.0, 27.5, "en"], [27.5, 62.0, "de"]]


async def test_the_language_of_most_speech_is_that_of_the_job_when_the_given_one_is_not_spoken(wav, report):
    hear = by_time((20.5, "en", 0.95), (60, "de", 0.9))
    assert (await identify(wav(duration=62), TALKS, "", hear, None, SETTINGS, report)).language == "de"
    assert (await identify(wav(duration=62), TALKS, "fr", hear, None, SETTINGS, report)).language == "de"
    assert "given was 'fr'" in report.insights()[-1].description


async def test_many_languages_can_be_switched_off(wav, report):
    hear = by_time((27.5, "en", 0.95), (60, "de", 0.9))
    one = SETTINGS.model_copy(update={"languages": "one"})
    assert await identify(wav(duration=62), TALKS, "en", hear, None, one, report) == Spoken("en")
    assert len(hear.asked) == 3


async def test_one_confident_mishearing_does_not_split_a_recording(wav, report):
    hear = by_time((20, "en", 0.95), (26, "cy", 0.9), (60, "en", 0.95))
    strict = SETTINGS.model_copy(update={"min_language_s": 10.0, "language_windows": 9})
    spoken = await identify(wav(duration=62), TALKS, "en", hear, None, strict, report)
    assert spoken == Spoken("en")


async def test_a_broken_recogniser_is_our_fault_and_may_pass(wav, report):
    hear = hearing(*[ValueError("secret")] * 3)
    with pytest.raises(StageFailed) as failure:
        await identify(wav(duration=62), TALKS, "en", hear, None, SETTINGS, report)
    assert failure.value.transient and "secret" not in str(failure.value)


def votes(*rows):
    return [Vote(Span(7.0 * i, 7.0 * i + 6), language, p) for i, (language, p) in enumerate(rows)]


def test_the_unsure_follow_their_neighbour():
    found = parts(votes(("de", 0.4), ("en", 0.9), ("fr", 0.3), ("", 0.0), ("de", 0.9), ("de", 0.5)), 50.0, SETTINGS)
    assert found == [Part(0.0, 27.5, "en"), Part(27.5, 50.0, "de")]
    assert parts(votes(("de", 0.4), ("", 0.9)), 50.0, SETTINGS) == []


def test_votes_differ_when_two_are_sure_of_another_language():
    assert differ(votes(("en", 0.9), ("de", 0.9)), 0.8)
    assert not differ(votes(("en", 0.9), ("de", 0.7), ("", 0.99)), 0.8)
    assert counted(votes(("en", 0.9), ("de", 0.5), ("en", 0.7), ("", 1.0)))[0::2] == ("en", 3)
    assert counted([]) == ("", 0.0, 0)


def test_a_window_has_the_parts_that_lie_in_it():
    spoken = Spoken("en", (Part(0, 20, "en"), Part(20, 30, "de"), Part(30, 90, "en")))
    assert spoken.within(Span(10, 25)) == [Part(10, 20, "en"), Part(20, 25, "de")]
    assert spoken.within(Span(40, 50)) == [Part(40, 50, "en")]
    assert Spoken("hy").within(Span(3, 4)) == [Part(3, 4, "hy")]


def test_longer_recordings_are_asked_more_often_and_never_without_end():
    hours = [Span(10.0 * i, 10.0 * i + 8) for i in range(2000)]
    assert len(samples(hours, 12)) == 12
    assert samples([], 3) == []
