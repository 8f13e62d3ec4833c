"""The door to ffmpeg: strange names, hard walls, and every way in which a run can end."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile

from models.errors import ArtifactMissing, OutOfSpace, StageFailed, Stalled
from serve_app.media import ffmpeg
from tests.data.media import clip, make, tone

WAV = "wav"


def children() -> list[psutil.Process]:
    """Children of ours that run ffmpeg; a test session may have others."""
    ours = [p for p in psutil.Process().children() if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
    return [p for p in ours if p.name().startswith("ffmpeg")]


@pytest.fixture
def beep(tmp_path: Path) -> Path:
    return make(tmp_path / "beep.wav", *tone(1.0))


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    """A file from which nothing ever comes."""
    os.mkfifo(tmp_path / "pipe.wav")
    return tmp_path / "pipe.wav"


def to_wav(path: Path, out: Path) -> list[str]:
    return [*ffmpeg.source(path, formats=WAV), "-f", "wav", ffmpeg.file_url(out)]


@pytest.mark.parametrize("name", ["-dash.wav", "it's.wav", "a:b%d 50%.wav", "影 片.wav", "[x],y;z.wav", "pipe:0"])
async def test_a_file_may_be_called_anything(tmp_path: Path, beep: Path, name: str) -> None:
    odd = beep.rename(tmp_path / name)
    await ffmpeg.run(to_wav(odd, tmp_path / "out.wav"), stage="mux", stall_s=10)
    assert soundfile.info(tmp_path / "out.wav").duration == pytest.approx(1.0)


async def test_progress_and_log_are_heard(tmp_path: Path, beep: Path) -> None:
    seen: list[float] = []
    lines: list[str] = []
    await ffmpeg.run(
        to_wav(beep, tmp_path / "o.wav"),
        stage="mux", stall_s=10, duration=1.0, on_progress=seen.append, on_log=lines.append, verbosity="verbose",
    )  # fmt: skip
    assert seen[-1] == pytest.approx(1.0, abs=0.05)
    assert any("frames decoded" in line for line in lines)


async def test_another_demuxer_than_the_named_one_is_refused(tmp_path: Path, beep: Path) -> None:
    args = [*ffmpeg.source(beep, formats="matroska,webm"), "-f", "null", "-"]
    with pytest.raises(StageFailed) as failure:
        await ffmpeg.run(args, stage="mux", stall_s=10)
    assert not failure.value.transient
    assert str(tmp_path) not in str(failure.value)


async def test_a_playlist_cannot_reach_another_file(tmp_path: Path, beep: Path) -> None:
    playlist = tmp_path / "innocent.wav"
    playlist.write_text(f"ffconcat version 1.0\nfile '{beep}'\n")
    with pytest.raises(StageFailed):
        await ffmpeg.run(to_wav(playlist, tmp_path / "o.wav"), stage="mux", stall_s=10)


async def test_a_full_disk_is_the_operators_error(beep: Path) -> None:
    args = [*ffmpeg.source(beep, formats=WAV), "-f", "wav", "file:/dev/full"]
    with pytest.raises(OutOfSpace):
        await ffmpeg.run(args, stage="mux", stall_s=10)


async def test_a_stall_ends_the_child(tmp_path: Path, pipe: Path) -> None:
    began = time.monotonic()
    with pytest.raises(StageFailed, match="no progress for") as failure:
        await ffmpeg.run(to_wav(pipe, tmp_path / "o.wav"), stage="audio_extraction", stall_s=0.5)
    assert failure.value.transient
    assert failure.value.stage == "audio_extraction"
    assert time.monotonic() - began < 30
    assert not children()


async def test_a_stopped_child_is_noticed_and_ended() -> None:
    endless = ["-f", "lavfi", "-re", "-i", "anullsrc=d=600", "-f", "null", "-"]
    task = asyncio.create_task(ffmpeg.run(endless, stage="video_combination", stall_s=1.5))
    while not (alive := children()):
        await asyncio.sleep(0.02)
    await asyncio.sleep(2.5)
    assert not task.done()  # slow as it is, it moves
    alive[0].send_signal(signal.SIGSTOP)
    with pytest.raises(Stalled, match=r"video_combination: .*no progress for 1.5 seconds"):
        await asyncio.wait_for(task, 10)
    assert not children()


async def test_cancelling_ends_the_child(tmp_path: Path, pipe: Path) -> None:
    task = asyncio.create_task(ffmpeg.run(to_wav(pipe, tmp_path / "o.wav"), stage="mux", stall_s=60))
    while not children():
        await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not children()


async def test_a_killed_child_may_be_tried_again(tmp_path: Path, pipe: Path) -> None:
    task = asyncio.create_task(ffmpeg.run(to_wav(pipe, tmp_path / "o.wav"), stage="mux", stall_s=60))
    while not (alive := children()):
        await asyncio.sleep(0.02)
    alive[0].send_signal(signal.SIGKILL)
    with pytest.raises(StageFailed) as failure:
        await task
    assert failure.value.transient


async def silence(blocks: int) -> AsyncGenerator[bytes, None]:
    for _ in range(blocks):
        yield bytes(4 * 48_000)


async def test_sound_can_be_fed(tmp_path: Path) -> None:
    args = ["-f", "f32le", "-ar", "48000", "-ac", "1", "-i", "pipe:0", "-f", "wav", ffmpeg.file_url(tmp_path / "o.wav")]
    await ffmpeg.run(args, stage="mux", stall_s=10, stdin=silence(3))
    assert soundfile.info(tmp_path / "o.wav").frames == 3 * 48_000


async def test_what_the_feeder_raises_comes_out(tmp_path: Path) -> None:
    async def broken() -> AsyncGenerator[bytes, None]:
        yield bytes(4000)
        raise StageFailed("tts", "no voice")

    args = ["-f", "f32le", "-i", "pipe:0", "-f", "wav", ffmpeg.file_url(tmp_path / "o.wav")]
    with pytest.raises(StageFailed, match="no voice"):
        await ffmpeg.run(args, stage="mux", stall_s=10, stdin=broken())
    assert not children()


async def test_a_child_that_leaves_early_is_judged_by_its_status(tmp_path: Path) -> None:
    args = ["-f", "f32le", "-i", "pipe:0", "-f", "no-such-format", ffmpeg.file_url(tmp_path / "o")]
    with pytest.raises(StageFailed, match="may be damaged"):
        await ffmpeg.run(args, stage="mux", stall_s=10, stdin=silence(100))


async def test_pcm_gives_chunks(beep: Path) -> None:
    args = ffmpeg.source(beep, formats=WAV)
    chunks = [c async for c in ffmpeg.pcm(args, stage="mux", stall_s=10, rate=16_000, channels=2, chunk_s=0.3)]
    assert [chunk.shape for chunk in chunks] == [(4800, 2)] * 3 + [(1600, 2)]
    sound = np.concatenate(chunks)
    assert np.argmax(np.abs(np.fft.rfft(sound[:, 0]))) == 440
    assert sound.dtype == np.float32


async def test_closing_pcm_early_ends_the_child(tmp_path: Path) -> None:
    long = make(tmp_path / "long.wav", *tone(60.0))
    stream = ffmpeg.pcm(ffmpeg.source(long, formats=WAV), stage="mux", stall_s=10, rate=48_000, channels=2)
    async with contextlib.aclosing(stream) as chunks:
        async for _ in chunks:
            assert children()
            break
    assert not children()


async def decode(path: Path, stall_s: float) -> list[ffmpeg.Samples]:
    args = ffmpeg.source(path, formats=WAV)
    return [chunk async for chunk in ffmpeg.pcm(args, stage="mux", stall_s=stall_s, rate=8000, channels=1)]


async def test_pcm_stalls_and_fails_like_run(tmp_path: Path, pipe: Path) -> None:
    with pytest.raises(StageFailed, match="no progress"):
        await decode(pipe, 0.3)
    with pytest.raises(StageFailed, match="may be damaged"):
        await decode(clip(tmp_path / "film.mkv", 0.5), 5)
    assert not children()


def test_a_draft_becomes_the_file_or_nothing(tmp_path: Path) -> None:
    out = tmp_path / "o.txt"
    with pytest.raises(RuntimeError), ffmpeg.whole(out) as draft:
        draft.write_text("half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with ffmpeg.whole(out) as draft:
        draft.write_text("all")
    assert [p.name for p in tmp_path.iterdir()] == ["o.txt"]
    assert out.read_text() == "all"


def test_the_environment_may_name_another_binary(monkeypatch: pytest.MonkeyPatch) -> None:
    ffmpeg.binary.cache_clear()
    monkeypatch.setenv("FFMPEG", "/opt/ffmpeg")
    assert ffmpeg.binary() == "/opt/ffmpeg"
    ffmpeg.binary.cache_clear()
    monkeypatch.delenv("FFMPEG")
    assert "imageio" in ffmpeg.binary()


@pytest.mark.parametrize("mode", [None, 0o644])
async def test_one_that_cannot_be_run_is_no_fault_of_the_film(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int | None
) -> None:
    program = tmp_path / "ffmpeg"
    if mode is not None:
        program.write_text("#!/bin/sh\n")
        program.chmod(mode)
    monkeypatch.setattr(ffmpeg, "binary", lambda: str(program))
    with pytest.raises(ArtifactMissing, match="dubserve doctor"):
        await ffmpeg.run(["-f", "null", "-"], stage="mux", stall_s=5)


def test_a_killed_parent_takes_its_ffmpeg_with_it(tmp_path: Path) -> None:
    script = """
import asyncio, sys
from serve_app.media import ffmpeg
args = ["-f", "lavfi", "-re", "-i", "anullsrc=d=600", "-f", "null", "-"]
asyncio.run(ffmpeg.run(args, stage="tts", stall_s=600))
"""
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=Path(__file__).parents[2])
    try:
        deadline = time.monotonic() + 30
        while not (children := psutil.Process(parent.pid).children()) and time.monotonic() < deadline:
            time.sleep(0.05)
        [child] = children
    finally:
        parent.kill()
        parent.wait()
    psutil.wait_procs([child], timeout=5)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
