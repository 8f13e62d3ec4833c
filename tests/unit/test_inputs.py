"""Odd films, dubbed: what came out is looked into. How they are probed and heard is told in the tests beside this."""

import json
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from configs.pipeline import PrepareSettings
from models.errors import UnreadableMedia
from serve_app.media import ffmpeg
from serve_app.media.probe import probe
from tests.data.media import X264, clip, make, picture, tone, two_tracks
from tests.unit.test_mux import SETTINGS, combine, frame_at, listen, streams, strength
from tests.unit.test_pipeline import Bench

LIMITS = PrepareSettings()
SONGS = {
    "m4a": ("-c:a", "aac"),
    "wav": ("-c:a", "pcm_s16le"),
    "flac": ("-c:a", "flac"),
    "ogg": ("-c:a", "libvorbis"),
}


def times(path: Path) -> list[float]:
    """When each frame is shown."""
    with av.open(str(path)) as file:
        return [float(frame.time) for frame in file.decode(video=0)]


def onset(path: Path) -> float:
    """When the dub, a tone of 1 kHz, begins."""
    sound = listen(path)
    loud = [n for n in range(0, len(sound) - 480, 48) if strength(sound, 1000, n / 48_000, n / 48_000 + 0.01) > 0.05]
    return loud[0] / 48_000 + 0.005


@pytest.mark.parametrize(
    ("suffix", "mode"),
    [
        ("mp4", "soft"),
        ("mov", "burn"),
        ("mov", "soft"),
        ("mkv", "burn"),
        ("mkv", "soft"),
        ("webm", "soft"),
        ("avi", "soft"),
    ],
)
async def test_containers_and_modes(tmp_path: Path, suffix: str, mode: str) -> None:
    film = clip(tmp_path / f"in.{suffix}")
    made, out = await combine(film, mode)
    source, found = probe(film, LIMITS), probe(out, LIMITS)
    assert [kind for kind, _, _ in streams(out)] == ["video", "audio", *(["subtitle"] if mode == "soft" else [])]
    assert made.duration == found.duration == pytest.approx(source.duration, abs=1 / 25 + 0.001)
    assert (found.width, found.height, found.container.split(",")[0]) == (160, 120, "mov")
    assert found.video_codec in ("h264", "vp9", "hevc", "av1")
    assert onset(out) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("mode", ["burn", "soft"])
async def test_30000_frames_in_1001_seconds(tmp_path: Path, mode: str) -> None:
    ntsc = ("-f", "lavfi", "-i", "testsrc=size=160x120:rate=30000/1001:duration=5.005")
    film = make(tmp_path / "in.mp4", *ntsc, *tone(5.005), *X264, "-c:a", "aac")
    made, out = await combine(film, mode)
    assert made.duration == pytest.approx(5.005, abs=1001 / 30_000)
    assert probe(out, LIMITS).frame_rate == pytest.approx(30_000 / 1001, abs=1e-6)
    assert len(times(out)) == 150


@pytest.mark.parametrize("mode", ["burn", "soft"])
async def test_frames_of_a_variable_rate_keep_their_times(tmp_path: Path, mode: str) -> None:
    jumpy = ("-vf", "select=lt(n\\,10)+not(mod(n\\,7))", "-fps_mode", "vfr")
    film = clip(tmp_path / "in.mkv", 3.0, options=jumpy)
    _, out = await combine(film, mode)
    before, after = times(film), times(out)
    assert len(before) == len(after) > 15
    assert after == pytest.approx([at - before[0] for at in before], abs=0.002)


@pytest.mark.parametrize(("degrees", "mode"), [(90, "burn"), (90, "soft"), (180, "soft"), (270, "burn")])
async def test_a_turned_film_is_the_right_way_up(tmp_path: Path, degrees: int, mode: str) -> None:
    """Its left half is white as it is stored; where that goes is seen in the film as it is shown."""
    halves = ("-f", "lavfi", "-i", "color=black:s=160x120:r=25:d=2,drawbox=w=80:h=120:c=white:t=fill")
    straight = make(tmp_path / "a.mp4", *halves, *tone(), *X264, "-c:a", "aac")
    film = make(tmp_path / "b.mp4", "-display_rotation", str(degrees), "-i", ffmpeg.file_url(straight), "-c", "copy")
    _, out = await combine(film, mode, text="")
    assert [probe(path, LIMITS).width for path in (film, out)] == [160 if degrees == 180 else 120] * 2
    shown = [
        make(tmp_path / name, "-i", ffmpeg.file_url(path), "-frames:v", "1")
        for name, path in (("a.png", film), ("b.png", out))
    ]
    before, after = (frame_at(path, 0.0) for path in shown)
    assert before.shape == after.shape
    assert np.abs(before.astype(float) - after).mean() < 6
    assert before.std() > 60


@pytest.mark.parametrize("suffix", ["mkv", "flv"])
async def test_a_film_that_begins_late_by_its_clock_begins_at_once(tmp_path: Path, suffix: str) -> None:
    film = clip(tmp_path / f"in.{suffix}", options=("-output_ts_offset", "7.4"))
    made, out = await combine(film, "burn")
    assert made.duration == pytest.approx(2.0, abs=0.05)
    assert times(out)[0] == 0.0
    assert onset(out) == pytest.approx(0.5, abs=0.02)


async def test_a_live_recording_without_a_duration(tmp_path: Path) -> None:
    film = clip(tmp_path / "in.webm", 3.0, options=("-live", "1"))
    with av.open(str(film)) as file:
        assert not file.duration
    result, out = await combine(film, "burn")
    assert result.duration == pytest.approx(3.0, abs=0.041)
    assert len(times(out)) == pytest.approx(75, abs=1)


# -- pictures that are no film -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", SONGS)
async def test_sound_alone_comes_out_as_dubbed_sound(tmp_path: Path, suffix: str) -> None:
    song = make(tmp_path / f"in.{suffix}", *tone(), *SONGS[suffix])
    made, out = await combine(song, "burn")
    assert [(kind, codec) for kind, codec, _ in streams(out)] == [("audio", "aac")]
    assert made.duration == pytest.approx(probe(song, LIMITS).duration, abs=0.05)
    assert onset(out) == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("suffix", ["mp3", "m4a", "mp4"])
async def test_a_cover_is_not_shown(tmp_path: Path, suffix: str) -> None:
    cover = ffmpeg.file_url(make(tmp_path / "cover.png", *picture(1.0), "-frames:v", "1"))
    film = suffix == "mp4"
    inputs = [*(picture() if film else ()), *tone(), "-i", cover]
    maps = [part for n in range(3 if film else 2) for part in ("-map", str(n))]
    coded = [*(X264 if film else ()), "-c:a", "libmp3lame" if suffix == "mp3" else "aac"]
    last = "1" if film else "0"
    path = make(
        tmp_path / f"in.{suffix}",
        *inputs,
        *maps,
        *coded,
        f"-c:v:{last}",
        "png",
        f"-disposition:v:{last}",
        "attached_pic",
    )
    _, out = await combine(path, "soft")
    assert [kind for kind, _, _ in streams(out)] == (["video", "audio", "subtitle"] if film else ["audio", "subtitle"])


async def test_a_job_on_sound_alone_gives_sound_and_subtitles(tmp_path: Path, short_talk: Path) -> None:
    song = make(tmp_path / "talk.mp3", "-i", ffmpeg.file_url(short_talk), "-vn", "-c:a", "libmp3lame")
    result = await Bench(tmp_path, song).run()
    assert [kind for kind, _, _ in streams(Path(result.output))] == ["audio"]
    assert result.duration_s == pytest.approx(probe(song, LIMITS).duration, abs=0.05)
    for form in ("srt", "vtt", "ass"):
        assert "[es]" in Path(result.translated_srt).with_suffix(f".{form}").read_text(encoding="utf-8")
    assert result.quality.duration_match and result.quality.lufs == pytest.approx(-23, abs=1)


# -- several audio tracks ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["burn", "soft"])
@pytest.mark.parametrize(("track", "language", "hertz"), [(1, "spa", 880), (2, "eng", 440)])
async def test_the_others_are_kept_where_that_is_wished(
    tmp_path: Path, mode: str, track: int, language: str, hertz: int
) -> None:
    film = two_tracks(tmp_path / "two.mkv")
    source = probe(film, PrepareSettings(audio_track=track))
    assert source.audio_number == track
    keeping = SETTINGS.model_copy(update={"keep_audio": True})
    _, out = await combine(film, mode, source=source, settings=keeping)
    assert [row for row in streams(out) if row[0] == "audio"] == [("audio", "aac", "rus"), ("audio", "aac", language)]
    with av.open(str(out)) as file:
        kept = np.concatenate([frame.to_ndarray()[0] for frame in file.decode(audio=1)])
        marks = [bool(stream.disposition & av.stream.Disposition.default) for stream in file.streams.audio]
    assert marks == [True, False]
    assert strength(kept, hertz, 0.2, 1.8) > 0.05 and strength(kept, 1000, 0.6, 1.2) < 0.002
    assert len(kept) == pytest.approx(2 * 48_000, abs=3000)
    assert onset(out) == pytest.approx(0.5, abs=0.02)


async def test_without_that_wish_there_is_one(tmp_path: Path) -> None:
    _, out = await combine(two_tracks(tmp_path / "two.mp4"), "none")
    assert [kind for kind, _, _ in streams(out)] == ["video", "audio"]


async def test_a_job_names_its_track_and_keeps_the_other(tmp_path: Path, short_talk: Path) -> None:
    talk = ffmpeg.file_url(short_talk)
    maps = ("-map", "0:v", "-map", "1", "-map", "0:a", "-c", "copy", "-c:a:0", "aac", "-t", "10")
    film = make(tmp_path / "two.mp4", "-i", talk, *tone(10.0, 300), *maps)
    bench = Bench(tmp_path, film)
    bench.request = replace(bench.request, audio_track=2, keep_audio=True)
    result = await bench.run()
    told = json.loads(Path(result.report).read_text(encoding="utf-8"))
    assert told["input"]["audio_number"] == 2 and len(told["segments"]) >= 3
    assert "Selected audio track 2 of 2" in " ".join(line["message"] for line in told["log"])
    assert [kind for kind, _, _ in streams(Path(result.output))] == ["video", "audio", "audio"]
    with av.open(result.output) as file:
        kept = np.concatenate([frame.to_ndarray()[0] for frame in file.decode(audio=1)])
    assert strength(kept, 300, 1.0, 9.0) > 0.05


def test_a_track_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UnreadableMedia, match="audio track 3 was asked for and the file has 2"):
        probe(two_tracks(tmp_path / "two.mp4"), PrepareSettings(audio_track=3))
