"""JSON lines on standard output: one event per fact, values in fields, `trace_id` on every line."""

import logging
import sys
from typing import Any, BinaryIO, Final, cast

import orjson

from postroom_runtime.lean_import import without
from postroom_runtime.traces import current_trace_id

with without("rich"):
    import structlog
    from structlog.contextvars import (
        bind_contextvars,
        bound_contextvars,
        clear_contextvars,
        merge_contextvars,
    )
    from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

__all__ = ["bind_contextvars", "bound_contextvars", "clear_contextvars"]

LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}

log: Final = cast(FilteringBoundLogger, structlog.get_logger())


def configure(service: str, level: str = "info") -> None:
    """Write events from `level` (debug, info, warning, error) on as lines of JSON that name the service.

    What libraries say through `logging` becomes the event `library` from warning on.
    """

    def name_service(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["service"] = service
        return event

    lines = _Lines(sys.stdout.buffer)
    structlog.configure(
        processors=[
            merge_contextvars,
            name_service,
            _add_trace_id,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
            structlog.processors.format_exc_info,
            _render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=lambda: lines,
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, handlers=[_LibraryHandler()], force=True)


class _Lines:
    """Writes lines. A full disk or a reader that is gone costs lines of the log, not mail."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def msg(self, line: bytes) -> None:
        """Write one line."""
        try:
            self._file.write(line + b"\n")
            self._file.flush()
        except OSError:
            pass

    debug = info = warning = error = critical = exception = msg


class _LibraryHandler(logging.Handler):
    """Takes over what libraries log."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record as one event."""
        try:
            message = record.getMessage()
        except (TypeError, ValueError):  # a library's wrong format must not become our failure
            message = str(record.msg)
        log.log(record.levelno, "library", logger=record.name, message=message, exc_info=record.exc_info)


def _add_trace_id(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    if "trace_id" not in event and (trace_id := current_trace_id()) is not None:
        event["trace_id"] = trace_id
    return event


def _render(_logger: WrappedLogger, _method: str, event: EventDict) -> bytes:
    return orjson.dumps(event, default=_jsonable, option=orjson.OPT_NON_STR_KEYS)


def _jsonable(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("ascii", "backslashreplace")
    return repr(value)
