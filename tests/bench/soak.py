"""Half an hour of everything at once: `make soak`; does anything grow, and is any job lost? JSON last.

The application is the real one with echo engines that take a moment (`tests.chaos.engines`). A few clients each have a
job of a few seconds at a time: the next is sent when the last one has ended, so a slow machine gets less to do and no
queue grows. They take turns: a file that lies there or one that is uploaded, into one language or two, subtitles soft
or burnt, asked after or followed through the stream of events. Some jobs are cancelled, some are of files that are no
films and have to fail; malformed requests come at both doors, and half-way through the first half a Driver is killed.
Then what is under way is waited for. Memory (PSS), open files and threads of all processes are sampled, and looked at
over the second half, when everything has been loaded, imported and cached that will be:

    flat     the medians of its last third and of its first third differ by less than the bound, or the line that fits
             best through all of it rises by less than the bound in that time

Both are asked, and one suffices: a median does not see a slope inside its third, a line is bent by a single burst. What
leaks rises by both. The bound is a share of what there was at the beginning of the half: replicas come and go, and a
job more or less is under way.

The exit code is 0 when all are flat, no job is lost (each has ended as it should have, and the store knows of no
other), every malformed request got the error that it deserves, and every part of the service is there at the end. Where
it may, it runs in a network namespace of its own.
"""

import argparse
import json
import signal
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from threading import Event, Lock, Thread
from typing import Any

import grpc
import httpx
import numpy as np
import psutil

from serve_app.grpc_client import CallFailed, GrpcClient
from tests.bench.sampler import Sample, Sampler
from tests.chaos.__main__ import ARGS
from tests.chaos.alone import alone
from tests.chaos.application import PARTS, Application, send
from tests.chaos.films import film

FIGURES = ("pss", "fds", "threads")
CANCEL_EVERY, FAIL_EVERY = 5, 7
BURN_EVERY, TWICE_EVERY, UPLOAD_EVERY, FOLLOW_EVERY = 3, 4, 2, 3
UNDER_WAY = ("waiting", "running", "paused")
ALIVE = (*(part for part in PARTS if part != "ffmpeg"), "controller", "raylet", "gcs")
JOBS_ARGS: dict[str, Any] = {**ARGS, "jobs": {"lease_s": 4.0, "tick_s": 0.2}}
STEADY = {"Driver": {"max_ongoing_requests": 2, "num_replicas": 2, "autoscaling_config": None}}


@dataclass
class Outcome:
    bound: float
    ended: Counter[str] = field(default_factory=Counter)
    """Jobs by how they ended, as they should have; `lost` are all others."""

    refused: int = 0  # malformed requests that got the error they deserve
    wrong: int = 0  # those that got another answer
    killed: int = 0
    rows: int = 0  # jobs that the store knows, whoever sent them
    left: int = 0  # of these, under way after everybody has gone
    gone: list[str] = field(default_factory=list)  # parts of the service that are not there at the end
    samples: list[Sample] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    lock: Lock = field(default_factory=Lock)

    def count(self, how: str, why: str = "") -> None:
        with self.lock:
            self.ended[how] += 1
            if why:
                self.errors.append(why)

    def answered(self, right: bool, what: str) -> None:
        with self.lock:
            self.refused += right
            self.wrong += not right
            if not right:
                self.errors.append(what)

    @property
    def good(self) -> bool:
        flat = all(flat for *_, flat in self.growth().values())
        none_lost = self.rows == self.ended.total() and not (self.ended["lost"] or self.left)
        return flat and none_lost and not (self.wrong or self.gone) and self.ended["completed"] > 0

    def growth(self) -> dict[str, tuple[float, float, float, bool]]:
        """By figure: its median at the beginning of the second half, growth by medians and by slope, as shares."""
        weighed = [sample for sample in self.samples if sample.pss is not None]
        half = weighed[len(weighed) // 2 :]
        return {name: grown([getattr(sample, name) for sample in half], self.bound) for name in FIGURES}


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
    parser.add_argument("--bound", type=float, default=0.05, help="growth over the second half that is borne, a share")
    parser.add_argument("--patience", type=float, default=120.0, help="seconds for what is under way at the end")
    asked = parser.parse_args()
    alone("tests.bench.soak", sys.argv[1:])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # as Ctrl-C does: the service goes as well
    with tempfile.TemporaryDirectory(prefix="soak-", ignore_cleanup_errors=True) as folder:
        outcome = soak(asked, Path(folder))
    for name, (first, by_median, by_line, flat) in outcome.growth().items():
        unit, what = (1e6, "MB") if name == "pss" else (1, "")
        print(f"{name:10}{first / unit:10.0f} {what:3} then {by_median:+7.1%} by medians, {by_line:+7.1%} by slope"
              f"   {'flat' if flat else 'GROWS'}")  # fmt: skip
    for error in outcome.errors[:10]:
        print(error)
    facts = {name: [round(value, 3) for value in values[:3]] for name, values in outcome.growth().items()}
    counts = {name: getattr(outcome, name) for name in ("refused", "wrong", "killed", "rows", "left", "gone")}
    ended = {how: outcome.ended[how] for how in ("completed", "cancelled", "failed", "lost")}
    print(json.dumps({"minutes": asked.minutes, **ended, **counts, **facts, "good": outcome.good}))
    return 0 if outcome.good else 1


def soak(asked: argparse.Namespace, folder: Path) -> Outcome:
    outcome, over = Outcome(asked.bound), Event()
    environment = {"CHAOS_DELAY_S": str(asked.delay)}
    application = Application(folder / "service", JOBS_ARGS, environment, STEADY)
    with application.gone_afterwards():
        application.start()
        (folder / "text.mp4").write_text("these are words and no film")
        text = application.take(folder / "text.mp4")
        videos = [application.take(film(folder / f"{n}.mp4", n, asked.seconds)) for n in range(asked.at_once)]
        clients = [Client(application, video, text, over, asked.patience, outcome) for video in videos]
        threads = [*clients, Thread(target=nonsense, args=(application, text, over, outcome))]
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
            thread.join()
        outcome.gone = [role for role in ALIVE if not application.of_role(role)]
        counts = httpx.get(f"{application.http_url}/v1/counts", trust_env=False, timeout=60).raise_for_status().json()
        outcome.rows, outcome.left = sum(counts.values()), sum(counts.get(state, 0) for state in UNDER_WAY)
    return outcome


class Client(Thread):
    """A job after the other until it is `over`; each is waited for, the last one for `patience_s` seconds more."""

    def __init__(
        self, application: Application, video: Path, text: Path, over: Event, patience_s: float, outcome: Outcome
    ) -> None:
        super().__init__(daemon=True)
        self._video, self._text, self._over, self._outcome = video, text, over, outcome
        self._patience_s = patience_s
        self._http = httpx.Client(base_url=application.http_url, timeout=60, trust_env=False)
        self._door = application.client()

    def run(self) -> None:
        number = 0
        with self._http, self._door:
            while not self._over.is_set():
                number += 1
                try:
                    if number % FAIL_EVERY == 0:
                        self._no_film()
                    else:
                        self._film(number, cancelled=number % CANCEL_EVERY == 0)
                except (httpx.HTTPError, OSError) as error:
                    self._outcome.count("lost", f"{type(error).__name__}: {error}")

    def _film(self, number: int, cancelled: bool) -> None:
        form = {"source_lang": "en", "subtitles": "burn" if number % BURN_EVERY == 0 else "soft"}
        targets: dict[str, Any] = {"target_langs": ["es", "fr"]} if number % TWICE_EVERY == 0 else {"target_lang": "es"}
        if number % UPLOAD_EVERY == 0:
            with self._video.open("rb") as video:
                answer = self._http.post("/v1/jobs", data=form | targets, files={"file": ("film.mp4", video)})
        else:
            answer = self._http.post("/v1/jobs", data=form | targets | {"path": str(self._video)})
        made = answer.raise_for_status().json()["id"]
        if cancelled:
            self._http.post(f"/v1/jobs/{made}/cancel").raise_for_status()
        elif number % FOLLOW_EVERY == 0:
            self._followed(made)
        wanted = ("cancelled", "completed") if cancelled else ("completed",)  # it may have been done before
        self._counted(made, wanted)

    def _followed(self, made: str) -> None:
        """Reads the events of a job to their end, or until it is over."""
        with self._http.stream("GET", f"/v1/jobs/{made}/events") as events:
            for _ in events.raise_for_status().iter_lines():
                if self._over.is_set():
                    break

    def _no_film(self) -> None:
        """The gRPC door takes it down without looking into it; the job has to say what is wrong."""
        made, told = uuid.uuid4().hex, grpc.StatusCode.OK
        try:
            for _ in self._door.translate(made, str(self._text), "es"):
                pass
        except CallFailed as failure:
            told = failure.status
        self._counted(made, ("failed",), "unreadable_media")
        self._outcome.answered(told is grpc.StatusCode.INVALID_ARGUMENT, f"what is no film was told as {told}")

    def _counted(self, made: str, wanted: Sequence[str], code: str = "") -> None:
        """Waits for the end of a job, which should be one of those that are `wanted`."""
        job: dict[str, Any] = {"state": "waiting"}
        until = float("inf")
        while job["state"] in UNDER_WAY and time.monotonic() < until:
            if self._over.wait(0.25) and until == float("inf"):
                until = time.monotonic() + self._patience_s
            time.sleep(0.25)
            job = self._http.get(f"/v1/jobs/{made}").raise_for_status().json()
        if job["state"] in wanted and (not code or job["error"]["code"] == code):
            self._outcome.count(job["state"])
        else:
            self._outcome.count("lost", f"job {made} is {job['state']}: {job.get('error')}")


def nonsense(application: Application, text: Path, over: Event, outcome: Outcome) -> None:
    """Requests that have to be refused, each with the error that it deserves, at both doors, every half a second."""
    uploads = application.roots["UPLOADS_DIR"]
    forms: list[tuple[dict[str, str], str]] = [
        ({}, "invalid_job"),
        ({"path": "/etc/passwd", "target_lang": "es"}, "path_not_allowed"),
        ({"path": "\x00", "target_lang": "es"}, "path_not_allowed"),
        ({"path": str(uploads / "missing.mp4"), "target_lang": "es"}, "invalid_job"),
        ({"path": str(uploads / "missing.mp4"), "target_lang": "xx"}, "unsupported_language"),
        ({"path": str(text), "target_lang": "es"}, "unreadable_media"),
        ({"path": str(text), "target_lang": "es", "priority": "high"}, "invalid_request"),
    ]
    body, form = b"\xff" * 1000, {"content-type": "multipart/form-data"}
    with httpx.Client(base_url=application.http_url, timeout=60, trust_env=False) as http, application.client() as door:
        while not over.wait(0.5):
            for sent, code in forms:
                told(outcome, http.post("/v1/jobs", data=sent), 422, code)
            told(outcome, http.post("/v1/jobs", content=body, headers=form), 400, "bad_request")
            told(outcome, http.get("/v1/jobs/%00/events"), 404, "job_not_found")
            told(outcome, http.post("/v1/jobs/nobody/dance"), 422, "invalid_job")
            outcome.answered(*refused_result(door))


def told(outcome: Outcome, answer: httpx.Response, status: int, code: str) -> None:
    found = answer.json().get("error", {}).get("code")
    what = f"{answer.request.method} {answer.request.url.path} gave {answer.status_code} {found}, not {status} {code}"
    outcome.answered((answer.status_code, found) == (status, code), what)


def refused_result(door: GrpcClient) -> tuple[bool, str]:
    try:
        door.result("\x00nobody")
    except CallFailed as failure:
        return failure.status is grpc.StatusCode.NOT_FOUND, f"the result of nobody's job was {failure.status}"
    return False, "nobody's job has a result"


if __name__ == "__main__":
    sys.exit(main())
