"""Probing: what is found in odd files, and which sentence each unusable one earns."""

import os
from pathlib import Path

import pytest

from configs.pipeline import PrepareSettings
from models.errors import UnreadableMedia
from serve_app.media import ffmpeg
from serve_app.media.probe import probe
from tests.data.media import (
    CODECS,
    X264,
    clip,
    late_picture,
    late_sound,
    make,
    picture,
    tone,
    two_tracks,
    without_duration,
)

LIMITS = PrepareSettings()


@pytest.mark.parametrize("suffix", CODECS)
def test_every_container(tmp_path: Path, suffix: str) -> None:
    found = probe(clip(tmp_path / f"it's 影:片.{suffix}"), LIMITS)
    assert found.duration == pytest.approx(2.0, abs=0.041)
    assert (found.width, found.height, round(found.frame_rate)) == (160, 120, 25)
    assert abs(found.audio_start) < 0.1
    assert found.audio_tracks == found.audio_number == 1
    assert found.size > 1000


def test_names_are_those_of_the_formats(tmp_path: Path) -> None:
    found = probe(clip(tmp_path / "a.mp4"), LIMITS)
    assert (found.container.split(",")[0], found.video_codec, found.audio_codec) == ("mov", "h264", "aac")
    assert (found.pixel_format, found.audio_rate) == ("yuv420p", 44_100)


@pytest.mark.parametrize(
    ("wanted", "default", "number"), [("es", 0, 2), ("en", 1, 1), ("fr", 1, 2), ("", 1, 2), ("", 0, 1)]
)
def test_the_track_is_chosen_by_language_then_default(tmp_path: Path, wanted: str, default: int, number: int) -> None:
    found = probe(two_tracks(tmp_path / "two.mkv", default=default), LIMITS, wanted)
    assert (found.audio_number, found.audio_index, found.audio_tracks) == (number, number, 2)
    assert found.audio_language == ("en", "es")[number - 1]


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_sound_that_begins_later(tmp_path: Path, suffix: str) -> None:
    found = probe(late_sound(tmp_path / f"late.{suffix}"), LIMITS)
    assert found.audio_start == pytest.approx(1.0, abs=0.03)
    assert found.duration == pytest.approx(3.0, abs=0.041)


def test_time_zero_is_the_first_frame(tmp_path: Path) -> None:
    found = probe(late_picture(tmp_path / "late.mkv"), LIMITS)
    assert found.origin == pytest.approx(1.0, abs=0.01)
    assert found.audio_start == pytest.approx(-1.0, abs=0.01)
    assert found.duration == pytest.approx(2.0, abs=0.041)


def test_duration_is_measured_when_the_header_has_none(tmp_path: Path) -> None:
    assert probe(without_duration(tmp_path / "live.mkv"), LIMITS).duration == pytest.approx(2.0, abs=0.041)


def test_a_recording_that_was_cut_off_is_as_long_as_what_is_there(tmp_path: Path) -> None:
    whole = clip(tmp_path / "whole.mkv", 60.0, options=("-cluster_time_limit", "500"))
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert probe(whole, LIMITS).duration == pytest.approx(60.0, abs=0.041)
    assert 20 < probe(cut, LIMITS).duration < 40


def test_sound_goes_on_over_one_picture(tmp_path: Path) -> None:
    found = probe(make(tmp_path / "a.mp4", *picture(0.5), *tone(3.0), *X264, "-c:a", "aac"), LIMITS)
    assert found.duration == pytest.approx(3.0, abs=0.05)
    assert found.picture == pytest.approx(0.5, abs=0.041)


def test_a_cover_is_no_video(tmp_path: Path) -> None:
    cover = make(tmp_path / "cover.png", *picture(1.0), "-frames:v", "1")
    source = ("-i", ffmpeg.file_url(cover), *tone(1.0))
    song = make(tmp_path / "a.mp3", *source, "-map", "0", "-map", "1", "-c:a", "libmp3lame", "-c:v", "png")
    found = probe(song, LIMITS)
    assert (found.video_index, found.width, found.frame_rate) == (None, 0, 0.0)
    assert found.duration == pytest.approx(1.0, abs=0.1)


def test_a_turned_picture_is_described_as_it_is_shown(tmp_path: Path) -> None:
    straight = clip(tmp_path / "a.mp4")
    turned = make(tmp_path / "b.mp4", "-display_rotation", "90", "-i", ffmpeg.file_url(straight), "-c", "copy")
    found = probe(turned, LIMITS)
    assert (found.width, found.height) == (120, 160)


# -- no ----------------------------------------------------------------------------------------------------------------


def refused(path: Path, **limits: object) -> str:
    with pytest.raises(UnreadableMedia) as refusal:
        probe(path, PrepareSettings(**limits))
    sentence = str(refusal.value)
    assert str(path.parent) not in sentence
    assert "Error" not in sentence and "Errno" not in sentence
    return sentence


@pytest.mark.parametrize("content", [b"no media at all", os.urandom(20_000), b"\x00\x00\x00\x18ftypmp42" + bytes(500)])
def test_not_a_media_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "fake.mp4"
    path.write_bytes(content)
    assert "damaged or no media file" in refused(path)


def test_empty_missing_and_folder(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    assert "is empty" in refused(tmp_path / "empty.mp4")
    assert "cannot be read" in refused(tmp_path / "missing.mp4")
    assert "not a file" in refused(tmp_path)


def test_a_playlist_is_not_followed(tmp_path: Path) -> None:
    clip(tmp_path / "real.mp4")
    for text in ("ffconcat version 1.0\nfile 'real.mp4'\n", "#EXTM3U\n#EXTINF:2,\nreal.mp4\n"):
        (tmp_path / "list.mp4").write_text(text)
        assert "no media file of an accepted type" in refused(tmp_path / "list.mp4")


def test_a_container_that_is_not_on_the_list(tmp_path: Path) -> None:
    assert "accepted type" in refused(clip(tmp_path / "a.mkv"), containers=("mov",))


def test_no_audio_track(tmp_path: Path) -> None:
    assert "no audio track" in refused(make(tmp_path / "a.mp4", *picture(), *X264))


def test_limits(tmp_path: Path) -> None:
    path = two_tracks(tmp_path / "a.mp4")
    assert "hours and at most" in refused(path, max_duration_s=1.0)
    assert "GB are accepted" in refused(path, max_bytes=100)
    assert "3 streams" in refused(path, max_streams=2)
    assert "160 × 120 is too large" in refused(path, max_pixels=1000)


def test_too_long_without_a_header_that_says_so(tmp_path: Path) -> None:
    assert "hours and at most" in refused(without_duration(tmp_path / "a.mkv"), max_duration_s=1.0)


def test_a_file_without_a_single_packet(tmp_path: Path) -> None:
    path = make(tmp_path / "a.wav", *tone(1.0), "-t", "0")
    assert "no sound or pictures" in refused(path)


def test_real_recordings(media: Path) -> None:
    assert probe(media / "no_duration.webm", LIMITS).duration == pytest.approx(4.94, abs=0.01)
    assert probe(media / "chaplin.mp4", LIMITS).duration == pytest.approx(9.64, abs=0.001)
    assert "no audio track" in refused(media / "bitmap.mp4")
    assert "no media file" in refused(media / "README.md")
