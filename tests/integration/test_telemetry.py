"""What an operator sees of a real service: one trace through all processes, figures of all of them, lines of JSON."""

import io
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import soundfile
from prometheus_client.parser import text_string_to_metric_families

from configs.pipeline import STAGES
from serve_app.proto import translation_pb2 as pb
from serve_app.proto.translation_pb2_grpc import TranslationServiceStub
from tests.collector import Collector, Span, collecting
from tests.integration.conftest import ECHO
from tests.service import Service, service
from tests.unit.test_alerts import exposed, labels_of
from tests.unit.test_music import MUSIC_HZ, SHARE, decibels, film, level, sides

REPOSITORY = Path(__file__).parents[2]
TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as running:
        yield running


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("seen")


@pytest.fixture(scope="module")
def seen(output: Path, collector: Collector) -> Iterator[Service]:
    telemetry = {"logs": "json", "log_level": "debug", "otlp_endpoint": collector.url, "otlp_every_s": 0.2}
    engines = {**ECHO["engines"], "separation": {"engine": "echo"}}
    with service(output, {**ECHO, "engines": engines, "telemetry": telemetry}) as running:
        yield running


@pytest.fixture(scope="module")
def job(seen: Service, talk: Path) -> str:
    """The id of a job that has completed and belongs to a trace of its caller."""
    with seen.http() as http, talk.open("rb") as video:
        headers = {"traceparent": f"00-{TRACE}-{CALLER}-01"}
        answer = http.post("/v1/jobs", data={"target_lang": "es"}, files={"file": video}, headers=headers, timeout=60)
        job = answer.json()
        with http.stream("GET", f"/v1/jobs/{job['id']}/events", timeout=None) as events:
            events.read()
        assert http.get(f"/v1/jobs/{job['id']}").json()["status"] == "completed"
        http.get("/v1/jobs/nobody")
    return str(job["id"])


def until(collector: Collector, *names: str) -> None:
    """Spans are sent in the background."""
    for _ in range(600):
        if all(collector.named(name) for name in names):
            return
        time.sleep(0.05)
    raise AssertionError(f"of {names} only {sorted({span.name for span in collector.spans})} have come")


def line(collector: Collector, span: Span) -> list[str]:
    """Names of a span and of those above it."""
    above = collector.parent(span)
    return [span.name, *(line(collector, above) if above else [])]


def test_one_trace_leads_from_the_call_through_rooms_and_engines(collector: Collector, job: str) -> None:
    until(collector, "attempt", "POST /v1/jobs", "recognize", "speak", "video_combination")
    [call] = collector.named("POST /v1/jobs")
    assert (call.trace, call.parent, call.service) == (TRACE, CALLER, "dubserve-ingress")
    [attempt] = collector.named("attempt")
    assert attempt.parent == call.id and attempt.facts["dub.job"] == job and attempt.facts["dub.attempt"] == 1
    rooms = [span for span in collector.spans if span.name in STAGES]
    assert {span.name for span in rooms} == set(STAGES)
    assert all(line(collector, room) == [room.name, "attempt", "POST /v1/jobs"] for room in rooms)
    engines = collector.named("recognize") + collector.named("translate")
    told = [span for span in engines if span.service in ("dubserve-recognizer", "dubserve-translator")]
    assert {span.name for span in told} == {"recognize", "translate"}
    for span in told:
        kind = "transcription" if span.name == "recognize" else "translation"
        assert line(collector, span) == [span.name, span.name, kind, "attempt", "POST /v1/jobs"]
    assert {span.trace for span in (*rooms, *told, attempt)} == {TRACE}


def test_what_is_answered_at_once_is_in_the_trace_of_its_call(seen: Service, collector: Collector, job: str) -> None:
    """Also what a thread of an engine has done."""
    sound = io.BytesIO()
    soundfile.write(sound, 0.3 * np.sin(np.arange(2 * 16_000) / 8), 16_000, format="WAV")
    with seen.http() as http:
        speech = {"model": "tts-1", "input": "Good morning.", "response_format": "wav"}
        http.post("/v1/audio/speech", json=speech).raise_for_status()
        files = {"file": ("sound.wav", sound.getvalue())}
        http.post("/v1/audio/transcriptions", data={"model": "whisper-1"}, files=files).raise_for_status()
    with grpc.insecure_channel(seen.grpc_url, options=[("grpc.enable_http_proxy", 0)]) as channel:
        [video] = seen.uploads.iterdir()
        asked = pb.LanguageDetectionRequest(file_path=str(video))
        assert TranslationServiceStub(channel).DetectLanguage(asked, timeout=60).success
    calls = {
        "POST /v1/audio/speech": {"speak"},
        "POST /v1/audio/transcriptions": {"detect", "recognize"},
        "DetectLanguage": {"detect", "recognize"},
    }
    until(collector, *calls)
    for call, engines in calls.items():
        assert below(collector, call) >= engines, (call, below(collector, call))
    asking = {"POST /v1/jobs", "POST /v1/audio/transcriptions", "DetectLanguage"}
    for _ in range(200):  # the other process sends its spans for itself
        heard = [span for span in collector.named("recognize") if span.service == "dubserve-recognizer"]
        if asking <= {line(collector, span)[-1] for span in heard}:
            break
        time.sleep(0.05)
    assert {line(collector, span)[-1] for span in heard} == asking


def below(collector: Collector, call: str) -> set[str]:
    """Names of the spans of Ingress under the only call of this name."""
    [root] = collector.named(call)
    return {span.name for span in collector.spans if span.trace == root.trace and span.service == root.service} - {call}


def test_figures_of_all_processes_at_one_address(seen: Service, job: str) -> None:
    with seen.http() as http:
        figures = samples(http.get("/metrics").text)
    assert {key[0] for key in figures} <= exposed()
    assert all({label for label, _ in key[1:]} == labels_of(key[0]) for key in figures)
    assert figures["dubserve_jobs", ("state", "completed")] == 1
    assert figures["dubserve_attempts_total", ("outcome", "completed")] == 1
    assert figures["dubserve_queue_wait_seconds_count",] == 1
    assert 28 < figures["dubserve_video_seconds_total",] < 30
    for stage in STAGES:
        assert figures["dubserve_stage_seconds_count", ("stage", stage)] == 1
    for shelf in ("vad", "asr", "translation", "tts"):
        assert figures["dubserve_engine_seconds_count", ("shelf", shelf)] >= 1, shelf
    assert figures["dubserve_calls_total", ("call", "POST /v1/jobs"), ("code", "202"), ("door", "http")] == 1
    assert figures["dubserve_calls_total", ("call", "GET /v1/jobs/{job_id}"), ("code", "404"), ("door", "http")] == 1


def samples(text: str) -> dict[tuple[Any, ...], float]:
    return {
        (one.name, *sorted(one.labels.items())): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


def test_all_that_happened_to_a_job_as_lines(seen: Service, job: str) -> None:
    with seen.http() as http:
        lines = [json.loads(one) for one in http.get(f"/v1/jobs/{job}/log").text.splitlines()]
    assert {(one["job"], one["tenant"], one["attempt"]) for one in lines} == {(job, "anonymous", 1)}
    assert lines[0]["event"] == "attempt.began"
    ends = [one for one in lines if one["event"] == "stage.ended"]
    assert {one["stage"] for one in ends} == set(STAGES) and all(one["duration_ms"] >= 0 for one in ends)
    assert {one["trace_id"] for one in lines} == {TRACE}
    decisions = [one["message"] for one in lines if one["event"] == "decision"]
    assert any("Detected 28.9 s" in message for message in decisions)
    assert [(one["event"], one["outcome"]) for one in lines if "outcome" in one] == [("attempt.ended", "completed")]


def test_the_output_of_the_service_is_lines_of_all_processes(output: Path, job: str) -> None:
    text = ""
    for _ in range(200):
        text = (output / "service.log").read_text()
        if '"attempt.ended"' in text:
            break
        time.sleep(0.05)
    lines = [json.loads(one) for one in text.splitlines() if one.strip()]
    assert {"service", "job.taken", "attempt.began", "stage.ended", "attempt.ended"} <= {one["event"] for one in lines}
    assert {one["job"] for one in lines if one["event"] == "job.taken"} == {job}


def test_music_stays_under_the_dub_and_its_engine_is_seen(seen: Service, collector: Collector, tmp_path: Path) -> None:
    """Another job: those who count the first one's spans come before."""
    video = shutil.copy(film(tmp_path / "film.mp4", 24, voice="between(t,3,5)+between(t,8,13)"), seen.uploads)
    with seen.http() as http:
        asked = {"target_lang": "es", "path": str(video), "subtitles": "none"}
        job = http.post("/v1/jobs", data=asked).raise_for_status().json()["id"]
        with http.stream("GET", f"/v1/jobs/{job}/events", timeout=None) as events:
            events.read()
        made = http.get(f"/v1/jobs/{job}/artifacts/translated.mp4").raise_for_status()
    (tmp_path / "made.mp4").write_bytes(made.content)
    side = sides(tmp_path / "made.mp4")
    share = level(side, MUSIC_HZ, 8.5, 12.5) / level(side, MUSIC_HZ, 16, 23)
    assert decibels(share) == pytest.approx(decibels(SHARE), abs=1)
    until(collector, "separate")
    assert line(collector, collector.named("separate")[0])[-2:] == ["attempt", "POST /v1/jobs"]
