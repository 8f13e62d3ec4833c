"""Room 8: looks at the pictures, listens to the sound, reads the subtitles of what was written."""

import asyncio
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from configs.pipeline import MuxSettings, PrepareSettings, SubtitleStyle
from models.errors import OutOfSpace, StageFailed, UnreadableMedia
from models.segment import Segment
from serve_app.cues import Cue
from serve_app.jobs.report import Report
from serve_app.media import ffmpeg, mp4
from serve_app.media.ass import Look
from serve_app.media.loudness import Loudness
from serve_app.media.mp4 import choose_encoder
from serve_app.media.probe import Source, probe
from serve_app.stages import mux as room
from serve_app.stages.mux import Dub, Mixed, mux
from serve_app.stages.subtitle import write
from tests.data.media import X264, clip, late_picture, make, picture, tone, without_duration

SETTINGS = MuxSettings(x264_preset="ultrafast", encoder="libx264")


def dub(folder: Path, hertz: int = 1000, seconds: float = 0.8, level: float = 0.3) -> str:
    sound = level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * 22_050)) / 22_050)
    soundfile.write(folder / "dub.wav", sound.astype(np.float32), 22_050)
    return str(folder / "dub.wav")


async def combine(
    path: Path,
    mode: str = "none",
    text: str = "Привет, мир",
    source: Source | None = None,
    settings: MuxSettings = SETTINGS,
    report: Report | None = None,
    dubbed: bool = True,
    level: float = 0.3,
) -> tuple[Mixed, Path]:
    """Dubs 0.5–1.3 s of `path` with a 1 kHz tone and shows `text` from 0.2 to 1.8 s."""
    folder = path.parent / "it's a job: 50%,[影]"
    folder.mkdir(exist_ok=True)
    out, srt = path.parent / "out.mp4", folder / "a'b,c:d.srt"
    source = source or probe(path, PrepareSettings())
    write([Cue(0.2, 1.8, (text,))] if text else [], srt, Look(SubtitleStyle(), source.width, source.height))
    shown = srt.with_suffix(".ass") if mode == "burn" else srt
    segments = [Segment(1, 0.5, 1.3, "a", place=0.5, dub=dub(folder, level=level))] if dubbed else []
    dubbed_film = Dub(source, segments, shown, mode, language="ru")
    made = await mux(dubbed_film, out, folder / "mux", settings, 20.0, report or Report("job"))
    assert [p.name for p in (folder / "mux").iterdir() if p.suffix == ".flac"] == []
    return made, out


def listen(path: Path) -> np.ndarray:
    """The sound of an output, first channel, at 48 kHz."""
    with av.open(str(path)) as file:
        return np.concatenate([f.to_ndarray()[0] for f in file.decode(audio=0)])


def strength(sound: np.ndarray, hertz: int, start: float, end: float) -> float:
    """Amplitude of a tone between two times."""
    part = sound[round(start * 48_000) : round(end * 48_000)]
    return float(2 * np.abs(np.mean(part * np.exp(-2j * np.pi * hertz * np.arange(len(part)) / 48_000))))


def frame_at(path: Path, second: float) -> np.ndarray:
    with av.open(str(path)) as file:
        return next(f for f in file.decode(video=0) if f.time >= second).to_ndarray(format="gray")


def streams(path: Path) -> list[tuple[str, str, str]]:
    with av.open(str(path)) as file:
        return [(s.type, s.codec_context.codec.canonical_name, s.metadata.get("language", "")) for s in file.streams]


@pytest.mark.parametrize("suffix", ["webm", "avi", "wmv", "flv"])
async def test_every_container_becomes_mp4(tmp_path: Path, suffix: str) -> None:
    path = clip(tmp_path / f"in.{suffix}")
    made, out = await combine(path, "burn")
    assert [(kind, codec) for kind, codec, _ in streams(out)] == [("video", "h264"), ("audio", "aac")]
    assert made.duration == pytest.approx(probe(path, PrepareSettings()).duration, abs=0.041)
    assert made.lufs == pytest.approx(-23.0, abs=1.0)
    assert made.true_peak_db <= -1.0
    assert made.bytes == out.stat().st_size
    assert out.read_bytes().find(b"moov") < out.read_bytes().find(b"mdat")


async def test_the_dub_replaces_the_original(tmp_path: Path) -> None:
    sound = listen((await combine(clip(tmp_path / "in.mp4")))[1])
    assert strength(sound, 440, 0.55, 1.25) < 0.002
    assert strength(sound, 1000, 0.55, 1.25) > 0.08
    assert strength(sound, 440, 1.45, 1.95) > 0.02
    assert strength(sound, 1000, 1.45, 1.95) < 0.002
    onset = np.flatnonzero(np.abs(sound[round(0.45 * 48_000) :]) > 0.05)[0] / 48_000 + 0.45
    assert onset == pytest.approx(0.5, abs=0.005)


async def test_without_segments_the_sound_stays_as_it_is(tmp_path: Path) -> None:
    sound = listen((await combine(clip(tmp_path / "in.mp4"), dubbed=False))[1])
    assert strength(sound, 440, 0.2, 1.8) == pytest.approx(0.125 * np.sqrt(0.5), rel=0.05)


# -- subtitles ---------------------------------------------------------------------------------------------------------


async def test_burnt_subtitles_are_in_the_picture_at_their_time(tmp_path: Path) -> None:
    path = make(
        tmp_path / "in.mp4", "-f", "lavfi", "-i", "color=black:s=640x360:r=25:d=2", *tone(), *X264, "-c:a", "aac"
    )
    _, out = await combine(path, "burn")
    before, during, after = (frame_at(out, second) for second in (0.0, 1.0, 1.88))
    assert during[280:].max() > 200
    assert during[:200].max() < 40
    assert before.max() < 40
    assert after.max() < 40


async def test_soft_subtitles_are_a_track_and_the_pictures_are_copied(tmp_path: Path) -> None:
    path, report = clip(tmp_path / "in.mp4"), Report("job")
    _, out = await combine(path, "soft", report=report)
    assert streams(out) == [("video", "h264", "und"), ("audio", "aac", "rus"), ("subtitle", "mov_text", "rus")]
    with av.open(str(path)) as before, av.open(str(out)) as after:
        pictures = [[bytes(p) for p in file.demux(video=0) if p.size] for file in (before, after)]
    assert pictures[0] == pictures[1]
    assert "Using the original pictures" in [line.message for line in report.lines()]
    srt = make(tmp_path / "back.srt", "-i", ffmpeg.file_url(out)).read_text(encoding="utf-8")
    assert "00:00:00,200 --> 00:00:01,800" in srt
    assert "Привет, мир" in srt


async def test_the_beginning_of_a_film_is_copied_too(tmp_path: Path) -> None:
    """Pictures that are shown in another order than they are stored are cut a few later; the sound is to the point."""
    look = ("-f", "lavfi", "-i", "testsrc2=size=160x120:rate=25:duration=4")
    reordered = ("-c:v", "libx264", "-preset", "medium", "-bf", "8", "-x264-params", "b-adapt=0:b-pyramid=normal")
    film = make(tmp_path / "in.mp4", *look, *tone(4.0), *reordered, "-pix_fmt", "yuv420p", "-c:a", "aac")
    source, report, out = probe(film, PrepareSettings()), Report("job"), tmp_path / "out.mp4"
    beginning = replace(source, duration=1.5, picture=1.5)
    made = await mux(Dub(beginning, [], cut=True), out, tmp_path / "mux", SETTINGS, 20.0, report)
    assert [line.message for line in report.lines() if line.level == "warning"] == []
    assert "Using the original pictures" in [line.message for line in report.lines()]
    assert 1.54 < made.duration < 1.5 + 16 / 25
    assert len(listen(out)) / 48_000 == pytest.approx(1.5, abs=0.05)
    with av.open(str(film)) as before, av.open(str(out)) as after:
        shown = [[frame.to_ndarray() for frame in file.decode(video=0)][:37] for file in (before, after)]
    assert len(shown[1]) == 37 and all((a == b).all() for a, b in zip(*shown, strict=True))


@pytest.mark.parametrize("mode", ["burn", "soft"])
async def test_no_cues_are_no_subtitles(tmp_path: Path, mode: str) -> None:
    _, out = await combine(clip(tmp_path / "in.mp4"), mode, text="")
    assert [kind for kind, _, _ in streams(out)] == ["video", "audio"]


async def test_a_character_without_a_font_is_told(tmp_path: Path) -> None:
    report = Report("job")
    await combine(clip(tmp_path / "in.mp4"), "burn", text="\U00010a00\U00010a10", report=report)
    warnings = [line for line in report.lines() if line.level == "warning"]
    assert [line.extra["glyphs"] for line in warnings] == [2]
    assert "such as Noto Sans" in warnings[0].message


async def test_armenian_and_cyrillic_have_a_font(tmp_path: Path) -> None:
    report = Report("job")
    await combine(clip(tmp_path / "in.mp4"), "burn", text="Բարև Привет ¿qué? ß", report=report)
    assert [line for line in report.lines() if line.level == "warning"] == []


# -- pictures ----------------------------------------------------------------------------------------------------------


async def test_odd_sides_are_padded(tmp_path: Path) -> None:
    size = ("-f", "lavfi", "-i", "testsrc=size=161x121:rate=25:duration=1")
    path = make(tmp_path / "in.mkv", *size, *tone(1.0), "-c:v", "ffv1", "-c:a", "flac")
    made = probe((await combine(path, "burn"))[1], PrepareSettings())
    assert (made.width, made.height, made.pixel_format) == (162, 122, "yuv420p")


@pytest.mark.parametrize("mode", ["burn", "none"])
async def test_a_turned_picture_stays_turned(tmp_path: Path, mode: str) -> None:
    straight = clip(tmp_path / "a.mp4")
    turned = make(tmp_path / "b.mp4", "-display_rotation", "90", "-i", ffmpeg.file_url(straight), "-c", "copy")
    made = probe((await combine(turned, mode))[1], PrepareSettings())
    assert (made.width, made.height) == (120, 160)


@pytest.mark.parametrize("mode", ["burn", "none"])
async def test_strange_clocks_keep_the_duration(tmp_path: Path, mode: str) -> None:
    jumpy = ("-vf", "select=lt(n\\,10)+not(mod(n\\,7))", "-fps_mode", "vfr")
    for path in (
        clip(tmp_path / "vfr.mkv", options=jumpy),
        without_duration(tmp_path / "live.mkv"),
        late_picture(tmp_path / "late.mkv"),
        make(tmp_path / "still.mp4", *picture(0.4), *tone(2.5), *X264, "-c:a", "aac"),
        make(tmp_path / "short.mp4", *picture(2.0), *tone(0.7), *X264, "-c:a", "aac"),
    ):
        source = probe(path, PrepareSettings())
        made, out = await combine(path, mode)
        assert made.duration == pytest.approx(source.duration, abs=1 / source.frame_rate), path.name
        assert len(listen(out)) == pytest.approx(source.duration * 48_000, abs=1500), path.name


async def test_sound_alone_stays_sound_alone(tmp_path: Path) -> None:
    made, out = await combine(make(tmp_path / "in.mp3", *tone()), "burn")
    assert [kind for kind, _, _ in streams(out)] == ["audio"]
    assert made.duration == pytest.approx(2.0, abs=0.1)


async def test_a_copy_that_fails_becomes_an_encoding(tmp_path: Path) -> None:
    path, report = clip(tmp_path / "in.wmv"), Report("job")
    claimed = replace(probe(path, PrepareSettings()), video_codec="h264", pixel_format="yuv420p")
    _, out = await combine(path, source=claimed, report=report)
    assert streams(out)[0][:2] == ("video", "h264")
    assert any("fallback" in line.message for line in report.lines())


async def test_what_a_gpu_fails_to_encode_is_encoded_by_the_processor(tmp_path: Path) -> None:
    report = Report("job")
    settings = SETTINGS.model_copy(update={"encoder": "h264_nvenc"})  # there is none here
    _, out = await combine(clip(tmp_path / "in.mp4"), "burn", settings=settings, report=report)
    assert [kind for kind, *_ in streams(out)] == ["video", "audio"]
    assert any("using the processor as fallback" in line.message for line in report.lines())


def test_the_encoder_is_tried_before_it_is_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_encoder("h264_nvenc") == "h264_nvenc"
    broken = tmp_path / "ffmpeg"
    for status, works in ((0, True), (1, False)):
        broken.write_text(f"#!/bin/sh\nexit {status}\n")
        broken.chmod(0o755)
        monkeypatch.setattr(ffmpeg, "binary", lambda: str(broken))
        mp4._nvenc_works.cache_clear()
        assert mp4._nvenc_works() is works
    monkeypatch.setattr(ffmpeg, "binary", lambda: "/nowhere/ffmpeg")
    mp4._nvenc_works.cache_clear()
    assert not mp4._nvenc_works()
    mp4._nvenc_works.cache_clear()


# -- level -------------------------------------------------------------------------------------------------------------


async def test_a_loud_target_is_limited(tmp_path: Path) -> None:
    bursts = "aevalsrc=if(lt(mod(t\\,0.5)\\,0.02)\\,0.95\\,0.05)*sin(2*PI*440*t):d=4:s=48000"
    path = make(tmp_path / "in.mp4", *picture(4.0), "-f", "lavfi", "-i", bursts, *X264, "-c:a", "aac")
    made, out = await combine(path, settings=SETTINGS.model_copy(update={"lufs": -12.0}))
    assert made.true_peak_db <= -1.0
    assert made.lufs == pytest.approx(-12.0, abs=1.0)
    sound = listen(out)
    onset = np.flatnonzero(np.abs(sound[round(0.45 * 48_000) :]) > 0.1)[0] / 48_000 + 0.45
    assert onset == pytest.approx(0.5, abs=0.005)


async def test_noise_that_aac_takes_away_is_made_up_for(tmp_path: Path) -> None:
    report = Report("job")
    noise = "anoisesrc=c=white:a=1:d=4:r=48000"
    path = make(tmp_path / "in.mp4", *picture(4.0), "-f", "lavfi", "-i", noise, *X264, "-c:a", "aac", "-b:a", "320k")
    made, _ = await combine(path, report=report)
    assert made.lufs == pytest.approx(-23.0, abs=1.0)
    assert any("The sound came out at -2" in line.message for line in report.lines())


async def test_edges_that_aac_makes_higher_are_written_lower(tmp_path: Path) -> None:
    report = Report("job")
    edges = "aevalsrc=if(lt(mod(t*220\\,1)\\,0.5)\\,0.95\\,-0.95):d=2:s=48000"
    path = make(tmp_path / "in.mp4", *picture(), "-f", "lavfi", "-i", edges, *X264, "-c:a", "aac", "-b:a", "320k")
    made, _ = await combine(path, report=report, dubbed=False)
    assert made.true_peak_db <= -1.0
    assert any("retrying" in line.message for line in report.lines())


async def test_what_is_too_quiet_is_told(tmp_path: Path) -> None:
    report = Report("job")
    path = make(tmp_path / "in.mp4", *picture(), *tone(), *X264, "-af", "volume=-45dB", "-c:a", "aac")
    made, _ = await combine(path, report=report, level=0.002)
    assert made.lufs < -24
    assert any("out of reach" in line.message for line in report.lines())


async def test_silence_has_no_loudness(tmp_path: Path) -> None:
    path = make(tmp_path / "in.mp4", *picture(), "-f", "lavfi", "-i", "anullsrc=d=2", "-shortest", *X264, "-c:a", "aac")
    made, _ = await combine(path, dubbed=False)
    assert made.lufs is None


# -- failures ----------------------------------------------------------------------------------------------------------


async def fails(path: Path, **options: object) -> str:
    with pytest.raises(StageFailed) as failure:
        await combine(path, **options)
    assert not list(path.parent.glob("*.part")) + list(path.parent.glob("out.mp4"))
    assert failure.value.stage == "video_combination"
    return str(failure.value)


async def test_another_length_is_a_failure(tmp_path: Path) -> None:
    path = clip(tmp_path / "in.mp4")
    claimed = replace(probe(path, PrepareSettings()), duration=1.5)
    assert "instead of 1.50 s" in await fails(path, source=claimed)


async def test_missing_pictures_are_a_failure(tmp_path: Path) -> None:
    path = clip(tmp_path / "in.mp4")
    claimed = replace(probe(path, PrepareSettings()), video_index=None, video_codec=None)
    real = probe(path, PrepareSettings())
    assert "lacks pictures" in await fails(path, source=replace(claimed, video_index=real.audio_index))


@pytest.mark.parametrize(
    ("found", "told"),
    [(Loudness(-10.0, -1.0), "-10.0 LUFS instead of -23.0"), (Loudness(), "came out silent instead of -23.0")],
)
async def test_another_loudness_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: Loudness, told: str
) -> None:
    async def measured(*args: object, **options: object) -> Loudness:
        return found

    monkeypatch.setattr(room, "measure", measured)
    assert told in await fails(clip(tmp_path / "in.mp4"))


async def test_an_output_that_cannot_be_read_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = clip(tmp_path / "in.mp4")
    source = probe(path, PrepareSettings())

    def blind(*args: object) -> Source:
        raise UnreadableMedia("damaged")

    monkeypatch.setattr(room, "probe", blind)
    assert "cannot be read back" in await fails(path, source=source)


async def test_a_full_disk_is_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        room, "command", lambda plan, out: ["-f", "lavfi", "-i", "sine=d=1", "-f", "wav", "file:/dev/full"]
    )
    with pytest.raises(OutOfSpace):
        await combine(clip(tmp_path / "in.mp4"))


async def test_cancelling_leaves_nothing(tmp_path: Path) -> None:
    path = clip(tmp_path / "in.mp4", 20.0)
    task = asyncio.create_task(combine(path, "burn"))
    await asyncio.sleep(0.5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not list(tmp_path.glob("**/*.part")) + list(tmp_path.glob("**/*.flac")) + list(tmp_path.glob("out.mp4"))


async def test_progress_reaches_its_end(tmp_path: Path) -> None:
    report = Report("job")
    await combine(clip(tmp_path / "in.mp4"), report=report)
    assert report.snapshot().percent == pytest.approx(10.0)
