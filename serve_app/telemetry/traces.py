"""Spans of OpenTelemetry, from the call that brings a job through every room, engine call and batch.

Without an endpoint nothing is recorded: OpenTelemetry's own spans that do nothing cost about a microsecond each. With
one, they are sent in the background, and a collector that is away costs spans and nothing else.

A trace begins with the call, or continues the caller's (`traceparent` as W3C says, in HTTP's headers or gRPC's
metadata). It lies in the job's row, so every attempt, on whatever machine and however much later, is its child.
"""

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from configs.app import TelemetrySettings
from models.batches import Batch
from serve_app.telemetry.about import NOW

Span = trace.Span

HEADER = "traceparent"
_CARRIER = TraceContextTextMapPropagator()
_TRACER = trace.get_tracer("dubserve")


def begin(part: str, settings: TelemetrySettings) -> None:
    """Sends the spans of this process, if they are wanted anywhere. Once for each process."""
    endpoint = settings.otlp_endpoint or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    if not endpoint or not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        return
    # these take a third of a second to import, which only those pay who want spans
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

    who = {"service.name": f"dubserve-{part}", "service.instance.id": f"{socket.gethostname()}:{os.getpid()}"}
    sampler = ParentBased(TraceIdRatioBased(settings.trace_share))
    provider = TracerProvider(sampler=sampler, resource=Resource.create(who))
    exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", timeout=settings.otlp_timeout_s)
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=1000 * settings.otlp_every_s))
    trace.set_tracer_provider(provider)


@contextmanager
def span(name: str, parent: str = "", **attributes: Any) -> Iterator[Span]:
    """Around some work; `parent` is a `traceparent` from elsewhere, else the span around this one is it."""
    above = _CARRIER.extract({HEADER: parent}) if parent else None
    now = NOW.get()
    facts = {"job": now.job, "tenant": now.tenant, "attempt": now.attempt, "stage": now.stage, **attributes}
    told = {f"dub.{key}": value for key, value in facts.items() if value not in ("", 0, None)}
    with _TRACER.start_as_current_span(name, above, attributes=told) as begun:
        yield begun


def mark() -> trace.SpanContext | None:
    """The span at hand, to be named by a batch later; None without one that is recorded."""
    at_hand = trace.get_current_span()
    return at_hand.get_span_context() if at_hand.is_recording() else None


def batch(told: Batch) -> None:
    """A batch that has computed: a child of the first question that it answers, with links to all of them."""
    asked = [one for one in told.marks if one is not None]
    if not asked:
        return
    above = trace.set_span_in_context(trace.NonRecordingSpan(asked[0]))
    facts: dict[str, Any] = {"dub.shelf": told.shelf, "dub.batch.size": told.size, "dub.batch.fill": told.fill}
    links = [trace.Link(one) for one in asked]
    begun = _TRACER.start_span("batch", above, attributes=facts, links=links, start_time=round(1e9 * told.began))
    begun.end(round(1e9 * told.ended))


def parent_of(headers: Mapping[str, str]) -> str:
    """The `traceparent` that a caller sent, if it is one; names in small letters."""
    found = trace.get_current_span(_CARRIER.extract(headers)).get_span_context()
    return headers[HEADER] if found.is_valid else ""


def current() -> str:
    """The `traceparent` of the span at hand; empty without one."""
    carrier: dict[str, str] = {}
    _CARRIER.inject(carrier)
    return carrier.get(HEADER, "")


def trace_id() -> str:
    """32 hexadecimal digits; empty without a trace."""
    found = trace.get_current_span().get_span_context()
    return trace.format_trace_id(found.trace_id) if found.is_valid else ""
