"""gRPC between services, the answering end: who may call what, traces, errors by name, drain."""

import asyncio
import inspect
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import ExitStack
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from stat import S_IMODE
from time import perf_counter
from types import TracebackType
from typing import Any, Final, Self, TypeAlias, TypeVar, cast

import grpc
from google.protobuf.message import DecodeError

from postroom_contracts.errors import (
    ERROR_METADATA,
    InvalidRequestError,
    NotPermittedError,
    PostroomError,
    UnavailableError,
)
from postroom_runtime import metrics
from postroom_runtime.errors import ConfigurationError
from postroom_runtime.grpc_renewal import server_credentials
from postroom_runtime.grpc_wire import (
    CAPABILITY_METADATA,
    HOST_METADATA,
    SERVER_OPTIONS,
    SERVICE_METADATA,
    TRACE_METADATA,
)
from postroom_runtime.lifecycle import Lifecycle
from postroom_runtime.logs import log
from postroom_runtime.spans import enter_span
from postroom_runtime.tls import GrpcTls

R = TypeVar("R")

Policy: TypeAlias = Mapping[str, frozenset[str]]
"""The services that may call a method, by its full name `/postroom.mailstore.v1.QueueService/Claim`."""

# In quotes: generic for the type checker only.
_Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
_MaybeHandler: TypeAlias = "grpc.RpcMethodHandler[Any, Any] | None"

_SECONDS: Final = metrics.histogram(
    "grpc_server_seconds", "Calls by method and outcome.", ["method", "outcome"]
)


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a server."""

    concurrent_calls: int = 4096


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, and on whose behalf."""

    service: str
    capability: str  # a signed token, not yet verified; empty when there is none
    host: str = ""  # the account whose mailboxes it is about; empty when that is the capability's


_caller: ContextVar[Caller] = ContextVar("grpc_caller")


def caller() -> str:
    """The identity of the service whose call is being handled."""
    return _caller.get().service


def capability_token() -> str:
    """The user's capability that came with the call, not yet verified; empty when none came."""
    return _caller.get().capability


def host_account() -> str:
    """The id of the account that the call is about, where that is not the user's own; not yet checked."""
    return _caller.get().host


class GrpcServer:
    """A running server."""

    def __init__(self, server: grpc.aio.Server, port: int) -> None:
        self._server = server
        self.port = port

    async def stop(self, grace: float | None) -> None:
        """Take no new calls, let running ones finish for `grace` seconds, cut the rest."""
        await self._server.stop(grace)

    async def serve_until_stopped(
        self, lifecycle: Lifecycle, *, unready_seconds: float, drain_seconds: float
    ) -> None:
        """Wait for the end, then drain; handlers of long streams watch `lifecycle.closing`."""
        try:
            await lifecycle.wait_stopping(unready_seconds)
        finally:
            lifecycle.closing.set()
            await self.stop(drain_seconds)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop(None)


async def requests_until(ending: asyncio.Event, requests: AsyncIterator[R]) -> AsyncIterator[R]:
    """The requests of a stream that come before `ending`; for handlers whose clients keep streams open."""
    waiting: asyncio.Timeout | None = None

    def interrupt(_: object) -> None:
        if waiting is not None:
            waiting.reschedule(asyncio.get_running_loop().time())

    # A timeout without a time is much cheaper than a task for each request.
    watching = asyncio.ensure_future(ending.wait())
    watching.add_done_callback(interrupt)
    try:
        while not ending.is_set():
            try:
                async with asyncio.timeout(None) as waiting:
                    request = await anext(requests)
            except (TimeoutError, StopAsyncIteration):
                return
            waiting = None
            yield request
    finally:
        waiting = None
        watching.cancel()


async def serve_grpc(
    listen: str,
    add: Callable[[grpc.aio.Server], None],
    *,
    policy: Policy,
    tls: GrpcTls | None,
    lifecycle: Lifecycle,
    limits: Limits | None = None,
) -> GrpcServer:
    """Start to answer on `host:port` (mutual TLS) or `unix:/path` (in a directory of mode 0700).

    A method that `policy` does not name may be called by nobody. The caller is the one service name among its
    certificate's DNS names; on a unix socket it is what the caller says. A `PostroomError` travels by its
    name, any other error as INTERNAL with an incident id. Raises `ConfigurationError`.
    """
    guard = _Guard(policy, lifecycle, limits or Limits())
    server = grpc.aio.server(interceptors=[guard], options=list(SERVER_OPTIONS))
    add(server)
    port = 0
    try:
        if listen.startswith("unix:"):
            await asyncio.to_thread(_check_socket_directory, listen)
            server.add_insecure_port(listen)
        elif tls is None:
            raise ConfigurationError(f"gRPC on {listen} needs POSTROOM_GRPC_TLS_{{CERT,KEY,CA}}_FILE")
        else:
            port = server.add_secure_port(listen, await asyncio.to_thread(server_credentials, tls))
    except RuntimeError as error:
        raise ConfigurationError(f"gRPC: cannot listen on {listen}") from error
    await server.start()
    return GrpcServer(server, port)


def _check_socket_directory(listen: str) -> None:
    """Whoever can reach the socket is believed, so nobody else may."""
    directory = Path(listen.removeprefix("unix:")).parent
    try:
        mode = S_IMODE(directory.stat().st_mode)
    except OSError as error:
        raise ConfigurationError(f"gRPC: {directory}: {error.strerror}") from None
    if mode & 0o077:
        raise ConfigurationError(f"gRPC: {directory} is open to others (mode {mode:04o}, wanted 0700)")


class _Guard(grpc.aio.ServerInterceptor):
    """Stands before every method. Each is wrapped once, at its first call."""

    def __init__(self, policy: Policy, lifecycle: Lifecycle, limits: Limits) -> None:
        self._policy = policy
        self._known = frozenset[str]().union(*policy.values())
        self._wrapped: dict[str, _Handler] = {}
        self.lifecycle = lifecycle
        self.limits = limits
        self.running = 0

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[_MaybeHandler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> _MaybeHandler:
        """The method, guarded; `None` when there is no such method, which gRPC answers itself."""
        method = handler_call_details.method
        if (wrapped := self._wrapped.get(method)) is not None:
            return wrapped
        if (handler := await continuation(handler_call_details)) is None:
            return None
        wrapped = self._wrapped[method] = _wrap(self, method, handler)
        return wrapped

    def admit(self, method: str, context: _Context, metadata: Mapping[str, str]) -> None:
        """Note who calls; raises `NotPermittedError`, or `UnavailableError` over the bound."""
        service = self._identify(context, metadata.get(SERVICE_METADATA, ""))
        if service not in self._policy.get(method, ()):
            raise NotPermittedError(f"{service or 'nobody known'} called {method}")
        if self.running >= self.limits.concurrent_calls:
            raise UnavailableError("too many calls at once")
        _caller.set(Caller(service, metadata.get(CAPABILITY_METADATA, ""), metadata.get(HOST_METADATA, "")))

    def _identify(self, context: _Context, claimed: str) -> str:
        """The service that calls; empty when that cannot be believed."""
        if context.peer().startswith("unix:"):
            return claimed
        names = context.auth_context().get("x509_subject_alternative_name", ())
        services = {name.decode("ascii", "replace") for name in names} & self._known
        # A certificate of two services would be both, and the log would lie about who called.
        return services.pop() if len(services) == 1 else ""


class _Call:
    """One call, from admission to its outcome."""

    __slots__ = ("_begun", "_context", "_guard", "_method", "_span", "_stack")

    def __init__(self, guard: _Guard, method: str, context: _Context) -> None:
        self._guard = guard
        self._method = method
        self._context = context
        self._stack = ExitStack()
        self._begun = perf_counter()

    async def __aenter__(self) -> None:
        sent = self._context.invocation_metadata() or ()
        metadata = {key: value for key, value in sent if isinstance(value, str)}
        self._span = enter_span(self._method[1:], metadata.get(TRACE_METADATA), "server")
        try:
            self._guard.admit(self._method, self._context, metadata)
        except PostroomError as error:
            await self._refuse(error)
        self._stack.enter_context(self._guard.lifecycle.activity(self._method))
        self._guard.running += 1

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._guard.running -= 1
        self._stack.close()
        match error:
            case None:
                self._count("ok")
            case PostroomError():
                await self._refuse(error)
            case grpc.aio.AbortError():
                self._count("aborted")
            case Exception():
                await self._fail(error)
            case _:
                self._count("cancelled", ours=False)

    async def _refuse(self, error: PostroomError) -> None:
        self._count(error.name, ours=error.transient)
        level = log.warning if error.transient else log.info
        level("call_refused", method=self._method, outcome=error.name, cause=str(error))
        await self._context.abort(error.code, error.name, ((ERROR_METADATA, error.name),))

    async def _fail(self, error: Exception) -> None:
        incident = secrets.token_hex(8)
        self._count("internal")
        log.error("call_failed", method=self._method, incident=incident, exc_info=error)
        await self._context.abort(grpc.StatusCode.INTERNAL, f"incident {incident}")

    def _count(self, outcome: str, *, ours: bool = True) -> None:
        """Tell how it ended, and whether a failure is ours. Once: every end comes by here."""
        _SECONDS.labels(self._method, outcome).observe(perf_counter() - self._begun)
        if outcome != "ok":
            self._span.fail(outcome, ours=ours)
        self._span.end()


def _wrap(guard: _Guard, method: str, handler: _Handler) -> _Handler:
    """The same kind of method with a `_Call` around it."""
    asked = "stream" if handler.request_streaming else "unary"
    answered = "stream" if handler.response_streaming else "unary"
    behaviour: Callable[[Any, _Context], Any] = getattr(handler, f"{asked}_{answered}")
    make = cast(Callable[..., _Handler], getattr(grpc, f"{asked}_{answered}_rpc_method_handler"))
    wrap = _wrap_generator if inspect.isasyncgenfunction(behaviour) else _wrap_coroutine
    deserializer = handler.request_deserializer
    if not handler.request_streaming and deserializer is not None:
        behaviour, deserializer = _decoding(behaviour, deserializer), None
    return make(wrap(guard, method, behaviour), deserializer, handler.response_serializer)


def _decoding(
    behaviour: Callable[[Any, _Context], Any], deserialize: Callable[[bytes], Any]
) -> Callable[[Any, _Context], Any]:
    """Decode the request within the call: gRPC would answer INTERNAL, which asks for another attempt."""

    def decode(octets: bytes) -> Any:
        try:
            return deserialize(octets)
        except DecodeError:  # octets that are no message, or text that is not UTF-8
            raise InvalidRequestError("the request cannot be decoded") from None

    if inspect.isasyncgenfunction(behaviour):

        async def stream(octets: bytes, context: _Context) -> AsyncIterator[Any]:
            async for response in behaviour(decode(octets), context):
                yield response

        return stream

    async def answer(octets: bytes, context: _Context) -> Any:
        return await behaviour(decode(octets), context)

    return answer


def _wrap_coroutine(
    guard: _Guard, method: str, behaviour: Callable[[Any, _Context], Awaitable[Any]]
) -> Callable[[Any, _Context], Awaitable[Any]]:
    async def call(request: Any, context: _Context) -> Any:
        async with _Call(guard, method, context):
            return await behaviour(request, context)

    return call


def _wrap_generator(
    guard: _Guard, method: str, behaviour: Callable[[Any, _Context], AsyncIterator[Any]]
) -> Callable[[Any, _Context], AsyncIterator[Any]]:
    async def call(request: Any, context: _Context) -> AsyncIterator[Any]:
        async with _Call(guard, method, context):
            async for response in behaviour(request, context):
                yield response

    return call
