"""A service that is told to stop in the middle of a job ends cleanly, and the next one takes the job up where it stood.

And before that, on the same service: whoever watches its health hears that a part has gone, and that it is back.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from configs.app import JobSettings
from serve_app.jobs.job import Job
from serve_app.jobs.store import Store
from serve_app.jobs.workspace import artifacts
from tests.chaos import journal
from tests.chaos.__main__ import ARGS, Listener
from tests.chaos.application import Application, send
from tests.chaos.films import film, fingerprint

DELAY_S = 0.8
FILM_S = 96.0
"""Its speech alone takes more than ten seconds, so that no stop comes too late, however quiet the machine."""
STOPS_S = 60.0
"""Longer than any part of it is given to end by itself; what takes longer hangs."""


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    folder = tmp_path_factory.mktemp("stop")
    service = Application(folder / "service", ARGS, {"CHAOS_DELAY_S": str(DELAY_S)})
    with service.gone_afterwards():
        service.start()
        yield service


def test_who_watches_hears_that_a_part_has_gone_and_that_it_is_back(application: Application) -> None:
    states = health_pb2.HealthCheckResponse
    with grpc.insecure_channel(application.grpc_url, options=[("grpc.enable_http_proxy", 0)]) as channel:
        watching = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=120)
        assert next(watching).status == states.SERVING
        [recognizer] = application.of_role("Recognizer")
        assert send(recognizer, 9)  # type: ignore[arg-type]
        assert [next(watching).status for _ in range(2)] == [states.NOT_SERVING, states.SERVING]
        watching.cancel()


def test_a_stop_in_the_middle_of_a_job_loses_nothing_of_it(application: Application, tmp_path: Path) -> None:
    if not application.running:
        application.start()
    began, job_id = time.time(), tmp_path.name
    listener = Listener(application, job_id, application.take(film(tmp_path / f"{job_id}.mp4", 1, FILM_S)))
    listener.start()
    while spoken(application, began) < 2:
        assert listener.is_alive(), listener.error
        time.sleep(0.05)
    processes = application.processes()
    told = time.time()
    assert application.stop(STOPS_S) == 0
    ended = time.time()
    gone, there = psutil.wait_procs(processes, timeout=STOPS_S)
    assert len(gone) > 8 and not there, there
    job = row(application, job_id)
    assert job.state.live and job.progress.percent > 0
    assert any((application.roots["TEMP_WORK_DIR"] / job.id).rglob("*.json"))

    application.start()
    listener.join(120)
    assert (listener.is_alive(), listener.error) == (False, "")
    assert fingerprint(artifacts(application.roots["ARTIFACTS_DIR"], job_id))
    calls = journal.read(application.journal)
    golden = journal.done(call for call in calls if call.began < began)
    vain, _ = journal.repeated(calls, [(told, ended)], journal.done(calls) - golden, DELAY_S)
    assert vain == []
    assert spoken(application, ended) and row(application, job_id).fence == 2


def spoken(application: Application, since: float) -> int:
    """Clips that were spoken after this moment."""
    calls = journal.read(application.journal)
    return sum(call.work[0] == "speak" and call.ended is not None and call.began > since for call in calls)


def row(application: Application, job_id: str) -> Job:
    store = Store(f"sqlite:///{application.roots['TEMP_WORK_DIR'] / '.jobs.sqlite'}", JobSettings())
    try:
        return store.job(job_id)
    finally:
        store.close()
