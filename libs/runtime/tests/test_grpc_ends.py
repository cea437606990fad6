"""Calls between services when one of them ends: drains, broken replicas, and nobody there."""

import asyncio
import os
import signal
import subprocess
import sys
from asyncio import to_thread
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self, cast

import grpc
import pytest

from postroom_contracts.errors import (
    UnavailableError,
)
from postroom_runtime.grpc_client import channel
from postroom_runtime.grpc_server import (
    GrpcServer,
    requests_until,
    serve_grpc,
)
from postroom_runtime.lifecycle import Lifecycle
from postroom_testing.grpc_calls import POLICY, SERVICE, Context, method, unary


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
