"""Clients behind HTTP gateways and behind balancers."""

import asyncio
import contextlib
import socket
import ssl
from ipaddress import ip_network

import pytest
from starlette.types import Receive, Scope, Send

from postroom_runtime.networks import Networks
from postroom_runtime.tls import verifying_client_context
from postroom_testing.certificates import CertificateAuthority
from postroom_testing.rest_client import Serve
from webmail_api.forwarded import RELAYED, Forwarded, is_relayed, is_shared

GATEWAYS = Networks([ip_network("10.1.0.0/16"), ip_network("127.0.0.1"), ip_network("2001:db8:1::/48")])
NODES = Networks([ip_network("10.2.0.0/16")])
GATEWAY = "10.1.0.1"


async def _seen(scope: Scope) -> tuple[str, str, bool]:
    """The client, the scheme and whether both are somebody's word, as the application sees them."""
    seen: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)

    async def nothing(*_: object) -> None:
        pytest.fail("nothing is received or sent")

    await Forwarded(app, gateways=GATEWAYS, untrusted=NODES)(scope, nothing, nothing)  # pyright: ignore[reportArgumentType]  # never called
    return seen[0]["client"][0], seen[0]["scheme"], is_relayed(seen[0])


def _scope(client: str, *fields: tuple[str, str], **more: object) -> Scope:
    headers = [(name.lower().encode(), value.encode()) for name, value in fields]
    return {"type": "http", "client": (client, 1), "scheme": "http", "headers": headers, **more}


FOR, PROTO = "X-Forwarded-For", "X-Forwarded-Proto"


@pytest.mark.parametrize(
    ("client", "fields", "expected"),
    [
        (GATEWAY, [], (GATEWAY, "http", False)),
        (GATEWAY, [(FOR, "192.0.2.7"), (PROTO, "https")], ("192.0.2.7", "https", True)),
        (GATEWAY, [(FOR, "192.0.2.7"), (PROTO, "http")], ("192.0.2.7", "http", True)),
        (GATEWAY, [(PROTO, "https")], (GATEWAY, "https", True)),
        (GATEWAY, [(PROTO, "https"), (PROTO, "http")], (GATEWAY, "http", True)),  # the last is the gateway's
        (GATEWAY, [(PROTO, "javascript")], (GATEWAY, "http", True)),
        # What the client wrote itself stands before what gateways append.
        (GATEWAY, [(FOR, "198.51.100.9, 192.0.2.7")], ("192.0.2.7", "http", True)),
        (GATEWAY, [(FOR, "198.51.100.9"), (FOR, "192.0.2.7, 10.1.9.9")], ("192.0.2.7", "http", True)),
        (GATEWAY, [(FOR, "127.0.0.1")], (GATEWAY, "http", True)),  # another gateway's
        (GATEWAY, [(FOR, "192.0.2.7, nonsense")], (GATEWAY, "http", True)),
        (GATEWAY, [(FOR, "192.0.2.7, ")], (GATEWAY, "http", True)),
        (GATEWAY, [(FOR, "0.0.0.0")], (GATEWAY, "http", True)),  # noqa: S104
        (GATEWAY, [(FOR, "224.0.0.1")], (GATEWAY, "http", True)),
        (GATEWAY, [(FOR, "192.0.2.7:51234")], ("192.0.2.7", "http", True)),
        (GATEWAY, [(FOR, "[2001:db8::7]:51234")], ("2001:db8::7", "http", True)),
        (GATEWAY, [(FOR, "2001:db8::7")], ("2001:db8::7", "http", True)),
        (GATEWAY, [(FOR, "::ffff:192.0.2.7")], ("192.0.2.7", "http", True)),
        ("::ffff:10.1.0.1", [(FOR, "192.0.2.7")], ("192.0.2.7", "http", True)),
        # Whoever is no gateway may write what it likes.
        ("192.0.2.8", [(FOR, "127.0.0.1"), (PROTO, "https")], ("192.0.2.8", "http", False)),
        ("10.2.0.1", [(FOR, "127.0.0.1"), (PROTO, "https")], ("10.2.0.1", "http", True)),
    ],
)
async def test_only_gateways_are_believed_and_only_what_they_wrote(
    client: str, fields: list[tuple[str, str]], expected: tuple[str, str, bool]
) -> None:
    assert await _seen(_scope(client, *fields)) == expected


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        (_scope("10.2.0.1"), True),
        (_scope(GATEWAY, (FOR, "10.2.0.1")), True),  # the gateway itself sees nodes only
        (_scope("10.2.0.1", state={RELAYED: True}), True),
        (_scope(GATEWAY, (FOR, "192.0.2.7")), False),
        (_scope("192.0.2.7", (FOR, "10.2.0.1")), False),
    ],
)
async def test_an_address_that_stands_for_many_says_nothing_of_the_client(
    scope: Scope, expected: bool
) -> None:
    await _seen(scope)
    assert is_shared(scope) is expected


async def test_what_comes_through_a_balancer_is_not_believed_besides() -> None:
    scope = _scope(GATEWAY, (FOR, "192.0.2.7"), (PROTO, "https"), state={RELAYED: True})
    assert await _seen(scope) == (GATEWAY, "http", True)


async def _ask(port: int, octets: bytes) -> bytes:
    """The answer to octets that begin a connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(octets)
        async with asyncio.timeout(10):
            with contextlib.suppress(ConnectionResetError):
                return await reader.read()
            return b""
    finally:
        writer.close()


def _request(*fields: str) -> bytes:
    lines = ("GET /api/v1/session HTTP/1.1", "Host: x", "Connection: close", *fields, "\r\n")
    return "\r\n".join(lines).encode()


def _header(source: str) -> bytes:
    return f"PROXY TCP4 {source} 198.51.100.1 40000 80\r\n".encode()


NO_TLS, NO_TOKEN = b"urn:postroom:problem:tls-required", b"urn:postroom:problem:invalid-credentials"


async def test_a_gateway_that_ended_tls_may_pass_tokens_on(serve: Serve) -> None:
    here = "127.0.0.1"
    ports = await serve(trusted_gateways=here)
    assert NO_TOKEN in await _ask(ports["http"], _request())
    assert NO_TOKEN in await _ask(
        ports["http"], _request("X-Forwarded-For: 192.0.2.7", "X-Forwarded-Proto: https")
    )
    assert NO_TLS in await _ask(
        ports["http"], _request("X-Forwarded-For: 192.0.2.7", "X-Forwarded-Proto: http")
    )
    assert NO_TLS in await _ask(ports["http"], _request("X-Forwarded-For: 192.0.2.7"))
    ports = await serve(untrusted_addresses=here)
    assert NO_TLS in await _ask(ports["http"], _request())


async def test_a_balancers_header_comes_first_and_makes_nobody_this_machine(serve: Serve) -> None:
    ports = await serve(http_proxy_port=0, trusted_proxies="127.0.0.1", trusted_gateways="127.0.0.1")
    assert NO_TOKEN in await _ask(ports["http"], _request())
    for source in ("192.0.2.7", "127.0.0.1"):
        octets = _header(source) + _request("X-Forwarded-Proto: https")
        assert NO_TLS in await _ask(ports["http-proxy"], octets)
    assert await _ask(ports["http-proxy"], _request()) == b""
    stranger = await serve(http_proxy_port=0, trusted_proxies="192.0.2.1")
    assert await _ask(stranger["http-proxy"], _header("192.0.2.7") + _request()) == b""


async def test_a_balancers_header_comes_before_tls(
    serve: Serve, tmp_path_factory: pytest.TempPathFactory
) -> None:
    issued = CertificateAuthority(tmp_path_factory.mktemp("authority")).issue("localhost")
    ports = await serve(
        https_proxy_port=0,
        trusted_proxies="127.0.0.1",
        tls_cert_file=issued.cert_file,
        tls_key_file=issued.key_file,
    )
    answer = await asyncio.to_thread(
        _ask_secretly, ports["https-proxy"], verifying_client_context(issued.ca_file)
    )
    assert NO_TOKEN in answer


def _ask_secretly(port: int, context: ssl.SSLContext) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
        plain.sendall(_header("192.0.2.7"))
        with context.wrap_socket(plain, server_hostname="localhost") as private:
            private.sendall(_request())
            heard = b""
            while octets := private.recv(65536):
                heard += octets
            return heard
