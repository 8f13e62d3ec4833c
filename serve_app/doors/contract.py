"""The methods of the contract, for Serve's gRPC server.

The generated function would do, but for bytes that are no message: gRPC answers them with the name of a Python class,
before anything of ours has seen them. Here they are an empty message, which every method refuses in its own words.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import grpc
from google.protobuf.message import DecodeError, Message

from serve_app.proto.translation_pb2_grpc import add_TranslationServiceServicer_to_server

Handlers = Mapping[str, Any]
"""grpc.RpcMethodHandler by name; they are named tuples, which their stubs do not say."""


def add_contract_to_server(servicer: object, server: grpc.aio.Server) -> None:
    add: Callable[[object, object], None] = add_TranslationServiceServicer_to_server
    add(servicer, Forgiving(server))


class Forgiving:
    """A server as the generated function knows it; the methods that it is given read whatever comes."""

    def __init__(self, server: Any) -> None:
        self._server = server

    def add_generic_rpc_handlers(self, handlers: Sequence[Any]) -> None:
        for one in handlers:
            one._method_handlers = forgiving(one._method_handlers)
        self._server.add_generic_rpc_handlers(handlers)

    def add_registered_method_handlers(self, service: str, handlers: Handlers) -> None:
        self._server.add_registered_method_handlers(service, forgiving(handlers))


def forgiving(handlers: Handlers) -> dict[str, Any]:
    return {name: one._replace(request_deserializer=read(one.request_deserializer)) for name, one in handlers.items()}


def read(parse: Callable[[bytes], Message]) -> Callable[[bytes], Message]:
    def parsed(sent: bytes) -> Message:
        try:
            return parse(sent)
        except DecodeError:
            return parse(b"")

    return parsed
