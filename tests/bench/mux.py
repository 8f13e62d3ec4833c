"""What the picture and its sound cost: `nice python -m tests.bench.mux`, a table and a line of JSON.

Times are told in film seconds a second of wall time, each on the whole machine; one that others use tells less.

  sync          clips are placed and stretched
  mix           the original, ducked, with the dub on top, written and measured
  soft, burnt   the film is written: pictures copied, or encoded with subtitles in them; `mux` is all of the room
  excerpts      previews of half a minute, one after the other
  memory        peak of the whole line with echo engines, all processes together (PSS), long film against short one

The film is the demo's, at 1280 × 720, over and over. That of the memory figures is small and has speech once a minute,
so that three hours of it do not take three hours; what grows with the number of sentences is therefore seen less.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import soundfile

from configs.app import AppSettings
from configs.pipeline import PipelineSettings, PrepareSettings, Subtitles, SubtitleStyle
from models.segment import Segment, Span
from serve_app.attempt import dub
from serve_app.cues import Cue
from serve_app.excerpts import Excerpts, excerpts
from serve_app.jobs.job import Request
from serve_app.jobs.report import Report
from serve_app.jobs.workspace import Workspace, artifacts
from serve_app.local import models
from serve_app.media import ffmpeg
from serve_app.media.ass import Look
from serve_app.media.music import Piece
from serve_app.media.probe import Source, probe
from serve_app.stages.mux import Dub, mux
from serve_app.stages.subtitle import write
from serve_app.stages.sync import sync
from tests.bench.memory import pss, tree
from tests.data.media import X264, make

TALK = Path(__file__).parents[1] / "data" / "talk.mp4"
ROOMS = PipelineSettings()
EVERY_S, SPOKEN_S = 6.0, 4.4
ECHO = {
    "engines": {
        "vad": {"engine": "echo"},
        "asr": {"engine": "echo"},
        "translation": {"engine": "echo"},
        "tts": {"engines": ["echo"]},
    },
    "pipeline": {"mux": {"subtitles": "soft"}, "preview": {"segments": False}},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300.0, help="of the film that times are taken on")
    parser.add_argument("--short", type=float, default=600.0, help="of the short film for memory; 0: leave it out")
    parser.add_argument("--long", type=float, default=3 * 3600.0)
    parser.add_argument("--line", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.line:
        asyncio.run(whole_line(Path(asked.line)))
        return
    told: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        if asked.seconds:
            told |= asyncio.run(speeds(Path(folder), asked.seconds))
        if asked.short:
            told |= memory(Path(folder), asked.short, asked.long)
    for name, value in told.items():
        print(f"{name:28} {value:10.2f}")
    print(json.dumps({**vars(asked), **told}))


# -- speed -------------------------------------------------------------------------------------------------------------


async def speeds(folder: Path, seconds: float) -> dict[str, float]:
    film = make(
        folder / "film.mp4", "-stream_loop", "-1", "-i", ffmpeg.file_url(TALK), "-t", str(seconds), "-vf",
        "scale=1280:720", *X264, "-crf", "26", "-c:a", "aac", "-ar", "48000", "-ac", "2",
    )  # fmt: skip
    source = probe(film, PrepareSettings())
    said = spoken(folder, source.duration)
    runs: list[float] = []
    watch_ffmpeg(runs)
    told = {"sync": source.duration / await timed(lambda: placed(said, source, folder))}
    for mode in ("soft", "burn"):
        runs.clear()
        total = await timed(lambda mode=mode: written(source, said, folder, mode))  # type: ignore[misc]
        mix, last = runs[0], runs[-2]  # the last one measures what was written
        name = "burnt" if mode == "burn" else mode
        told |= {"mix": source.duration / mix, name: source.duration / last, f"mux_{name}": source.duration / total}
    runs.clear()
    await previews(source, said, folder)
    return told | {"excerpts": source.duration / sum(runs), "excerpt_s": sum(runs) / len(runs)}


def spoken(folder: Path, duration: float) -> list[Segment]:
    """A sentence every six seconds, each with a clip of its own."""
    rng, said = np.random.default_rng(1), []
    for number in range(int(duration / EVERY_S)):
        clip = folder / f"{number}.wav"
        soundfile.write(clip, 0.1 * rng.standard_normal(round(SPOKEN_S * 22_050)).astype(np.float32), 22_050)
        start = number * EVERY_S + 0.5
        said.append(
            Segment(
                number, start, start + 4.0, "What is said here, and for about four seconds.",
                translation="Lo que se dice aquí, durante unos cuatro segundos.", place=start, spoken=SPOKEN_S,
                tempo=1.0, speech=str(clip), dub=str(clip),
            )
        )  # fmt: skip
    return said


def watch_ffmpeg(runs: list[float]) -> None:
    """Notes how long each run takes, in this process."""
    real = ffmpeg.run

    async def watched(*args: Any, **options: Any) -> None:
        began = time.perf_counter()
        await real(*args, **options)
        runs.append(time.perf_counter() - began)

    ffmpeg.run = watched


async def timed(work: Callable[[], Awaitable[object]]) -> float:
    began = time.perf_counter()
    await work()
    return time.perf_counter() - began


async def placed(said: list[Segment], source: Source, folder: Path) -> None:
    (folder / "clips").mkdir()
    span = Span(0.0, source.duration)
    await sync(said, window=span, folder=folder / "clips", settings=ROOMS.sync, report=Report("bench"))


async def written(source: Source, said: list[Segment], folder: Path, mode: Subtitles) -> None:
    cues = [Cue(s.start, s.end, (str(s.translation),)) for s in said]
    write(cues, folder / "x.srt", Look(SubtitleStyle(), source.width, source.height, "es"))
    shown = folder / ("x.ass" if mode == "burn" else "x.srt")
    out, work = folder / "out.mp4", folder / "work"
    await mux(Dub(source, said, shown, mode, "es"), out, work, ROOMS.mux, ROOMS.stall_s, Report("bench"))


async def previews(source: Source, said: list[Segment], folder: Path) -> None:
    made = Excerpts(
        source=source,
        windows=[],
        rooms=ROOMS,
        mode="burn",
        look=Look(SubtitleStyle(), source.width, source.height, "es"),
        workspace=Workspace(folder, "excerpts"),
        scratch=folder / "scratch",
        report=Report("bench"),
        cues=lambda segments: [Cue(s.start, s.end, (str(s.translation),)) for s in segments],
        replaced=lambda segments: segments,
        music=no_music,
    )
    wanted = list(excerpts(source.duration, ROOMS.preview))
    async with made:
        made.add({0: said})
        while len(made.report.snapshot().preview_ids) < len(wanted) and not made.report.lines():
            await asyncio.sleep(0.1)


async def no_music(segments: list[Segment]) -> list[Piece]:
    return []


# -- memory ------------------------------------------------------------------------------------------------------------


def memory(folder: Path, short: float, long: float) -> dict[str, float]:
    peaks = [peak(sparse(folder, seconds)) / 1e6 for seconds in (short, long)]
    return {"peak_mb_short": peaks[0], "peak_mb_long": peaks[1], "memory_ratio": peaks[1] / peaks[0]}


def sparse(folder: Path, seconds: float) -> Path:
    """A film of any length with one sentence a minute, made of a minute that is copied."""
    burst = "aevalsrc=if(lt(t\\,6)\\,0.2*sin(2*PI*300*t)*(0.6+0.4*sin(2*PI*3*t))\\,0):d=60:s=48000"
    picture = ("-f", "lavfi", "-i", "testsrc=size=192x108:rate=5:duration=60")
    minute = make(folder / "minute.mp4", *picture, "-f", "lavfi", "-i", burst, *X264, "-c:a", "aac")
    many = str(round(seconds / 60) - 1)
    return make(folder / f"{round(seconds)}.mp4", "-stream_loop", many, "-i", ffmpeg.file_url(minute), "-c", "copy")


def peak(film: Path) -> int:
    """Bytes that dubbing it takes, in a process of its own with all its children."""
    child = subprocess.Popen([sys.executable, "-m", "tests.bench.mux", "--line", str(film)])
    known: set[psutil.Process] = set()
    most = 0
    while child.poll() is None:
        known = tree(psutil.Process(child.pid), known)
        most = max(most, sum(pss(process) for process in known))
        time.sleep(0.5)
    if child.returncode:
        raise SystemExit(child.returncode)
    return most


async def whole_line(film: Path) -> None:
    settings = AppSettings.model_validate(ECHO)
    with tempfile.TemporaryDirectory(dir=film.parent) as folder:
        out = Path(folder)
        workspace, files = Workspace(out / "work", "job"), artifacts(out, "job")
        request = Request("job", str(film), "en", "es")
        await dub(request, models(settings.engines), settings, workspace, files, Report("job"))


if __name__ == "__main__":
    main()
