"""Sends spans to an OpenTelemetry collector, by OTLP over HTTP. Imported only where an endpoint is configured."""

import time
from datetime import datetime

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from slipway_chassis.telemetry import SpanKind

_KINDS = {kind: trace.SpanKind[kind.name] for kind in SpanKind}
_PROPAGATOR = TraceContextTextMapPropagator()

SENT_EVERY_MS = 1000
SEND_WITHIN = 5.0
"""Seconds; a collector that is away costs its spans, never the service's stop."""


class OtlpRecording:
    """See telemetry.Recording."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span
        self._ended: int | None = None
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier, trace.set_span_in_context(span, Context()))
        self.traceparent = carrier["traceparent"]

    def describe(self, name: str | None, attributes: dict[str, str | float]) -> None:
        """See the protocol."""
        if name is not None:
            self._span.update_name(name)
        self._span.set_attributes(attributes)

    def stop(self, error: str | None, at: datetime | None = None) -> None:
        """See the protocol."""
        self._ended = time.time_ns() if at is None else _nanoseconds(at)
        if error is not None:
            self._span.set_status(trace.Status(trace.StatusCode.ERROR, error))

    def send(self) -> None:
        """See the protocol."""
        self._span.end(self._ended)


class OtlpRecorder:
    """See telemetry.Recorder."""

    def __init__(self, endpoint: str, service: str, region: str, replica: str) -> None:
        about = {
            "service.namespace": "slipway",
            "service.name": service,
            "service.instance.id": replica,
            "slipway.region": region,
        }
        exporter = OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces", timeout=SEND_WITHIN)
        self._provider = TracerProvider(resource=Resource(about), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=SENT_EVERY_MS))
        self._tracer = self._provider.get_tracer("slipway")

    def start(self, name: str, kind: SpanKind, parent: str | None, at: datetime | None = None) -> OtlpRecording:
        """See the protocol."""
        context = _PROPAGATOR.extract({"traceparent": parent}, Context()) if parent else Context()
        return OtlpRecording(self._tracer.start_span(name, context, _KINDS[kind], start_time=_nanoseconds(at)))

    def close(self) -> None:
        """See the protocol."""
        self._provider.force_flush(int(SEND_WITHIN * 1000))
        self._provider.shutdown()


def _nanoseconds(at: datetime | None) -> int | None:
    return None if at is None else int(at.timestamp() * 1_000_000) * 1000
