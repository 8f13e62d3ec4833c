"""The real recogniser on real speech."""

import itertools
import re

import numpy as np
import pytest
from faster_whisper import decode_audio

from configs.engines import AsrSettings
from models.asr.faster_whisper import FasterWhisper
from models.asr.weights import BASE_BYTES, locate
from models.errors import UnsupportedLanguage
from models.segment import RECOGNITION_RATE, Clip

JFK = "and so my fellow americans ask not what your country can do for you ask what you can do for your country"


@pytest.fixture(scope="module")
def english():
    return FasterWhisper(AsrSettings(model="tiny.en"))


@pytest.fixture(scope="module")
def multilingual():
    return FasterWhisper(AsrSettings(model="base"))


@pytest.fixture(scope="module")
def jfk(media):
    return decode_audio(str(media / "jfk.flac"))


def plain(transcript):
    return re.sub(r"[^\w ]", "", "".join(word.text for word in transcript.words)).strip().lower()


def test_words_with_times_from_the_start_of_the_video(english, jfk):
    (transcript,) = english.recognize([Clip(jfk, start=100.0)])
    assert plain(transcript) == JFK
    words = transcript.words
    assert all(type(value) is float for word in words for value in (word.start, word.end, word.probability))
    assert all(word.start <= word.end for word in words) and words[0].start >= 100 and words[-1].end <= 111
    assert all(one.end <= two.start for one, two in itertools.pairwise(words))
    country = next(word for word in words if word.text.strip() == "country")
    assert country.start == pytest.approx(106.0, abs=0.4) and country.probability > 0.9
    assert (transcript.language, transcript.language_probability) == ("en", 0.0)


def test_a_list_in_is_a_list_out_and_neighbours_do_not_matter(english, jfk):
    empty, noise = np.zeros(0, np.float32), np.full(8000, np.nan, np.float32)
    clips = [Clip(empty), Clip(jfk), Clip(np.zeros(16_000, np.float32), start=5.0), Clip(noise), Clip(jfk[:80_000])]
    silent, full, quiet, broken, half = english.recognize(clips)
    assert plain(full) == JFK and plain(half) == "and so my fellow americans ask not"
    assert silent.words == quiet.words == broken.words == ()
    assert english.recognize([]) == []


def test_a_clip_longer_than_the_encoder_is_heard_whole(english, jfk):
    pause = np.zeros(RECOGNITION_RATE, np.float32)
    (transcript,) = english.recognize([Clip(np.concatenate([jfk, pause, pause, jfk, pause, pause, jfk]))])
    assert plain(transcript).count("fellow americans") == 3
    starts = [word.start for word in transcript.words if "fellow" in word.text]
    assert starts == pytest.approx([1.4, 14.4, 27.4], abs=0.5)


def test_an_english_only_model_refuses_other_languages(english, jfk):
    assert english.languages == {"en"}
    with pytest.raises(UnsupportedLanguage, match="hears: en"):
        english.recognize([Clip(jfk, language="hy")])


def test_base_is_joined_from_its_wheels_and_tells_languages_apart(multilingual, media):
    assert multilingual.languages is None
    assert (locate("base") / "model.bin").stat().st_size == BASE_BYTES
    sound = decode_audio(str(media / "multilingual.mp3"))
    pieces = [sound[0 : 16 * RECOGNITION_RATE], sound[42 * RECOGNITION_RATE : 58 * RECOGNITION_RATE]]
    english, german = multilingual.recognize([Clip(pieces[0]), Clip(pieces[1], start=42.0)])
    assert (english.language, german.language) == ("en", "de")
    assert english.language_probability > 0.9 and german.language_probability > 0.9
    assert "permission is hereby granted" in plain(english) and "die software zu" in plain(german)


def test_a_told_language_is_believed(multilingual, jfk):
    (transcript,) = multilingual.recognize([Clip(jfk, language="en")])
    assert (plain(transcript), transcript.language, transcript.language_probability) == (JFK, "en", 0.0)


@pytest.mark.parametrize("name", ["chaplin.mp4", "example2.mp4"])
def test_what_is_invented_over_noise_is_dropped_with_a_reason(english, media, name):
    (transcript,) = english.recognize([Clip(decode_audio(str(media / name)))])
    assert transcript.words == () and transcript.dropped[0][1] == "no speech"
