"""Replicas that follow the load, and what the doors take: `make bench-load`; plot in out/bench, JSON last.

The application is the real one with echo engines that take time (`tests.chaos.engines`), so that jobs cost waiting and
hardly any processor, and two cores can show what a machine with many would do. Jobs are sent as a wave: more and more,
then as many as are done, then none. Every second it is noted how many jobs wait and run, by the store, and how many
replicas there are of each deployment, by their processes. Delays of autoscaling are shortened, so that going up and
down again fits into minutes; the rules are those of serve_config.yaml.

    rpc_p50_ms       an empty call (gRPC's health) through Serve's proxy and Ingress, one after the other, without load
    refusal_…_ms     ten times as many jobs as a tenant may have waiting, from ten threads: the time of a refusal
    streams_percent  of a core, for 200 streams of progress (tests.bench.streams)
    back_s           after the last job has ended, until every deployment is as small as before
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import grpc
import httpx
from grpc_health.v1 import health_pb2, health_pb2_grpc

from serve_app.jobs.database import Database
from serve_app.jobs.tenants import Tenant, Tenants
from tests.chaos.__main__ import ARGS
from tests.chaos.application import Application
from tests.chaos.films import film

SCALED = ("Driver", "Recognizer", "Translator")
QUICK = {"upscale_delay_s": 3, "downscale_delay_s": 10, "metrics_interval_s": 1, "look_back_period_s": 3}
DEPLOYMENTS: dict[str, dict[str, Any]] = {
    "Driver": {
        "max_ongoing_requests": 2,
        "autoscaling_config": {"min_replicas": 1, "max_replicas": 3, "target_ongoing_requests": 2, **QUICK},
        "ray_actor_options": {"num_cpus": 0.2},
    },
    "Recognizer": {
        "autoscaling_config": {"min_replicas": 1, "max_replicas": 2, "target_ongoing_requests": 3, **QUICK},
        "ray_actor_options": {"num_cpus": 0.2},
    },
    "Translator": {"ray_actor_options": {"num_cpus": 0.2}},
}
CAPACITY = 3
PATIENCE_S = 300.0


@dataclass(frozen=True, slots=True)
class Moment:
    """`at` in seconds since the first job."""

    at: float
    sent: int
    waiting: int
    running: int
    replicas: dict[str, int]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--up", type=float, default=20.0, help="seconds in which the rate grows from nothing")
    parser.add_argument("--plateau", type=float, default=40.0)
    parser.add_argument("--rate", type=float, default=0.7, help="jobs a second at the plateau")
    parser.add_argument("--delay", type=float, default=0.5, help="seconds that each call of an engine takes")
    parser.add_argument("--streams", type=int, default=200, help="0: left out")
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    told: dict[str, Any] = {"load_before": round(os.getloadavg()[0], 1)}
    with tempfile.TemporaryDirectory(prefix="load-", ignore_cleanup_errors=True) as folder:
        application = Application(Path(folder, "service"), ARGS, {"CHAOS_DELAY_S": str(asked.delay)}, DEPLOYMENTS)
        with application.gone_afterwards():
            told["ready_s"] = application.start()
            video = application.take(film(Path(folder, "film.mp4"), 1, 8.0))
            told |= empty_calls(application)
            moments, ends = wave(application, video, asked)
            told |= overload(application, video)
    if asked.streams:
        told |= streams(asked.streams)
    told |= summary(moments, ends)
    draw(asked.out / "load.png", moments, ends)
    for name, value in told.items():
        print(f"{name:28}{value!s:>24}")
    print(json.dumps(told))


# -- the wave ----------------------------------------------------------------------------------------------------------


def due(at: float, asked: argparse.Namespace) -> int:
    """How many jobs have been sent `at` seconds after the beginning."""
    grown = min(at, asked.up)
    steady = max(0.0, min(at - asked.up, asked.plateau))
    return round(asked.rate * (grown**2 / (2 * asked.up) + steady))


def wave(
    application: Application, video: Path, asked: argparse.Namespace
) -> tuple[list[Moment], list[tuple[float, float]]]:
    """What was noted every second, and of each job when it was sent and how many seconds later it had ended."""
    moments: list[Moment] = []
    jobs: dict[str, float] = {}
    began, total = time.monotonic(), due(asked.up + asked.plateau, asked)
    with httpx.Client(base_url=application.http_url, timeout=30, trust_env=False) as http:
        while time.monotonic() - began < asked.up + asked.plateau + PATIENCE_S:
            now = time.monotonic() - began
            while len(jobs) < due(now, asked):
                jobs[submit(http, video).json()["id"]] = now
            states = of_jobs(http)
            replicas = {role: len(application.of_role(role)) for role in SCALED}
            waiting, running = states["queued"], states["running"]
            moments.append(Moment(now, len(jobs), waiting, running, replicas))
            if len(jobs) == total and not waiting + running and set(replicas.values()) == {1}:
                break
            time.sleep(1)
        ends = [(sent, lasted(http, job)) for job, sent in jobs.items()]
    return moments, ends


def submit(http: httpx.Client, video: Path, **headers: str) -> httpx.Response:
    form = {"path": str(video), "source_lang": "en", "target_lang": "es", "subtitles": "soft"}
    return http.post("/v1/jobs", data=form, headers=headers)


def of_jobs(http: httpx.Client) -> Counter[str]:
    states = Counter[str](http.get("/v1/counts").raise_for_status().json())
    if states["failed"] or states["cancelled"]:
        raise SystemExit(f"jobs have failed, and none should: {states}")
    return states


def lasted(http: httpx.Client, job: str) -> float:
    told = http.get(f"/v1/jobs/{job}").raise_for_status().json()
    if told["state"] != "completed":
        raise SystemExit(f"job {job} is {told['state']}: {told['message']}")
    return float(told["updated_at"] - told["created_at"])


def summary(moments: list[Moment], ends: list[tuple[float, float]]) -> dict[str, Any]:
    busy = [moment.at for moment in moments if moment.waiting + moment.running]
    waits = sorted(seconds for _, seconds in ends)
    return {
        "jobs": len(ends),
        "most_replicas": {role: max(moment.replicas[role] for moment in moments) for role in SCALED},
        "replicas_at_the_end": moments[-1].replicas,
        "back_s": round(moments[-1].at - max(busy), 1),
        "most_waiting": max(moment.waiting for moment in moments),
        "latency_p50_s": round(median(waits), 2),
        "latency_p95_s": round(waits[int(0.95 * (len(waits) - 1))], 2),
    }


# -- the doors ---------------------------------------------------------------------------------------------------------


def empty_calls(application: Application, count: int = 300) -> dict[str, float]:
    client = application.client()
    with grpc.insecure_channel(client.url, options=[("grpc.enable_http_proxy", 0)]) as channel:
        stub, times = health_pb2_grpc.HealthStub(channel), []
        for _ in range(count):
            began = time.perf_counter()
            stub.Check(health_pb2.HealthCheckRequest())
            times.append(1000 * (time.perf_counter() - began))
    times.sort()
    return {"rpc_p50_ms": round(median(times), 2), "rpc_p95_ms": round(times[int(0.95 * count)], 2)}


def overload(application: Application, video: Path) -> dict[str, Any]:
    """A tenant asks for ten times what it may have waiting; every refusal has to say when to come again."""
    work = application.roots["TEMP_WORK_DIR"]
    database = Database(f"sqlite:///{work / '.jobs.sqlite'}")
    tenants = Tenants(database)
    tenants.add(Tenant("flood", queued=CAPACITY, running=0))
    folder = application.roots["UPLOADS_DIR"] / "tenants" / "flood"
    folder.mkdir(parents=True)
    own, key = Path(shutil.copy(video, folder)), tenants.issue("flood")
    with httpx.Client(base_url=application.http_url, timeout=60, trust_env=False) as http:

        def one(_: int) -> tuple[int, float, bool]:
            began = time.perf_counter()
            answer = submit(http, own, authorization=f"Bearer {key}")
            return answer.status_code, 1000 * (time.perf_counter() - began), "retry-after" in answer.headers

        with ThreadPoolExecutor(10) as pool:
            answers = list(pool.map(one, range(10 * CAPACITY)))
    database.close()
    refused = sorted(ms for code, ms, told in answers if code == 429 and told)
    return {
        "accepted": sum(code == 202 for code, *_ in answers),
        "refused_with_retry_after": len(refused),
        "refusal_p50_ms": round(median(refused), 1),
        "refusal_max_ms": round(refused[-1], 1),
    }


def streams(count: int) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.bench.streams", "--streams", str(count)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    return {"streams_percent": round(json.loads(ran.stdout.splitlines()[-1])["percent_of_a_core"], 1)}


# -- the plot ----------------------------------------------------------------------------------------------------------


def draw(path: Path, moments: list[Moment], ends: list[tuple[float, float]]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (jobs, replicas, waits) = pyplot.subplots(3, 1, figsize=(11, 9), sharex=True, layout="constrained")
    times = [moment.at for moment in moments]
    jobs.plot(times, [moment.sent for moment in moments], label="sent")
    jobs.plot(times, [moment.waiting for moment in moments], label="waiting")
    jobs.plot(times, [moment.running for moment in moments], label="running")
    jobs.set_ylabel("jobs")
    for role in SCALED:
        replicas.step(times, [moment.replicas[role] for moment in moments], where="post", label=role)
    replicas.set_ylabel("replicas")
    waits.scatter([sent for sent, _ in ends], [seconds for _, seconds in ends], s=12, label="by when it was sent")
    waits.set(xlabel="seconds", ylabel="seconds to the end of a job")
    for axes in (jobs, replicas, waits):
        axes.legend()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


if __name__ == "__main__":
    main()
