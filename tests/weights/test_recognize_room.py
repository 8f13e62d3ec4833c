"""The recognize room on real recordings with the real engines: from a WAV to segments."""

import asyncio
import re

import pytest
import soundfile
from faster_whisper import decode_audio

from configs.engines import AsrSettings, VadSettings
from configs.pipeline import RecognizeSettings
from models.asr.faster_whisper import FasterWhisper
from models.errors import NoSpeech
from models.segment import RECOGNITION_RATE, Span
from models.vad.silero import SileroVad
from serve_app.hearing.languages import Spoken, identify
from serve_app.hearing.speech import listen
from serve_app.jobs.report import Report
from serve_app.stages.recognize import recognize

SETTINGS = RecognizeSettings()


@pytest.fixture
def wav(media, tmp_path):
    def convert(name):
        soundfile.write(tmp_path / "sound.wav", decode_audio(str(media / name)), RECOGNITION_RATE, subtype="PCM_16")
        return tmp_path / "sound.wav"

    return convert


@pytest.fixture(scope="module")
def detect():
    vad = SileroVad(VadSettings())

    async def call(clip):
        return (await asyncio.to_thread(vad.detect, [clip]))[0]

    return call


def hearing(model):
    engine = FasterWhisper(AsrSettings(model=model))

    async def call(clip):
        return (await asyncio.to_thread(engine.recognize, [clip]))[0]

    return call, engine.languages


async def test_a_speech_becomes_sentences_whose_times_respect_its_pauses(wav, detect):
    path, report = wav("jfk.flac"), Report("job")
    hear, hears = hearing("tiny.en")
    speech = await listen(path, detect)
    assert await identify(path, speech, "", hear, hears, SETTINGS, report) == Spoken("en")
    made = await recognize(path, Span(0, 11), speech, Spoken("en"), hear, SETTINGS, 0, report)
    said = re.sub(r"[^\w ]", "", " ".join(one.text for one in made)).lower()
    assert said.startswith("and so my fellow americans ask not what your country can do for you")
    assert said.endswith("ask what you can do for your country")
    words = {word.text.strip(" ,.?").lower(): word for one in made for word in reversed(one.words)}
    assert words["ask"].start == pytest.approx(3.2, abs=0.15)  # its recogniser alone says 2.3, in the pause before
    assert words["what"].start == pytest.approx(5.3, abs=0.15)
    assert made[-1].end == pytest.approx(10.5, abs=0.3) and all(one.confidence > 0.7 for one in made)


async def test_the_speech_overrules_a_wrong_guess(wav, detect):
    path, report = wav("jfk.flac"), Report("job")
    hear, hears = hearing("base")
    speech = await listen(path, detect)
    assert await identify(path, speech, "de", hear, hears, SETTINGS, report) == Spoken("en")
    assert report.insights()[0].title == "Source language corrected"


@pytest.mark.parametrize("name", ["chaplin.mp4", "big_buck_bunny_0_30.webm", "example2.mp4"])
async def test_films_without_speech_are_refused(wav, detect, name):
    with pytest.raises(NoSpeech):
        await listen(wav(name), detect)


async def test_blocks_hear_what_the_whole_file_hears(wav, detect):
    path = wav("multilingual.mp3")
    whole, blocks = await listen(path, detect), await listen(path, detect, block_s=13.0)
    together = sum(max(0.0, min(a.end, b.end) - max(a.start, b.start)) for a in whole for b in blocks)
    assert together == pytest.approx(sum(span.duration for span in whole), rel=0.02)
    assert together == pytest.approx(sum(span.duration for span in blocks), rel=0.02)
