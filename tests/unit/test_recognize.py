"""The recognize room with made-up engines and real WAV files."""

import asyncio
from dataclasses import replace
from itertools import pairwise

import pytest

from configs.engines import AsrSettings
from configs.pipeline import RecognizeSettings
from models.echo import EchoRecognizer
from models.errors import StageFailed, UnsupportedLanguage
from models.segment import Span, Transcript, Word
from serve_app.hearing.languages import Part, Spoken
from serve_app.hearing.speakers import Cast, Turn
from serve_app.jobs.report import Report
from serve_app.stages.recognize import holes, recognize

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


async def test_a_window_becomes_segments_at_the_times_of_the_video(wav, report):
    path = wav((2, 4.4), (6, 8.4), (12, 14), duration=20)
    engine = EchoRecognizer(AsrSettings())

    async def hear(clip):
        return engine.recognize([clip])[0]

    report.expect_speech(100.0)
    speech = [Span(1.9, 4.5), Span(5.9, 8.5), Span(11.9, 14.1)]
    made = await recognize(path, Span(0, 10), speech, Spoken("ru"), hear, SETTINGS, 5, report)
    assert [(one.id, one.text) for one in made] == [
        (5, "word1 word2 word3 word4 word5 word6."),
        (6, "word7 word8 word9 word10 word11 word12."),
    ]
    assert [(one.start, one.end) for one in made] == [
        (pytest.approx(2.0, abs=0.03), pytest.approx(4.4, abs=0.03)),
        (pytest.approx(6.0, abs=0.03), pytest.approx(8.4, abs=0.03)),
    ]
    assert report._fractions["transcription"] == pytest.approx(0.0594, abs=0.001)


async def test_words_are_pulled_to_speech_and_invented_ones_dropped(wav, report):
    speech = [Span(1.0, 2.4), Span(3.2, 5.0), Span(9.0, 10.0)]
    words = (
        Word(1.0, 2.3, " Americans,", 0.9),
        Word(2.3, 3.9, " ask", 0.9),  # begins with the pause before it
        Word(3.9, 4.9, " not.", 0.9),
        Word(5.1, 5.2, " Now.", 0.9),  # a little late
        Word(6.0, 7.0, " Thank", 0.1),
        Word(7.0, 7.0, " you.", 0.1),
        Word(9.5, 9.5, " Yes.", 0.9),
    )

    async def hear(clip):
        return heard("en", 0.0, *(words[:6] if clip.start < 9 else words[6:]))

    made = await recognize(wav(duration=12), Span(0, 12), speech, Spoken("en"), hear, SETTINGS, 0, report)
    assert [one.text for one in made] == ["Americans, ask not. Now.", "Yes."]
    ask = next(word for one in made for word in one.words if word.text == " ask")
    assert (ask.start, ask.end) == (3.2, 3.9)
    assert levels(report) == [("warning", "dropped as not said (nobody speaks there): 'Thank you.'")]


async def test_how_near_a_word_must_be_is_a_setting(wav, report):
    spoken, far = Word(0.0, 1.0, " Yes", 1.0), Word(1.5, 1.9, " you.", 1.0)
    for near_s, text in ((0.3, "Yes"), (0.6, "Yes you.")):
        hear, rules = hearing(heard("en", 0, spoken, far)), SETTINGS.model_copy(update={"near_s": near_s})
        [made] = await recognize(wav(duration=3), Span(0, 3), [Span(0, 1)], Spoken("en"), hear, rules, 1, report)
        assert made.text == text
    assert [message for _, message in levels(report)] == ["dropped as not said (nobody speaks there): 'you.'"]


async def test_what_the_recogniser_dropped_is_reported(wav, report):
    answer = Transcript((), "en", dropped=(("la " * 40, "loop"),))
    assert (
        await recognize(wav(duration=5), Span(0, 5), [Span(1, 2)], Spoken("en"), hearing(answer), SETTINGS, 0, report)
        == []
    )
    assert levels(report)[0][1].startswith("dropped as not said (loop): 'la la") and len(levels(report)[0][1]) < 100


async def test_the_language_travels_with_each_clip_and_a_silent_window_asks_nobody(wav, report):
    path = wav(duration=70)
    hear = hearing(Transcript((), "hy"), Transcript((), "hy"))
    await recognize(
        path, Span(0, 60), [Span(0, 20), Span(21, 40), Span(61, 62)], Spoken("hy"), hear, SETTINGS, 0, report
    )
    asked = sorted((clip.start, clip.duration, clip.language) for clip in hear.clips)
    assert asked == [(0, 20, "hy"), (21, 19, "hy")]
    assert await recognize(path, Span(60, 61), [Span(61, 62)], Spoken("hy"), hearing(), SETTINGS, 0, report) == []


async def test_a_failing_clip_fails_the_room_and_stops_the_others(wav, report):
    begun, stopped = asyncio.Event(), asyncio.Event()

    async def hear(clip):
        if clip.start < 1:
            await begun.wait()
            raise ValueError("CUDA error at 0x7f")
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            stopped.set()

    work = recognize(
        wav(duration=60), Span(0, 60), [Span(0, 20), Span(30, 50)], Spoken("en"), hear, SETTINGS, 0, report
    )
    with pytest.raises(StageFailed, match="transcription: the speech at 0 s could not be recognised") as failure:
        await work
    assert failure.value.transient and "CUDA" not in str(failure.value)
    await asyncio.wait_for(stopped.wait(), 1)


async def test_our_own_errors_pass_unchanged(wav, report):
    hear = hearing(UnsupportedLanguage("speech in 'xx' cannot be recognised"))
    with pytest.raises(UnsupportedLanguage, match="'xx'"):
        await recognize(wav(duration=5), Span(0, 5), [Span(0, 5)], Spoken("xx"), hear, SETTINGS, 0, report)


async def test_a_clip_past_the_end_of_the_file_is_empty(wav, report):
    hear = hearing(replace(heard("en", 0.0), words=()))
    await recognize(wav(duration=1), Span(0, 60), [Span(5, 6)], Spoken("en"), hear, SETTINGS, 0, report)
    assert len(hear.clips[0].audio) == 0


async def test_each_part_is_heard_in_its_own_language(wav, report):
    a, b = ([Word(0.8 * n, 0.8 * n + 0.8, text, 1.0) for n in range(at, at + 5)] for at, text in ((0, " a"), (5, " b")))
    hear = hearing(heard("en", 0, *a), heard("de", 0, *b))
    spoken = Spoken("en", (Part(0, 4, "en"), Part(4, 60, "de")))
    made = await recognize(wav(duration=20), Span(0, 20), [Span(0, 8)], spoken, hear, SETTINGS, 1, report)
    assert [(clip.start, clip.end, clip.language) for clip in hear.clips] == [(0, 4, "en"), (4, 8, "de")]
    assert [(one.id, one.text, one.language) for one in made] == [
        (1, "a a a a a", "en"),
        (2, "b b b b b", "de"),
    ]


async def test_no_segment_bridges_two_speakers(wav, report):
    words = [Word(0.5 * i, 0.5 * i + 0.5, f" w{i}", 1.0) for i in range(8)]
    cast = Cast((Turn(0, 1.9, "speaker 1"), Turn(1.9, 5, "speaker 2")), {"speaker 2": "female"})
    hear = hearing(heard("en", 0, *words))
    made = await recognize(wav(duration=5), Span(0, 5), [Span(0, 4)], Spoken("en"), hear, SETTINGS, 1, report, cast)
    assert [(one.text, one.speaker, one.gender) for one in made] == [
        ("w0 w1 w2 w3", "speaker 1", None),
        ("w4 w5 w6 w7", "speaker 2", "female"),
    ]


def test_holes_are_long_stretches_of_speech_without_words():
    words = [Word(0.0, 0.5, " a", 1.0), Word(0.6, 5.0, " b", 1.0), Word(5.0, 5.4, " c", 1.0)]
    speech = [Span(0.0, 5.5), Span(8.0, 9.2), Span(11.0, 20.0)]
    assert holes(words, speech, Span(0.0, 12.5), 1.0) == [Span(0.5, 4.0), Span(8.0, 9.2), Span(11.0, 12.5)]
    assert holes(words[:1], [Span(0.0, 1.4)], Span(0.0, 1.4), 1.0) == []


SKIPPED = heard("en", 0, Word(0.0, 4.0, " and", 0.5), Word(4.0, 4.5, " or.", 0.9))


async def test_what_the_recogniser_skipped_is_heard_again(wav, report):
    again = heard("en", 0, Word(0.1, 1.0, " Copy,", 0.9), Word(1.5, 3.3, " merge", 0.8), Word(3.4, 3.9, " and", 0.9))
    hear = hearing(SKIPPED, again)
    [made] = await recognize(wav(duration=5), Span(0, 5), [Span(0, 4.5)], Spoken("en"), hear, SETTINGS, 1, report)
    assert made.text == "Copy, merge and or."
    assert [(clip.start, clip.end) for clip in hear.clips] == [(0, 4.5), (0, 4.0)]
    assert all(one.end <= two.start for one, two in pairwise(made.words))


@pytest.mark.parametrize("again", [(), (Word(0.1, 1.0, " hm", 0.1),), (Word(0.2, 4.0, " and", 0.9),)])
async def test_a_hole_stays_one_when_nobody_is_sure_of_words_in_it(wav, report, again):
    hear = hearing(SKIPPED, Transcript(again, "en"))
    [made] = await recognize(wav(duration=5), Span(0, 5), [Span(0, 4.5)], Spoken("en"), hear, SETTINGS, 1, report)
    assert made.text == "and or."
