"""Spans go to a collector by OTLP over HTTP; one that is away costs its spans and nothing else."""

import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from slipway_chassis.otlp import SEND_WITHIN, OtlpRecorder
from slipway_chassis.telemetry import SpanKind, Tracing, trace_of

USERS = f"00-{'a' * 32}-{'b' * 16}-01"
UNSAMPLED = f"00-{'a' * 32}-{'b' * 16}-00"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def received() -> Iterator[tuple[str, list[Any]]]:
    """An endpoint, and the requests that come to it."""
    requests: list[Any] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = ExportTraceServiceRequest()
            request.ParseFromString(self.rfile.read(int(self.headers["Content-Length"])))
            requests.append((self.path, request))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments: Any) -> None:
            """Not of interest."""

    server = HTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", requests
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_span_arrives_with_its_parent_service_and_times(received: tuple[str, list[Any]]) -> None:
    endpoint, requests = received
    tracing = Tracing(OtlpRecorder(endpoint, "healer", "tokyo", "one"))
    with tracing.span("request", at=NOW, parent=USERS, kind=SpanKind.SERVER, region="tokyo") as span:
        span.describe("POST /v1/clusters", status=202)
        span.keep()
    tracing.record("Start etcd", USERS, NOW, NOW + timedelta(seconds=3), None, step="etcd")
    tracing.close()
    ((path, request),) = requests
    assert path == "/v1/traces"
    about = {each.key: each.value.string_value for each in request.resource_spans[0].resource.attributes}
    assert about["service.name"] == "healer"
    asked, step = request.resource_spans[0].scope_spans[0].spans
    assert (asked.name, asked.trace_id.hex(), asked.parent_span_id.hex()) == ("POST /v1/clusters", "a" * 32, "b" * 16)
    assert {each.key for each in asked.attributes} == {"region", "status"}
    assert step.end_time_unix_nano - step.start_time_unix_nano == 3_000_000_000


def test_what_its_caller_does_not_sample_is_handed_on_and_not_sent(received: tuple[str, list[Any]]) -> None:
    endpoint, requests = received
    tracing = Tracing(OtlpRecorder(endpoint, "healer", "tokyo", "one"))
    with tracing.span("request", at=NOW, parent=UNSAMPLED) as span:
        span.keep()
        assert trace_of(span.traceparent) == "a" * 32
        assert span.traceparent is not None
        assert span.traceparent.endswith("-00")
    tracing.close()
    assert requests == []


def test_a_collector_that_is_away_does_not_hold_the_stop_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    tracing = Tracing(OtlpRecorder(f"http://127.0.0.1:{port}", "healer", "tokyo", "one"))
    with tracing.span("request", at=NOW) as span:
        span.keep()
    began = time.monotonic()
    tracing.close()
    assert time.monotonic() - began < 2 * SEND_WITHIN + 2
