"""Previews of parts: what of the film is in them, looked at and listened to; and no job depends on them."""

import asyncio
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.app import AppSettings
from configs.pipeline import MuxSettings, PipelineSettings, PrepareSettings, PreviewSettings, SubtitleStyle
from models.errors import StageFailed
from models.segment import Segment, Span
from serve_app import dubbing
from serve_app.cues import Cue
from serve_app.excerpts import Excerpts, excerpts
from serve_app.jobs.report import Report
from serve_app.jobs.workspace import Workspace
from serve_app.media import ffmpeg
from serve_app.media.ass import Look
from serve_app.media.music import Piece
from serve_app.media.probe import probe
from serve_app.stages.mux import Mixed, mux
from tests.data.media import X264, clip, make, tone
from tests.unit.test_mux import dub, frame_at, listen, streams, strength
from tests.unit.test_pipeline import ECHO, Bench

ROOMS = PipelineSettings(preview=PreviewSettings(segment_s=5.0, segment_height=96), mux=MuxSettings(encoder="libx264"))


def bench(folder: Path, film: Path, rooms: PipelineSettings = ROOMS) -> Excerpts:
    """Two windows; a tone of 1 kHz is dubbed at 7.0–7.8 s, with a subtitle from 6.5 to 8 s."""
    source = probe(film, PrepareSettings())
    look = Look(SubtitleStyle(size=20.0), source.width, source.height)
    return Excerpts(
        source=source,
        windows=[Span(0.0, 4.0), Span(6.0, 9.0)],
        rooms=rooms,
        mode="burn",
        look=look,
        workspace=Workspace(folder, "job"),
        scratch=folder / "scratch",
        report=Report("job"),
        cues=lambda segments: [Cue(6.5, 8.0, ("HHHH",))] if segments else [],
        replaced=lambda segments: segments,
        music=no_music,
    )


async def no_music(segments: list[Segment]) -> list[Piece]:
    return []


def spoken(folder: Path) -> dict[int, list[Segment]]:
    return {0: [], 1: [Segment(1001, 7.0, 7.8, "a", place=7.0, spoken=0.8, tempo=1.0, dub=dub(folder))]}


async def all_of(made: Excerpts, done: dict[int, list[Segment]], count: int) -> Path:
    """The folder of the previews, once there are so many."""
    async with made:
        made.add(done)
        async with asyncio.timeout(60):
            while len(made.report.snapshot().preview_ids) < count and not made.report.lines():
                await asyncio.sleep(0.02)
    return made.workspace.folder / "previews"


async def test_each_is_a_true_cut_of_the_film(tmp_path: Path) -> None:
    film = clip(tmp_path / "in.mp4", 12.5)
    made = bench(tmp_path, film)
    folder = await all_of(made, spoken(tmp_path), 3)
    assert made.report.snapshot().preview_ids == ("seg_001", "seg_002", "seg_003")
    found = [probe(folder / f"seg_{n:03}.mp4", PrepareSettings()) for n in (1, 2, 3)]
    assert [one.duration for one in found] == pytest.approx([5.0, 5.0, 2.5], abs=0.041)
    assert [(one.width, one.height, one.video_codec) for one in found] == [(128, 96, "h264")] * 3

    before, sound, after = (listen(folder / f"seg_{n:03}.mp4") for n in (1, 2, 3))
    assert strength(before, 440, 1.0, 4.0) > 0.05 and strength(after, 440, 0.5, 2.0) > 0.05
    assert strength(sound, 1000, 2.05, 2.75) > 0.05 and strength(sound, 440, 2.05, 2.75) < 0.003
    assert strength(sound, 1000, 3.1, 4.9) < 0.002 and strength(sound, 440, 3.1, 4.9) > 0.05
    assert strength(sound, 1000, 1.9, 1.98) < 0.01 and strength(sound, 1000, 2.02, 2.1) > 0.05


async def test_the_picture_is_that_of_its_moment(tmp_path: Path) -> None:
    """The picture grows lighter by one step with each frame, so that its light tells its time."""
    light = "nullsrc=s=160x120:r=5:d=10,geq=lum='16+4*N':cb=128:cr=128"
    film = make(tmp_path / "in.mp4", "-f", "lavfi", "-i", light, *tone(10.0), *X264, "-crf", "5", "-c:a", "aac")
    folder = await all_of(bench(tmp_path, film), spoken(tmp_path), 2)
    for second in (0.0, 1.0, 2.0, 4.0):
        shown, of_film = (frame_at(path, at) for path, at in ((folder / "seg_002.mp4", second), (film, 5.0 + second)))
        assert float(shown[:48].mean()) == pytest.approx(float(of_film[:60].mean()), abs=2.0), second
    before, during = frame_at(folder / "seg_002.mp4", 1.0), frame_at(folder / "seg_002.mp4", 2.0)
    assert np.ptp(during[60:]) > 60 and np.ptp(before[60:]) < 15


async def test_nothing_is_shown_before_it_is_dubbed(tmp_path: Path) -> None:
    made = bench(tmp_path, clip(tmp_path / "in.mp4", 12.0))
    done = spoken(tmp_path)
    folder = await all_of(made, {0: []}, 1)  # the first window ends before 5 s, the next one begins behind that
    assert sorted(path.name for path in folder.glob("*.mp4")) == ["seg_001.mp4"]
    made = bench(tmp_path, tmp_path / "in.mp4")
    async with made:
        made.add({1: done[1]})  # behind a gap
        await asyncio.sleep(0)
        assert made.report.snapshot().preview_ids == ()


async def test_of_a_film_that_is_written_soon_none_is_begun_once_it_is_dubbed(tmp_path: Path) -> None:
    made, done = replace(bench(tmp_path, clip(tmp_path / "in.mp4", 12.5)), soon=True), spoken(tmp_path)
    async with made:
        made.add({0: []})
        async with asyncio.timeout(60):
            while not made.report.snapshot().preview_ids:
                await asyncio.sleep(0.02)
        made.add({0: [], **done})
        assert made._task is not None
        await asyncio.wait_for(asyncio.shield(made._task), 60)  # nothing more is waited for, and nothing made
    assert made.report.snapshot().preview_ids == ("seg_001",)


async def test_but_what_an_earlier_run_has_made_of_it_is_shown_again(tmp_path: Path) -> None:
    film, done = clip(tmp_path / "in.mp4", 12.5), spoken(tmp_path)
    folder = await all_of(bench(tmp_path, film), done, 2)
    kept = sorted(path.name for path in folder.glob("*.mp4"))[:2]
    (folder / "seg_003.mp4").unlink(missing_ok=True)
    again = replace(bench(tmp_path, film), soon=True)
    async with again:
        again.add(done)
        assert again._task is not None
        await asyncio.wait_for(asyncio.shield(again._task), 60)
    assert again.report.snapshot().preview_ids == ("seg_001", "seg_002")
    assert sorted(path.name for path in folder.glob("*.mp4")) == kept


async def test_what_was_made_is_kept_and_made_again_where_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film, runs = clip(tmp_path / "in.mp4", 10.0), []
    real = ffmpeg.run

    async def counted(*args: object, **options: object) -> None:
        runs.append(1)
        await real(*args, **options)

    monkeypatch.setattr(ffmpeg, "run", counted)
    done = spoken(tmp_path)
    await all_of(bench(tmp_path, film), done, 2)
    await all_of(bench(tmp_path, film), done, 2)
    assert len(runs) == 2
    moved = {0: [], 1: [replace(done[1][0], place=7.1)]}
    await all_of(bench(tmp_path, film), moved, 2)
    assert len(runs) == 3


async def test_sound_alone_is_cut_too(tmp_path: Path) -> None:
    made = bench(tmp_path, make(tmp_path / "in.mp3", *tone(10.0)))
    folder = await all_of(made, spoken(tmp_path), 2)
    assert [kind for kind, _, _ in streams(folder / "seg_002.mp4")] == ["audio"]
    assert strength(listen(folder / "seg_002.mp4"), 1000, 2.05, 2.75) > 0.05


async def test_a_failure_is_told_and_harms_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*args: object, **options: object) -> None:
        raise StageFailed("video_combination", "no")

    monkeypatch.setattr(ffmpeg, "run", broken)
    made = bench(tmp_path, clip(tmp_path / "in.mp4", 10.0))
    await all_of(made, spoken(tmp_path), 2)
    [line] = made.report.lines()
    assert line.level == "warning" and "no previews of parts after the first 0" in line.message
    assert not list(tmp_path.rglob("seg_*"))


async def test_one_under_way_ends_with_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = []

    async def endless(*args: object, **options: object) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(1)

    monkeypatch.setattr(ffmpeg, "run", endless)
    made = bench(tmp_path, clip(tmp_path / "in.mp4", 10.0))
    async with made:
        made.add(spoken(tmp_path))
        while not list(tmp_path.rglob("excerpt.ass")):
            await asyncio.sleep(0.01)
    assert not list(tmp_path.rglob("*.part")) and len(ended) <= 1


async def test_a_job_shows_them_while_it_runs(
    tmp_path: Path, short_talk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = Bench(tmp_path, short_talk)
    job.request = replace(job.request, subtitles="burn")
    seen: list[tuple[str, ...]] = []

    async def waiting(*args: object, **options: object) -> Mixed:
        async with asyncio.timeout(120):
            while len(job.report.snapshot().preview_ids) < 2:
                await asyncio.sleep(0.02)
        seen.append(job.report.snapshot().preview_ids)
        return await mux(*args, **options)

    monkeypatch.setattr(dubbing, "mux", waiting)
    pipeline = {**ECHO["pipeline"], "preview": {"segment_s": 5.0, "short_s": 0.0, "enabled": False}}
    await job.run(AppSettings.model_validate({**ECHO, "pipeline": pipeline}))
    assert seen == [("seg_001", "seg_002")]
    folder = tmp_path / "work" / "job" / "previews"
    lasting = [probe(folder / f"seg_00{n}.mp4", PrepareSettings()).duration for n in (1, 2)]
    assert sum(lasting) == pytest.approx(probe(short_talk, PrepareSettings()).duration, abs=0.09)


@given(st.floats(1.0, 40_000.0), st.integers(0, 200))
def test_they_cover_the_film_from_its_beginning_as_far_as_is_allowed(duration: float, most: int) -> None:
    rules = PreviewSettings(most_segments=most)
    made = list(excerpts(duration, rules))
    assert len(made) <= most
    assert all(one.end == two.start for one, two in pairwise(made))
    assert all(1.0 <= one.end - one.start <= 31.0 and one.end <= duration for one in made)
    if duration >= 60 and most:
        assert made[0].start == 0.0 and (len(made) == most or made[-1].end == duration)
    assert not list(excerpts(duration, PreviewSettings(segments=False)))
    assert duration >= 60 or not made
