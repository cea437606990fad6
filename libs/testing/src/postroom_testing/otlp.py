"""A receiver of spans on loopback: OTLP over HTTP, its protobuf decoded."""

import contextlib
import gzip
import threading
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TypeAlias

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.proto.trace.v1.trace_pb2 import Status as SpanStatus

Value: TypeAlias = str | int | float | bool


@dataclass(frozen=True, slots=True)
class ReceivedSpan:
    """A span as it came in; ids in hexadecimal digits, `parent_id` empty at the root."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: str
    seconds: float
    failed: bool
    attributes: Mapping[str, Value]


@dataclass
class OtlpReceiver:
    """What has come in. `status` is what it answers; `hold` makes it answer nothing until it is set."""

    endpoint: str
    spans: list[ReceivedSpan] = field(default_factory=list[ReceivedSpan])
    headers: list[Mapping[str, str]] = field(default_factory=list[Mapping[str, str]])
    paths: list[str] = field(default_factory=list[str])
    status: int = 200
    hold: threading.Event | None = None

    def named(self, name: str) -> ReceivedSpan:
        """The one span of this name; ValueError for none or several."""
        (found,) = [span for span in self.spans if span.name == name]
        return found

    def take(self, path: str, headers: Mapping[str, str], body: bytes) -> None:
        """Note a request."""
        self.paths.append(path)
        self.headers.append(headers)
        octets = gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body
        for group in ExportTraceServiceRequest.FromString(octets).resource_spans:
            service = str(_values(group.resource.attributes)["service.name"])
            for scope in group.scope_spans:
                self.spans += [_received(service, span) for span in scope.spans]


@contextlib.contextmanager
def otlp_receiver() -> Generator[OtlpReceiver]:
    """Listens within the block; `endpoint` is for OTEL_EXPORTER_OTLP_ENDPOINT."""
    receiver = OtlpReceiver("")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if receiver.hold is not None:
                receiver.hold.wait()
            if receiver.status == 200:
                receiver.take(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            self.send_response(receiver.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name there
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        server.block_on_close = False
        receiver.endpoint = f"http://127.0.0.1:{server.server_port}"
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        serving.start()
        try:
            yield receiver
        finally:
            if receiver.hold is not None:
                receiver.hold.set()
            server.shutdown()
            serving.join()


def _received(service: str, span: Span) -> ReceivedSpan:
    return ReceivedSpan(
        service=service,
        name=span.name,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        kind=Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
        seconds=(span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
        failed=span.status.code == SpanStatus.STATUS_CODE_ERROR,
        attributes=_values(span.attributes),
    )


def _values(attributes: Iterable[KeyValue]) -> dict[str, Value]:
    found = ((each.key, each.value, each.value.WhichOneof("value")) for each in attributes)
    return {key: getattr(value, kind) for key, value, kind in found if kind is not None}
