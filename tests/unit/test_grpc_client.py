"""A stream that breaks is taken up again, unless there is nothing to come back to."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import pytest

from serve_app import grpc_client as client
from serve_app.doors.wire import UNDER_WAY
from serve_app.grpc_client import CallFailed, GrpcClient
from serve_app.proto import translation_pb2 as pb
from serve_app.proto.translation_pb2_grpc import (
    TranslationServiceServicer,
    add_TranslationServiceServicer_to_server,
)

Act = Callable[[grpc.ServicerContext], Iterator[str]]


class Script(TranslationServiceServicer):
    """Streams that play one act each, and answers to the question for the result."""

    def __init__(self, acts: list[Act], results: list[tuple[grpc.StatusCode, str]]) -> None:
        self.acts, self.results = acts, results
        self.streams = 0

    def TranslateVideo(self, request: Any, context: grpc.ServicerContext) -> Iterator[pb.TranslationProgress]:  # noqa: N802
        self.streams += 1
        for status in self.acts.pop(0)(context):
            yield pb.TranslationProgress(session_id=request.session_id, status=status)

    def GetTranslationResult(self, request: Any, context: grpc.ServicerContext) -> pb.TranslationResult:  # noqa: N802
        code, details = self.results.pop(0)
        if code is not grpc.StatusCode.OK:
            context.abort(code, details)
        return pb.TranslationResult(session_id=request.session_id)


def breaks(code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE, *last: str) -> Act:
    def act(context: grpc.ServicerContext) -> Iterator[str]:
        yield "processing"
        yield from last
        context.abort(code, "it broke")

    return act


def ends_well(context: grpc.ServicerContext) -> Iterator[str]:
    yield "completed"


@contextmanager
def served(script: Script) -> Iterator[GrpcClient]:
    server = grpc.server(ThreadPoolExecutor(4))
    add_TranslationServiceServicer_to_server(script, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with GrpcClient(f"127.0.0.1:{port}", patience_s=2.0) as talking:
            yield talking
    finally:
        server.stop(0)


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "RETRY_S", 0.02)


def heard(script: Script) -> list[str]:
    with served(script) as talking:
        return [snapshot.status for snapshot in talking.translate("job", "/film.mp4", "es")]


AWAY = (grpc.StatusCode.UNAVAILABLE, "nobody")
GOES_ON = (grpc.StatusCode.FAILED_PRECONDITION, UNDER_WAY)


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL])
def test_it_comes_back_as_often_as_it_must(code: grpc.StatusCode) -> None:
    script = Script([breaks(code), breaks(code), ends_well], [AWAY, AWAY, GOES_ON, GOES_ON])
    assert heard(script) == ["processing", "processing", "completed"]


def test_it_hears_of_an_end_that_it_missed() -> None:
    assert heard(Script([breaks(), ends_well], [(grpc.StatusCode.OK, "")])) == ["processing", "completed"]


def test_a_job_that_was_cancelled_meanwhile_is_not_sent_again() -> None:
    script = Script([breaks(), ends_well], [(grpc.StatusCode.FAILED_PRECONDITION, "the job was cancelled")])
    with pytest.raises(CallFailed):
        heard(script)
    assert script.streams == 1


@pytest.mark.parametrize("last", ["failed", "cancelled"])
def test_an_end_that_it_heard_is_the_end(last: str) -> None:
    script = Script([breaks(grpc.StatusCode.INTERNAL, last), ends_well], [GOES_ON])
    with pytest.raises(CallFailed, match="it broke"):
        heard(script)
    assert script.streams == 1


def test_a_refusal_is_not_asked_again() -> None:
    def refuses(context: grpc.ServicerContext) -> Iterator[str]:
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no such language")
        yield ""

    script = Script([refuses], [])
    with pytest.raises(CallFailed, match="no such language"):
        heard(script)


def test_patience_ends() -> None:
    began = time.monotonic()
    with pytest.raises(CallFailed, match="nothing answers"):
        heard(Script([breaks()], [AWAY] * 1000))
    assert 1.5 < time.monotonic() - began < 10
