"""What the API in front reads: full snapshots, exact words, and errors that tell nothing of ours."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import grpc
import pytest

from configs.pipeline import STAGES
from models import errors
from serve_app.doors import wire
from serve_app.jobs.job import Control, Insight, Job, LogLine, Progress, Quality, Request, Result, State

REPOSITORY = Path(__file__).parents[2]
HARDWARE = {"cpu": "a processor", "gpu": "none", "vram_gb": 0, "ram_gb": 24}
LINE = LogLine("2026-01-01T00:00:00.000001Z", "info", "tts", "Using espeak", "7", {"voice": "es"})


def a_job(state: State = State.RUNNING, **fields: object) -> Job:
    progress = Progress(
        percent=41.5,
        stage="translation",
        stage_percent=12.5,
        stage_elapsed_s=3.0,
        elapsed_s=60.0,
        eta_s=42.0,
        duration_s=3725.0,
        position_s=65.0,
        segments_done=4,
        segments_total=9,
        early_preview="/artifacts/x_early_preview.mp4",
        preview_ids=("seg_001",),
        hardware=HARDWARE,
    )
    job = Job(Request("x", "/uploads/x.mp4", "en", "es"), state, Control.RUN, 1, 1, progress, 1.0, 2.0)
    return dataclasses.replace(job, **fields)  # type: ignore[arg-type]


def a_result(quality: Quality) -> Result:
    return Result("/a/x_translated.mp4", "/a/x.srt", "/a/y.srt", "/a/r.json", 10.0, 2**33, 2**34, 5.0, quality)


def test_every_progress_message_is_a_full_snapshot() -> None:
    message = wire.progress(a_job(), [LINE])
    unset = [field.name for field in message.DESCRIPTOR.fields if not getattr(message, field.name)]
    assert unset == []
    assert (message.stage, message.stage_number, message.total_stages) == ("translation", 4, 8)
    assert message.current_time_formatted == "01:05"
    assert message.total_duration_formatted == "01:02:05"
    assert message.chunks_per_minute == 4.0
    assert json.loads(message.log_entries[0].extra_data) == {"voice": "es"}
    assert message.log_entries[0].session_id == "x"


@pytest.mark.parametrize(
    ("state", "word"),
    [
        (State.WAITING, "processing"),
        (State.RUNNING, "processing"),
        (State.PAUSED, "processing"),
        (State.COMPLETED, "completed"),
        (State.FAILED, "failed"),
        (State.CANCELLED, "cancelled"),
    ],
)
def test_status_is_one_of_four_words(state: State, word: str) -> None:
    assert wire.progress(a_job(state), []).status == word


def test_a_completed_job_shows_a_hundred_percent() -> None:
    message = wire.progress(a_job(State.COMPLETED), [])
    assert (message.progress, message.progress_percent, message.eta_seconds) == (100.0, 100.0, 0)


@pytest.mark.parametrize("state", [State.WAITING, State.RUNNING, State.PAUSED, State.FAILED, State.CANCELLED])
def test_there_is_no_result_before_a_job_has_completed(state: State) -> None:
    with pytest.raises(errors.WrongState) as caught:
        wire.result(a_job(state, error="transcription: it broke"))
    assert state is not State.FAILED or "it broke" in str(caught.value)


def test_quality_is_unset_when_a_figure_is_unknown() -> None:
    known = Quality(90.0, 80.0, 70.0, True, -23.0, 1.02, 3)
    job = a_job(State.COMPLETED, result=a_result(known))
    assert wire.result(job).quality_metrics.segments_condensed == 3
    assert wire.result(job).output_size == 2**33
    unknown = dataclasses.replace(known, lip_sync=None)
    assert not wire.result(a_job(State.COMPLETED, result=a_result(unknown))).HasField("quality_metrics")


@pytest.mark.parametrize(
    ("error", "code", "status"),
    [
        (errors.NoSpeech("silence"), grpc.StatusCode.INVALID_ARGUMENT, 422),
        (errors.PathNotAllowed("no"), grpc.StatusCode.INVALID_ARGUMENT, 422),
        (errors.JobNotFound("no"), grpc.StatusCode.NOT_FOUND, 404),
        (errors.WrongState("no"), grpc.StatusCode.FAILED_PRECONDITION, 409),
        (errors.ArtifactMissing("make it"), grpc.StatusCode.FAILED_PRECONDITION, 503),
        (errors.OutOfSpace("full"), grpc.StatusCode.RESOURCE_EXHAUSTED, 507),
        (errors.NotAllowed("slow down", "resource_exhausted", 3), grpc.StatusCode.RESOURCE_EXHAUSTED, 429),
        (errors.NotAllowed("who?", "unauthenticated"), grpc.StatusCode.UNAUTHENTICATED, 401),
        (errors.StageFailed("tts", "mute"), grpc.StatusCode.INTERNAL, 500),
    ],
)
def test_each_error_has_its_code(error: errors.DubError, code: grpc.StatusCode, status: int) -> None:
    fault = wire.fault(error)
    assert (fault.grpc, fault.http, fault.message) == (code, status, str(error))


def test_every_error_of_the_tree_has_a_code() -> None:
    covered = (*(kind for kind, _, _ in wire.CODES), errors.NotAllowed)
    ours = [kind for kind in errors.DubError.__subclasses__() if kind.__module__ == "models.errors"]
    assert ours and all(issubclass(kind, covered) for kind in ours)


def test_an_unforeseen_error_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    fault = wire.fault(KeyError("/secret/path"))
    assert fault.grpc is grpc.StatusCode.INTERNAL
    assert "secret" not in fault.message
    assert "secret" in caplog.text  # the operator finds it


def test_an_error_of_another_replica_is_unwrapped() -> None:
    wrapped = RuntimeError("ray::Recognizer traceback …")
    wrapped.cause = errors.NoSpeech("silence")  # type: ignore[attr-defined]
    assert wire.fault(wrapped).code == "no_speech"


def test_a_failed_job_fails_with_the_code_it_failed_with() -> None:
    job = a_job(State.FAILED, error_code="unsupported_language", error="no model")
    assert wire.fault(wire.failure(job)).grpc is grpc.StatusCode.INVALID_ARGUMENT
    internal = wire.fault(wire.failure(a_job(State.FAILED, error_code="stage_failed", error="tts: mute")))
    assert (internal.grpc, internal.message) == (grpc.StatusCode.INTERNAL, "tts: mute")


def test_insights_carry_json() -> None:
    found = wire.insights("x", [Insight("x-1", "decision", "t", "d", "low", "now", {"a": 1})])
    assert (found.total_insights, found.success, json.loads(found.insights[0].data)) == (1, True, {"a": 1})


def test_stage_sentences_cover_all_stages() -> None:
    assert tuple(wire.SENTENCES) == STAGES


def test_committed_stubs_are_what_the_proto_gives(tmp_path: Path) -> None:
    outs = [f"--{kind}_out={tmp_path}" for kind in ("python", "grpc_python", "pyi")]
    proto = "serve_app/proto/translation.proto"
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", "-I.", *outs, proto], cwd=REPOSITORY, check=True)
    for made in sorted((tmp_path / "serve_app/proto").iterdir()):
        assert made.read_text() == (REPOSITORY / "serve_app/proto" / made.name).read_text(), made.name
