"""Half an hour of everything at once: `make soak`; does anything grow, and is any job lost? JSON last.

The application is the real one with echo engines that take a moment (`tests.chaos.engines`). Jobs of a few seconds come
without a pause, so many at a time; some are cancelled, malformed requests come at both doors, and half-way through the
first half a Driver is killed. Memory (PSS), open files and threads of all its processes are sampled, and looked at over
the second half, when everything has been loaded, imported and cached that will be:

    flat     the medians of its last third and of its first third differ by less than the bound, or the line that fits
             best through all of it rises by less than the bound in that time

Both are asked, and one suffices: a median does not see a slope inside its third, a line is bent by a single burst. What
leaks rises by both. The bounds are `BOUNDS`, of what there was at the beginning of the half.

The exit code is 0 when all are flat and no job is lost: each has completed or is cancelled as it was asked to be.
"""

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from threading import Event, Lock, Thread
from typing import Any

import httpx
import numpy as np
import psutil

from serve_app.grpc_client import CallFailed
from tests.bench.sampler import Sample, Sampler
from tests.chaos.__main__ import ARGS
from tests.chaos.application import Application, send
from tests.chaos.films import film

BOUNDS = {"pss": 0.05, "fds": 0.05, "threads": 0.05}
"""Growth that is borne, as a share: replicas come and go, and a job more or less is under way."""

CANCEL_EVERY, LIMIT_S = 5, 120.0
JOBS_ARGS: dict[str, Any] = {**ARGS, "jobs": {"lease_s": 4.0, "tick_s": 0.2}}
STEADY = {"Driver": {"max_ongoing_requests": 2, "num_replicas": 2, "autoscaling_config": None}}


@dataclass
class Outcome:
    ended: Counter[str] = field(default_factory=Counter)
    """Jobs by how they ended; `lost` are all that ended otherwise than they should have."""

    refused: int = 0  # malformed requests
    taken: int = 0  # of these, by mistake
    killed: int = 0
    samples: list[Sample] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    lock: Lock = field(default_factory=Lock)

    def count(self, how: str, why: str = "") -> None:
        with self.lock:
            self.ended[how] += 1
            if why:
                self.errors.append(why)

    @property
    def good(self) -> bool:
        flat = all(flat for *_, flat in self.growth().values())
        return flat and not (self.ended["lost"] or self.taken) and self.ended["completed"] > 0

    def growth(self) -> dict[str, tuple[float, float, float, bool]]:
        """By figure: its median at the beginning of the second half, growth by medians and by slope, as shares."""
        weighed = [sample for sample in self.samples if sample.pss is not None]
        half = weighed[len(weighed) // 2 :]
        return {name: grown([getattr(sample, name) for sample in half], bound) for name, bound in BOUNDS.items()}


def grown(values: Sequence[float], bound: float) -> tuple[float, float, float, bool]:
    """Of equally distant samples: the first third's median, the growth to the last one's, that of a line, and whether
    it is flat."""
    third = max(1, len(values) // 3)
    first, last = median(values[:third]), median(values[-third:])
    slope = float(np.polyfit(np.arange(len(values)), values, 1)[0]) if len(values) > 1 else 0.0
    by_median, by_line = last / first - 1, slope * (len(values) - 1) / first
    return first, by_median, by_line, min(by_median, by_line) < bound


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--at-once", type=int, default=4, help="clients, each with a job at a time")
    parser.add_argument("--seconds", type=float, default=6.0, help="of film in a job")
    parser.add_argument("--delay", type=float, default=0.1, help="seconds that each call of an engine takes")
    parser.add_argument("--every", type=float, default=5.0, help="seconds between samples")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-", ignore_cleanup_errors=True) as folder:
        outcome = soak(asked, Path(folder))
    for name, (first, by_median, by_line, flat) in outcome.growth().items():
        unit, what = (1e6, "MB") if name == "pss" else (1, "")
        print(f"{name:10}{first / unit:10.0f} {what:3} then {by_median:+7.1%} by medians, {by_line:+7.1%} by slope"
              f"   {'flat' if flat else 'GROWS'}")  # fmt: skip
    for error in outcome.errors[:10]:
        print(error)
    facts = {name: [round(value, 3) for value in values[:3]] for name, values in outcome.growth().items()}
    told = {"minutes": asked.minutes, **outcome.ended, "refused": outcome.refused, "killed": outcome.killed, **facts}
    print(json.dumps({**told, "lost": outcome.ended["lost"], "taken": outcome.taken, "good": outcome.good}))
    return 0 if outcome.good else 1


def soak(asked: argparse.Namespace, folder: Path) -> Outcome:
    outcome, over = Outcome(), Event()
    environment = {"CHAOS_DELAY_S": str(asked.delay)}
    application = Application(folder / "service", JOBS_ARGS, environment, STEADY)
    with application.gone_afterwards():
        application.start()
        videos = [application.take(film(folder / f"{n}.mp4", n, asked.seconds)) for n in range(asked.at_once)]
        threads = [Thread(target=client, args=(application, video, over, outcome)) for video in videos]
        threads.append(Thread(target=nonsense, args=(application, over, outcome)))
        with Sampler(psutil.Process(), asked.every, asked.every) as sampler:
            for thread in threads:
                thread.start()
            began = time.monotonic()
            over.wait(15 * asked.minutes)
            for driver in application.of_role("Driver")[:1]:
                outcome.killed += send(driver, 9)  # type: ignore[arg-type]
            over.wait(max(0.0, began + 60 * asked.minutes - time.monotonic()))
            over.set()
            outcome.samples = list(sampler.samples)
        for thread in threads:
            thread.join(LIMIT_S)
    return outcome


def client(application: Application, video: Path, over: Event, outcome: Outcome) -> None:
    """A job after the other; every fifth is cancelled while it is under way."""
    number = 0
    with httpx.Client(base_url=application.http_url, timeout=60, trust_env=False) as http:
        while not over.is_set():
            number += 1
            try:
                job(http, video, cancelled=number % CANCEL_EVERY == 0, outcome=outcome)
            except (httpx.HTTPError, TimeoutError) as error:
                outcome.count("lost", f"{type(error).__name__}: {error}")


def job(http: httpx.Client, video: Path, cancelled: bool, outcome: Outcome) -> None:
    form = {"path": str(video), "source_lang": "en", "target_lang": "es", "subtitles": "soft"}
    made = http.post("/v1/jobs", data=form).raise_for_status().json()["id"]
    deadline, state = time.monotonic() + LIMIT_S, "queued"
    if cancelled:
        http.post(f"/v1/jobs/{made}/cancel").raise_for_status()
    while state in ("queued", "running") and time.monotonic() < deadline:
        time.sleep(0.25)
        state = http.get(f"/v1/jobs/{made}").raise_for_status().json()["state"]
    wanted = ("cancelled", "completed") if cancelled else ("completed",)  # it may have been done before
    if state in wanted:
        outcome.count(state)
    else:
        outcome.count("lost", f"job {made} is {state}")


def nonsense(application: Application, over: Event, outcome: Outcome) -> None:
    """Requests that have to be refused, at both doors, one every half a second."""
    forms: list[dict[str, str]] = [
        {},
        {"path": "/etc/passwd", "target_lang": "es"},
        {"path": "\x00", "target_lang": "es"},
        {"path": str(application.roots["UPLOADS_DIR"] / "missing.mp4"), "target_lang": "xx"},
    ]
    with httpx.Client(base_url=application.http_url, timeout=60, trust_env=False) as http, application.client() as door:
        while not over.wait(0.5):
            with suppress(httpx.HTTPError):
                for form in forms:
                    refusal = http.post("/v1/jobs", data=form)
                    outcome.refused += 400 <= refusal.status_code < 500
                    outcome.taken += refusal.status_code < 400
                http.post("/v1/jobs", content=b"\xff" * 1000, headers={"content-type": "multipart/form-data"})
                http.get("/v1/jobs/%00/events")
            with suppress(CallFailed):
                door.result("\x00nobody")


if __name__ == "__main__":
    sys.exit(main())
