"""Mail that comes through a balancer, which says whose it is in a PROXY header."""

import asyncio
import base64
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from postroom_contracts.ids import parse_queue_id
from postroom_embedded.ports import free_ports
from postroom_testing.core import Core
from postroom_testing.smtp_client import SmtpClient
from postroom_testing.smtp_house import running_smtp

ANN, OUTSIDER = "ann@postroom.test", "someone@example.org"


def header(source: str = "192.0.2.7") -> bytes:
    return f"PROXY TCP4 {source} 198.51.100.1 40000 25\r\n".encode()


@asynccontextmanager
async def balanced(port: int, octets: bytes) -> AsyncGenerator[SmtpClient]:
    """A client of the balancer, which is this machine."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    client = SmtpClient(reader, writer)
    try:
        client.send(octets)
        client.greeting = await client.reply()
        yield client
    finally:
        client.abort()


async def test_mail_from_a_balancer_shows_its_clients_address(shared_core: Core) -> None:
    (port,) = free_ports(1)
    async with (
        running_smtp(shared_core, proxy_port=port, trusted_proxies="127.0.0.1"),
        balanced(port, header()) as client,
    ):
        assert client.greeting.startswith("220 ")
        reply = await client.mail(OUTSIDER, ANN)
    assert reply.startswith("250 2.0.0 Queued as ")
    wanted = parse_queue_id(reply.rpartition(" ")[2])
    async with asyncio.timeout(10):
        while wanted not in await shared_core.inbox(ANN):
            await asyncio.sleep(0.02)
    (row,) = await shared_core.fetch("SELECT header FROM mailstore.message WHERE id = $1", wanted)
    assert b"Received: from client.example ([192.0.2.7])" in row["header"].replace(b"\r\n\t", b" ").replace(
        b"\r\n ", b" "
    )


@pytest.mark.parametrize("octets", [header("127.0.0.1"), b"PROXY UNKNOWN\r\n"])
async def test_a_login_in_the_clear_needs_more_than_a_balancer_on_this_machine(
    shared_core: Core, octets: bytes
) -> None:
    port, submissions = free_ports(2)
    async with running_smtp(
        shared_core,
        submission_proxy_port=port,
        submissions_proxy_port=submissions,
        trusted_proxies="127.0.0.1",
    ) as house:
        async with balanced(port, octets) as client:
            assert "AUTH" not in await client.say("EHLO client.example")
            assert (await client.say("AUTH PLAIN AGFubgB4")).startswith("538 ")
            trusting = ssl.create_default_context(cafile=str(house.ca_file))
            assert (await client.start_tls(trusting)).startswith("220 ")
            assert "AUTH PLAIN" in await client.say("EHLO client.example")
        async with SmtpClient.connected(house.submission_port) as client:
            assert "AUTH PLAIN" in await client.say("EHLO client.example")  # this machine itself


async def test_a_failed_login_is_not_counted_by_the_address_of_the_node(shared_core: Core) -> None:
    (port,) = free_ports(1)
    settings = {"submission_proxy_port": port, "trusted_proxies": "127.0.0.1", "node_addresses": "10.1.2.3"}
    async with running_smtp(shared_core, **settings) as house:
        trusting = ssl.create_default_context(cafile=str(house.ca_file))
        for source in ("10.1.2.3", "198.51.100.77"):
            async with balanced(port, header(source)) as client:
                await client.say("EHLO client.example")
                assert (await client.start_tls(trusting)).startswith("220 ")
                await client.say("EHLO client.example")
                wrong = base64.b64encode(f"\0{OUTSIDER}\0wrong".encode()).decode()
                assert (await client.say(f"AUTH PLAIN {wrong}")).startswith("535 ")
    rows = await shared_core.fetch("SELECT DISTINCT network FROM directory.login_failure")
    networks = {row["network"] for row in rows}
    assert {"", "198.51.100.0/24"} <= networks
    assert "10.1.2.0/24" not in networks
