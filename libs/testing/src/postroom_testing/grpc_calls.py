"""A small service of gRPC with calls of every kind, for tests of how services call each other."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias, cast

import grpc

from postroom_contracts.errors import (
    MailboxNotFoundError,
    StagingFullError,
)
from postroom_runtime.grpc_server import (
    GrpcServer,
    Limits,
    caller,
    capability_token,
    serve_grpc,
)
from postroom_runtime.lifecycle import Lifecycle
from postroom_runtime.tls import GrpcTls
from postroom_runtime.traces import current_trace_id

SERVICE = "postroom.test.v1.TestService"

EVERYBODY = frozenset({"smtp-inbound", "mail-access"})

METHODS = ("Who", "Trace", "Capability", "Missing", "Full", "Bug", "Slow", "Count", "Echo", "Sum", "Refuse")

POLICY = {f"/{SERVICE}/{name}": EVERYBODY for name in METHODS}

Context: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"


def unary(answer: Callable[[bytes], Awaitable[bytes]]) -> "grpc.RpcMethodHandler[Any, Any]":
    """A call of one request and one answer."""

    async def method(request: bytes, _: Context) -> bytes:
        return await answer(request)

    return cast("grpc.RpcMethodHandler[Any, Any]", grpc.unary_unary_rpc_method_handler(cast(Any, method)))


async def _who(_: bytes) -> bytes:
    return caller().encode()


async def _trace(_: bytes) -> bytes:
    return (current_trace_id() or "").encode()


async def _capability(_: bytes) -> bytes:
    return capability_token().encode()


async def _missing(_: bytes) -> bytes:
    raise MailboxNotFoundError("secret detail")


async def _full(_: bytes) -> bytes:
    raise StagingFullError("secret detail")


async def _bug(_: bytes) -> bytes:
    raise ZeroDivisionError("secret detail")


async def _slow(_: bytes) -> bytes:
    await asyncio.sleep(30)
    return b""


async def _count(request: bytes, _: Context) -> AsyncIterator[bytes]:
    for number in range(int(request)):
        yield str(number).encode()


async def _refuse(_: bytes, __: Context) -> AsyncIterator[bytes]:
    yield b"one"
    raise MailboxNotFoundError("secret detail")


async def _echo(requests: AsyncIterator[bytes], _: Context) -> AsyncIterator[bytes]:
    async for request in requests:
        yield request


async def _add_up(requests: AsyncIterator[bytes], _: Context) -> bytes:
    return str(sum([int(request) async for request in requests])).encode()


def add(server: grpc.aio.Server) -> None:
    """Give a server the service."""
    handlers: dict[str, Any] = {
        "Who": unary(_who),
        "Trace": unary(_trace),
        "Capability": unary(_capability),
        "Missing": unary(_missing),
        "Full": unary(_full),
        "Bug": unary(_bug),
        "Slow": unary(_slow),
        "Unlisted": unary(_who),
        "Count": grpc.unary_stream_rpc_method_handler(cast(Any, _count)),
        "Refuse": grpc.unary_stream_rpc_method_handler(cast(Any, _refuse)),
        "Echo": grpc.stream_stream_rpc_method_handler(cast(Any, _echo)),
        "Sum": grpc.stream_unary_rpc_method_handler(cast(Any, _add_up)),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))


async def serve(listen: str, tls: GrpcTls | None = None, limits: Limits | None = None) -> GrpcServer:
    """Serve it at an address."""
    return await serve_grpc(listen, add, policy=POLICY, tls=tls, lifecycle=Lifecycle(), limits=limits)


def method(name: str, on: grpc.aio.Channel, kind: str = "unary_unary") -> Callable[..., Any]:
    """One of its calls, by its name."""
    return getattr(on, kind)(f"/{SERVICE}/{name}")
