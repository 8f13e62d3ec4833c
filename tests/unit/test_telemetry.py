"""Events, spans and figures: what is told of work, by whichever process, and what a fault of the telling costs."""

import json
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from configs.app import CleanupSettings, JobSettings, Roots, TelemetrySettings
from models import batches
from models.asr.batcher import Batcher, Limits
from serve_app.jobs.cleanup import Cleanup
from serve_app.jobs.job import Request
from serve_app.jobs.store import Store
from serve_app.telemetry import logs, metrics, scrape, traces
from serve_app.telemetry.about import about
from tests.collector import collecting
from tests.conftest import REPOSITORY
from tests.integration.test_telemetry import samples


@pytest.fixture
def roots(tmp_path: Path) -> Iterator[Roots]:
    yield Roots(uploads=tmp_path, artifacts=tmp_path, work=tmp_path, database_url=SecretStr(""))
    for name in logs.OURS:
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).setLevel(logging.NOTSET)


# -- lines -------------------------------------------------------------------------------------------------------------


def test_a_line_has_all_fields_and_a_job_its_own_file(roots: Roots, capsys: pytest.CaptureFixture[str]) -> None:
    logs.begin("driver", TelemetrySettings(), roots)
    with about(job="one", tenant="ann", attempt=2), about(stage="tts"):
        logs.event("stage.ended", "said «sí»", "success", 1.5, clips=3, job="forged")
        logging.getLogger("serve_app.stages").debug("not wanted")
    logs.event("other")
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [tuple(line)[: len(logs.FIELDS)] for line in printed] == [logs.FIELDS] * 2
    first, second = printed
    assert {name: first[name] for name in ("level", "stage", "job", "tenant", "attempt", "event", "duration_ms")} == {
        "level": "info", "stage": "tts", "job": "one", "tenant": "ann", "attempt": 2, "event": "stage.ended",
        "duration_ms": 1500.0,
    }  # fmt: skip
    assert first["message"] == "said «sí»" and first["clips"] == 3
    assert (second["stage"], second["job"], second["attempt"]) == ("driver", "", None)
    assert [json.loads(line) for line in logs.lines_of(roots.work, "one")] == [first]


def test_an_error_that_nobody_foresaw_brings_its_traceback(roots: Roots, capsys: pytest.CaptureFixture[str]) -> None:
    logs.begin("driver", TelemetrySettings(), roots)
    try:
        raise RuntimeError("boom")
    except RuntimeError:
        logging.getLogger("models.x").exception("it broke")
    [line] = map(json.loads, capsys.readouterr().out.splitlines())
    assert line["level"] == "error" and "RuntimeError: boom" in line["error"]


def test_half_lines_and_a_file_that_cannot_be_written_hurt_nobody(roots: Roots) -> None:
    logs.begin("driver", TelemetrySettings(), roots)
    with about(job="one", attempt=1):
        logs.event("a")
        with logs.file_of(roots.work, "one").open("a") as file:
            file.write('{"event": "ha')
    assert len(list(logs.lines_of(roots.work, "one"))) == 1
    (roots.work / "two").write_text("a file where a folder should be")
    with about(job="two", attempt=1):
        logs.event("b")
    assert list(logs.lines_of(roots.work, "nobody")) == []


# -- figures -----------------------------------------------------------------------------------------------------------

COUNT = """
import sys
from pathlib import Path
from pydantic import SecretStr
from configs.app import Roots
from serve_app.telemetry import metrics
work = Path(sys.argv[1])
metrics.begin(Roots(uploads=work, artifacts=work, work=work, database_url=SecretStr("")))
metrics.add("dubserve_retries_total", 2, stage="tts")
metrics.observe("dubserve_batch_size", 3, shelf="asr")
"""


def test_what_processes_have_counted_is_added_up_and_outlives_them(roots: Roots) -> None:
    store = Store(f"sqlite:///{roots.work / 'jobs.sqlite'}", JobSettings())
    store.create()
    for number in range(60):
        for tenant in (f"t{number}", "big") if number < 55 else ("big",):
            store.submit(Request(f"{tenant}-{number}", "/in.mp4", "en", "es", tenant=tenant))
    for _ in range(2):
        subprocess.run([sys.executable, "-c", COUNT, str(roots.work)], check=True, cwd=REPOSITORY)
    figures = samples(scrape.Scrape(store.database, JobSettings(), roots.work).text().decode())
    assert figures["dubserve_retries_total", ("stage", "tts")] == 4
    assert figures["dubserve_batch_size_sum", ("shelf", "asr")] == 6
    assert figures["dubserve_jobs", ("state", "waiting")] == 115
    assert figures["dubserve_active_jobs", ("state", "waiting"), ("tenant", "big")] == 60
    tenants = {dict(key[1:])["tenant"] for key in figures if key[0] == "dubserve_active_jobs"}
    assert len(tenants) == scrape.TENANTS + 1
    assert figures["dubserve_active_jobs", ("state", "waiting"), ("tenant", scrape.OTHER)] == 56 - scrape.TENANTS
    assert figures["dubserve_oldest_waiting_seconds",] > 0
    metrics.begin_anew(roots)
    assert ("dubserve_retries_total", ("stage", "tts")) not in samples(
        scrape.Scrape(store.database, JobSettings(), roots.work).text().decode()
    )
    store.close()


def elsewhere(folder: Path, pid: int) -> list[Path]:
    """Files of figures become those of another machine."""
    ours = list(folder.glob(f"*_{socket.gethostname()}-*.db"))
    return [file.rename(file.with_name(f"{file.stem.partition('_')[0]}_elsewhere-{pid}.db")) for file in ours]


LIVE = COUNT + "sys.stdout.write('counted'); sys.stdout.flush(); sys.stdin.readline()\n" + COUNT.splitlines()[-2]
OLD_S = 86_400.0


def test_what_ended_processes_have_counted_becomes_one_file(roots: Roots) -> None:
    store = Store(f"sqlite:///{roots.work / 'jobs.sqlite'}", JobSettings())
    store.create()
    folder, clock = roots.work / metrics.FOLDER, [time.time()]
    cleanup = Cleanup(store, roots, CleanupSettings(grace_s=OLD_S), lambda: clock[0])

    def told() -> tuple[float, float, float]:
        figures = samples(scrape.Scrape(store.database, JobSettings(), roots.work).text().decode())
        shelf = ("shelf", "asr")
        names = "dubserve_batch_size_sum", "dubserve_batch_size_count"
        return figures["dubserve_retries_total", ("stage", "tts")], *(figures[name, shelf] for name in names)

    def count() -> None:
        subprocess.run([sys.executable, "-c", COUNT, str(roots.work)], check=True, cwd=REPOSITORY)

    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", LIVE, str(roots.work)], cwd=REPOSITORY, stdin=pipe, stdout=pipe
    ) as live:
        assert live.stdout is not None and live.stdin is not None and live.stdout.read(7) == b"counted"
        for file in elsewhere(folder, 1):
            os.utime(file, (0, 0))  # a mapped file may look untouched while it is written: its lock tells
        count()
        elsewhere(folder, 2)
        count()
        assert told() == (6, 9, 3) and len(list(folder.glob("*.db"))) == 6
        for later, files in ((0.0, 6), (0.0, 6), (2 * OLD_S, 4)):
            clock[0] += later
            cleanup.sweep()
            assert told() == (6, 9, 3)
            assert len(list(folder.glob("*.db"))) == files
        assert len(list(folder.glob("*_elsewhere-1.db"))) == 2
        live.communicate(b"go on\n")
    assert told() == (8, 9, 3)  # what was begun before goes on in the same file
    cleanup.sweep()
    assert told() == (8, 9, 3) and sorted(file.name for file in folder.glob("*.db")) == [
        "counter_ended.db",
        "histogram_ended.db",
    ]
    store.close()


def test_without_room_for_figures_the_process_works_on(roots: Roots, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "no space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    monkeypatch.setattr(metrics, "_made", {})
    metrics.begin(roots)
    metrics.add("dubserve_retries_total", stage="tts")
    metrics.observe("dubserve_queue_wait_seconds", 1.0)


# -- spans -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Item:
    seconds: float = 2.0
    key: str = "same"


def test_a_batch_tells_whom_it_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[batches.Batch] = []
    marks = iter("abc")
    monkeypatch.setattr(batches, "LISTENER", told.append)
    monkeypatch.setattr(batches, "MARK", lambda: next(marks))
    batcher: Batcher[Item, str] = Batcher(lambda _: None, lambda items: ["x"] * len(items), Limits(1, 10.0, 0.2))
    answers: list[Future[str]] = [batcher.submit(Item()) for _ in range(3)]
    assert [answer.result(20) for answer in answers] == ["x"] * 3
    [batch] = told
    assert (batch.shelf, batch.size, batch.fill, batch.marks) == ("asr", 3, pytest.approx(0.6), ("a", "b", "c"))
    assert batch.began <= batch.ended


SPANS = """
import sys, time
from configs.app import TelemetrySettings
from models.batches import Batch
from serve_app.telemetry import traces
from serve_app.telemetry.about import about
traces.begin("test", TelemetrySettings(otlp_endpoint=sys.argv[1], otlp_every_s=0.1, otlp_timeout_s=0.5))
with about(job="one"), traces.span("call", sys.argv[2]):
    with traces.span("asked", traces.current()):
        marks = traces.mark(), None, traces.mark()
    traces.batch(Batch("asr", 3, 0.5, 100.0, 102.5, marks))
print(traces.trace_id() or "none outside")
"""
CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def spans(url: str, **environment: str) -> Any:
    command = [sys.executable, "-c", SPANS, url, CALLER]
    return subprocess.run(
        command, cwd=REPOSITORY, env={**os.environ, **environment}, capture_output=True, text=True, check=True
    )


def test_spans_reach_a_collector_with_the_trace_of_the_caller() -> None:
    with collecting() as collector:
        spans(collector.url)
    [call], [asked], [batch] = (collector.named(name) for name in ("call", "asked", "batch"))
    assert (call.trace, call.parent) == tuple(CALLER.split("-")[1:3])
    assert asked.parent == call.id and call.facts["dub.job"] == "one" and call.service == "dubserve-test"
    assert batch.parent == asked.id and batch.links == [asked.id] * 2 and batch.seconds == pytest.approx(2.5)
    assert batch.facts["dub.batch.size"] == 3


def test_the_usual_variable_names_a_collector_too() -> None:
    with collecting() as collector:
        spans("", OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
    assert collector.named("call")


def test_a_collector_that_is_away_costs_spans_and_no_work() -> None:
    assert spans("http://127.0.0.1:9").stdout == "none outside\n"


@pytest.mark.parametrize("header", ["", "nonsense", "00-0-0-01", CALLER.replace("0af7", "0AF7!")])
def test_a_trace_that_is_none_is_not_taken_over(header: str) -> None:
    assert traces.parent_of({"traceparent": header}) == ""
    assert traces.parent_of({"traceparent": CALLER}) == CALLER


def test_without_a_collector_nothing_is_recorded() -> None:
    with traces.span("quiet") as span:
        assert not span.is_recording() and traces.mark() is None and traces.current() == ""
