"""Somebody who comes as a client sees which address SMTP takes it for."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from ipaddress import ip_network
from typing import Any

import pytest
from structlog.testing import capture_logs

from postroom_runtime.errors import DependencyError, FindingsError
from postroom_testing.core import Core
from postroom_testing.smtp_house import running_smtp
from smtp_inbound import reaching
from smtp_inbound.settings import ReachSettings

POD = "192.0.2.9"


def _settings(port: int, pod: str, **changes: Any) -> ReachSettings:
    return ReachSettings(
        target=f"127.0.0.1:{port}", pod_addresses=(ip_network(pod),), wait_seconds=0, **changes
    )


async def test_an_address_that_arrives_is_fine(shared_core: Core) -> None:
    async with running_smtp(shared_core) as smtp:
        with capture_logs() as logs:
            await reaching.reach(_settings(smtp.port, "127.0.0.1"))
    (seen,) = (line["seen"] for line in logs if line["event"] == "client_address_seen")
    assert seen == ["127.0.0.1"]


@asynccontextmanager
async def _answering(*lines: str) -> AsyncGenerator[int]:
    """A server that says these lines to EHLO."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        await reader.readline()
        writer.write("".join(f"{line}\r\n" for line in lines).encode())
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1")
    async with server:
        yield server.sockets[0].getsockname()[1]


def _saying(address: str) -> tuple[str, str]:
    return f"250-mail.example sees [{address}]", "250 PIPELINING"


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        ("10.1.0.1", r"takes 192\.0\.2\.9 for 10\.1\.0\.1 \(this node's address\)"),
        ("10.1.0.2", r"for 10\.1\.0\.2 \(another node's, a balancer's or a sidecar's\)"),
        ("IPv6:2001:db8::1", r"for 2001:db8::1 \(another"),
    ],
)
async def test_another_address_is_a_finding_that_names_whose_it_is(seen: str, words: str) -> None:
    node = (ip_network("10.1.0.1"),)
    async with _answering(*_saying(seen)) as port:
        with pytest.raises(FindingsError, match=words):
            await reaching.reach(_settings(port, POD, node_addresses=node))
        with capture_logs() as logs:
            await reaching.reach(_settings(port, POD, node_addresses=node, strict=False))
    assert "client_addresses_hidden" in [line["event"] for line in logs]


async def test_an_address_that_is_known_to_stand_for_many_is_fine() -> None:
    async with _answering(*_saying("10.1.0.2")) as port:
        await reaching.reach(_settings(port, POD, untrusted_addresses=(ip_network("10.1.0.0/16"),)))


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (("250-mail.example", "250 PIPELINING"), "says no address"),
        (("421 4.3.2 Busy",), "says no address"),
        (("250-x",) * 60, "ValueError"),
        (("250-" + "x" * 2_000,), "ValueError"),
        ((), "TimeoutError"),
    ],
)
async def test_an_answer_that_says_nothing_is_told(lines: tuple[str, ...], words: str) -> None:
    async with _answering(*lines) as port:
        with pytest.raises(DependencyError, match=words):
            await reaching.reach(_settings(port, POD, seconds=0.5))


async def test_it_waits_for_somebody_to_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reaching, "_PAUSE_SECONDS", 0.01)
    async with _answering(*_saying(POD)) as port:
        pass
    settings = _settings(port, POD).model_copy(update={"wait_seconds": 0.02})
    with pytest.raises(DependencyError, match="ConnectionRefusedError"):
        await reaching.reach(settings)
