import contextlib

import numpy as np
import psutil
import pytest
import soundfile

from models.errors import StageFailed
from serve_app.media import audio, ffmpeg

RATE = 24_000


def tone(seconds: float, hertz: float = 220.0, level: float = 0.5, rate: int = RATE) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def strongest(sound: np.ndarray, rate: int) -> float:
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    return float(np.argmax(spectrum) * rate / len(sound))


def test_what_is_written_is_read_back(tmp_path):
    sound = tone(0.5)
    audio.write(tmp_path / "a.wav", sound, RATE)
    back, rate = audio.read(tmp_path / "a.wav")
    assert rate == RATE
    assert np.abs(back - sound).max() < 1e-4
    assert [p.name for p in tmp_path.iterdir()] == ["a.wav"]


def test_float_files_keep_what_sixteen_bits_would_clip(tmp_path):
    audio.write(tmp_path / "a.wav", tone(0.1, level=1.5), RATE, subtype="FLOAT")
    assert audio.read(tmp_path / "a.wav")[0].max() > 1.4


def test_a_failed_write_leaves_the_old_file_alone(tmp_path, monkeypatch):
    audio.write(tmp_path / "a.wav", tone(0.1), RATE)
    monkeypatch.setattr(soundfile, "write", lambda *a, **k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        audio.write(tmp_path / "a.wav", tone(9), RATE)
    assert len(audio.read(tmp_path / "a.wav")[0]) == 0.1 * RATE
    assert len(list(tmp_path.iterdir())) == 1


def test_stereo_is_averaged(tmp_path):
    soundfile.write(tmp_path / "s.wav", np.stack([np.full(100, 0.2), np.full(100, 0.6)], 1), RATE)
    assert audio.read(tmp_path / "s.wav")[0] == pytest.approx(0.4, abs=1e-4)


@pytest.mark.parametrize("to", [16_000, 22_050, 48_000])
def test_resampling_keeps_length_pitch_and_level(to):
    out = audio.resample(tone(1.0), RATE, to)
    assert len(out) == to
    assert strongest(out, to) == pytest.approx(220, abs=2)
    assert np.abs(out[to // 4 : to // 2]).max() == pytest.approx(0.5, abs=0.01)


def test_resampling_removes_what_the_lower_rate_cannot_hold():
    assert np.abs(audio.resample(tone(1.0, hertz=11_000), RATE, 16_000)[1000:-1000]).max() < 0.01


def test_trim_cuts_silent_edges_and_keeps_inner_pauses():
    gap = np.zeros(RATE // 2, np.float32)
    out = audio.trim(np.concatenate([gap, tone(0.3), gap, tone(0.3), gap]), RATE, -45)
    assert len(out) / RATE == pytest.approx(1.1 + 0.04, abs=0.03)


@pytest.mark.parametrize("sound", [np.zeros(RATE, np.float32), np.zeros(0, np.float32)])
def test_silence_is_trimmed_to_nothing_and_has_no_level(sound):
    assert len(audio.trim(sound, RATE, -45)) == 0
    assert audio.loudness(sound, RATE) == audio.true_peak_db(sound, RATE) == audio.SILENT
    assert not audio.normalize(sound, RATE, -23, -1).any()


def test_loudness_of_the_reference_tone():
    assert audio.loudness(tone(2, hertz=997, level=1.0, rate=48_000), 48_000) == pytest.approx(-3.01, abs=0.1)


def test_a_very_short_clip_has_a_loudness():
    assert audio.loudness(tone(0.1), RATE) == pytest.approx(audio.loudness(tone(1.0), RATE), abs=0.5)


def test_the_true_peak_lies_between_samples():
    quarter = np.sin(2 * np.pi * 0.25 * np.arange(4800) + np.pi / 4).astype(np.float32)
    assert np.abs(quarter).max() < 0.71
    assert audio.true_peak_db(audio.fade(quarter, 48_000, 0.02), 48_000) == pytest.approx(0, abs=0.3)


@pytest.mark.parametrize("level", [0.001, 0.1, 1.0])
def test_normalizing_reaches_the_loudness(level):
    assert audio.loudness(audio.normalize(tone(1, level=level), RATE, -23, -1), RATE) == pytest.approx(-23, abs=0.1)


def test_peaks_are_turned_down_and_the_rest_is_not():
    sound = tone(1.0, level=0.1)
    sound[RATE // 2 : RATE // 2 + 200] *= 30
    out = audio.limit(sound, RATE, -1)
    assert audio.true_peak_db(out, RATE) <= -1
    assert np.array_equal(out[: RATE // 4], sound[: RATE // 4])


def test_clicks_stay_below_the_ceiling_after_normalizing():
    sound = tone(1.0, level=0.05)
    sound[5000::4000] = 1.0
    out = audio.normalize(sound, RATE, -23, -1)
    assert audio.true_peak_db(out, RATE) <= -1
    assert audio.loudness(out, RATE) == pytest.approx(-23, abs=2)


def test_fades_begin_and_end_at_nothing():
    out = audio.fade(np.ones(RATE, np.float32), RATE, 0.02)
    assert out[0] == out[-1] == 0
    assert (out[480:-480] == 1).all()
    assert np.all(np.diff(out[:480]) > 0)


def test_fading_a_clip_of_three_samples():
    assert len(audio.fade(np.ones(3, np.float32), RATE, 0.02)) == 3


@pytest.mark.parametrize("tempo", [0.4, 0.95, 1.2, 1.35, 2.5])
def test_stretching_changes_the_length_and_not_the_pitch(tempo):
    out = audio.stretch(tone(1.0), RATE, tempo)
    assert len(out) == round(RATE / tempo)
    assert audio.loudness(out, RATE) == pytest.approx(audio.loudness(tone(1.0), RATE), abs=0.5)
    assert strongest(out, RATE) == pytest.approx(220, rel=0.02)


def test_stretching_keeps_the_last_word():
    sound = np.concatenate([tone(0.8, level=0.05), tone(0.2)])
    out = audio.stretch(sound, RATE, 1.3)
    assert np.abs(out[-round(0.12 * RATE) :]).max() == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("seconds", [0.03, 0.2])
def test_stretching_a_very_short_clip(seconds):
    out = audio.stretch(tone(seconds), RATE, 1.2)
    assert len(out) == round(seconds * RATE / 1.2)
    assert np.abs(out).max() > 0.3


def test_a_tempo_of_one_is_the_sound_itself():
    assert np.array_equal(audio.stretch(tone(0.2), RATE, 1.0), tone(0.2))


def test_without_ffmpeg_stretching_says_so(monkeypatch):
    monkeypatch.setattr(ffmpeg, "binary", lambda: "/nonexistent/ffmpeg")
    with pytest.raises(StageFailed, match="could not stretch"):
        audio.stretch(tone(0.2), RATE, 1.3)


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_stretching_asks_the_ffmpeg_of_the_environment(monkeypatch, tmp_path):
    real, log = ffmpeg.binary(), tmp_path / "asked"
    monkeypatch.setenv("FFMPEG", script(tmp_path / "mine", f'echo "$@" > {log}; exec {real} "$@"'))
    ffmpeg.binary.cache_clear()
    try:
        assert len(audio.stretch(tone(0.2), RATE, 1.25)) == round(0.2 * RATE / 1.25)
    finally:
        ffmpeg.binary.cache_clear()
    assert "atempo=1.25" in log.read_text()


def test_a_stretching_that_hangs_is_ended_with_its_children(monkeypatch, tmp_path):
    child = tmp_path / "child"
    hanging = script(tmp_path / "hang", f"sleep 60 & echo $! > {child}; wait")
    monkeypatch.setattr(ffmpeg, "binary", lambda: hanging)
    monkeypatch.setattr(audio, "_STRETCH_TIMEOUT_S", 1.0)
    with pytest.raises(StageFailed, match="could not stretch"):
        audio.stretch(tone(0.2), RATE, 1.3)
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(int(child.read_text())).wait(timeout=5)


def test_a_stretching_that_fails_says_so(monkeypatch, tmp_path):
    failing = script(tmp_path / "fail", "cat > /dev/null; exit 3")
    monkeypatch.setattr(ffmpeg, "binary", lambda: failing)
    with pytest.raises(StageFailed, match="could not stretch"):
        audio.stretch(tone(0.2), RATE, 1.3)
