"""The language of a video: heard at several places, or not told at all."""

from pathlib import Path

import numpy as np
import pytest

from configs.pipeline import PipelineSettings
from models.errors import NoSpeech, UnreadableMedia, UnsupportedLanguage
from models.segment import Clip, Transcript, Word
from serve_app.detect import LISTEN_S, PLACES, detect_language, places, verdict
from serve_app.media import probe

SETTINGS = PipelineSettings()


def heard(language: str, probability: float) -> Transcript:
    return Transcript((Word(0.0, 1.0, " hello", 0.9),), language, probability)


def test_places_are_spread_over_a_long_file_and_cover_a_short_one() -> None:
    assert places(10.0) == [0.0]
    assert len(places(3600.0)) == PLACES
    assert places(3600.0)[0] > 60 and places(3600.0)[-1] < 3600.0 - LISTEN_S


def test_the_larger_share_of_probability_wins() -> None:
    found = verdict([heard("es", 0.9), heard("es", 0.8), heard("en", 0.4)])
    assert (found.language, found.message) == ("es", "detected es in 2 of 3 stretches of speech")
    assert found.confidence == pytest.approx(1.7 / 3)


def test_split_votes_give_no_answer() -> None:
    with pytest.raises(UnsupportedLanguage):
        verdict([heard("es", 0.5), heard("en", 0.45)])


async def test_a_model_of_one_language_does_not_guess(talk: Path) -> None:
    async def recognize(_clip: Clip) -> Transcript:
        raise AssertionError("it must not even listen")

    with pytest.raises(UnsupportedLanguage):
        await detect_language(talk, recognize, frozenset({"en"}), SETTINGS)


async def test_real_sound_reaches_the_recogniser(talk: Path) -> None:
    clips = []

    async def recognize(clip: Clip) -> Transcript:
        clips.append(clip)
        return heard("en", 0.95)

    found = await detect_language(talk, recognize, None, SETTINGS)
    assert found.language == "en"
    assert sum(clip.duration for clip in clips) == pytest.approx(probe(str(talk), SETTINGS.prepare).duration, abs=0.3)
    assert max(float(np.abs(clip.audio).max()) for clip in clips) > 0.1


async def test_silence_and_files_that_are_no_media_give_no_answer(talk: Path, tmp_path: Path) -> None:
    async def nothing(_clip: Clip) -> Transcript:
        return Transcript((), "en", 0.9)

    with pytest.raises(NoSpeech):
        await detect_language(talk, nothing, None, SETTINGS)
    (tmp_path / "text.mp4").write_text("no video" * 99)
    with pytest.raises(UnreadableMedia):
        await detect_language(tmp_path / "text.mp4", nothing, None, SETTINGS)
