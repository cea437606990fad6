"""Spans by OTLP over HTTP, with OpenTelemetry's SDK and by the variables of its specification (`OTEL_*`).

Spans wait in a bounded queue for a thread of its own: a receiver that is slow or away costs spans, and nobody
waits for it. To import this costs time and memory, which only those pay who export.
"""

import contextlib
import logging
import os
import socket
import threading
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
    set_span_in_context,
)

from postroom_runtime import metrics, spans
from postroom_runtime.logs import log

_SPANS: Final = metrics.counter(
    "telemetry_spans_total", "Spans by what became of them: exported, failed or dropped.", ["outcome"]
)
_KINDS: Final[dict[spans.Kind, SpanKind]] = {
    "internal": SpanKind.INTERNAL,
    "server": SpanKind.SERVER,
    "client": SpanKind.CLIENT,
    "consumer": SpanKind.CONSUMER,
}


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the export."""

    waiting: int = 2048
    """Spans that wait; more are dropped."""
    batch: int = 512
    """Spans that go in one request."""
    stop_seconds: float = 1.0
    """For what waits when the process ends."""


@contextlib.contextmanager
def exporting(service: str, limits: Limits | None = None) -> Generator[None]:
    """Make and export spans within the block, as the environment says; `service` is the process's name."""
    limits = limits or Limits()
    # What it says of each failed batch is one line and a count of ours.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    exporter = _Exporter(OTLPSpanExporter())
    provider = TracerProvider(resource=_resource(service), shutdown_on_exit=False)
    provider.add_span_processor(_Bounded(exporter, limits))
    spans.install(_Tracer(provider.get_tracer("postroom")))
    try:
        yield
    finally:
        spans.install(None)
        # Its own bound of 30 s is longer than a process has to end.
        ending = threading.Thread(target=provider.shutdown, name="telemetry-end", daemon=True)
        ending.start()
        ending.join(limits.stop_seconds)


def _resource(service: str) -> Resource:
    """Who we are; the environment knows better."""
    ours = {
        "service.name": service,
        "service.namespace": "postroom",
        "service.instance.id": f"{socket.gethostname()}-{os.getpid()}",
    }
    return Resource(ours).merge(OTELResourceDetector().detect())


class _Exporter(SpanExporter):
    """Counts what becomes of spans, and says once that the receiver is away. Runs in the exporting thread."""

    def __init__(self, inner: SpanExporter) -> None:
        self._inner = inner
        self._away = False
        self.done = 0
        """Spans that do not wait any more."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch; it is never sent again."""
        try:
            result = self._inner.export(spans)
        except Exception as error:  # noqa: BLE001  # the thread's boundary
            log.error("telemetry_failed", exc_info=error)
            result = SpanExportResult.FAILURE
        self.done += len(spans)
        away = result is not SpanExportResult.SUCCESS
        _SPANS.labels("failed" if away else "exported").inc(len(spans))
        if away != self._away:
            self._away = away
            log.warning("telemetry_away") if away else log.info("telemetry_back")
        return result

    def shutdown(self) -> None:
        """Send nothing any more."""
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Nothing is kept here."""
        return self._inner.force_flush(timeout_millis)


class _Bounded(SpanProcessor):
    """Counts the spans for which there is no room; the SDK would forget them silently."""

    def __init__(self, exporter: _Exporter, limits: Limits) -> None:
        self._room = limits.waiting
        self._exporter = exporter
        batch = min(limits.batch, limits.waiting)
        self._batches = BatchSpanProcessor(exporter, limits.waiting, max_export_batch_size=batch)
        self._given = 0

    def on_end(self, span: ReadableSpan) -> None:
        """Let it wait. Only the event loop's thread comes here, and only the exporter's counts the done."""
        if span.context is None or not span.context.trace_flags.sampled:
            return
        if self._given - self._exporter.done >= self._room:
            _SPANS.labels("dropped").inc()
            return
        self._given += 1
        self._batches.on_end(span)

    def shutdown(self) -> None:
        """Send what waits and end."""
        self._batches.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send what waits."""
        return self._batches.force_flush(timeout_millis)


@dataclass(frozen=True, slots=True)
class _Tracer:
    """Begins spans with the SDK, whose sampler looks at the parent's flag."""

    tracer: Tracer

    def __call__(self, name: str, parent: str | None, kind: spans.Kind) -> "_Span":
        context = None if parent is None else set_span_in_context(NonRecordingSpan(_remote(parent)))
        return _Span(self.tracer.start_span(name, context, _KINDS[kind], record_exception=False))


def _remote(traceparent: str) -> SpanContext:
    _, trace_id, span_id, flags = traceparent.split("-")
    return SpanContext(
        int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16))
    )


class _Span:
    """One of the SDK's."""

    __slots__ = ("_span", "traceparent")

    def __init__(self, span: Span) -> None:
        self._span = span
        context = span.get_span_context()
        self.traceparent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"

    def rename(self, name: str) -> None:
        """Call it by what it turned out to be."""
        self._span.update_name(name)

    def set(self, name: str, value: spans.Attribute) -> None:
        """Say more of it."""
        self._span.set_attribute(name, value)

    def fail(self, cause: str, *, ours: bool = True) -> None:
        """It did not do what it is for; what others are to blame for is no error of a server's span."""
        self._span.set_attribute("error.type", cause)
        if ours:
            self._span.set_status(Status(StatusCode.ERROR))

    def end(self) -> None:
        """It is over."""
        self._span.end()
