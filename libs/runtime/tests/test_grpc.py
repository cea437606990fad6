"""Calls between services over real sockets."""

import asyncio
import os
import signal
import subprocess
import sys
from asyncio import to_thread
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self, TypeAlias, cast

import grpc
import pytest

from postroom_contracts.errors import (
    LimitError,
    MailboxNotFoundError,
    MethodMissingError,
    NotPermittedError,
    StagingFullError,
    UnavailableError,
)
from postroom_runtime.errors import ConfigurationError
from postroom_runtime.grpc_client import channel, on_behalf_of
from postroom_runtime.grpc_server import (
    GrpcServer,
    Limits,
    caller,
    capability_token,
    requests_until,
    serve_grpc,
)
from postroom_runtime.lifecycle import Lifecycle
from postroom_runtime.tls import GrpcTls
from postroom_runtime.traces import bind_trace, current_trace_id, new_traceparent
from postroom_testing.certificates import CertificateAuthority

SERVICE = "postroom.test.v1.TestService"
EVERYBODY = frozenset({"smtp-inbound", "mail-access"})
METHODS = ("Who", "Trace", "Capability", "Missing", "Full", "Bug", "Slow", "Count", "Echo", "Sum", "Refuse")
POLICY = {f"/{SERVICE}/{name}": EVERYBODY for name in METHODS}

Context: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"


def unary(answer: Callable[[bytes], Awaitable[bytes]]) -> "grpc.RpcMethodHandler[Any, Any]":
    async def method(request: bytes, context: Context) -> bytes:
        return await answer(request)

    return cast("grpc.RpcMethodHandler[Any, Any]", grpc.unary_unary_rpc_method_handler(cast(Any, method)))


async def who(request: bytes) -> bytes:
    return caller().encode()


async def trace(request: bytes) -> bytes:
    return (current_trace_id() or "").encode()


async def capability(request: bytes) -> bytes:
    return capability_token().encode()


async def missing(request: bytes) -> bytes:
    raise MailboxNotFoundError("secret detail")


async def full(request: bytes) -> bytes:
    raise StagingFullError("secret detail")


async def bug(request: bytes) -> bytes:
    raise ZeroDivisionError("secret detail")


async def slow(request: bytes) -> bytes:
    await asyncio.sleep(30)
    return b""


async def count(request: bytes, context: Context) -> AsyncIterator[bytes]:
    for number in range(int(request)):
        yield str(number).encode()


async def refuse(request: bytes, context: Context) -> AsyncIterator[bytes]:
    yield b"one"
    raise MailboxNotFoundError("secret detail")


async def echo(requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
    async for request in requests:
        yield request


async def add_up(requests: AsyncIterator[bytes], context: Context) -> bytes:
    return str(sum([int(request) async for request in requests])).encode()


def add(server: grpc.aio.Server) -> None:
    handlers: dict[str, Any] = {
        "Who": unary(who),
        "Trace": unary(trace),
        "Capability": unary(capability),
        "Missing": unary(missing),
        "Full": unary(full),
        "Bug": unary(bug),
        "Slow": unary(slow),
        "Unlisted": unary(who),
        "Count": grpc.unary_stream_rpc_method_handler(cast(Any, count)),
        "Refuse": grpc.unary_stream_rpc_method_handler(cast(Any, refuse)),
        "Echo": grpc.stream_stream_rpc_method_handler(cast(Any, echo)),
        "Sum": grpc.stream_unary_rpc_method_handler(cast(Any, add_up)),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))


async def serve(listen: str, tls: GrpcTls | None = None, limits: Limits | None = None) -> GrpcServer:
    return await serve_grpc(listen, add, policy=POLICY, tls=tls, lifecycle=Lifecycle(), limits=limits)


def method(name: str, on: grpc.aio.Channel, kind: str = "unary_unary") -> Callable[..., Any]:
    return getattr(on, kind)(f"/{SERVICE}/{name}")


def mutual(authority: CertificateAuthority, *names: str) -> GrpcTls:
    issued = authority.issue(*names)
    return GrpcTls(issued.cert_file, issued.key_file, issued.ca_file)


@pytest.fixture
async def local(sockets: Path) -> AsyncIterator[grpc.aio.Channel]:
    """A channel of smtp-inbound to a server on a unix socket."""
    async with await serve(f"unix:{sockets}/a"), channel(f"unix:{sockets}/a", "smtp-inbound") as to:
        yield to


async def test_a_unix_socket_believes_the_service_that_the_caller_names(local: grpc.aio.Channel) -> None:
    assert await method("Who", local)(b"") == b"smtp-inbound"


async def test_a_service_that_the_policy_does_not_name_is_refused(sockets: Path) -> None:
    async with await serve(f"unix:{sockets}/a"), channel(f"unix:{sockets}/a", "ftp-gateway") as to:
        with pytest.raises(NotPermittedError):
            await method("Who", to)(b"")


async def test_a_method_that_the_policy_does_not_name_is_for_nobody(local: grpc.aio.Channel) -> None:
    with pytest.raises(NotPermittedError):
        await method("Unlisted", local)(b"")


async def test_a_method_that_does_not_exist_is_no_success(local: grpc.aio.Channel) -> None:
    with pytest.raises(MethodMissingError, match="UNIMPLEMENTED"):
        await method("Nothing", local)(b"")


async def test_an_error_travels_by_its_name_and_without_its_text(local: grpc.aio.Channel) -> None:
    with pytest.raises(MailboxNotFoundError) as missing_mailbox:
        await method("Missing", local)(b"")
    with pytest.raises(StagingFullError):
        await method("Full", local)(b"")
    assert "secret" not in str(missing_mailbox.value)


async def test_an_unknown_error_shows_an_incident_and_nothing_else(local: grpc.aio.Channel) -> None:
    with pytest.raises(UnavailableError, match=r"^INTERNAL: incident [0-9a-f]{16}$"):
        await method("Bug", local)(b"")


async def test_the_trace_goes_along(local: grpc.aio.Channel) -> None:
    traceparent = new_traceparent()
    with bind_trace(traceparent):
        assert await method("Trace", local)(b"") == traceparent[3:35].encode()
    assert len(await method("Trace", local)(b"")) == 32


async def test_the_capability_goes_along(local: grpc.aio.Channel) -> None:
    assert await method("Capability", local)(b"", metadata=on_behalf_of("token")) == b"token"
    assert await method("Capability", local)(b"") == b""


async def test_a_late_answer_is_unavailable(local: grpc.aio.Channel) -> None:
    with pytest.raises(UnavailableError, match="DEADLINE_EXCEEDED"):
        await method("Slow", local)(b"", timeout=0.05)


async def test_streams_of_every_kind_pass(local: grpc.aio.Channel) -> None:
    counted = [item async for item in method("Count", local, "unary_stream")(b"3")]
    assert counted == [b"0", b"1", b"2"]

    async def numbers() -> AsyncIterator[bytes]:
        yield b"4"
        yield b"5"

    assert await method("Sum", local, "stream_unary")(numbers()) == b"9"
    both = method("Echo", local, "stream_stream")()
    await both.write(b"x")
    assert await both.read() == b"x"
    await both.done_writing()
    assert await both.read() is grpc.aio.EOF


async def test_a_stream_that_breaks_off_raises_our_error(local: grpc.aio.Channel) -> None:
    with pytest.raises(MailboxNotFoundError):
        _ = [item async for item in method("Refuse", local, "unary_stream")(b"")]


async def test_calls_over_the_bound_are_refused_for_now(sockets: Path) -> None:
    async with (
        await serve(f"unix:{sockets}/a", limits=Limits(concurrent_calls=1)),
        channel(f"unix:{sockets}/a", "smtp-inbound") as to,
    ):
        stream = method("Echo", to, "stream_stream")()
        await stream.write(b"x")
        assert await stream.read() == b"x"
        with pytest.raises(UnavailableError):
            await method("Who", to)(b"")
        stream.cancel()


async def test_a_message_over_the_bound_is_refused(local: grpc.aio.Channel) -> None:
    with pytest.raises(LimitError):
        await method("Who", local)(b"x" * (9 << 20))


async def test_over_tcp_the_certificate_says_who_calls(authority: CertificateAuthority) -> None:
    server_tls = mutual(authority, "mailstore")
    async with await serve("127.0.0.1:0", server_tls) as server:
        address = f"127.0.0.1:{server.port}"
        liar = mutual(authority, "ftp-gateway")
        async with channel(address, "smtp-inbound", liar, server="mailstore") as to:
            with pytest.raises(NotPermittedError):
                await method("Who", to)(b"")
        honest = mutual(authority, "mail-access", "mail-access.mail.svc")
        async with channel(address, "ftp-gateway", honest, server="mailstore") as to:
            assert await method("Who", to)(b"") == b"mail-access"
        both = mutual(authority, "mail-access", "smtp-inbound")
        async with channel(address, "mail-access", both, server="mailstore") as to:
            with pytest.raises(NotPermittedError):
                await method("Who", to)(b"")


async def test_over_tcp_a_foreign_authority_is_nobody(
    authority: CertificateAuthority, tmp_path: Path
) -> None:
    stranger = mutual(CertificateAuthority(tmp_path / "other"), "mail-access")
    trusting = GrpcTls(stranger.cert_file, stranger.key_file, authority.ca_file)
    async with (
        await serve("127.0.0.1:0", mutual(authority, "mailstore")) as server,
        channel(f"127.0.0.1:{server.port}", "mail-access", trusting, server="mailstore") as to,
    ):
        with pytest.raises(UnavailableError):
            await method("Who", to)(b"")


async def test_a_server_that_is_another_service_is_not_called(authority: CertificateAuthority) -> None:
    async with (
        await serve("127.0.0.1:0", mutual(authority, "filestore")) as server,
        channel(
            f"127.0.0.1:{server.port}", "mail-access", mutual(authority, "mail-access"), server="mailstore"
        ) as to,
    ):
        with pytest.raises(UnavailableError):
            await method("Who", to)(b"")


async def test_tcp_without_mutual_tls_is_a_wrong_configuration() -> None:
    with pytest.raises(ConfigurationError, match="POSTROOM_GRPC_TLS"):
        await serve("127.0.0.1:0")
    with pytest.raises(ConfigurationError, match="POSTROOM_GRPC_TLS"):
        channel("127.0.0.1:9000", "mail-access")


async def test_a_socket_directory_that_others_can_enter_is_refused(sockets: Path) -> None:
    sockets.chmod(0o755)
    with pytest.raises(ConfigurationError, match="open to others"):
        await serve(f"unix:{sockets}/a")


async def test_a_port_in_use_is_refused(authority: CertificateAuthority) -> None:
    tls = mutual(authority, "mailstore")
    async with await serve("127.0.0.1:0", tls) as server:
        with pytest.raises(ConfigurationError, match="cannot listen"):
            await serve(f"127.0.0.1:{server.port}", tls)


async def test_a_wrong_address_is_a_wrong_configuration() -> None:
    for address in ("", " , ", "unix:/a,host:1"):
        with pytest.raises(ConfigurationError):
            channel(address, "mail-access")


async def test_nobody_there_is_unavailable_within_a_moment(sockets: Path) -> None:
    async with asyncio.timeout(5), channel(f"unix:{sockets}/nobody", "mail-access") as to:
        with pytest.raises(UnavailableError):
            await method("Who", to)(b"")


async def test_a_drain_lets_the_running_call_finish(sockets: Path) -> None:
    lifecycle = Lifecycle()
    begun = asyncio.Event()

    async def work(request: bytes) -> bytes:
        begun.set()
        await asyncio.sleep(0.05)
        return b"done"

    def add_work(server: grpc.aio.Server) -> None:
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE, {"Who": unary(work)}),)
        )

    server = await serve_grpc(f"unix:{sockets}/a", add_work, policy=POLICY, tls=None, lifecycle=lifecycle)
    async with channel(f"unix:{sockets}/a", "mail-access") as to, asyncio.TaskGroup() as tasks:
        call = tasks.create_task(method("Who", to)(b""))
        await begun.wait()
        lifecycle.stop()
        await server.serve_until_stopped(lifecycle, unready_seconds=0, drain_seconds=5)
    assert call.result() == b"done"


async def test_a_drain_ends_streams_whose_clients_keep_them_open(sockets: Path) -> None:
    """Those that wait for a request at once, those with one under way when it is answered."""
    lifecycle = Lifecycle()
    under_way, going = asyncio.Event(), asyncio.Event()

    async def work(requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        async for request in requests_until(lifecycle.closing, requests):
            if request == b"slow":
                under_way.set()
                await going.wait()
            yield request

    def add_work(server: grpc.aio.Server) -> None:
        handlers: dict[str, Any] = {"Echo": grpc.stream_stream_rpc_method_handler(cast(Any, work))}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))

    server = await serve_grpc(f"unix:{sockets}/a", add_work, policy=POLICY, tls=None, lifecycle=lifecycle)
    async with channel(f"unix:{sockets}/a", "mail-access") as to, asyncio.TaskGroup() as tasks:
        idle, busy = (method("Echo", to, "stream_stream")() for _ in range(2))
        await idle.write(b"x")
        assert await idle.read() == b"x"
        await busy.write(b"slow")
        await under_way.wait()
        lifecycle.stop()
        draining = tasks.create_task(
            server.serve_until_stopped(lifecycle, unready_seconds=0.01, drain_seconds=5)
        )
        async with asyncio.timeout(2):
            assert await idle.read() is grpc.aio.EOF
            assert not draining.done()
            going.set()
            assert await busy.read() == b"slow"
            assert await busy.read() is grpc.aio.EOF
            await draining


async def test_a_stream_that_its_client_ends_is_over() -> None:
    async def two() -> AsyncIterator[int]:
        yield 1
        yield 2

    assert [number async for number in requests_until(asyncio.Event(), two())] == [1, 2]


async def ask(to: grpc.aio.Channel, times: int) -> Counter[bytes]:
    answers: Counter[bytes] = Counter()
    for _ in range(times):
        answers[await method("Who", to)(b"")] += 1
    return answers


async def test_calls_go_on_when_a_replica_dies_and_it_joins_again(sockets: Path) -> None:
    async def replica(name: str) -> GrpcServer:
        async def answer(request: bytes) -> bytes:
            return name.encode()

        def add_named(server: grpc.aio.Server) -> None:
            handlers = {"Who": unary(answer)}
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))

        return await serve_grpc(
            f"unix:{sockets}/{name}", add_named, policy=POLICY, tls=None, lifecycle=Lifecycle()
        )

    async with AsyncExitStack() as stack:
        first = await replica("a")
        await stack.enter_async_context(await replica("b"))
        to = await stack.enter_async_context(channel(f"unix:{sockets}/a,unix:{sockets}/b", "mail-access"))
        async with asyncio.timeout(5):
            while set(await ask(to, 10)) != {b"a", b"b"}:
                pass
        await first.stop(None)
        assert set(await ask(to, 20)) == {b"b"}
        await stack.enter_async_context(await replica("a"))
        async with asyncio.timeout(5):
            while b"a" not in await ask(to, 2):
                pass


REPLICA = """
import asyncio, sys
import grpc
from postroom_runtime.grpc_server import serve_grpc
from postroom_runtime.lifecycle import Lifecycle

async def who(request, context):
    return sys.argv[2].encode()

def add(server):
    handlers = {"Who": grpc.unary_unary_rpc_method_handler(who)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(sys.argv[3], handlers),))

async def main():
    policy = {f"/{sys.argv[3]}/Who": frozenset({"mail-access"})}
    async with await serve_grpc(sys.argv[1], add, policy=policy, tls=None, lifecycle=Lifecycle()):
        print("ready", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


class Replica:
    """A server in a process of its own, that may be killed and frozen."""

    def __init__(self, sockets: Path, name: str) -> None:
        self._command = [sys.executable, "-c", REPLICA, f"unix:{sockets}/{name}", name, SERVICE]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    def end(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.communicate()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


async def test_a_replica_killed_or_frozen_is_left_out_within_5_seconds(sockets: Path) -> None:
    with Replica(sockets, "a") as killed, Replica(sockets, "b"):
        async with channel(f"unix:{sockets}/a,unix:{sockets}/b", "mail-access") as to:
            async with asyncio.timeout(5):
                while set(await ask(to, 10)) != {b"a", b"b"}:
                    pass
            killed.send(signal.SIGKILL)
            assert set(await ask(to, 20)) == {b"b"}
            await to_thread(killed.end)
            await to_thread(killed.start)
            async with asyncio.timeout(5):
                while b"a" not in await ask(to, 2):
                    pass
            killed.send(signal.SIGSTOP)
            async with asyncio.timeout(5):
                assert set(await ask(to, 20)) == {b"b"}
