import errno
import io
import json
import logging
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import structlog

from postroom_runtime import logs, metrics
from postroom_runtime.traces import (
    bind_trace,
    current_trace_id,
    current_traceparent,
    is_traceparent,
    new_traceparent,
)

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator["Lines"]:
    captured = io.BytesIO()
    monkeypatch.setattr("sys.stdout", SimpleNamespace(buffer=captured))
    handlers, level = logging.root.handlers[:], logging.root.level
    logs.configure("tiny", "info")
    monkeypatch.setattr(
        logs, "log", structlog.get_logger()
    )  # the module's own keeps what it was first used with
    yield Lines(captured)
    structlog.reset_defaults()
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


class Lines:
    def __init__(self, captured: io.BytesIO) -> None:
        self._captured = captured

    def __call__(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._captured.getvalue().splitlines()]


def test_new_traces_are_well_formed_and_not_the_same() -> None:
    first, second = new_traceparent(), new_traceparent()
    assert is_traceparent(first)
    assert is_traceparent(second)
    assert first[3:35] != second[3:35]


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        "",
        "nonsense",
        TRACE.upper(),
        TRACE + "-x",
        "01" + TRACE[2:],
        "00-" + "0" * 32 + TRACE[35:],
        TRACE[:36] + "0" * 16 + TRACE[52:],
        TRACE + "\n",
    ],
)
def test_a_malformed_traceparent_starts_a_new_trace(wrong: str | None) -> None:
    assert not is_traceparent(wrong)
    with bind_trace(wrong) as bound:
        assert bound != wrong
        assert is_traceparent(bound)


def test_a_trace_is_bound_within_its_block() -> None:
    assert current_traceparent() is None
    with bind_trace(TRACE):
        assert current_traceparent() == TRACE
        assert current_trace_id() == "4bf92f3577b34da6a3ce929d0e0e4736"
        with bind_trace(None):
            assert current_trace_id() != "4bf92f3577b34da6a3ce929d0e0e4736"
    assert current_trace_id() is None


def test_every_line_is_json_with_service_level_trace_and_queue_id(lines: Lines) -> None:
    with bind_trace(TRACE), logs.bound_contextvars(queue_id="abc"):
        logs.log.info("accepted", seconds=0.5)
    logs.log.info("later")
    logs.log.debug("not at this level")
    first, second = lines()
    ts = first.pop("ts")
    assert ts.endswith("Z")
    assert first == {
        "event": "accepted",
        "service": "tiny",
        "level": "info",
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        "queue_id": "abc",
        "seconds": 0.5,
    }
    assert "trace_id" not in second


class FullDisk(io.BytesIO):
    def flush(self) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_log_that_cannot_be_written_hurts_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", SimpleNamespace(buffer=FullDisk()))
    logs.configure("tiny", "info")
    try:
        structlog.get_logger().info("lost")
        structlog.get_logger().exception("lost, too")
    finally:
        structlog.reset_defaults()


def test_libraries_log_the_same_way(lines: Lines) -> None:
    try:
        raise ZeroDivisionError
    except ZeroDivisionError:
        logging.getLogger("somebody").exception("broke %s", "down")
    logging.getLogger("somebody").info("chatter")
    wrong = logging.LogRecord("somebody", logging.WARNING, "", 1, "wrong %d format", ("x",), None)
    ours = next(handler for handler in logging.root.handlers if type(handler).__module__ == logs.__name__)
    ours.handle(wrong)
    first, second = lines()
    assert (first["event"], first["logger"], first["message"]) == ("library", "somebody", "broke down")
    assert first["level"] == "error"
    assert "ZeroDivisionError" in first["exception"]
    assert second["message"] == "wrong %d format"


def test_metric_names_follow_the_rule() -> None:
    counted = metrics.counter("tests_things_total", "Things.", ["outcome"])
    counted.labels("ok").inc()
    metrics.gauge("tests_open_things", "Things.").set(3)
    metrics.histogram("tests_thing_seconds", "Things.").observe(0.1)
    shown = metrics.exposition()
    assert b'postroom_tests_things_total{outcome="ok"} 1.0' in shown
    assert b"postroom_tests_open_things 3.0" in shown
    for wrong in ("Tests_total", "total", "tests-things_total", "tests_things"):
        with pytest.raises(ValueError, match="metric name"):
            metrics.counter(wrong, "Wrong.")
