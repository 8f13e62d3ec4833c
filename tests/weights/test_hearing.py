"""What is heard of real speech, wherever it is cut and whatever languages it changes between."""

import asyncio
import re
from difflib import SequenceMatcher
from itertools import pairwise

import numpy as np
import pytest
import soundfile
from faster_whisper import decode_audio

from configs.engines import AsrSettings, SpeakerSettings, TtsSettings, VadSettings
from configs.pipeline import PipelineSettings, RecognizeSettings
from models.errors import UnsupportedLanguage
from models.registry import load
from models.segment import RECOGNITION_RATE, Span, Utterance
from models.tts.espeak import EspeakTts
from serve_app.doors.detect import detect_language
from serve_app.hearing.languages import identify
from serve_app.hearing.speakers import cast, gendered
from serve_app.hearing.speech import duration, listen
from serve_app.jobs.report import Report
from serve_app.media.audio import resample
from serve_app.stages.recognize import recognize


class Ears:
    def __init__(self, model):
        self.engine = load("asr", "faster-whisper", AsrSettings(model=model))
        self.vad = load("vad", "silero", VadSettings())
        self.report = Report("job")

    async def detect(self, clip):
        return (await asyncio.to_thread(self.vad.detect, [clip]))[0]

    async def hear(self, clip):
        return (await asyncio.to_thread(self.engine.recognize, [clip]))[0]

    async def segments(self, wav, given="en", longest=29.0):
        rules, self.report = RecognizeSettings(clip_s=min(20.0, longest), max_clip_s=longest), Report("job")
        speech = await listen(wav, self.detect, max_span_s=longest)
        spoken = await identify(wav, speech, given, self.hear, self.engine.languages, rules, self.report)
        whole = Span(0.0, duration(wav))
        return await recognize(wav, whole, speech, spoken, self.hear, rules, 1, self.report)


@pytest.fixture(scope="module")
def english():
    return Ears("tiny.en")


@pytest.fixture(scope="module")
def multilingual():
    return Ears("base")


@pytest.fixture
def write(tmp_path):
    def write(*sounds):
        path = tmp_path / "sound.wav"
        soundfile.write(path, np.concatenate(sounds), RECOGNITION_RATE, subtype="PCM_16")
        return path

    return write


def silence(seconds):
    return np.zeros(round(seconds * RECOGNITION_RATE), np.float32)


def words(segments):
    return re.sub(r"[^\w ]", "", " ".join(one.text for one in segments)).lower().split()


@pytest.fixture
def talks(media):
    """A speech of 1961 and the reading of a licence, 40 s of English."""
    licence = decode_audio(str(media / "multilingual.mp3"))[: round(29.6 * RECOGNITION_RATE)]
    return np.concatenate([decode_audio(str(media / "jfk.flac")), silence(0.6), licence])


async def test_no_word_is_lost_wherever_the_speech_is_cut(english, write, talks):
    whole = words(await english.segments(write(talks)))
    assert len(whole) > 100
    for offset, longest in ((0.7, 29.0), (1.9, 29.0), (2.6, 29.0), (0.3, 13.0), (1.9, 11.0), (0.4, 11.0)):
        wav = write(silence(offset), talks)
        made = await english.segments(wav, longest=longest)
        heard = words(made)
        codes = SequenceMatcher(None, whole, heard, autojunk=False).get_opcodes()
        changes = [(code, whole[a:b], heard[c:d]) for code, a, b, c, d in codes if code != "equal"]
        # in another context a word is spelt in another way ("sub license"); in its place there is one all the same
        assert len(changes) <= 4 and not [one for one in changes if one[0] == "delete"], (offset, longest, changes)
        assert all(0 <= one.start < one.end <= duration(wav) and one.duration <= 12 for one in made)
        assert all(one.end <= two.start for one, two in pairwise(made))


async def test_a_recording_that_changes_its_language_is_heard_in_both(multilingual, write, media):
    wav = write(decode_audio(str(media / "multilingual.mp3")))
    made = await multilingual.segments(wav, given="fr")
    change = next(one.start for one in made if one.language == "de")
    assert change == pytest.approx(30.9, abs=0.5)
    assert {one.language for one in made if one.start < change} == {"en"}
    assert {one.language for one in made if one.start >= change} == {"de"}
    text = " ".join(one.text for one in made)
    assert "permission" in text.lower() and "software" in text.lower() and "verwenden" in text
    assert multilingual.report.insights()[0].title == "Several languages are spoken"


async def test_a_few_sentences_in_another_language_are_heard_in_it(multilingual, write, talks, media):
    """No vote comes across them: they are asked of the longest stretches."""
    german = decode_audio(str(media / "multilingual.mp3"))[47 * RECOGNITION_RATE : 55 * RECOGNITION_RATE]
    wav = write(talks, silence(1.5), german, silence(1.5), talks)
    made = await multilingual.segments(wav)
    begins = len(talks) / RECOGNITION_RATE + 1.5
    spoken = {one.id: "de" if begins - 0.5 < one.start < begins + 8 else "en" for one in made}
    assert {one.id: one.language for one in made} == spoken and set(spoken.values()) == {"en", "de"}
    assert "software" in " ".join(one.text for one in made if one.language == "de").lower()
    assert [one.title for one in multilingual.report.insights()] == ["Another language for a while"]


TEXTS = {
    "en": "The weather is fine today and we walk down to the river. There are many boats on the water. "
    "We sit in the grass and eat our bread with cheese. In the evening we go home again.",
    "es": "Hoy hace muy buen tiempo y vamos caminando al río. Hay muchos barcos en el agua. "
    "Nos sentamos en la hierba y comemos pan con queso. Por la noche volvemos a casa.",
}


async def test_two_languages_glued_together(multilingual, write):
    engine = EspeakTts(TtsSettings())
    spoken = {}
    for language, sex in (("en", "male"), ("es", "female")):
        speech = engine.speak([Utterance(TEXTS[language], language, sex)])[0]
        spoken[language] = resample(speech.audio, speech.sample_rate, RECOGNITION_RATE)
    wav = write(spoken["en"], silence(1.5), spoken["es"])
    made = await multilingual.segments(wav, given="")
    border = len(spoken["en"]) / RECOGNITION_RATE + 0.75
    assert [one.language for one in made] == ["en" if one.start < border else "es" for one in made]
    assert {"en", "es"} == {one.language for one in made}
    speech = [Span(one.start, one.end) for one in made]
    known = await cast(wav, speech, None, SpeakerSettings(), Report("job"))
    assert known.mixed
    sexes = {one.gender for one in gendered(wav, made, known) if one.language == "es"}
    assert sexes == {"female"}


async def test_the_language_of_a_file_is_told(multilingual, media):
    found = await detect_language(media / "jfk.flac", multilingual.detect, multilingual.hear, None, PipelineSettings())
    assert found.language == "en" and found.confidence > 0.8
    assert found.message.startswith("detected en in 1 of 1 stretches of speech: 0:00 en ")


async def test_a_file_in_two_languages_gives_no_answer_and_says_why(multilingual, media):
    with pytest.raises(UnsupportedLanguage, match=r"en \d+%.* de \d+%"):
        await detect_language(
            media / "multilingual.mp3", multilingual.detect, multilingual.hear, None, PipelineSettings()
        )
