"""What a viewer gets, measured on the output of six talks: `python -m tests.bench.dubs [name …]`.

talk.mp4 and the five of tests/data/talks.py go from English to Spanish through the real models in this process. Nothing
is believed that the report says of itself: each clip is looked for in the sound of the output, by the place where it
correlates best, and its first and last fifth have to be there as loud as the rest; loudness and true peak are ffmpeg's;
the old voice is what of the source is in step with the output (`oldvoice`); the subtitles are read from their file.

Prints a table and one line of JSON. About a minute and a half a talk on two cores.
"""

import asyncio
import json
import re
import shutil
import sys
import tempfile
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
from scipy.signal import fftconvolve

from configs.app import AppSettings
from models.segment import Audio, Span
from models.translation.quality import missing_numbers, numbers
from serve_app.attempt import dub
from serve_app.engines import Models
from serve_app.jobs.job import Request
from serve_app.jobs.report import Report
from serve_app.jobs.workspace import Workspace, artifacts
from serve_app.local import models
from serve_app.media import audio
from serve_app.media.loudness import measure
from tests.bench.oldvoice import FRAME_S as LEAK_S
from tests.bench.oldvoice import leak_db, leaks
from tests.data.talks import TALKS, make

RATE = 16_000
SETTINGS = AppSettings.model_validate({"pipeline": {"mux": {"subtitles": "none", "x264_preset": "ultrafast"}}})
LATE_S, FRAME_S = 0.15, 1 / 25
CUT = 0.6
"""A clip's end that has less than this share of its middle's level is cut."""

CUE = re.compile(r"(\d+):(\d+):(\d+),(\d+) --> (\d+):(\d+):(\d+),(\d+)")
COLUMNS = {
    "segments": "segments", "starts": "start ±150 ms, %", "in_time": "start and end, %", "condensed": "condensed",
    "fastest": "fastest", "natural": "tempo 0.95–1.20, %", "overlaps": "overlaps", "cut": "cut words",
    "lufs": "LUFS", "peak_db": "dBTP", "old_voice_db": "old voice, dB", "leaks_s": "old voice, s",
    "cues": "cues too fast to read", "cues_else": "cues, other rules", "numbers": "numbers, %",
}  # fmt: skip


def sound(path: Path) -> Audio:
    """The first sound track, mono at `RATE`."""
    with av.open(str(path)) as container:
        resampler = av.AudioResampler("flt", "mono", RATE)
        frames = [out for frame in container.decode(audio=0) for out in resampler.resample(frame)]
    return np.concatenate([frame.to_ndarray()[0] for frame in frames]).astype(np.float32)


def found(clip: Audio, output: Audio, expected: float) -> tuple[float, bool]:
    """Where `clip` begins in `output`, in seconds, looked for near `expected`; and whether its ends are missing."""
    first = max(0, round((expected - 0.4) * RATE))
    part = output[first : first + len(clip) + round(0.8 * RATE)]
    if len(part) < len(clip):
        part = np.pad(part, (0, len(clip) - len(part)))
    at = int(np.argmax(fftconvolve(part, clip[::-1], "valid")))
    there, fifth = part[at : at + len(clip)], len(clip) // 5
    gains = [float(np.dot(a, b) / max(np.dot(b, b), 1e-9)) for a, b in ((there[i], clip[i]) for i in _parts(fifth))]
    return (first + at) / RATE, min(gains) < CUT * max(gains)


def _parts(fifth: int) -> tuple[slice, slice, slice]:
    return slice(0, fifth), slice(fifth, -fifth), slice(-fifth, None)


def cue_faults(srt: Path) -> dict[str, int]:
    """How many cues break which rule: lines, seconds on the screen, characters a second, the gap before."""
    faults, ends = Counter[str](), -1.0
    for block in srt.read_text("utf-8").strip().split("\n\n"):
        _, times, *lines = block.splitlines()
        match = CUE.fullmatch(times)
        assert match, block
        h1, m1, s1, ms1, h2, m2, s2, ms2 = map(int, match.groups())
        start, end = h1 * 3600 + m1 * 60 + s1 + ms1 / 1000, h2 * 3600 + m2 * 60 + s2 + ms2 / 1000
        shown = end - start
        faults["lines"] += len(lines) > 2 or max(map(len, lines)) > 42
        faults["seconds"] += not 0.999 <= shown <= 7.001
        faults["pace"] += sum(map(len, lines)) / shown > 17.05
        faults["gap"] += start - ends < 2 * FRAME_S - 0.002
        ends = end
    return dict(faults)


def share(outcomes: list[bool]) -> float:
    return round(100 * sum(outcomes) / len(outcomes), 1) if outcomes else 100.0


async def judged(name: str, film: Path, engines: Models, folder: Path) -> dict[str, Any]:
    request, report = Request(name, str(film), "en", "es", subtitles="none"), Report(name)
    work, files = Workspace(folder / "work", name), artifacts(folder, name)
    result = await dub(request, engines, SETTINGS, work, files, report)
    segments = json.loads(Path(result.report).read_text("utf-8"))["segments"]
    rows = [row for row in segments if row["place"] is not None]
    output = sound(Path(result.output))
    heard = await measure(["-i", result.output], stage="video_combination", stall_s=120, output=True)
    spoken = [Span(row["start"], row["end"]) for row in segments]
    broken = cue_faults(Path(result.translated_srt))
    return {
        "talk": name,
        "segments": f"{len(rows)}/{len(segments)}",
        **placed(rows, output, {int(path.name.split(".")[0]): path for path in work.folder.rglob("*.dub.wav")}),
        "in_time": round(result.quality.lip_sync or 0.0, 1),
        "condensed": result.quality.condensed,
        "lufs": heard.lufs,
        "peak_db": heard.peak_db,
        "old_voice_db": round(leak_db(sound(film), output, RATE, spoken), 1),
        "leaks_s": None if name == "music" else round(LEAK_S * len(leaks(sound(film), output, RATE)), 2),
        "cues": broken.pop("pace"),
        "cues_else": sum(broken.values()),
        "numbers": kept_numbers(rows),
    }


def placed(rows: list[dict[str, Any]], output: Audio, clips: dict[int, Path]) -> dict[str, Any]:
    """How the clips lie in the output, by what is heard in it."""
    there = []
    for row in rows:
        clip, rate = audio.read(clips[row["id"]])
        there.append(found(audio.resample(clip, rate, RATE), output, row["place"]))
    tempos = [row["tempo"] for row in rows]
    return {
        "starts": share([abs(at - row["start"]) <= LATE_S + 0.01 for (at, _), row in zip(there, rows, strict=True)]),
        "fastest": round(max(tempos), 2),
        "natural": share([0.949 <= tempo <= 1.201 for tempo in tempos]),
        "overlaps": sum(two["place"] < one["dub_end"] - 1e-3 for one, two in pairwise(rows)),
        "cut": sum(cut for _, cut in there),
    }


def kept_numbers(rows: list[dict[str, Any]]) -> float:
    """Percentage of the originals' numbers that are in the translations."""
    lost = sum(len(missing_numbers(row["text"], row["translation"] or "")) for row in rows)
    total = sum(len(numbers(row["text"])) for row in rows)
    return round(100 * (1 - lost / total), 1) if total else 100.0


async def main(names: list[str]) -> None:
    engines = models(SETTINGS.engines)
    folder, results = Path(tempfile.mkdtemp(prefix="dubs-")), []
    try:
        for name in names:
            film = Path(__file__).parents[1] / "data" / "talk.mp4" if name == "talk" else make(name, folder)
            results.append(await judged(name, film, engines, folder / f"dub-{name}"))
            print(", ".join(f"{key} {value}" for key, value in results[-1].items()), flush=True)
    finally:
        shutil.rmtree(folder)
    width = max(map(len, COLUMNS.values()))
    print("\n" + " " * width, *(f"{result['talk']:>9}" for result in results))
    for key, label in COLUMNS.items():
        print(f"{label:{width}}", *(f"{result[key]!s:>9}" for result in results))
    print(json.dumps(results))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:] or ["talk", *TALKS]))
