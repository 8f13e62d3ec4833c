"""Who speaks: voices of blocks become speakers of the recording, each with one gender, where the sound tells it."""

from collections import Counter

import numpy as np
import pytest
import soundfile

from configs.engines import SpeakerSettings, TtsSettings
from models.errors import ArtifactMissing
from models.segment import RECOGNITION_RATE, Segment, Span, Utterance, Voice, Word
from models.speaker.gender import formant_spacing, gender, pitch
from models.tts.espeak import EspeakTts
from serve_app.hearing.speakers import ALONE, Acquaintances, Cast, Turn, cast, gendered, runs
from serve_app.jobs.report import Report
from serve_app.local import diarizing
from serve_app.media.audio import read, resample

SETTINGS = SpeakerSettings()
TEXTS = {
    "en": "The weather is fine today and we walk down to the river.",
    "es": "Hoy hace buen tiempo y vamos caminando al río.",
    "de": "Heute ist das Wetter schön und wir gehen zum Fluss.",
    "ru": "Сегодня хорошая погода, и мы идём к реке.",
}


@pytest.fixture(scope="module")
def voices():
    engine = EspeakTts(TtsSettings())

    def say(language, sex):
        speech = engine.speak([Utterance(TEXTS[language], language, sex)])[0]
        return resample(speech.audio, speech.sample_rate, RECOGNITION_RATE)

    return say


# -- one voice ---------------------------------------------------------------------------------------------------------


def harmonics(hertz, seconds=2.0):
    time = np.arange(round(seconds * RECOGNITION_RATE)) / RECOGNITION_RATE
    return (0.1 * sum(np.sin(2 * np.pi * hertz * k * time) / k for k in range(1, 12))).astype(np.float32)


@pytest.mark.parametrize("hertz", [70, 82, 100, 131, 155, 180, 220, 301, 380])
def test_pitch_is_measured_without_errors_of_an_octave(hertz):
    assert pitch(harmonics(hertz)) == pytest.approx(hertz, rel=0.01)


def test_what_is_not_voiced_has_no_pitch_and_no_gender():
    noise = np.random.default_rng(0).normal(0, 0.1, 3 * RECOGNITION_RATE).astype(np.float32)
    for sound in (noise, np.zeros(RECOGNITION_RATE, np.float32), harmonics(120, 0.1), np.zeros(0, np.float32)):
        assert pitch(sound) is None and gender(sound) is None
    assert formant_spacing(np.zeros(100, np.float32)) is None


@pytest.mark.parametrize("language", TEXTS)
@pytest.mark.parametrize("sex", ["male", "female"])
def test_clear_voices_are_told(voices, language, sex):
    assert gender(voices(language, sex)) == sex


def test_a_man_who_shouts_is_no_woman(media):
    audio = resample(*read(media / "jfk.flac"), RECOGNITION_RATE)
    assert pitch(audio) > 220
    assert gender(audio) != "female"


# -- a recording -------------------------------------------------------------------------------------------------------


@pytest.fixture
def film(voices, tmp_path):
    """A WAV of voices in turn, a second of silence between them, and the spans in which they speak."""

    def write(*sexes, language="en"):
        parts, spans, at = [], [], 0.0
        for sex in sexes:
            sound = voices(language, sex)
            spans.append(Span(at, at + len(sound) / RECOGNITION_RATE))
            parts += [sound, np.zeros(RECOGNITION_RATE, np.float32)]
            at = spans[-1].end + 1.0
        soundfile.write(tmp_path / "film.wav", np.concatenate(parts), RECOGNITION_RATE)
        return tmp_path / "film.wav", spans

    return write


def said(spans, speaker=ALONE):
    return [Segment(n, span.start, span.end, "x", speaker=speaker) for n, span in enumerate(spans)]


async def test_one_speaker_has_one_gender_everywhere(film):
    wav, speech = film("female", "female", "female")
    report = Report("job")
    known = await cast(wav, speech, None, SETTINGS, report)
    assert known == Cast((), {ALONE: "female"}, mixed=False, usual="female")
    assert [one.gender for one in gendered(wav, said(speech), known)] == ["female"] * 3
    assert [line.message for line in report.lines()] == ["detected a female voice"]


async def test_men_and_women_who_are_not_told_apart_go_by_their_sound(film):
    wav, speech = film("male", "female", "male")
    known = await cast(wav, speech, None, SETTINGS, Report("job"))
    assert known.mixed
    unclear = Segment(9, speech[2].end + 0.1, speech[2].end + 0.4, "hm", speaker=ALONE)
    found = gendered(wav, [*said(speech), unclear], known)
    assert [one.gender for one in found] == ["male", "female", "male", "male"]


async def test_speakers_who_are_told_apart_keep_one_gender_over_blocks(film):
    wav, speech = film("male", "female", "male", "female")
    prints = {0: (1.0, 0.1), 1: (0.1, 1.0)}
    block = speech[2].start - 0.5  # the third is in the second block

    async def diarize(clip):
        inside = [(n, span) for n, span in enumerate(speech) if clip.start <= span.start < clip.end]
        return [Voice((span,), prints[n % 2]) for n, span in reversed(inside)]

    settings = SpeakerSettings.model_construct(**{**SETTINGS.model_dump(), "block_s": block})
    report = Report("job")
    known = await cast(wav, speech, diarize, settings, report)
    assert [turn.speaker for turn in known.turns] == ["speaker 2", "speaker 1", "speaker 2", "speaker 1"]
    assert known.genders == {"speaker 1": "female", "speaker 2": "male"}
    assert report.lines()[0].message == "detected 2 speakers: speaker 1 (female), speaker 2 (male)"


async def test_an_engine_that_fails_costs_the_names_only(film):
    wav, speech = film("male")
    report = Report("job")

    async def broken(clip):
        raise ZeroDivisionError("a secret of the engine")

    known = await cast(wav, speech, broken, SETTINGS, report)
    assert known.turns == () and known.genders == {ALONE: "male"}
    assert "one voice: the engine is out of order" in report.lines()[0].message


def test_two_voices_of_one_block_are_never_one_speaker():
    known = Acquaintances(0.5)
    one, two = Voice((), (1.0, 0.0)), Voice((), (0.9, 0.1))
    assert known.meet([one]) == ["speaker 1"]
    assert known.meet([two, one]) == ["speaker 2", "speaker 1"]
    assert known.meet([Voice((), (-1.0, 0.0)), Voice((), (0.0, 0.0))]) == ["speaker 3", "speaker 4"]


# -- words -------------------------------------------------------------------------------------------------------------


def test_words_go_to_whoever_speaks_and_a_slip_to_nobody():
    cast_ = Cast((Turn(0, 3, "a"), Turn(1.0, 1.4, "b"), Turn(3.5, 6, "b")))
    words = [Word(0.5 * n, 0.5 * n + 0.4, f"w{n}", 1.0) for n in range(12)]
    found = runs(words, cast_)
    assert [(name, len(run)) for name, run in found] == [("a", 7), ("b", 5)]
    assert Counter(word.text for _, run in found for word in run) == Counter(word.text for word in words)
    assert runs(words, Cast()) == [(ALONE, words)] and runs([], cast_) == []


# -- settings ----------------------------------------------------------------------------------------------------------


def test_without_models_nobody_is_told_apart_and_half_a_setting_is_an_error():
    assert diarizing(SETTINGS) is None
    assert diarizing(SpeakerSettings(engine="echo")) is not None
    with pytest.raises(ArtifactMissing):
        diarizing(SpeakerSettings(segmentation="nobody.onnx"))
