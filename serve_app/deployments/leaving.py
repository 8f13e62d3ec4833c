"""A gRPC stream whose client leaves ends in its replica too, also when it was not being read.

Serve takes a call back when it is cancelled while it waits for the next message. One that waits for its client to read
the last is dropped where it stands: its replica would try to send for ever, and every such client would take one of the
places of Ingress with it.
"""

from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import grpc
from ray.serve import context as serving
from ray.serve._private.proxy_request_response import gRPCStreamingType

Stream = Callable[[Any, Any], AsyncIterator[Any]]


def add_leaving_to_server(_: object, server: grpc.aio.Server) -> None:
    """For all methods that are added after it. Called by Serve's proxy, in its process."""
    made: Callable[..., Any] = server.service_handler_factory

    def factory(service_method: str, streaming_type: gRPCStreamingType) -> Any:
        handler = made(service_method=service_method, streaming_type=streaming_type)
        return taken_back(handler) if streaming_type is gRPCStreamingType.UNARY_STREAM else handler

    server.service_handler_factory = factory


def take_back(calls: dict[str, Any], _: object) -> None:
    """Those that have not ended by themselves; who has is no longer among them."""
    for call in list(calls.values()):
        call.cancel()


def taken_back(stream: Stream) -> Stream:
    async def streaming(request: Any, context: Any) -> AsyncIterator[Any]:
        known = False
        async for message in stream(request, context):
            if not known:  # Serve names the call in this task when it has made it
                known = True
                name = serving._get_serve_request_context()._internal_request_id
                context.add_done_callback(partial(take_back, serving._get_in_flight_requests(name)))
            yield message

    return streaming
