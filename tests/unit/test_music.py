"""Music under the dub, listened to: it stays where the voice goes, nothing clicks, and no job depends on it."""

import asyncio
import dataclasses
import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from configs.app import AppSettings
from configs.engines import SeparationSettings
from configs.pipeline import MuxSettings, PipelineSettings, PrepareSettings
from models.echo import EchoSeparator
from models.errors import StageFailed
from models.segment import SEPARATION_RATE, Segment, Span, Stereo
from serve_app.accompaniment import PATIENCE, Accompaniment
from serve_app.jobs.report import Report
from serve_app.jobs.workspace import Workspace
from serve_app.local import in_thread
from serve_app.media import ffmpeg, music
from serve_app.media.mix import HEADROOM, mixed
from serve_app.media.music import PIECE_S, RAMP_S, Music, Piece
from serve_app.media.probe import probe
from tests.data.media import CODECS, make
from tests.unit.test_pipeline import ECHO, Bench
from tests.unit.test_stall import never

RATE = 48_000
VOICE_HZ, MUSIC_HZ = 300, 1000
LOUD, SOFT = 0.3, 0.1  # the voice and the music
SHARE = 0.3


def film(path: Path, seconds: float, voice: str = "between(t,3,4.5)+between(t,8,13)") -> Path:
    """A voice in the middle from time to time, and music at the sides all the time."""
    spoken = f"{LOUD}*({voice})*sin(2*PI*{VOICE_HZ}*t)"
    sides = [f"{spoken}{sign}{SOFT}*sin(2*PI*{MUSIC_HZ}*t)" for sign in "+-"]
    sound = f"aevalsrc='{'|'.join(sides)}':d={seconds}:s={RATE}"
    picture = ("-f", "lavfi", "-i", f"testsrc=size=160x120:rate=25:duration={seconds}")
    return make(path, *picture, "-f", "lavfi", "-i", sound, *CODECS[path.suffix[1:]])


def accompany(folder: Path, path: Path, engine: Callable[[list[Stereo]], list[Stereo]] | None = None) -> Accompaniment:
    separate = in_thread(engine or EchoSeparator(SeparationSettings()).separate)
    source, report = probe(path, PrepareSettings()), Report("job")
    return Accompaniment(separate, source, "engine", PipelineSettings(), Workspace(folder, "job"), report)


async def mix(made: Accompaniment, segments: list[Segment]) -> np.ndarray:
    """The film's mix (samples, 2) at its own level."""
    blocks = mixed(
        made.source, segments, rate=RATE, fade_s=0.12, stage="mux", stall_s=10,
        music=await made.under(segments), share=made.rooms.mux.music,
    )  # fmt: skip
    return np.frombuffer(b"".join([block async for block in blocks]), np.float32).reshape(-1, 2) / HEADROOM


def level(sound: np.ndarray, hertz: float, start: float, end: float) -> float:
    """Amplitude of a tone in one channel."""
    part = sound[round(start * RATE) : round(end * RATE)]
    wave = np.exp(-2j * np.pi * hertz * np.arange(len(part)) / RATE)
    return float(2 * np.abs(np.mean(part * wave * np.hanning(len(part)) * 2)))


def sides(path: Path) -> np.ndarray:
    """What the channels of a film do not share (samples,)."""
    sound = soundfile.read(make(path.with_suffix(".wav"), "-i", str(path)))[0]
    return (sound[:, 0] - sound[:, 1]) / 2


def decibels(ratio: float) -> float:
    return 20 * np.log10(max(ratio, 1e-9))


SPOKEN = [Segment(1, 3.0, 4.5, "a"), Segment(2, 8.0, 13.0, "b")]


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "webm", "avi"])
async def test_music_stays_at_its_share_and_the_voice_is_gone(tmp_path: Path, suffix: str) -> None:
    made = accompany(tmp_path, film(tmp_path / f"film.{suffix}", 25))
    out = await mix(made, SPOKEN)
    plain = await mix(dataclasses.replace(made, separate=None), [])
    left = out[:, 0]
    for start, end in ((3.0, 4.5), (8.0, 9.4), (9.3, 10.2), (10.0, 13.0)):  # within a piece, and where two of them meet
        assert decibels(level(left, MUSIC_HZ, start, end) / SOFT) == pytest.approx(decibels(SHARE), abs=1)
        assert decibels(level(left, VOICE_HZ, start, end) / LOUD) < -40
    for start, end in ((0.0, 2.87), (4.63, 7.87), (13.13, 24.9)):
        assert out[round(start * RATE) : round(end * RATE)] == pytest.approx(
            plain[round(start * RATE) : round(end * RATE)], abs=1e-6
        )
    steepest = 2 * np.pi / RATE * (LOUD * VOICE_HZ + SOFT * MUSIC_HZ)  # of the film itself
    assert np.abs(np.diff(left[round(0.1 * RATE) : round(24.9 * RATE)])).max() < 1.15 * steepest


async def test_music_lies_where_it_was(tmp_path: Path) -> None:
    """To the sample: it is faded into from the original, and would cancel it if it came late."""
    made = accompany(tmp_path, film(tmp_path / "film.mkv", 25))
    under = (await mix(made, SPOKEN))[:, 0]
    for start, end in ((3.1, 4.4), (8.1, 12.9)):
        time = np.arange(round(start * RATE), round(end * RATE)) / RATE
        expected = SHARE * SOFT * np.sin(2 * np.pi * MUSIC_HZ * time)
        assert np.corrcoef(under[round(start * RATE) : round(end * RATE)], expected)[0, 1] > 0.98
        assert under[round(start * RATE) : round(end * RATE)] @ expected / (expected @ expected) == pytest.approx(
            1, abs=0.05
        )


async def test_only_what_is_dubbed_is_taken_apart_and_once(tmp_path: Path) -> None:
    asked = []

    def engine(sounds: list[Stereo]) -> list[Stereo]:
        asked.extend(sound.shape for sound in sounds)
        return EchoSeparator(SeparationSettings()).separate(sounds)

    path = film(tmp_path / "film.mkv", 45, voice="between(t,3,4)+between(t,33,34)")
    made = accompany(tmp_path, path, engine)
    segments = [Segment(1, 3.0, 4.0, "a"), Segment(2, 33.0, 34.0, "b")]
    pieces = await made.under(segments)
    assert [piece.start for piece in pieces] == [-RAMP_S, 30 - RAMP_S]
    assert asked == [(2, round(12.5 * SEPARATION_RATE))] * 2
    assert await asyncio.gather(*(made.under(segments) for _ in range(3))) == [pieces] * 3
    assert await accompany(tmp_path, path, engine).under(segments) == pieces  # another attempt finds them
    assert len(asked) == 2

    whole = Path(pieces[1].path).read_bytes()
    Path(pieces[1].path).write_bytes(whole[:-100])
    assert await accompany(tmp_path, path, engine).under(segments) == pieces
    assert len(asked) == 3 and Path(pieces[1].path).read_bytes() == whole


async def test_without_an_engine_or_a_share_nothing_is_made(tmp_path: Path) -> None:
    made = accompany(tmp_path, film(tmp_path / "film.mkv", 6))
    silent = dataclasses.replace(made, rooms=PipelineSettings(mux=MuxSettings(music=0.0)))
    assert await silent.under(SPOKEN) == []
    assert await dataclasses.replace(made, separate=None).under(SPOKEN) == []
    assert not (tmp_path / "job").exists()


async def test_a_piece_that_fails_is_ducked_and_the_music_comes_and_goes_without_a_click(tmp_path: Path) -> None:
    calls = []

    def engine(sounds: list[Stereo]) -> list[Stereo]:
        calls.append(len(sounds))
        if len(calls) == 2:
            raise ZeroDivisionError("a secret of the engine")
        return EchoSeparator(SeparationSettings()).separate(sounds)

    made = accompany(tmp_path, film(tmp_path / "film.mkv", 31, voice="between(t,1,29)"), engine)
    left = (await mix(made, [Segment(1, 1.0, 29.0, "a")]))[:, 0]
    levels = [level(left, MUSIC_HZ, *span) / SOFT for span in ((2, 9), (11, 19), (21, 28))]
    assert decibels(levels[0]) == pytest.approx(decibels(SHARE), abs=1)
    assert decibels(levels[2]) == pytest.approx(decibels(SHARE), abs=1)
    assert decibels(levels[1]) < -30
    assert np.abs(np.diff(left[RATE : 29 * RATE])).max() < 2 * np.pi / RATE * SOFT * MUSIC_HZ
    [line] = made.report.lines()
    assert line.level == "warning" and "no music from 10 to 20 s: the engine is out of order" in line.message
    assert "secret" not in line.message


@pytest.mark.parametrize("made", [np.zeros((2, 7)), None, np.full((2, round(12.5 * SEPARATION_RATE)), np.nan)])
async def test_an_engine_that_gives_no_sound_is_given_up(tmp_path: Path, made: np.ndarray | None) -> None:
    asked = []

    def engine(sounds: list[Stereo]) -> list[Stereo]:
        asked.extend(sounds)
        return [made]  # type: ignore[list-item]

    music = accompany(tmp_path, film(tmp_path / "film.mkv", 6), engine)
    assert await music.under([Segment(1, 1.0, 99.0, "a")]) == []
    assert len(asked) == len(music.report.lines()) == PATIENCE
    assert "nor where it is missing later" in music.report.lines()[-1].message


def test_pieces_add_up_to_what_they_were_cut_from(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    sound = rng.uniform(-0.9, 0.9, (2, 33 * RATE)).astype(np.float32)
    pieces = []
    for number in range(3):
        span = music.covered(number)
        first = round(span.start * RATE)
        part = sound[:, max(0, first) : round(span.end * RATE)]
        part = np.pad(part, ((0, 0), (max(0, -first), 0)))
        path = tmp_path / f"{number}.flac"
        soundfile.write(path, music.HEADROOM * part.T, RATE, subtype="PCM_16")
        pieces.append(Piece(str(path), span.start, ""))
    stream = Music(pieces[::-1], RATE)
    chunk = 7 * RATE // 5
    taken = [stream.take(at, chunk) for at in range(0, 29 * RATE, chunk)]
    whole, there = (np.concatenate(parts)[: 29 * RATE] for parts in zip(*taken, strict=True))
    assert whole == pytest.approx(sound[:, : 29 * RATE].T, abs=1e-4)
    assert there == pytest.approx(1.0, abs=1e-5)
    assert len(stream._playing) == 1


def test_the_grid_has_every_moment_of_a_span() -> None:
    assert music.numbers([]) == []
    assert music.numbers([Span(-0.1, 0.5)]) == [0]
    assert music.numbers([Span(9.0, 9.4)]) == [0]
    assert music.numbers([Span(9.0, 9.7), Span(41.0, 44.0)]) == [0, 1, 4]  # the second one is being faded into
    for one, two in pairwise(map(music.covered, range(5))):
        assert one.end - two.start == RAMP_S and two.end - one.end == PIECE_S
    assert music.covered(0).start == -RAMP_S


# -- the whole line ----------------------------------------------------------------------------------------------------

ENGINES = {**ECHO["engines"], "separation": {"engine": "echo"}}
WITH_MUSIC = AppSettings.model_validate({**ECHO, "engines": ENGINES})


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    made = Bench(tmp_path, film(tmp_path / "film.mp4", 24, voice="between(t,3,5)+between(t,8,13)"))
    separate = made.counted("separate", in_thread(EchoSeparator(SeparationSettings()).separate))
    made.models = dataclasses.replace(made.models, separate=separate)
    return made


def output(bench: Bench) -> np.ndarray:
    """The side of the film that was made (samples,): where its music is, and no voice."""
    return sides(bench.folder / "job_translated.mp4")


async def test_a_job_keeps_its_music_once_for_all_languages_and_edits(bench: Bench) -> None:
    bench.request = dataclasses.replace(bench.request, also=("fr",))
    await bench.run(WITH_MUSIC)
    side = output(bench)
    share = level(side, MUSIC_HZ, 8.5, 12.5) / level(side, MUSIC_HZ, 16, 23)
    assert decibels(share) == pytest.approx(decibels(SHARE), abs=1)
    assert bench.calls["separate"] == 2
    told = [line.message for line in bench.report.lines() if "music stays" in line.message]
    assert len(told) == 1 and "at 30 % of its level, in 2 pieces" in told[0]
    report = json.loads((bench.folder / "job_report.json").read_text())
    assert report["stage_seconds"]["video_combination"] > 0
    await bench.run(WITH_MUSIC)
    assert bench.calls["separate"] == 0

    louder = {**ECHO["pipeline"], "mux": {"x264_preset": "ultrafast", "music": 0.6}}
    await bench.run(AppSettings.model_validate({**ECHO, "engines": ENGINES, "pipeline": louder}))
    side = output(bench)
    share = level(side, MUSIC_HZ, 8.5, 12.5) / level(side, MUSIC_HZ, 16, 23)
    assert decibels(share) == pytest.approx(decibels(0.6), abs=1)
    assert bench.calls["separate"] == 0


async def test_a_job_whose_engine_fails_is_ducked_with_a_warning(bench: Bench) -> None:
    async def broken(sound: Stereo) -> Stereo:
        raise StageFailed("video_combination", "the GPU is gone")

    await bench.run(WITH_MUSIC, dataclasses.replace(bench.models, separate=broken))
    side = output(bench)
    assert decibels(level(side, MUSIC_HZ, 8.5, 12.5) / level(side, MUSIC_HZ, 16, 23)) < -30
    report = json.loads((bench.folder / "job_report.json").read_text())
    assert any("no music from 0 to 10 s: video_combination: the GPU" in line["message"] for line in report["log"])
    await bench.run(WITH_MUSIC)  # the next attempt asks again
    side = output(bench)
    assert decibels(level(side, MUSIC_HZ, 8.5, 12.5) / level(side, MUSIC_HZ, 16, 23)) > -12


async def test_an_engine_that_never_answers_is_noticed_and_costs_the_music_only(bench: Bench) -> None:
    pipeline = {**ECHO["pipeline"], "engine_stall_s": 0.5}
    settings = AppSettings.model_validate({**ECHO, "engines": ENGINES, "pipeline": pipeline})
    await bench.run(settings, dataclasses.replace(bench.models, separate=never))
    told = [line.message for line in bench.report.lines() if "no music" in line.message]
    assert len(told) == 1 and "no answer for 0.5 s" in told[0]


async def test_cancelling_does_not_wait_for_the_engine(bench: Bench) -> None:
    asked = asyncio.Event()

    async def slow(sound: Stereo) -> Stereo:
        asked.set()
        return await never(sound)

    job = asyncio.create_task(bench.run(WITH_MUSIC, dataclasses.replace(bench.models, separate=slow)))
    async with asyncio.timeout(30):
        await asked.wait()
    job.cancel()
    async with asyncio.timeout(5):
        with pytest.raises(asyncio.CancelledError):
            await job
    assert not list(bench.folder.glob("work/job/music/*.flac"))
    assert ffmpeg._brood.get() == []
