"""Spans: made where they are wanted, exported to a receiver that listens here, never in anybody's way."""

import asyncio
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
from structlog.testing import capture_logs

from postroom_contracts.errors import MailboxNotFoundError, UnavailableError
from postroom_runtime import metrics, spans
from postroom_runtime.errors import ConfigurationError
from postroom_runtime.grpc_client import channel
from postroom_runtime.grpc_server import serve_grpc
from postroom_runtime.lifecycle import Lifecycle
from postroom_runtime.settings import ServiceSettings, load_settings
from postroom_runtime.telemetry import Limits, exporting
from postroom_runtime.traces import current_trace_id, current_traceparent
from postroom_testing.otlp import OtlpReceiver, otlp_receiver

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
ASK, REFUSE = "/tests.v1.Tests/Ask", "/tests.v1.Tests/Refuse"


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[OtlpReceiver]:
    with otlp_receiver() as listening:
        monkeypatch.setenv(ENDPOINT, listening.endpoint)
        yield listening


def _counted(outcome: str) -> float:
    line = f'postroom_telemetry_spans_total{{outcome="{outcome}"}} '
    found = [each for each in metrics.exposition().decode().splitlines() if each.startswith(line)]
    return float(found[0].removeprefix(line)) if found else 0.0


def test_without_a_tracer_the_trace_goes_on_as_it_is() -> None:
    with spans.traced("work", TRACE) as outer:
        assert outer.traceparent == current_traceparent() == TRACE
        with spans.span("part") as inner:
            assert current_traceparent() == TRACE
            inner.set("size", 1)
        assert spans.span("one") is spans.span("another")
    with spans.span("alone"):
        assert current_traceparent() is None
    assert spans.begin_span("work", "nonsense").traceparent != "nonsense"


def test_spans_come_in_with_their_parents_names_and_attributes(
    receiver: OtlpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key=secret")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    with exporting("tiny"), spans.traced("outer", TRACE, "server") as outer:
        assert current_trace_id() == TRACE[3:35]
        with spans.span("inner") as inner:
            inner.rename("part")
            inner.set("size", 7)
        with pytest.raises(MailboxNotFoundError), spans.span("refused"):
            raise MailboxNotFoundError("ann's letters")
        with pytest.raises(UnavailableError), spans.span("broken"):
            raise UnavailableError("of ann's letters")
    part, refused, broken, whole = receiver.spans
    assert (whole.service, whole.name, whole.kind, whole.parent_id) == (
        "tiny",
        "outer",
        "server",
        TRACE[36:52],
    )
    assert {span.trace_id for span in receiver.spans} == {TRACE[3:35]}
    assert part.parent_id == broken.parent_id == whole.span_id == outer.traceparent[36:52]
    assert (part.name, part.attributes, part.failed) == ("part", {"size": 7}, False)
    assert (refused.failed, refused.attributes) == (False, {"error.type": "mailbox-not-found"})
    assert (broken.failed, broken.attributes) == (True, {"error.type": "unavailable"})
    assert receiver.paths == ["/v1/traces"]
    assert receiver.headers[0]["x-key"] == "secret"


def test_the_environment_says_who_we_are_and_where_spans_go(
    receiver: OtlpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.name=ours,zone=a")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{receiver.endpoint}/elsewhere")
    with exporting("tiny"), spans.traced("work", None):
        pass
    assert [(span.service, span.parent_id) for span in receiver.spans] == [("ours", "")]
    assert receiver.paths == ["/elsewhere"]


@pytest.mark.parametrize(
    ("sampler", "parent", "seen"),
    [
        ("always_off", TRACE, False),
        ("parentbased_always_off", TRACE, True),
        ("parentbased_always_off", None, False),
        ("parentbased_always_on", TRACE[:-2] + "00", False),
        ("parentbased_traceidratio", None, False),
    ],
)
def test_the_sampler_decides_for_all_that_follows(
    receiver: OtlpReceiver, monkeypatch: pytest.MonkeyPatch, sampler: str, parent: str | None, seen: bool
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.0")
    with exporting("tiny"), spans.traced("work", parent) as span:
        assert int(span.traceparent[-2:], 16) & 1 == seen  # the other bits say how the id was made
        assert current_trace_id() == span.traceparent[3:35]  # the log has it all the same
        with spans.span("part"):
            pass
    assert len(receiver.spans) == (2 if seen else 0)


def _handler(answer: Callable[[bytes], Awaitable[bytes]]) -> Any:
    async def method(request: bytes, context: object) -> bytes:
        return await answer(request)

    return cast(Any, grpc).unary_unary_rpc_method_handler(method)


async def _trace_at_hand(_: bytes) -> bytes:
    return (current_traceparent() or "").encode()


async def _refuse(_: bytes) -> bytes:
    raise MailboxNotFoundError


def _add(server: grpc.aio.Server) -> None:
    handlers = {"Ask": _handler(_trace_at_hand), "Refuse": _handler(_refuse)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("tests.v1.Tests", handlers),))


async def test_a_call_is_a_span_below_the_work_that_makes_it(receiver: OtlpReceiver) -> None:
    policy = {ASK: frozenset({"tests"}), REFUSE: frozenset({"tests"})}
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pt-", dir="/tmp")))
        stack.enter_context(exporting("tiny"))
        listen = f"unix:{place / 's'}"
        server = await serve_grpc(listen, _add, policy=policy, tls=None, lifecycle=Lifecycle())
        async with server, channel(listen, "tests") as way:
            with spans.traced("work", None) as work:
                answered: bytes = await cast(Any, way.unary_unary(ASK))(b"")
                with pytest.raises(MailboxNotFoundError):
                    await cast(Any, way.unary_unary(REFUSE))(b"")
            await cast(Any, way.unary_unary(ASK))(b"")  # of nobody's work
    asked, alone = (span for span in receiver.spans if span.name == ASK[1:])
    assert asked.parent_id == work.traceparent[36:52]
    assert answered.decode()[3:52] == f"{work.traceparent[3:35]}-{asked.span_id}"
    assert (asked.kind, asked.failed) == ("server", False)
    assert receiver.named(REFUSE[1:]).attributes["error.type"] == "mailbox-not-found"
    assert alone.parent_id == ""


@pytest.mark.parametrize("trouble", ["refused", "silent", "broken"])
def test_a_receiver_in_trouble_delays_nothing_and_is_told_of_once(
    receiver: OtlpReceiver, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    if trouble == "refused":
        monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:9")
    receiver.hold = threading.Event() if trouble == "silent" else None
    receiver.status = 500
    dropped = _counted("dropped")
    begun = time.monotonic()
    with exporting("tiny", Limits(waiting=100, batch=10, stop_seconds=0.2)), capture_logs() as logs:
        for _ in range(1_000):
            with spans.traced("work", None):
                pass
        working = time.monotonic() - begun
    assert working < 1.0
    assert time.monotonic() - begun < working + 1.0
    assert _counted("dropped") - dropped >= 500
    assert [line["event"] for line in logs if line["event"].startswith("telemetry_")] in (
        [],
        ["telemetry_away"],
    )


def test_it_is_told_when_a_receiver_is_away_and_when_it_is_back(
    receiver: OtlpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
    receiver.status = 400
    failed, exported = _counted("failed"), _counted("exported")
    with capture_logs() as logs, exporting("tiny"):
        _until_counted("failed", failed + 2)
        receiver.status = 200
        _until_counted("exported", exported + 1)
    told = [line for line in logs if line["event"].startswith("telemetry_")]
    assert [(line["event"], line["log_level"]) for line in told] == [
        ("telemetry_away", "warning"),
        ("telemetry_back", "info"),
    ]


def _until_counted(outcome: str, least: float) -> None:
    deadline = time.monotonic() + 10
    while _counted(outcome) < least:
        assert time.monotonic() < deadline
        with spans.traced("work", None):
            time.sleep(0.01)


async def test_spans_of_work_that_was_cancelled_end(receiver: OtlpReceiver) -> None:
    async def work() -> None:
        with spans.span("work"):
            await asyncio.sleep(30)

    with exporting("tiny"):
        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
    assert [(span.name, span.failed) for span in receiver.spans] == [("work", False)]


def test_nothing_is_exported_to_where_nobody_said(monkeypatch: pytest.MonkeyPatch) -> None:
    class Settings(ServiceSettings):
        pass

    assert not load_settings(Settings).exports_spans
    monkeypatch.setenv(ENDPOINT, "http://collector:4318")
    assert load_settings(Settings).exports_spans
    for name, value in (("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")):
        with monkeypatch.context() as more:
            more.setenv(name, value)
            assert not load_settings(Settings).exports_spans
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    with pytest.raises(ConfigurationError, match="OTEL_EXPORTER_OTLP_PROTOCOL"):
        load_settings(Settings)
