"""An OpenTelemetry collector for tests: keeps the spans that come by OTLP over HTTP."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True)
class Span:
    """One span as it arrived."""

    service: str
    name: str
    trace: str
    id: str
    parent: str
    began: int
    ended: int
    attributes: dict[str, str]


class Collector:
    """Receives while the block lasts."""

    def __init__(self) -> None:
        self._spans: list[Span] = []
        self.received: list[bytes] = []
        """All that came, as it came."""
        spans, received = self._spans, self.received

        class Receiver(BaseHTTPRequestHandler):
            """POST /v1/traces."""

            def do_POST(self) -> None:
                request = ExportTraceServiceRequest()
                received.append(self.rfile.read(int(self.headers["Content-Length"])))
                request.ParseFromString(received[-1])
                spans.extend(_spans_of(request))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *arguments: Any) -> None:
                """Requests are not of interest."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def endpoint(self) -> str:
        """For SLIPWAY_OTLP_ENDPOINT."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def of(self, trace: str) -> list[Span]:
        """The spans of a trace by their begin."""
        return sorted((span for span in list(self._spans) if span.trace == trace), key=lambda span: span.began)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _spans_of(request: Any) -> Iterator[Span]:
    for resource in request.resource_spans:
        about = {each.key: each.value.string_value for each in resource.resource.attributes}
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield Span(
                    service=about["service.name"],
                    name=span.name,
                    trace=span.trace_id.hex(),
                    id=span.span_id.hex(),
                    parent=span.parent_span_id.hex(),
                    began=span.start_time_unix_nano,
                    ended=span.end_time_unix_nano,
                    attributes={each.key: each.value.string_value for each in span.attributes},
                )
