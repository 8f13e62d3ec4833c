"""A collector of OpenTelemetry for tests: takes spans over HTTP on loopback, as a real one does."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass
class Span:
    service: str
    name: str
    trace: str
    id: str
    parent: str
    seconds: float
    links: list[str]
    facts: dict[str, Any]


@dataclass
class Collector:
    url: str = ""
    spans: list[Span] = field(default_factory=list)

    def named(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]

    def parent(self, span: Span) -> Span | None:
        return next((one for one in self.spans if one.id == span.parent), None)

    def take(self, body: bytes) -> None:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            of = {item.key: item.value.string_value for item in resource.resource.attributes}
            for scope in resource.scope_spans:
                self.spans += [span_of(of["service.name"], raw) for raw in scope.spans]


def span_of(service: str, raw: Any) -> Span:
    facts = {item.key: getattr(item.value, item.value.WhichOneof("value")) for item in raw.attributes}
    seconds = (raw.end_time_unix_nano - raw.start_time_unix_nano) / 1e9
    ids = raw.trace_id.hex(), raw.span_id.hex(), raw.parent_span_id.hex()
    return Span(service, raw.name, *ids, seconds, [link.span_id.hex() for link in raw.links], facts)


@contextmanager
def collecting() -> Iterator[Collector]:
    found = Collector()

    class Door(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.path == "/v1/traces":
                found.take(body if self.headers.get("content-encoding") != "gzip" else b"")
            self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    found.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
