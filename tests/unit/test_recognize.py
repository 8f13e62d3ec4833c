"""The recognize room with made-up engines and real WAV files."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from configs.engines import AsrSettings, VadSettings
from configs.pipeline import RecognizeSettings
from models.echo import EchoRecognizer, EchoVad
from models.errors import NoSpeech, StageFailed, UnsupportedLanguage
from models.segment import Span, Transcript, Word
from serve_app.jobs.report import Report
from serve_app.stages.recognize import identify, listen, quietest, recognize

SETTINGS = RecognizeSettings()
RATE = 16_000


@pytest.fixture
def report():
    return Report("job")


@pytest.fixture
def wav(tmp_path):
    """Writes a WAV of `duration` seconds with a tone in each span."""

    def write(*spans, duration):
        audio = np.zeros(round(duration * RATE), np.float32)
        for start, end in spans:
            part = audio[round(start * RATE) : round(end * RATE)]
            part[:] = 0.3 * np.sin(2 * np.pi * 300 * np.arange(len(part)) / RATE)
        soundfile.write(tmp_path / "sound.wav", audio, RATE, subtype="PCM_16")
        return tmp_path / "sound.wav"

    return write


@pytest.fixture
def detect():
    engine = EchoVad(VadSettings(pad_s=0.0))

    async def call(clip):
        return engine.detect([clip])[0]

    return call


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


# -- listen ------------------------------------------------------------------------------------------------------------


async def test_speech_is_the_same_however_the_file_is_read(wav, detect):
    path = wav((0.5, 3.0), (4.0, 9.0), (9.96, 10.5), (15.2, 25.1), (29.98, 30.4), duration=32)
    whole = await listen(path, detect)
    assert [(span.start, span.end) for span in whole] == [
        (pytest.approx(start, abs=0.03), pytest.approx(end, abs=0.03))
        for start, end in [(0.5, 3.0), (4.0, 9.0), (9.96, 10.5), (15.2, 25.1), (29.98, 30.4)]
    ]
    blocks = await listen(path, detect, block_s=10.0)
    assert [(s.start, s.end) for s in blocks] == [(pytest.approx(s.start), pytest.approx(s.end)) for s in whole]


async def test_no_block_is_longer_than_asked_for(wav, detect):
    sizes = []

    async def watched(clip):
        sizes.append(clip.duration)
        return await detect(clip)

    await listen(wav((1, 2), duration=30), watched, block_s=8.0)
    assert sizes == [8.0, 9.0, 9.0, 7.0]


async def test_long_speech_is_cut_where_it_is_quietest(wav, detect):
    path = wav((0.0, 17.0), (17.2, 40.0), duration=41)
    spans = await listen(path, detect, max_span_s=20.0)
    assert [span.start for span in spans[1:]] == [span.end for span in spans[:-1]]
    assert 17.0 <= spans[0].end <= 17.2 and all(span.duration <= 20 for span in spans) and spans[-1].end == 40.0


def test_the_quietest_place_is_the_middle_of_the_hush():
    audio = np.full(2 * RATE, 0.5, np.float32)
    audio[RATE : RATE + RATE // 5] = 0.01
    assert quietest(audio) == pytest.approx(1.1, abs=0.06)


async def test_silence_is_no_speech(wav, detect):
    with pytest.raises(NoSpeech, match="no speech was found"):
        await listen(wav(duration=3), detect)


# -- identify ----------------------------------------------------------------------------------------------------------

SPEECH = [Span(0, 10), Span(100, 105), Span(106, 110), Span(200, 201), Span(210, 220)]


@pytest.fixture
def long_wav(wav):
    return wav(duration=230)


async def test_samples_come_from_all_over_the_file(long_wav, report):
    hear = hearing(*[heard("en", 0.99)] * 3)
    assert await identify(long_wav, SPEECH, "en", hear, None, SETTINGS, report) == "en"
    asked = sorted((clip.start, clip.duration, clip.language) for clip in hear.clips)
    assert asked == [(0, 10, None), (100, 10, None), (210, 10, None)]
    assert levels(report) == [("info", "language detected: 'en' (99% over 3 samples of the speech)")]


async def test_a_confident_mismatch_overrules_the_user_and_says_so(long_wav, report):
    hear = hearing(*[heard("de", 0.97)] * 3)
    assert await identify(long_wav, SPEECH, "en", hear, None, SETTINGS, report) == "de"
    assert levels(report)[0][0] == "warning" and "'de' instead of 'en'" in levels(report)[0][1]
    assert report.insights()[0].kind == "decision" and report.insights()[0].data == {"given": "en", "detected": "de"}


@pytest.mark.parametrize(
    "votes",
    [
        [heard("de", 0.9), heard("en", 0.9), heard("de", 0.9)],
        [heard("de", 0.6)] * 3,
        [Transcript((), "nn", 0.99)] * 3,
    ],
)
async def test_an_unsure_vote_leaves_the_language_as_given(long_wav, report, votes):
    assert await identify(long_wav, SPEECH, "en", hearing(*votes), None, SETTINGS, report) == "en"
    assert levels(report) == [("warning", "language 'en' used as given: the speech did not tell it clearly")]


@pytest.mark.parametrize("given", ["", "auto"])
async def test_detection_without_a_given_language(long_wav, report, given):
    votes = [heard("es", 0.9), Transcript((), "ko", 0.9), heard("es", 0.7)]
    assert await identify(long_wav, SPEECH, given, hearing(*votes), None, SETTINGS, report) == "es"
    with pytest.raises(UnsupportedLanguage, match="source_lang"):
        await identify(long_wav, SPEECH, given, hearing(*[heard("es", 0.3)] * 3), None, SETTINGS, report)
    with pytest.raises(UnsupportedLanguage, match="source_lang"):
        await identify(long_wav, [], given, hearing(), None, SETTINGS, report)


async def test_a_model_of_one_language(long_wav, report):
    only = frozenset({"en"})
    assert await identify(long_wav, SPEECH, "en", hearing(), only, SETTINGS, report) == "en"
    assert levels(report) == []
    assert await identify(long_wav, SPEECH, "auto", hearing(), only, SETTINGS, report) == "en"
    assert levels(report) == [("warning", "language assumed, not verified: the model in use hears only 'en'")]
    with pytest.raises(UnsupportedLanguage, match="hears: en"):
        await identify(long_wav, SPEECH, "hy", hearing(), only, SETTINGS, report)


# -- recognize ---------------------------------------------------------------------------------------------------------


async def test_a_window_becomes_segments_at_the_times_of_the_video(wav, report):
    path = wav((2, 4.4), (6, 8.4), (12, 14), duration=20)
    engine = EchoRecognizer(AsrSettings())

    async def hear(clip):
        return engine.recognize([clip])[0]

    report.expect_speech(100.0)
    speech = [Span(1.9, 4.5), Span(5.9, 8.5), Span(11.9, 14.1)]
    made = await recognize(path, Span(0, 10), speech, "ru", hear, SETTINGS, 5, report)
    assert [(one.id, one.text) for one in made] == [
        (5, "word1 word2 word3 word4 word5 word6."),
        (6, "word7 word8 word9 word10 word11 word12."),
    ]
    assert [(one.start, one.end) for one in made] == [
        (pytest.approx(2.0, abs=0.03), pytest.approx(4.4, abs=0.03)),
        (pytest.approx(6.0, abs=0.03), pytest.approx(8.4, abs=0.03)),
    ]
    assert report._fractions["transcription"] == pytest.approx(0.066, abs=0.001)


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

    made = await recognize(wav(duration=12), Span(0, 12), speech, "en", hear, SETTINGS, 0, report)
    assert [one.text for one in made] == ["Americans, ask not. Now.", "Yes."]
    ask = next(word for one in made for word in one.words if word.text == " ask")
    assert (ask.start, ask.end) == (3.2, 3.9)
    assert levels(report) == [("warning", "dropped as not said (nobody speaks there): 'Thank you.'")]


async def test_what_the_recogniser_dropped_is_reported(wav, report):
    answer = Transcript((), "en", dropped=(("la " * 40, "loop"),))
    assert await recognize(wav(duration=5), Span(0, 5), [Span(1, 2)], "en", hearing(answer), SETTINGS, 0, report) == []
    assert levels(report)[0][1].startswith("dropped as not said (loop): 'la la") and len(levels(report)[0][1]) < 100


async def test_the_language_travels_with_each_clip_and_a_silent_window_asks_nobody(wav, report):
    path = wav(duration=70)
    hear = hearing(heard("hy", 0.0), heard("hy", 0.0))
    await recognize(path, Span(0, 60), [Span(0, 20), Span(21, 40), Span(61, 62)], "hy", hear, SETTINGS, 0, report)
    asked = sorted((clip.start, clip.duration, clip.language) for clip in hear.clips)
    assert asked == [(0, 20, "hy"), (21, 19, "hy")]
    assert await recognize(path, Span(60, 61), [Span(61, 62)], "hy", hearing(), SETTINGS, 0, report) == []


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

    work = recognize(wav(duration=60), Span(0, 60), [Span(0, 20), Span(30, 50)], "en", hear, SETTINGS, 0, report)
    with pytest.raises(StageFailed, match="transcription: the speech at 0 s could not be recognised") as failure:
        await work
    assert failure.value.transient and "CUDA" not in str(failure.value)
    await asyncio.wait_for(stopped.wait(), 1)


async def test_our_own_errors_pass_unchanged(wav, report):
    hear = hearing(UnsupportedLanguage("speech in 'xx' cannot be recognised"))
    with pytest.raises(UnsupportedLanguage, match="'xx'"):
        await recognize(wav(duration=5), Span(0, 5), [Span(0, 5)], "xx", hear, SETTINGS, 0, report)


async def test_a_clip_past_the_end_of_the_file_is_empty(wav, report):
    hear = hearing(replace(heard("en", 0.0), words=()))
    await recognize(wav(duration=1), Span(0, 60), [Span(5, 6)], "en", hear, SETTINGS, 0, report)
    assert len(hear.clips[0].audio) == 0
