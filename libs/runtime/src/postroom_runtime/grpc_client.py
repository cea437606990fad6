"""gRPC between services, the asking end: all replicas in turn, deadlines, traces, errors by name.

A plain object around the channel instead of interceptors, which cost a task and 0.1 ms a call.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Final, Self, TypeAlias, TypeVar, cast
from uuid import UUID

import grpc

from postroom_contracts.errors import PostroomError, UnavailableError, from_rpc_error
from postroom_runtime.errors import ConfigurationError
from postroom_runtime.grpc_renewal import FixedChannel, RenewedChannel
from postroom_runtime.grpc_wire import (
    CAPABILITY_METADATA,
    CLIENT_OPTIONS,
    HOST_METADATA,
    SERVICE_METADATA,
    TRACE_METADATA,
)
from postroom_runtime.tls import GrpcTls
from postroom_runtime.traces import current_traceparent

Metadata: TypeAlias = Sequence[tuple[str, str | bytes]]

Q = TypeVar("Q")
A = TypeVar("A")

_ALONE_SHARE: Final = 0.6
"""Of the time for both tries, when something is asked twice: how long the first has before the second."""

DEADLINE_SECONDS: Final = 5.0
"""Of a call that answers once, unless it says otherwise. A stream has none of its own."""


def channel(
    address: str, service: str, tls: GrpcTls | None = None, *, server: str | None = None
) -> grpc.aio.Channel:
    """A channel over all replicas at `address` for the generated stubs; `service` says who we are.

    `address` is `unix:/a.sock` or several such with commas between, `host:port` or `dns:///host:port` (every
    address of the name), or several `ip:port`. With `tls` the other side must be `server`, or else the host.

    Calls raise the errors of `postroom_contracts.errors`; whatever else went wrong is `UnavailableError`. A
    call that found its replica gone is made again on another one, so it must carry an id.
    """
    target = _target(address)
    if tls is None:
        if not target.startswith("unix:"):
            raise ConfigurationError(f"gRPC to {address} needs POSTROOM_GRPC_TLS_{{CERT,KEY,CA}}_FILE")
        plain = grpc.aio.insecure_channel(target, options=list(CLIENT_OPTIONS))
        return _ServiceChannel(FixedChannel(plain), service)
    override = () if server is None else (("grpc.ssl_target_name_override", server),)
    options = [*CLIENT_OPTIONS, *override]
    secured = RenewedChannel(tls, lambda current: grpc.aio.secure_channel(target, current, options=options))
    return _ServiceChannel(secured, service)


def on_behalf_of(capability: str, host: UUID | None = None) -> Metadata:
    """The `metadata=` of a call that is made for a user; `host` is whose mailboxes it is about."""
    if host is None:
        return ((CAPABILITY_METADATA, capability),)
    return ((CAPABILITY_METADATA, capability), (HOST_METADATA, str(host)))


async def ask_twice(
    call: "grpc.aio.UnaryUnaryMultiCallable[Q, A]", request: Q, *, seconds: float, metadata: Metadata
) -> A:
    """Ask for what has an id, and once more when nobody knows whether it was done; both within `seconds`.

    A first try without an answer goes on beside the second, since it may only be slow. Raises what the second
    answer is, `UnavailableError` when that is unknown too.
    """
    deadline = time.monotonic() + seconds
    tries = [asyncio.ensure_future(call(request, timeout=seconds, metadata=metadata))]
    try:
        await asyncio.wait(tries, timeout=seconds * _ALONE_SHARE)
        if _is_known(tries[0]):
            return tries[0].result()
        tries.append(
            asyncio.ensure_future(call(request, timeout=deadline - time.monotonic(), metadata=metadata))
        )
        waiting = {each for each in tries if not each.done()}
        while waiting:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for answered in done:
                if _is_known(answered):
                    return answered.result()
        return tries[1].result()
    finally:
        for each in tries:
            each.cancel()


def _is_known(answer: "asyncio.Future[Any]") -> bool:
    """Whether it says what became of what was asked."""
    return answer.done() and not isinstance(answer.exception(), UnavailableError)


def _target(address: str) -> str:
    parts = [part.strip() for part in address.split(",") if part.strip()]
    if not parts:
        raise ConfigurationError("gRPC: an empty address")
    if all(part.startswith("unix:") for part in parts):
        return "unix:" + ",".join(part.removeprefix("unix:") for part in parts)
    if len(parts) == 1:
        return parts[0] if "://" in parts[0] else f"dns:///{parts[0]}"
    if any(":" not in part or "/" in part for part in parts):
        raise ConfigurationError(f"gRPC: not a list of unix:/path or of ip:port: {address}")
    family = "ipv6" if all(part.startswith("[") for part in parts) else "ipv4"
    return f"{family}:{','.join(parts)}"


class _ServiceChannel(grpc.aio.Channel):
    """The channel that stubs are made with."""

    def __init__(self, inner: FixedChannel | RenewedChannel, service: str) -> None:
        self._inner = inner
        self._identity = (SERVICE_METADATA, service)

    async def close(self, grace: float | None = None) -> None:
        """End; running calls may finish within `grace` seconds."""
        await self._inner.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """Whether any replica can be reached."""
        return self._inner.newest.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Wait until the state is another one."""
        await self._inner.newest.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Wait until a replica can be reached."""
        await self._inner.newest.channel_ready()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        await self.close()

    def unary_unary(self, *args: Any, **options: Any) -> Any:
        """A method that answers once."""
        return partial(self._ask, self._inner.method("unary_unary", *args, **options))

    def unary_stream(self, *args: Any, **options: Any) -> Any:
        """A method that answers with a stream."""
        return partial(self._stream, self._inner.method("unary_stream", *args, **options))

    def stream_unary(self, *args: Any, **options: Any) -> Any:
        """A method that is asked with a stream."""
        return partial(self._stream, self._inner.method("stream_unary", *args, **options))

    def stream_stream(self, *args: Any, **options: Any) -> Any:
        """A method that streams both ways."""
        return partial(self._stream, self._inner.method("stream_stream", *args, **options))

    async def _ask(
        self,
        method: Callable[..., Awaitable[Any]],
        request: Any,
        *,
        timeout: float | None = DEADLINE_SECONDS,  # gRPC's own deadline travels with the call
        metadata: Metadata = (),
        wait_for_ready: bool | None = None,
    ) -> Any:
        try:
            return await method(
                request, timeout=timeout, metadata=self._with_ours(metadata), wait_for_ready=wait_for_ready
            )
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error

    def _stream(
        self,
        method: Callable[..., Any],
        request: Any = None,
        *,
        timeout: float | None = None,
        metadata: Metadata = (),
        wait_for_ready: bool | None = None,
    ) -> "_Stream":
        return _Stream(
            method(
                request, timeout=timeout, metadata=self._with_ours(metadata), wait_for_ready=wait_for_ready
            )
        )

    def _with_ours(self, metadata: Metadata) -> tuple[tuple[str, str | bytes], ...]:
        if (traceparent := current_traceparent()) is None:
            return (*metadata, self._identity)
        return (*metadata, self._identity, (TRACE_METADATA, traceparent))


class _Stream:
    """A streaming call that raises our errors."""

    __slots__ = ("_call",)

    def __init__(self, call: Any) -> None:
        self._call = call

    def __await__(self) -> Generator[Any, None, Any]:
        return self._translated(_awaited(self._call)).__await__()

    async def __aiter__(self) -> AsyncIterator[Any]:
        try:
            async for response in self._call:
                yield response
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error

    async def read(self) -> Any:
        """The next response, or `grpc.aio.EOF`."""
        return await self._translated(self._call.read())

    async def write(self, request: Any) -> None:
        """Send the next request."""
        await self._translated(self._call.write(request))

    async def done_writing(self) -> None:
        """There are no more requests."""
        await self._translated(self._call.done_writing())

    def cancel(self) -> bool:
        """Give the call up."""
        return cast(bool, self._call.cancel())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)

    async def _translated(self, awaitable: Awaitable[Any]) -> Any:
        try:
            return await awaitable
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        except asyncio.InvalidStateError as error:  # written to after its end
            raise await self._why(error) from error

    async def _why(self, error: asyncio.InvalidStateError) -> PostroomError:
        """How the call ended."""
        code = await self._call.code()
        ended = grpc.aio.AioRpcError(
            code, None, await self._call.trailing_metadata(), await self._call.details()
        )
        return UnavailableError(str(error)) if code is grpc.StatusCode.OK else from_rpc_error(ended)


async def _awaited(call: Awaitable[Any]) -> Any:
    return await call
