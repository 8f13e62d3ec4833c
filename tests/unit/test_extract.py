"""Room 2: the right track, in the right place, whole or an honest error."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from configs.pipeline import ExtractSettings, PrepareSettings
from models.errors import StageFailed, UnreadableMedia
from serve_app.jobs.report import Report
from serve_app.media import ffmpeg
from serve_app.media.probe import probe
from serve_app.stages.extract import extract
from tests.data.media import CODECS, clip, damaged_sound, late_picture, late_sound, two_tracks

QUICK = ExtractSettings(backoff_s=0.0)


async def heard(path: Path, language: str = "", report: Report | None = None) -> np.ndarray:
    """The extracted sound of `path`; checks the form of the file on the way."""
    wav = path.parent / "speech.wav"
    await extract(probe(path, PrepareSettings(), language), wav, QUICK, 10.0, report or Report("job"))
    info = soundfile.info(wav)
    assert (info.samplerate, info.channels, info.subtype) == (16_000, 1, "PCM_16")
    assert not list(path.parent.glob("*.part"))
    return soundfile.read(wav, dtype="float32")[0]


def loud(sound: np.ndarray) -> tuple[float, float]:
    """First and last second at which something is heard."""
    where = np.flatnonzero(np.abs(sound) > 0.02)
    return where[0] / 16_000, where[-1] / 16_000


def pitch(sound: np.ndarray) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(sound)))) * 16_000 / len(sound)


@pytest.mark.parametrize("suffix", CODECS)
async def test_every_container(tmp_path: Path, suffix: str) -> None:
    report = Report("job")
    sound = await heard(clip(tmp_path / f"it's 影:片.{suffix}"), report=report)
    assert len(sound) / 16_000 == pytest.approx(2.0, abs=0.1)
    assert pitch(sound) == pytest.approx(440, abs=2)
    assert report.snapshot().percent > 9


@pytest.mark.parametrize(("language", "hertz"), [("en", 440), ("es", 880)])
async def test_one_of_two_tracks(tmp_path: Path, language: str, hertz: int) -> None:
    assert pitch(await heard(two_tracks(tmp_path / "two.mp4"), language)) == pytest.approx(hertz, abs=2)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
async def test_sound_that_begins_later_is_led_by_silence(tmp_path: Path, suffix: str) -> None:
    first, last = loud(await heard(late_sound(tmp_path / f"late.{suffix}")))
    assert first == pytest.approx(1.0, abs=0.03)
    assert last == pytest.approx(2.0, abs=0.03)


async def test_sound_before_the_first_frame_is_cut(tmp_path: Path) -> None:
    sound = await heard(late_picture(tmp_path / "late.mkv"))
    assert loud(sound)[0] == pytest.approx(0.5, abs=0.002)
    assert len(sound) == 2 * 16_000


async def test_a_little_damage_is_told(tmp_path: Path) -> None:
    report = Report("job")
    sound = await heard(damaged_sound(tmp_path / "a.mp4", 0.1), report=report)
    assert pitch(sound) == pytest.approx(440, abs=2)
    assert any("damaged in" in line.message and line.level == "warning" for line in report.lines())


async def test_a_ruined_track_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableMedia, match="audio track is damaged"):
        await heard(damaged_sound(tmp_path / "a.mp4", 1.0))
    assert not (tmp_path / "speech.wav").exists()


async def test_a_stall_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, report, runs = probe(clip(tmp_path / "a.mp4"), PrepareSettings()), Report("job"), []
    real = ffmpeg.run

    async def shaky(*args: object, **options: object) -> None:
        runs.append(1)
        if len(runs) < 3:
            raise StageFailed("audio_extraction", "made no progress", transient=True)
        await real(*args, **options)

    monkeypatch.setattr(ffmpeg, "run", shaky)
    assert (await extract(source, tmp_path / "o.wav", QUICK, 10.0, report)).exists()
    assert [line.message for line in report.lines()] == [
        "Reading the sound failed, using try 2 of 3",
        "Reading the sound failed, using try 3 of 3",
    ]


async def test_the_last_try_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def dead(*args: object, **options: object) -> None:
        raise StageFailed("audio_extraction", "made no progress", transient=True)

    monkeypatch.setattr(ffmpeg, "run", dead)
    source = probe(clip(tmp_path / "a.mp4"), PrepareSettings())
    with pytest.raises(StageFailed, match="no progress"):
        await extract(source, tmp_path / "o.wav", QUICK, 10.0, Report("job"))


async def test_a_file_that_vanished_is_not_tried_again(tmp_path: Path) -> None:
    source, report = probe(clip(tmp_path / "a.mp4"), PrepareSettings()), Report("job")
    with pytest.raises(UnreadableMedia):
        await extract(replace(source, path=str(tmp_path / "gone.mp4")), tmp_path / "o.wav", QUICK, 10.0, report)
    assert report.lines() == []


async def test_real_recordings(media: Path, tmp_path: Path) -> None:
    for name, seconds in (("video_with_failing_audio.mp4", 11.2), ("big_buck_bunny_0_30.webm", 30.0)):
        (tmp_path / name).symlink_to(media / name)
        assert len(await heard(tmp_path / name)) / 16_000 == pytest.approx(seconds, abs=0.1)
