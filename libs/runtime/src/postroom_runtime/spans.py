"""Spans: named pieces of a trace's work, with a begin and an end.

Where a tracer is installed (`postroom_runtime.telemetry` does), spans are made and `traceparent`s name them.
Everywhere else what is here only hands the trace on. Names and attributes never carry addresses or content.
"""

from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Final, Literal, Protocol, TypeAlias

from postroom_contracts.errors import PostroomError
from postroom_runtime.traces import (
    bind_trace,
    current_traceparent,
    is_traceparent,
    new_traceparent,
    reset_trace,
    set_trace,
)

Kind: TypeAlias = Literal["internal", "server", "client", "consumer"]
Attribute: TypeAlias = str | int | float | bool


class Span(Protocol):
    """One piece of work."""

    @property
    def traceparent(self) -> str:
        """What makes other work a part of it."""
        ...

    def rename(self, name: str) -> None:
        """Call it by what it turned out to be."""
        ...

    def set(self, name: str, value: Attribute) -> None:
        """Say more of it."""
        ...

    def fail(self, cause: str, *, ours: bool = True) -> None:
        """It did not do what it is for; `cause` is a constant. Not `ours`: whoever asked is to blame."""
        ...

    def end(self) -> None:
        """It is over. Once."""
        ...


class Tracer(Protocol):
    """Begins spans: of the trace that `parent` names, or of a new one."""

    def __call__(self, name: str, parent: str | None, kind: Kind) -> Span:
        """A span that has begun."""
        ...


class _Unseen:
    """The span that nobody asked for. No dataclass: one is made for every call."""

    __slots__ = ("traceparent",)

    def __init__(self, traceparent: str) -> None:
        self.traceparent = traceparent

    def rename(self, name: str) -> None:
        pass

    def set(self, name: str, value: Attribute) -> None:
        pass

    def fail(self, cause: str, *, ours: bool = True) -> None:
        pass

    def end(self) -> None:
        pass


class _Unspanned:
    """What is left of `traced` where no spans are made; it is on every message's way."""

    __slots__ = ("_token", "_traceparent")

    def __init__(self, traceparent: str | None) -> None:
        self._traceparent = traceparent if is_traceparent(traceparent) else new_traceparent()

    def __enter__(self) -> Span:
        self._token = set_trace(self._traceparent)
        return _Unseen(self._traceparent)

    def __exit__(self, *_: object) -> None:
        reset_trace(self._token)


_UNSEEN: Final[AbstractContextManager[Span]] = nullcontext(_Unseen(""))

_tracer: Tracer | None = None


def install(tracer: Tracer | None) -> None:
    """Make spans with it from now on; none with None."""
    global _tracer  # noqa: PLW0603  # as the process's log is one
    _tracer = tracer


def begin_span(name: str, traceparent: str | None, kind: Kind = "internal") -> Span:
    """Work that is no block of code: whoever begins it ends it. It is not what goes on as `traceparent`."""
    if _tracer is None:
        return _Unseen(traceparent if is_traceparent(traceparent) else new_traceparent())
    return _tracer(name, traceparent if is_traceparent(traceparent) else None, kind)


def enter_span(name: str, traceparent: str | None, kind: Kind = "internal") -> Span:
    """`begin_span` for the rest of this task: for boundaries that have a task to themselves."""
    span = begin_span(name, traceparent, kind)
    set_trace(span.traceparent)
    return span


def traced(name: str, traceparent: str | None, kind: Kind = "internal") -> AbstractContextManager[Span]:
    """`bind_trace` for work that is a span of the trace; an error that comes out of it is its failure."""
    return _Unspanned(traceparent) if _tracer is None else _spanned(name, traceparent, kind)


@contextmanager
def _spanned(name: str, traceparent: str | None, kind: Kind) -> Generator[Span]:
    span = begin_span(name, traceparent, kind)
    with bind_trace(span.traceparent), ended(span):
        yield span


@contextmanager
def ended(span: Span) -> Generator[None]:
    """The last part of a span's work: an error that comes out of it is its failure."""
    try:
        yield
    except Exception as error:
        name = error.name if isinstance(error, PostroomError) else type(error).__name__
        span.fail(name, ours=getattr(error, "transient", True))  # what no other try mends is asked wrongly
        raise
    finally:
        span.end()


def span(name: str, kind: Kind = "internal") -> AbstractContextManager[Span]:
    """A part of the work at hand, or work of a new trace. Where no spans are made it costs nothing."""
    return _UNSEEN if _tracer is None else traced(name, current_traceparent(), kind)
