"""Around every request: bounds, deadlines, names for the log, and an answer for whatever goes wrong."""

import asyncio
import re
import secrets
import time
from collections.abc import Callable
from contextlib import ExitStack
from http import HTTPStatus
from typing import Any, Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from postroom_runtime import metrics
from postroom_runtime.lifecycle import Lifecycle
from postroom_runtime.logs import bound_contextvars, log
from postroom_runtime.spans import Span, traced
from webmail_api.access import peer_of
from webmail_api.limits import DEFAULT_LIMITS, Limits
from webmail_api.problems import (
    CONTENT_TOO_LARGE,
    INTERNAL,
    OVERLOADED,
    REQUEST_TIMEOUT,
    UNAVAILABLE,
    Kind,
    respond,
)

_SECONDS: Final = metrics.histogram(
    "http_requests_seconds", "Requests by what they did and how they ended.", ["operation", "status"]
)
_OPEN: Final = metrics.gauge("http_open_requests", "Requests under way.")
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_CLIENT_GONE: Final = 499
_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
}
BodyBound = Callable[[Scope], int | None]
"""Octets that the body of this request may have; None where its handler sees to it."""


class BodyTooLargeError(HTTPException):
    """The body is larger than it may be. One of Starlette's, which FastAPI lets through."""

    def __init__(self) -> None:
        super().__init__(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)


class Boundary:
    """The outermost middleware. Its state is how many requests are under way."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        lifecycle: Lifecycle,
        max_requests: int,
        body_bound: BodyBound,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self._app, self._lifecycle, self._limits = app, lifecycle, limits
        self._max_requests, self._body_bound = max_requests, body_bound
        self._open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: D102  # ASGI
        if scope["type"] != "http":
            raise RuntimeError(f"{scope['type']} is not served")
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        with ExitStack() as stack:
            span = stack.enter_context(traced("request", headers.get("traceparent"), "server"))
            stack.enter_context(bound_contextvars(request_id=request_id))
            stack.enter_context(self._lifecycle.activity(f"{scope['method']} {request_id}"))
            stack.enter_context(_OPEN.track_inprogress())
            self._open += 1
            try:
                exchange = _Exchange(receive, send, self._limits, request_id, self._body_bound(scope))
                await self._run(scope, exchange, span)
            finally:
                self._open -= 1

    async def _run(self, scope: Scope, exchange: "_Exchange", span: Span) -> None:
        began = time.perf_counter()
        try:
            await self._answer(scope, exchange)
        finally:
            seconds = time.perf_counter() - began
            operation = _operation(scope)
            span.rename(f"REST {operation}")
            span.set("http.response.status_code", exchange.status)
            if exchange.status >= 500:
                span.fail(str(exchange.status))
            _SECONDS.labels(operation, str(exchange.status)).observe(seconds)
            log.info(
                "request",
                method=scope["method"],
                operation=operation,
                status=exchange.status,
                received=exchange.received,
                sent=exchange.sent,
                seconds=round(seconds, 4),
                peer=peer_of(scope),
            )

    async def _answer(self, scope: Scope, exchange: "_Exchange") -> None:
        try:
            if self._open > self._max_requests:
                await exchange.refuse(scope, OVERLOADED)
                return
            exchange.check_announced(Headers(scope=scope))
            async with exchange.deadline:
                await self._app(scope, exchange.receive, exchange.write)
        except ClientDisconnect:
            exchange.status = exchange.status or _CLIENT_GONE
        except BodyTooLargeError:
            await exchange.refuse(scope, CONTENT_TOO_LARGE)
        except _SlowClientError:
            await exchange.refuse(scope, REQUEST_TIMEOUT)
        except TimeoutError:
            log.warning("request_too_late")
            await exchange.refuse(scope, UNAVAILABLE)
        except Exception:  # noqa: BLE001  # the request's boundary
            incident = secrets.token_hex(8)
            log.exception("request_failed", incident=incident)
            await exchange.refuse(scope, INTERNAL, incident)


class _SlowClientError(HTTPException):
    """The client sent or read nothing for too long."""

    def __init__(self) -> None:
        super().__init__(HTTPStatus.REQUEST_TIMEOUT, headers={"Connection": "close"})


class _Exchange:
    """One request's messages. The deadline stands still while the client sends, and ends with the answer."""

    def __init__(
        self, receive: Receive, send: Send, limits: Limits, request_id: str, body_bound: int | None
    ) -> None:
        self._receive, self._send, self._limits = receive, send, limits
        self._request_id, self._bound = request_id, body_bound
        self.received = self.sent = self.status = 0
        # Whoever takes a body without a bound transfers, and minds the time itself.
        self._hurried = body_bound is not None
        self.deadline = asyncio.timeout(limits.answer_seconds if self._hurried else None)

    def check_announced(self, headers: Headers) -> None:
        """Raise `BodyTooLargeError` for a body that says that it is."""
        announced = headers.get("content-length", "")
        if self._bound is None or not (announced.isascii() and announced.isdigit()):
            return
        if int(announced[:20]) > self._bound:
            raise BodyTooLargeError

    async def receive(self) -> Message:
        """The next message of the client's."""
        began = asyncio.get_running_loop().time()
        left = self._pause()
        try:
            async with asyncio.timeout(self._limits.receive_seconds if not self.status else None):
                message = await self._receive()
        except TimeoutError:
            raise _SlowClientError from None
        finally:
            if left is not None:
                self.deadline.reschedule(left + asyncio.get_running_loop().time() - began)
        self.received += len(message.get("body", b""))
        if self._bound is not None and self.received > self._bound:
            raise BodyTooLargeError
        return message

    async def write(self, message: Message) -> None:
        """The next message to the client."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self._pause()
            headers = MutableHeaders(scope=message)
            headers["X-Request-Id"] = self._request_id
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
        self.sent += len(message.get("body", b""))
        try:
            async with asyncio.timeout(self._limits.send_seconds):
                await self._send(message)
        except TimeoutError:
            raise _SlowClientError from None

    async def refuse(self, scope: Scope, kind: Kind, incident: str | None = None) -> None:
        """Answer with a problem, unless an answer has begun: then the client sees that it is cut off."""
        if self.status:
            log.warning("answer_cut_off", problem=kind.name)
            return  # uvicorn hangs up on what is not complete
        self._hurried = False
        # After any other one uvicorn drops the rest of the body, so that a client that still sends gets to
        # read the answer; `BoundedProtocol` ends that.
        headers = {"Connection": "close"} if kind is REQUEST_TIMEOUT else None
        await respond(kind, incident=incident, headers=headers)(scope, self.receive, self.write)

    def _pause(self) -> float | None:
        """Stop the clock; gives when it would have struck."""
        if not self._hurried or (left := self.deadline.when()) is None:
            return None
        self.deadline.reschedule(None)
        return left


def _operation(scope: Any) -> str:
    """The name of the operation, never the path, in which addresses may stand."""
    return str(getattr(scope.get("route"), "operation_id", None) or "none")
