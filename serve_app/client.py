"""A small synchronous gRPC client: what the command line, the tests and the load bench speak through.

It sends no metadata, exactly as the API that calls this service in production.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import grpc

from models.errors import DubError
from serve_app.proto import translation_pb2 as pb
from serve_app.proto.translation_pb2_grpc import TranslationServiceStub


class CallFailed(DubError):
    """The service answered with an error; the sentence is the service's own."""

    code = "call_failed"

    def __init__(self, status: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(slots=True)
class Client:
    """Use as a context manager. Every method raises CallFailed."""

    url: str = "localhost:50051"
    _channel: grpc.Channel | None = None

    def __enter__(self) -> Self:
        # a proxy in the environment is for the web, not for a service that is addressed by host and port
        self._channel = grpc.insecure_channel(self.url, options=[("grpc.enable_http_proxy", 0)])
        return self

    def __exit__(self, *_: object) -> None:
        if self._channel:
            self._channel.close()

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
        try:
            yield from self.stub.TranslateVideo(request)
        except grpc.RpcError as error:
            raise failed(error, self.url) from None

    def result(self, session_id: str) -> pb.TranslationResult:
        try:
            return self.stub.GetTranslationResult(pb.ResultRequest(session_id=session_id))
        except grpc.RpcError as error:
            raise failed(error, self.url) from None

    def cancel(self, session_id: str) -> pb.CancelResponse:
        try:
            return self.stub.CancelTranslation(pb.CancelRequest(session_id=session_id))
        except grpc.RpcError as error:
            raise failed(error, self.url) from None


def failed(error: grpc.RpcError, url: str) -> CallFailed:
    if error.code() is grpc.StatusCode.UNAVAILABLE:
        return unreachable(url)
    return CallFailed(error.code(), error.details() or error.code().name)


def unreachable(url: str) -> CallFailed:
    message = f"nothing answers at {url}; start the service with `dubserve serve`"
    return CallFailed(grpc.StatusCode.UNAVAILABLE, message)
