"""W3C trace context without an SDK: one message's way through all services.

The current traceparent lives in a context variable; logs take `trace_id` from it, gRPC and NATS carry it.
Where spans are made (`postroom_runtime.spans`), it names the span at hand; elsewhere it goes on as it is.
"""

import re
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from typing import Final, TypeGuard

# version "-" trace-id "-" parent-id "-" trace-flags; only version 00 is ours. All zeros are invalid.
_TRACEPARENT: Final = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII)

_current: ContextVar[str | None] = ContextVar("traceparent", default=None)


def new_traceparent() -> str:
    """The start of a new trace."""
    digits = secrets.token_hex(24)
    return f"00-{digits[:32]}-{digits[32:]}-01"


def is_traceparent(text: str | None) -> TypeGuard[str]:
    """Whether a peer's value may be taken over."""
    return text is not None and _TRACEPARENT.fullmatch(text) is not None


def current_traceparent() -> str | None:
    """The traceparent of the work at hand."""
    return _current.get()


def current_trace_id() -> str | None:
    """The 32 hexadecimal digits that all log lines of one message share."""
    traceparent = _current.get()
    return None if traceparent is None else traceparent[3:35]


def set_trace(traceparent: str) -> Token[str | None]:
    """Let what follows in this task be work of this trace, whose traceparent is well-formed."""
    return _current.set(traceparent)


def reset_trace(token: Token[str | None]) -> None:
    """Undo `set_trace`."""
    _current.reset(token)


@contextmanager
def bind_trace(traceparent: str | None) -> Generator[str]:
    """Work of this trace; a new trace when `traceparent` is absent or malformed. Gives the traceparent."""
    bound = traceparent if is_traceparent(traceparent) else new_traceparent()
    token = set_trace(bound)
    try:
        yield bound
    finally:
        reset_trace(token)
