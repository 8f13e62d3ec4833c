"""The whole service beside the recipe that many scripts follow: `make bench-endtoend`; plot in out/bench, JSON last.

Eight talks of a minute at 1280 × 720, no two alike, are sent at once to a service that is started as a user would, with
the embedded models: a round with soft subtitles, where pictures are copied, and one with burnt ones, where they are
encoded. In the same run some of the same films go through the recipe (`peer`): one after another, each library as its
first example has it, pictures encoded by x264 at the preset `slow`. Both have their models loaded when the clock runs.

What two cores can do at most, for a minute of film: recognition 3 s, translation 0.5 s, speech 1 s of both cores; the
mix is read, written and measured in 2 s; x264 takes 11 s of one core at `veryfast`, and twice that at `slow`. So with
soft subtitles the models decide, with burnt ones the encoder does, and what the service adds has no room in either.

Where time went is noted in the Driver (`journal`) and sampled from outside (`sampler`). Told are:

    ratio_peer…              seconds of the recipe for a film ÷ seconds of the service for one, over all of a round
    video_min_per_min_…      minutes of film that are done in a minute
    overhead_share           of a job's time in the pipeline: none of its engine calls and no ffmpeg was under way
    preview_share            the early preview was there after so much of its job's time, median
    peak_mb_…                all processes together, PSS
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import psutil

from tests.bench import journal
from tests.bench.journal import CHILDREN, ENGINES, PIPELINE, Wait
from tests.bench.peer import STAGES
from tests.bench.sampler import Sampler
from tests.bench.timeline import draw
from tests.data.talks import lecture
from tests.service import REPOSITORY, Service, service

ARGS: dict[str, Any] = {
    "engines": {
        "vad": {"engine": journal.ENGINE},
        "asr": {"model": "tiny.en"},
        "translation": {"artifacts": [str(REPOSITORY / "models/demo/*")]},
        "tts": {"engines": ["piper", "espeak"]},
    },
}
"""Those of serve_config.yaml, with the stop-watches in."""

PATIENCE_S = 900.0


@dataclass
class Round:
    """All films through the service at once, with one kind of subtitles. Times are Unix seconds."""

    mode: str
    seconds: float  # of all films
    began: float = 0.0
    ended: float = 0.0
    stages: dict[str, dict[str, float]] = field(default_factory=dict)  # by job, as its row tells
    waits: list[Wait] = field(default_factory=list)
    sampler: Sampler = field(default_factory=lambda: Sampler(psutil.Process()))

    @property
    def wall(self) -> float:
        return self.ended - self.began

    @property
    def speed(self) -> float:
        return self.seconds / self.wall

    def of(self, job: str, *what: str) -> list[Wait]:
        return [wait for wait in self.waits if wait.job == job and wait.what in what]

    def pipeline(self, job: str) -> Wait:
        [whole] = self.of(job, PIPELINE)
        return whole

    def overhead(self) -> float:
        """The share of the jobs' time in which they waited for no engine and no ffmpeg."""
        whole = sum(self.pipeline(job).seconds for job in self.stages)
        return 1 - sum(covered(self.of(job, *ENGINES, *CHILDREN)) for job in self.stages) / whole

    def preview(self) -> float | None:
        shares = []
        for job in self.stages:
            made, whole = self.of(job, "preview"), self.pipeline(job)
            if made:
                shares.append((max(wait.ended for wait in made) - whole.began) / whole.seconds)
        return median(shares) if shares else None


def covered(waits: Iterable[Wait]) -> float:
    """Seconds in which at least one of them was under way."""
    total, until = 0.0, 0.0
    for wait in sorted(waits, key=lambda wait: wait.began):
        total += max(0.0, wait.ended - max(wait.began, until))
        until = max(until, wait.ended)
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--talks", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each")
    parser.add_argument("--peer", type=int, default=2, help="talks that go through the recipe; 0: none")
    parser.add_argument("--modes", default="soft,burn", help="rounds through the service")
    parser.add_argument("--checkpoint", type=Path, help="the recipe's Marian; left out: a random one of our size")
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="endtoend-") as folder:
        films = [lecture(number, Path(folder), asked.seconds) for number in range(asked.talks)]
        print(f"load before: {os.getloadavg()[0]:.1f}", flush=True)
        half = asked.peer // 2
        theirs = peer(films[:half], asked.checkpoint)  # half of it before and half after: a slow minute hits both
        rounds, ready_s = served(Path(folder), films, asked.modes.split(","), asked.seconds * asked.talks)
        theirs += peer(films[half : asked.peer], asked.checkpoint)
        print(f"load after: {os.getloadavg()[0]:.1f}", flush=True)
    for one in rounds:
        table(one)
        draw(asked.out / f"endtoend-{one.mode}.png", one.mode, one.waits, one.sampler.samples, one.began)
    recipe(theirs, asked)
    print(json.dumps(line(asked, rounds, theirs, ready_s)))


# -- the service -------------------------------------------------------------------------------------------------------


def served(folder: Path, films: Sequence[Path], modes: list[str], seconds: float) -> tuple[list[Round], float]:
    """The rounds, and how long the service took to be ready."""
    notes, rounds, began = folder / "journal.jsonl", list[Round](), time.monotonic()
    os.environ.update({journal.VARIABLE: str(notes), "PYTHONPATH": str(REPOSITORY)})
    (folder / "service").mkdir()
    with service(folder / "service", ARGS) as running:
        ready_s = time.monotonic() - began
        for film in films:
            film.rename(running.uploads / film.name)
        for mode in modes:
            notes.write_text("")
            one = Round(mode, seconds)
            with one.sampler:
                through(running, [film.name for film in films], one)
            one.waits = journal.read(notes)
            rounds.append(one)
        for film in films:
            (running.uploads / film.name).rename(film)
    return rounds, ready_s


def through(running: Service, names: list[str], one: Round) -> None:
    """Sends all films at once and follows each to its end. Raises where a job has not completed."""
    failures: list[str] = []

    def follow(name: str) -> None:
        with running.http() as http:
            form = {"path": str(running.uploads / name), "source_lang": "en", "target_lang": "es"}
            job = http.post("/v1/jobs", data={**form, "subtitles": one.mode}).raise_for_status().json()["id"]
            told = last_event(http, job)
            if told["state"] != "completed":
                failures.append(f"{name}: {told['message']}")
            one.stages[job] = told["progress"]["stage_seconds"]

    one.began = time.time()
    threads = [threading.Thread(target=follow, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    one.ended = time.time()
    if failures or len(one.stages) < len(names):
        raise SystemExit(f"not all films were dubbed: {'; '.join(failures) or 'they took too long'}")


def last_event(http: httpx.Client, job: str) -> dict[str, Any]:
    data = ""
    with http.stream("GET", f"/v1/jobs/{job}/events") as events:
        for text in events.iter_lines():
            data = text if text.startswith("data: ") else data
    told: dict[str, Any] = json.loads(data.removeprefix("data: "))
    return told


# -- the recipe --------------------------------------------------------------------------------------------------------


def peer(films: Sequence[Path], checkpoint: Path | None) -> list[dict[str, Any]]:
    if not films:
        return []
    command = [sys.executable, "-m", "tests.bench.peer", *map(str, films), "--medium"]
    command += ["--checkpoint", str(checkpoint)] if checkpoint else []
    with Sampler(psutil.Process()) as sampler:
        ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return [{**json.loads(text), "peak_mb": sampler.peak / 1e6} for text in ran.stdout.splitlines()]


def seconds_of(told: dict[str, Any], encoding: str = "encode") -> float:
    return float(sum(told[stage] for stage in STAGES[:-1]) + told[encoding])


# -- what is told ------------------------------------------------------------------------------------------------------


def table(one: Round) -> None:
    jobs = list(one.stages)
    print(f"\n{one.mode}: {len(jobs)} films of {one.seconds / len(jobs):g} s in {one.wall:.1f} s")
    print(f"  {'stage, seconds a job (windows overlap)':44}{'median':>8}{'most':>8}")
    for stage in dict.fromkeys(stage for stages in one.stages.values() for stage in stages):
        times = [stages.get(stage, 0.0) for stages in one.stages.values()]
        print(f"  {stage:44}{median(times):8.2f}{max(times):8.2f}")
    whole = sum(one.pipeline(job).seconds for job in jobs)
    print(f"  {'waited for, seconds a job, share of its time':44}{'seconds':>8}{'share':>8}")
    for what in (*ENGINES, *CHILDREN):
        spent = sum(covered(one.of(job, what)) for job in jobs)
        print(f"  {what:44}{spent / len(jobs):8.2f}{spent / whole:8.1%}")
    for name, kinds in (("any engine", ENGINES), ("any ffmpeg", CHILDREN)):
        spent = sum(covered(one.of(job, *kinds)) for job in jobs)
        print(f"  {name:44}{spent / len(jobs):8.2f}{spent / whole:8.1%}")
    print(f"  {'neither':44}{one.overhead() * whole / len(jobs):8.2f}{one.overhead():8.1%}")
    print(f"  {'CPU, seconds of all cores':44}{'seconds':>8}{'share':>8}")
    cpu = one.sampler.seconds
    for part, seconds in sorted(cpu.items(), key=lambda pair: -pair[1]):
        print(f"  {part:44}{seconds:8.1f}{seconds / cpu.total():8.1%}")


def recipe(theirs: list[dict[str, Any]], asked: argparse.Namespace) -> None:
    if not theirs:
        return
    model = f"the checkpoint {asked.checkpoint.name}" if asked.checkpoint else "random weights of the embedded size"
    print(f"\nthe recipe, seconds a film, medians of {len(theirs)}; Marian: {model}")
    for stage in (*STAGES, "encode_medium"):
        print(f"  {stage:44}{median(told[stage] for told in theirs):8.2f}")


def line(
    asked: argparse.Namespace, rounds: list[Round], theirs: list[dict[str, Any]], ready_s: float
) -> dict[str, Any]:
    told: dict[str, Any] = {"talks": asked.talks, "seconds": asked.seconds, "ready_s": ready_s}
    names = {"soft": "soft", "burn": "burnt", "none": "none"}
    slow = [seconds_of(one) for one in theirs]
    medium = [seconds_of(one, "encode_medium") for one in theirs]
    for one in rounds:
        name = names[one.mode]
        told |= {f"video_min_per_min_{name}": one.speed, f"peak_mb_{name}": one.sampler.peak / 1e6}
        told |= {f"overhead_share_{name}": one.overhead(), f"preview_share_{name}": one.preview()}
        each = one.wall / asked.talks
        if slow:
            told |= {f"ratio_peer_{name}": sum(slow) / len(slow) / each}
            told |= {f"ratio_peer_medium_{name}": sum(medium) / len(medium) / each}
        told |= {f"cpu_s_{name}": {part: round(s / asked.talks, 2) for part, s in one.sampler.seconds.items()}}
        told |= {f"wait_s_{name}": {w: round(covered_of(one, w), 2) for w in (*ENGINES, *CHILDREN)}}
    told["overhead_share"] = max(one.overhead() for one in rounds)
    told["preview_share"] = max((one.preview() or 0.0 for one in rounds), default=None)
    if slow:
        told["ratio_peer"] = told[f"ratio_peer_{names[rounds[-1].mode]}"]
        told["peer_s"] = {stage: round(median(one[stage] for one in theirs), 2) for stage in (*STAGES, "encode_medium")}
        told["peer_peak_mb"] = max(one["peak_mb"] for one in theirs)
    return {key: round(value, 3) if isinstance(value, float) else value for key, value in told.items()}


def covered_of(one: Round, what: str) -> float:
    """Seconds a job."""
    return sum(covered(one.of(job, what)) for job in one.stages) / len(one.stages)


if __name__ == "__main__":
    main()
