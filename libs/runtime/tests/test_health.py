import asyncio

import pytest

from postroom_runtime.errors import ConfigurationError
from postroom_runtime.health import Limits, health_server, split_address
from postroom_runtime.lifecycle import Lifecycle


async def ask(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_readiness_follows_the_life_cycle_over_tcp() -> None:
    lifecycle = Lifecycle()
    async with health_server(lifecycle, "127.0.0.1:0") as server:
        port = server.sockets[0].getsockname()[1]

        async def readiness() -> bytes:
            return (await ask(port, b"GET /readyz?verbose HTTP/1.1\r\n\r\n")).rpartition(b"\r\n\r\n")[2]

        assert await readiness() == b"starting\n"
        lifecycle.mark_ready()
        assert await readiness() == b"ready\n"
        lifecycle.stop()
        assert await readiness() == b"draining\n"


async def test_wrong_requests_get_nothing_that_matters() -> None:
    limits = Limits(head_octets=256, seconds=0.1)
    async with health_server(Lifecycle(), "127.0.0.1:0", limits) as server:
        port = server.sockets[0].getsockname()[1]
        assert b" 405 " in await ask(port, b"POST /livez HTTP/1.1\r\n\r\n")
        assert (await ask(port, b"HEAD /livez HTTP/1.1\r\n\r\n")).endswith(b"\r\n\r\n")
        assert await ask(port, b"GET /" + b"x" * 5000) == b""
        assert await ask(port, b"GET /livez") == b""  # and no end of it
        assert b" 404 " in await ask(port, b"GET \xff\x00\r\n\r\n")


async def test_connections_over_the_bound_are_closed() -> None:
    limits = Limits(connections=1, seconds=5)
    async with asyncio.timeout(4), health_server(Lifecycle(), "127.0.0.1:0", limits) as server:
        port = server.sockets[0].getsockname()[1]
        _, first = await asyncio.open_connection("127.0.0.1", port)
        first.write(b"GET")
        await asyncio.sleep(0.05)
        assert await ask(port, b"GET /livez HTTP/1.1\r\n\r\n") == b""
        first.close()


async def test_a_port_in_use_is_a_wrong_configuration() -> None:
    async with health_server(Lifecycle(), "127.0.0.1:0") as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ConfigurationError, match=rf"health port 127.0.0.1:{port}"):
            async with health_server(Lifecycle(), f"127.0.0.1:{port}"):
                pass


def test_addresses_are_split() -> None:
    assert split_address("127.0.0.1:90") == ("127.0.0.1", 90)
    assert split_address("[::1]:90") == ("::1", 90)
    assert split_address(":90") == ("", 90)
    for wrong in ("", "host", "host:", "host:x", "host:70000", "host:-1"):
        with pytest.raises(ConfigurationError):
            split_address(wrong)
