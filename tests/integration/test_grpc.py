"""The gRPC door as the API uses it: a plain grpcio client, no metadata, no help from our own client code."""

import re
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import grpc
import imageio_ffmpeg
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest
from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub

from configs.pipeline import STAGES, PrepareSettings
from serve_app.media.probe import probe
from serve_app.proto import translation_pb2 as pb
from serve_app.proto.translation_pb2_grpc import TranslationServiceStub
from tests.service import Service

STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


@pytest.fixture(scope="module")
def stub(served: Service) -> Iterator[TranslationServiceStub]:
    with grpc.insecure_channel(served.grpc_url, options=[("grpc.enable_http_proxy", 0)]) as channel:
        yield TranslationServiceStub(channel)


@pytest.fixture(scope="module")
def uploaded(served: Service, talk: Path) -> Path:
    return Path(shutil.copy(talk, served.uploads / "it's a talk 你好.mp4"))


@pytest.fixture(scope="module")
def long_video(served: Service, talk: Path) -> Path:
    """Three minutes of the talk: long enough to be interrupted anywhere."""
    path = served.uploads / "long.mp4"
    ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
    command = [ffmpeg, "-v", "error", "-stream_loop", "6", "-i", str(talk), "-c", "copy", "-t", "180", str(path)]
    subprocess.run(command, check=True)
    return path


def new_id() -> str:
    return uuid.uuid4().hex


def request(session: str, path: Path | str, target: str = "es", source: str = "en") -> pb.TranslationRequest:
    return pb.TranslationRequest(session_id=session, file_path=str(path), source_lang=source, target_lang=target)


def failed_stream(
    stub: TranslationServiceStub, asked: pb.TranslationRequest
) -> tuple[list[pb.TranslationProgress], grpc.RpcError]:
    """All snapshots of a stream that must not end OK, and its error."""
    seen = []
    with pytest.raises(grpc.RpcError) as caught:
        for snapshot in stub.TranslateVideo(asked):
            seen.append(snapshot)
    return seen, caught.value


def until(stub: TranslationServiceStub, asked: pb.TranslationRequest, stage: str) -> Iterator[pb.TranslationProgress]:
    """The stream of a job, read until it has reached `stage`."""
    stream = stub.TranslateVideo(asked)
    for snapshot in stream:
        if snapshot.stage_number >= STAGES.index(stage) + 1:
            return stream
    raise AssertionError(f"the job ended before {stage}")


def children_of_the_job(video: Path) -> list[psutil.Process]:
    return [p for p in psutil.process_iter(["cmdline"]) if any(str(video) in word for word in p.info["cmdline"] or [])]


def test_a_video_is_dubbed_and_every_message_is_whole(
    served: Service, stub: TranslationServiceStub, uploaded: Path
) -> None:
    session, began = new_id(), time.monotonic()
    stream = stub.TranslateVideo(request(session, uploaded))
    first = next(stream)
    assert time.monotonic() - began < 5  # a second, and the noise of a shared machine
    seen = [first, *stream]

    assert {s.status for s in seen[:-1]} == {"processing"}
    assert (seen[-1].status, seen[-1].progress) == ("completed", 100.0)
    percents = [s.progress for s in seen]
    assert percents == sorted(percents)
    stages = [s.stage_number for s in seen]
    assert stages == sorted(stages)
    assert all(s.session_id == session and s.total_stages == 8 and s.stage in STAGES for s in seen)
    with_facts = [s for s in seen if s.total_duration]
    assert with_facts and all(s.total_duration for s in seen[seen.index(with_facts[0]) :])
    assert with_facts[-1].hardware_info.ram_gb > 0
    assert seen[-1].total_chunks == seen[-1].segments_processed > 3
    assert 1 <= len(seen[-1].log_entries) <= 20
    assert all(STAMP.fullmatch(line.timestamp) for line in seen[-1].log_entries)

    result = stub.GetTranslationResult(pb.ResultRequest(session_id=session))
    assert result.status == "completed"
    assert result.output_path == str(served.artifacts / f"{session}_translated.mp4")
    assert result.output_size == Path(result.output_path).stat().st_size
    assert result.original_size == uploaded.stat().st_size
    assert "-->" in Path(result.original_srt).read_text()
    assert "[es]" in Path(result.translated_srt).read_text()
    dubbed = probe(result.output_path, PrepareSettings())
    assert abs(dubbed.duration - probe(str(uploaded), PrepareSettings()).duration) <= 1 / 25 + 0.001

    insights = stub.GetAIInsights(pb.AIInsightsRequest(session_id=session))
    assert insights.success and insights.total_insights == len(insights.insights) >= 1
    assert all(insight.id.startswith(session) for insight in insights.insights)


def test_reflection_names_the_service(served: Service) -> None:
    with grpc.insecure_channel(served.grpc_url, options=[("grpc.enable_http_proxy", 0)]) as channel:
        asked = iter([ServerReflectionRequest(list_services="")])
        [answer] = ServerReflectionStub(channel).ServerReflectionInfo(asked, timeout=30)
    names = {service.name for service in answer.list_services_response.service}
    assert {"translation.TranslationService", "grpc.health.v1.Health"} <= names


def test_a_busy_service_is_still_ready(served: Service, stub: TranslationServiceStub, long_video: Path) -> None:
    sessions = [new_id() for _ in range(3)]
    streams = [until(stub, request(session, long_video), "initialization") for session in sessions]
    with served.http() as http:
        assert http.get("/readyz").status_code == 200
    for session, stream in zip(sessions, streams, strict=True):
        stub.CancelTranslation(pb.CancelRequest(session_id=session))
        with pytest.raises(grpc.RpcError):
            list(stream)


def test_a_second_call_attaches_and_a_client_that_leaves_stops_nothing(
    stub: TranslationServiceStub, long_video: Path
) -> None:
    session = new_id()
    first = until(stub, request(session, long_video), "transcription")
    first.cancel()
    second = list(stub.TranslateVideo(request(session, long_video)))
    assert second[0].stage_number >= STAGES.index("transcription") + 1  # the same run, not a new one
    assert second[-1].status == "completed"
    assert stub.GetTranslationResult(pb.ResultRequest(session_id=session)).output_size > 0


@pytest.mark.parametrize("stage", ["audio_extraction", "tts", "video_combination"])
def test_cancel_ends_the_stream_and_the_child_processes_and_the_id_can_come_again(
    stub: TranslationServiceStub, long_video: Path, stage: str
) -> None:
    session = new_id()
    stream = until(stub, request(session, long_video), stage)
    answer = stub.CancelTranslation(pb.CancelRequest(session_id=session))
    assert answer.success
    began = time.monotonic()
    with pytest.raises(grpc.RpcError) as caught:
        list(stream)
    assert caught.value.code() is grpc.StatusCode.CANCELLED
    assert time.monotonic() - began < 10
    assert children_of_the_job(long_video) == []
    with pytest.raises(grpc.RpcError) as refused:
        stub.GetTranslationResult(pb.ResultRequest(session_id=session))
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    if stage == "video_combination":
        assert list(stub.TranslateVideo(request(session, long_video)))[-1].status == "completed"


def test_pause_and_resume(stub: TranslationServiceStub, long_video: Path) -> None:
    session = new_id()
    stream = until(stub, request(session, long_video), "transcription")
    paused = stub.ControlTranslation(pb.ControlTranslationRequest(session_id=session, action="pause"))
    assert paused.success and paused.is_paused
    messages = [next(stream) for _ in range(5)]
    assert messages[-1].message == "Paused"
    assert {m.status for m in messages} == {"processing"}
    resumed = stub.ControlTranslation(pb.ControlTranslationRequest(session_id=session, action="resume"))
    assert resumed.success and not resumed.is_paused
    assert list(stream)[-1].status == "completed"


def test_unknown_jobs_are_not_found(stub: TranslationServiceStub) -> None:
    calls = (
        lambda: stub.GetTranslationResult(pb.ResultRequest(session_id="nobody")),
        lambda: stub.CancelTranslation(pb.CancelRequest(session_id="nobody")),
        lambda: stub.GetAIInsights(pb.AIInsightsRequest(session_id="nobody")),
    )
    for call in calls:
        with pytest.raises(grpc.RpcError) as caught:
            call()
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_bad_input_gets_a_reason_and_the_next_job_works(
    served: Service, stub: TranslationServiceStub, uploaded: Path, media: Path
) -> None:
    bad = {
        "not a media file": write(served.uploads / "text.mp4", b"this is no video\n" * 1000),
        "empty": write(served.uploads / "empty.mp4", b""),
        "no audio track": Path(shutil.copy(media / "bitmap.mp4", served.uploads)),
        "missing": served.uploads / "missing.mp4",
        "outside": Path("/etc/passwd"),
        "relative": "talk.mp4",
        "traversal": f"{served.uploads}/../../../../../../etc/passwd",
    }
    for name, path in bad.items():
        session = new_id()
        seen, error = failed_stream(stub, request(session, path))
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT, name
        assert len(error.details()) > 20 and "Traceback" not in error.details(), name
        assert str(served.work) not in error.details() and "/etc" not in error.details(), name
        assert seen[-1].status == "failed", name
        assert any(line.level == "error" and line.message for line in seen[-1].log_entries), name
        with pytest.raises(grpc.RpcError) as refused:
            stub.GetTranslationResult(pb.ResultRequest(session_id=session))
        assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION, name
    seen, error = failed_stream(stub, request(new_id(), uploaded, target="xx"))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert list(stub.TranslateVideo(request(new_id(), uploaded)))[-1].status == "completed"


@pytest.mark.parametrize("session", ["", "../x", "a/b", "a\x00b", "x" * 300, ".hidden"])
def test_an_id_that_could_leave_its_folder_is_refused(
    stub: TranslationServiceStub, uploaded: Path, session: str
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        list(stub.TranslateVideo(request(session, uploaded)))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_language_detection_answers_or_says_why_not(
    served: Service, stub: TranslationServiceStub, uploaded: Path
) -> None:
    found = stub.DetectLanguage(pb.LanguageDetectionRequest(file_path=str(uploaded)), timeout=60)
    assert (found.success, found.detected_language) == (True, "en")
    assert 0 < found.confidence <= 1
    lost = stub.DetectLanguage(pb.LanguageDetectionRequest(file_path=str(served.uploads / "nothing.mp4")), timeout=60)
    assert not lost.success and not lost.detected_language and lost.message


def test_grpc_health(served: Service) -> None:
    states, name = health_pb2.HealthCheckResponse, "translation.TranslationService"
    with grpc.insecure_channel(served.grpc_url, options=[("grpc.enable_http_proxy", 0)]) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        asked = {service: health_pb2.HealthCheckRequest(service=service) for service in ("", name, "nobody.Service")}
        assert {health.Check(asked[service]).status for service in ("", name)} == {states.SERVING}
        with pytest.raises(grpc.RpcError) as unknown:
            health.Check(asked["nobody.Service"])
        assert unknown.value.code() is grpc.StatusCode.NOT_FOUND
        assert set(health.List(health_pb2.HealthListRequest()).statuses) == {"", name}
        for service, status in (("", states.SERVING), ("nobody.Service", states.SERVICE_UNKNOWN)):
            watching = health.Watch(asked[service], timeout=60)
            assert next(watching).status == status
            watching.cancel()
