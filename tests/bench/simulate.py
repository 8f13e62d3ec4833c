"""From 1 to 64 replicas with the times that were measured: `python -m tests.bench.simulate --endtoend LINE.json`.

Films of a given length arrive more of them than can be done. Each goes through stations in turn: a Driver keeps it from
its beginning to its end and encodes it; meanwhile it asks the Recognizer, the Translator and, in the Driver, a voice,
one after the other. Stations serve first come, first served. There are 1 to 64 Drivers, and of the others one more
whenever one is the busiest of all: so it is shown where the bottleneck moves, and what an hour of film costs.

What it leaves out: the network, the store (a claim takes milliseconds), batches that grow more efficient as they fill,
and the speed-up of a single film. Every replica has the cores of its own that it uses.
"""

import argparse
import heapq
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MEASURED = {"Recognizer": 4.4, "Translator": 0.8, "speech": 4.7, "ffmpeg_soft": 4.7, "ffmpeg_burnt": 32.2}
"""Seconds of a core for a minute of film: `tests.bench.endtoend`, 2026-11-30, two shared cores of an AMD EPYC."""

STATIONS = ("Driver", "Recognizer", "Translator")
SIZES = (1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True, slots=True)
class Work:
    """Seconds of one core that a film takes at each station; the Driver's are before and after those of the others."""

    recognizer: float
    translator: float
    driver_before: float
    driver_after: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--endtoend", type=Path, help="a file with the JSON line of tests.bench.endtoend")
    parser.add_argument("--films", type=int, default=400)
    parser.add_argument("--minutes", type=float, default=10.0, help="of each film")
    parser.add_argument("--subtitles", choices=["soft", "burnt"], default="burnt")
    parser.add_argument("--gpu-speedup", type=float, default=0.0, help="of recognition on a GPU; 0: it runs on cores")
    parser.add_argument("--core-hour", type=float, default=0.04, help="price; about what clouds ask for a shared core")
    parser.add_argument("--gpu-hour", type=float, default=0.80, help="price; about what clouds ask for a small GPU")
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    rows = list(grown(work(measured(asked.endtoend), asked), asked))
    print(f"{'replicas':>9}{'Driver':>8}{'Recogn.':>9}{'Transl.':>9}{'films/h':>10}{'video-h/h':>11}{'busiest':>13}"
          f"{'busy':>7}{'cost of a video-hour':>22}")  # fmt: skip
    for row in rows:
        print(f"{row['replicas']:9}{row['Driver']:8}{row['Recognizer']:9}{row['Translator']:9}"
              f"{row['films_per_hour']:10.1f}{row['video_hours_per_hour']:11.2f}{row['busiest']:>13}"
              f"{row['busy']:7.0%}{row['cost']:22.3f}")  # fmt: skip
    draw(asked.out / "simulate.png", rows)
    print(json.dumps({"minutes": asked.minutes, "subtitles": asked.subtitles, "rows": rows}))


def measured(path: Path | None) -> dict[str, float]:
    """Seconds of a core for a minute of film."""
    if path is None:
        return MEASURED
    told = json.loads(path.read_text("utf-8").splitlines()[-1])
    per_minute = 60 / told["seconds"]
    found = {}
    for name in ("soft", "burnt"):
        if (cpu := told.get(f"cpu_s_{name}")) is not None:
            found[f"ffmpeg_{name}"] = cpu["ffmpeg"] * per_minute
            found |= {part: cpu[part] * per_minute for part in ("Recognizer", "Translator")}
            found["speech"] = cpu["Driver"] * per_minute
    return MEASURED | found


def work(times: dict[str, float], asked: argparse.Namespace) -> Work:
    ears = times["Recognizer"] / (asked.gpu_speedup or 1.0)
    ffmpeg = times[f"ffmpeg_{asked.subtitles}"]
    minutes = asked.minutes
    return Work(ears * minutes, times["Translator"] * minutes, times["speech"] * minutes, ffmpeg * minutes)


def grown(one: Work, asked: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """A row for each size; it counts Drivers, and beside them as many of the others as are needed to feed them."""
    count = Counter(dict.fromkeys(STATIONS, 1))
    for size in SIZES:
        while True:
            hours, busy = simulated(one, count, max(asked.films, 8 * count["Driver"]))
            busiest = max(busy, key=busy.__getitem__)
            if count["Driver"] >= size and (busiest == "Driver" or busy[busiest] < 0.9):
                break
            grows = busiest if busy[busiest] >= 0.9 and busiest != "Driver" else "Driver"
            count[grows] += 1
        films = max(asked.films, 8 * count["Driver"])
        video = films * asked.minutes / 60
        yield {
            "replicas": size,
            **{station: count[station] for station in STATIONS},
            "films_per_hour": round(films / hours, 1),
            "video_hours_per_hour": round(video / hours, 2),
            "busiest": busiest,
            "busy": round(busy[busiest], 3),
            "cost": round(price(count, asked) * hours / video, 4),
        }


def price(count: Counter[str], asked: argparse.Namespace) -> float:
    """Of an hour of all replicas."""
    on_gpu = count["Recognizer"] if asked.gpu_speedup else 0
    return (count.total() - on_gpu) * asked.core_hour + on_gpu * asked.gpu_hour


def simulated(one: Work, count: Counter[str], films: int) -> tuple[float, dict[str, float]]:
    """Hours that `films` take when all of them are there at once, and the share of it that each station is busy."""
    free = {station: [0.0] * count[station] for station in STATIONS}
    spent = Counter[str]()
    last = 0.0
    events: list[tuple[float, int, str]] = []  # when a film can go on, which one, and to where
    waiting = iter(range(films))

    def begin(at: float) -> None:
        number = next(waiting, None)
        if number is not None:
            spent["Driver"] += one.driver_before
            heapq.heappush(events, (at + one.driver_before, number, "Recognizer"))

    for _ in range(count["Driver"]):
        begin(0.0)
    while events:
        at, number, station = heapq.heappop(events)
        if station == "end":
            last = max(last, at)
            begin(at)
            continue
        if station == "Driver":
            spent[station] += one.driver_after
            heapq.heappush(events, (at + one.driver_after, number, "end"))
            continue
        seconds = one.recognizer if station == "Recognizer" else one.translator
        done = max(at, heapq.heappop(free[station])) + seconds
        heapq.heappush(free[station], done)
        spent[station] += seconds
        heapq.heappush(events, (done, number, "Translator" if station == "Recognizer" else "Driver"))
    return last / 3600, {station: spent[station] / (last * count[station]) for station in STATIONS}


def draw(path: Path, rows: list[dict[str, Any]]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (speed, cost) = pyplot.subplots(1, 2, figsize=(12, 5), layout="constrained")
    sizes = [row["replicas"] for row in rows]
    speed.loglog(sizes, [row["video_hours_per_hour"] for row in rows], marker="o", base=2)
    for row in rows:
        many = "/".join(str(row[station]) for station in STATIONS)
        speed.annotate(many, (row["replicas"], row["video_hours_per_hour"]), fontsize=8)
    speed.set(xlabel="Drivers (labels: Drivers/Recognizers/Translators)", ylabel="hours of film in an hour")
    cost.semilogx(sizes, [row["cost"] for row in rows], marker="o", base=2)
    cost.set(xlabel="Drivers", ylabel="cost of an hour of film", ylim=(0, None))
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


if __name__ == "__main__":
    main()
