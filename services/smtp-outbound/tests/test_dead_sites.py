"""Hosts that let nobody in: however much waits for them, they are asked now and then, until they are back."""

import asyncio
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing

import pytest
from prometheus_client import REGISTRY

from postroom_testing.relaying import House
from postroom_testing.smtp_sink import Fault, Rule, SmtpSink, Stage

MESSAGES = 300
SITE = "mx.example.org"
_FAILURES = "SELECT failures FROM mailstore.site WHERE name = $1"
_TRIED = "SELECT count(*) AS tried FROM mailstore.delivery WHERE site IS NOT NULL AND attempts > 0"
Recover = Callable[[], AbstractAsyncContextManager[SmtpSink]]


def attempts() -> float:
    """Connections that came to nothing, so far."""
    outcomes = ("refused", "failed")
    name = "postroom_outbound_connections_total"
    return sum(REGISTRY.get_sample_value(name, {"outcome": outcome}) or 0 for outcome in outcomes)


@asynccontextmanager
async def nobody_listens() -> AsyncGenerator[tuple[int, Recover]]:
    """A port where connections are refused, until somebody listens."""
    with closing(socket.create_server(("127.0.0.1", 0))) as placeholder:
        port: int = placeholder.getsockname()[1]
    yield port, lambda: SmtpSink(port=port)


@asynccontextmanager
async def bad_greeting(action: str | Fault) -> AsyncGenerator[tuple[int, Recover]]:
    """A host that greets nobody well, until it does."""
    async with SmtpSink([Rule(Stage.CONNECT, action)]) as sink:

        @asynccontextmanager
        async def recover() -> AsyncGenerator[SmtpSink]:
            sink.rules.clear()
            yield sink

        yield sink.port, recover


@pytest.mark.parametrize(
    "dead",
    [
        pytest.param(nobody_listens, id="connection refused"),
        pytest.param(lambda: bad_greeting("421 4.3.2 Not now"), id="421"),
        pytest.param(lambda: bad_greeting(Fault.HANG), id="no greeting"),
    ],
)
async def test_a_dead_host_is_asked_by_time_and_not_by_what_waits(
    house: House, dead: Callable[[], AbstractAsyncContextManager[tuple[int, Recover]]]
) -> None:
    async with dead() as (port, recover):
        await house.submit(["bob@example.org"], count=MESSAGES)
        before = attempts()
        async with house.relay(port, connect_seconds=0.3, command_seconds=0.3):
            failures = 0
            async with asyncio.timeout(20):
                while failures < 3:
                    await asyncio.sleep(0.02)
                    rows = await house.core.fetch(_FAILURES, SITE)
                    failures = rows[0]["failures"] if rows else 0
            # The first refusal is told while other workers try, too.
            assert 3 <= attempts() - before <= 10
            (row,) = await house.core.fetch(_TRIED)
            assert row["tried"] <= 10
            async with recover() as sink:
                await sink.wait_for(MESSAGES, 20)
    assert len(sink.messages) == MESSAGES
    assert await house.core.fetch("SELECT FROM mailstore.site WHERE failures > 0") == []


async def test_mail_for_other_hosts_goes_on(house: House) -> None:
    house.dns.add("other.example", "MX", "10 mx.other.example.")
    house.dns.add("mx.other.example", "A", "127.0.0.2")
    async with (
        SmtpSink([Rule(Stage.CONNECT, "421 4.3.2 Not now")]) as busy,
        SmtpSink(host="127.0.0.2", port=busy.port) as sink,
    ):
        await house.submit(["bob@example.org"], count=50)
        await house.submit(["bob@other.example"], count=50)
        async with house.relay(busy.port):
            await sink.wait_for(50)
    assert busy.connections <= 15
