"""The language of a video: heard at several places, or not told at all; and a file can harm a child process only."""

import asyncio
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from configs.engines import VadSettings
from configs.pipeline import PipelineSettings
from models.echo import EchoVad
from models.errors import NoSpeech, StageFailed, UnreadableMedia, UnsupportedLanguage
from models.segment import Clip, Span, Transcript, Word
from serve_app.doors.detect import BETWEEN, LISTEN_S, PLACES, detect_language, more, places, verdict
from serve_app.hearing.languages import Vote
from serve_app.media.look import look
from serve_app.media.probe import probe

SETTINGS = PipelineSettings()


async def loud(clip: Clip) -> list[Span]:
    return EchoVad(VadSettings()).detect([clip])[0]


def heard(language: str, probability: float) -> Transcript:
    return Transcript((Word(0.0, 1.0, " hello", 0.9),), language, probability)


def test_places_are_spread_over_a_long_file_and_cover_a_short_one() -> None:
    assert places(10.0) == places(11.0) == places(0.5) == [0.0]
    assert places(15.0) == [0.0, 10.0]
    assert len(places(3600.0)) == PLACES
    assert places(3600.0)[0] > 60 and places(3600.0)[-1] < 3600.0 - LISTEN_S


def votes(*rows: tuple[str, float]) -> list[Vote]:
    return [Vote(Span(60.0 * number, 60.0 * number + LISTEN_S), *row) for number, row in enumerate(rows)]


def test_the_larger_share_of_probability_wins_and_every_vote_is_told() -> None:
    found = verdict(votes(("es", 0.9), ("", 0.0), ("es", 0.8), ("en", 0.4)), 0.5)
    assert found.language == "es"
    assert found.message == "detected es in 2 of 3 stretches of speech: 0:00 es 90%, 2:00 es 80%, 3:00 en 40%"
    assert found.confidence == pytest.approx(1.7 / 3)


def test_split_votes_give_no_answer() -> None:
    with pytest.raises(UnsupportedLanguage, match="0:00 es 50%, 1:00 en 45%"):
        verdict(votes(("es", 0.5), ("en", 0.45)), 0.5)


async def test_a_model_of_one_language_does_not_guess(talk: Path) -> None:
    async def recognize(_clip: Clip) -> Transcript:
        raise AssertionError("it must not even listen")

    with pytest.raises(UnsupportedLanguage):
        await detect_language(talk, loud, recognize, frozenset({"en"}), SETTINGS)


async def test_real_sound_reaches_the_recogniser(talk: Path) -> None:
    clips = []

    async def recognize(clip: Clip) -> Transcript:
        clips.append(clip)
        return heard("en", 0.95)

    found = await detect_language(talk, loud, recognize, None, SETTINGS)
    assert found.language == "en"
    assert len(clips) == 3 and sum(clip.duration for clip in clips) > 20
    assert max(float(np.abs(clip.audio).max()) for clip in clips) > 0.1


async def test_silence_and_files_that_are_no_media_give_no_answer(talk: Path, tmp_path: Path) -> None:
    async def nothing(_clip: Clip) -> Transcript:
        return Transcript((), "en", 0.9)

    with pytest.raises(NoSpeech):
        await detect_language(talk, loud, nothing, None, SETTINGS)
    (tmp_path / "text.mp4").write_text("no video" * 99)
    with pytest.raises(UnreadableMedia):
        await detect_language(tmp_path / "text.mp4", loud, nothing, None, SETTINGS)


@pytest.mark.parametrize(("spoken", "found"), [((45.0,), 1), ((75.0, 525.0, 585.0), 2), ((45.0, 405.0, 525.0), 3)])
async def test_where_the_first_places_are_silent_more_are_asked(
    tmp_path: Path, spoken: tuple[float, ...], found: int
) -> None:
    path, sound, clips = tmp_path / "film.wav", np.zeros(600 * 8000, np.float32), list[Clip]()
    for start in spoken:
        sound[round(start * 8000) : round((start + LISTEN_S) * 8000)] = 0.3 * np.sin(np.arange(LISTEN_S * 8000) / 5)
    soundfile.write(path, sound, 8000)

    async def recognize(clip: Clip) -> Transcript:
        clips.append(clip)
        return heard("es", 0.9)

    told = await detect_language(path, loud, recognize, None, SETTINGS)
    assert told.language == "es" and f"in {found} of {found} stretches" in told.message
    assert len(clips) == found and all(np.abs(clip.audio).mean() > 0.1 for clip in clips)  # silence asks nobody


def test_more_places_lie_between_the_first() -> None:
    first, further = places(3600.0), more(3600.0)
    assert len(further) == PLACES * len(BETWEEN) and more(39.0) == []
    assert min(abs(one - two) for one in first for two in further) > LISTEN_S


# -- the child that looks into the file --------------------------------------------------------------------------------


@pytest.fixture
def interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands in for Python in child processes; a test writes what it does."""
    path = tmp_path / "python"
    path.touch(mode=0o755)
    monkeypatch.setattr(sys, "executable", str(path))
    return path


async def nobody(_clip: Clip) -> Transcript:
    raise AssertionError("it must not even listen")


async def test_the_child_sees_what_probe_sees(talk: Path) -> None:
    assert await look(talk, SETTINGS.prepare) == probe(str(talk), SETTINGS.prepare)


async def test_the_child_keeps_the_limits_and_the_reason(talk: Path) -> None:
    short = SETTINGS.prepare.model_copy(update={"max_duration_s": 3.6})
    with pytest.raises(UnreadableMedia) as here:
        probe(str(talk), short)
    with pytest.raises(UnreadableMedia) as there:
        await look(talk, short)
    assert str(here.value) == str(there.value)
    assert "at most 0.001 are accepted" in str(there.value)


async def test_a_file_that_crashes_its_reader_ends_the_child_alone(talk: Path, interpreter: Path) -> None:
    interpreter.write_text("#!/bin/sh\nkill -SEGV $$\n")
    with pytest.raises(UnreadableMedia, match="damaged"):
        await detect_language(talk, loud, nobody, None, SETTINGS)


async def test_a_child_that_cannot_work_is_not_the_fault_of_the_file(
    talk: Path, interpreter: Path, caplog: pytest.LogCaptureFixture
) -> None:
    interpreter.write_text("#!/bin/sh\necho no such module >&2\nexit 1\n")
    with pytest.raises(StageFailed) as failure:
        await detect_language(talk, loud, nobody, None, SETTINGS)
    assert "no such module" in caplog.text and "module" not in str(failure.value)


async def test_a_child_that_takes_too_long_is_gone(talk: Path, interpreter: Path, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    interpreter.write_text(f"#!/bin/sh\necho $$ > {pid}.part\nmv {pid}.part {pid}\nexec sleep 60\n")
    asking = asyncio.create_task(detect_language(talk, loud, nobody, None, SETTINGS))
    async with asyncio.timeout(30):
        while not pid.exists():
            await asyncio.sleep(0.02)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        while alive(int(pid.read_text())):  # a killed process takes a moment to go
            await asyncio.sleep(0.02)


def alive(pid: int) -> bool:
    """Whether the process runs; one that is dead and not yet buried does not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
