"""A small synchronous gRPC client: what `dubserve submit`, the demo, the tests and the bench of streams speak through.

It does what the API in front does, and no more. To drive the service from Python, take `serve_app.client`, which speaks
HTTP: there are uploads, segments, files and typed answers.

Without a key it sends no metadata, exactly as the API that calls this service in production.

A stream that breaks in the middle of a job is taken up again: the job goes on without its listeners, and whoever asks
for it by its id attaches to it. Before that it is asked whether it has ended meanwhile, since to ask for a failed or
cancelled job means to start it again.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import grpc

from models.errors import DubError
from serve_app.doors.wire import UNDER_WAY
from serve_app.proto import translation_pb2 as pb
from serve_app.proto.translation_pb2_grpc import TranslationServiceStub

TLS = "grpcs://"

RETRY_S = 0.5
"""Between two attempts to take up a stream again."""

AWAY = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.NOT_FOUND,  # Serve's word while no application is deployed yet
)
"""What a call meets while the service, or the part of it that would answer, is being started again."""


class CallFailed(DubError):
    """The service answered with an error; the sentence is the service's own."""

    code = "call_failed"

    def __init__(self, status: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(slots=True)
class GrpcClient:
    """Use as a context manager. Every method raises CallFailed. `url` is host:port, or grpcs://host:port for TLS."""

    url: str = "localhost:50051"
    patience_s: float = 60.0  # how long a stream that broke is taken up again before it is given up
    key: str = ""  # of a tenant; "": none is sent
    priority: int = 0  # of the jobs that are submitted
    _channel: grpc.Channel | None = None

    def __enter__(self) -> Self:
        # a proxy in the environment is for the web, not for a service that is addressed by host and port
        options = [("grpc.enable_http_proxy", 0), ("grpc.max_reconnect_backoff_ms", 2000)]
        if self.url.startswith(
            TLS
        ):  # gRPC trusts whom GRPC_DEFAULT_SSL_ROOTS_FILE_PATH names, or the usual authorities
            address = self.url.removeprefix(TLS)
            self._channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(), options=options)
        else:
            self._channel = grpc.insecure_channel(self.url, options=options)
        return self

    def __exit__(self, *_: object) -> None:
        if self._channel:
            self._channel.close()

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        key = (("authorization", f"Bearer {self.key}"),) if self.key else ()
        return (*key, ("priority", str(self.priority))) if self.priority else key

    @property
    def stub(self) -> TranslationServiceStub:
        assert self._channel is not None, "use the client in a with statement"
        return TranslationServiceStub(self._channel)

    def wait(self, seconds: float = 5.0) -> None:
        """Returns once the service answers. Raises CallFailed when it does not in time."""
        assert self._channel is not None, "use the client in a with statement"
        try:
            grpc.channel_ready_future(self._channel).result(seconds)
        except grpc.FutureTimeoutError:
            raise unreachable(self.url) from None

    def translate(
        self, session_id: str, path: str, target: str, source: str = "", gender: str = "", transcript: str = ""
    ) -> Iterator[pb.TranslationProgress]:
        """Starts a job, or attaches to it when it is under way; yields snapshots until it has ended well."""
        request = pb.TranslationRequest(
            session_id=session_id,
            file_path=path,
            source_lang=source,
            target_lang=target,
            voice_gender=gender,
            transcript_path=transcript,
        )
        status, heard = "", 0.0
        while True:
            try:
                for snapshot in self.stub.TranslateVideo(request, metadata=self.metadata):
                    status, heard = snapshot.status, time.monotonic()
                    yield snapshot
                return
            except grpc.RpcError as error:
                if status != "processing" or not self._goes_on(session_id, until=heard + self.patience_s):
                    raise failed(error, self.url) from None

    def _goes_on(self, session_id: str, until: float) -> bool:
        """Whether there is a job under way to come back to, once somebody answers; False when nobody does in time."""
        while time.monotonic() < until:
            time.sleep(RETRY_S)
            try:
                asked = pb.ResultRequest(session_id=session_id)
                self.stub.GetTranslationResult(asked, timeout=RETRY_S * 10, metadata=self.metadata)
            except grpc.RpcError as error:
                if error.code() in AWAY:
                    continue
                return error.details() == UNDER_WAY
            return True
        return False

    def result(self, session_id: str) -> pb.TranslationResult:
        try:
            return self.stub.GetTranslationResult(pb.ResultRequest(session_id=session_id), metadata=self.metadata)
        except grpc.RpcError as error:
            raise failed(error, self.url) from None

    def cancel(self, session_id: str) -> pb.CancelResponse:
        try:
            return self.stub.CancelTranslation(pb.CancelRequest(session_id=session_id), metadata=self.metadata)
        except grpc.RpcError as error:
            raise failed(error, self.url) from None


def failed(error: grpc.RpcError, url: str) -> CallFailed:
    if error.code() is grpc.StatusCode.UNAVAILABLE:
        return unreachable(url)
    return CallFailed(error.code(), error.details() or error.code().name)


def unreachable(url: str) -> CallFailed:
    message = f"nothing answers at {url}; start the service with `dubserve serve`"
    return CallFailed(grpc.StatusCode.UNAVAILABLE, message)
