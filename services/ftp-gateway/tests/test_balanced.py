"""Clients that come through a balancer, which says so in PROXY headers."""

import ftplib
import re
import socket
from typing import Any

import pytest

from postroom_embedded.ports import free_ports
from postroom_runtime.tls import opportunistic_client_context

CLIENT = "192.0.2.7"


def header(port: int, source: str = CLIENT) -> bytes:
    return f"PROXY TCP4 {source} 198.51.100.1 40000 {port}\r\n".encode()


def balanced(port: int, source: str = CLIENT) -> ftplib.FTP_TLS:
    """A client of the balancer, which is this machine."""
    client = ftplib.FTP_TLS(timeout=20, context=opportunistic_client_context())
    client.sock = socket.create_connection(("127.0.0.1", port), timeout=20)
    client.host, client.af = "localhost", client.sock.family
    client.file = client.sock.makefile("r", encoding="utf-8")
    client.sock.sendall(header(21, source))
    client.welcome = client.getresp()
    return client


@pytest.fixture
async def proxy_port(start: Any) -> int:
    """Where balancers connect."""
    (port,) = free_ports(1)
    await start(proxy_port=port, trusted_proxies="127.0.0.1")
    return port


async def test_control_and_data_connections_of_a_client_meet_behind_a_balancer(
    proxy_port: int, behind: Any, client: Any
) -> None:
    user = behind.account()

    def run() -> None:
        session = balanced(proxy_port)
        session.login(user, "secret")  # under TLS
        session.prot_p()
        session.voidcmd("TYPE I")
        reply = session.sendcmd("PASV")
        found = re.search(r"\((\d+,\d+,\d+,\d+),(\d+),(\d+)\)", reply)
        assert found is not None
        assert found[1] == "198,51,100,1"  # what the client has reached
        port = int(found[2]) * 256 + int(found[3])
        with socket.create_connection(("127.0.0.1", port), timeout=20) as data:
            data.sendall(header(port))
            assert session.sendcmd("STOR f").startswith("150")
            with session.context.wrap_socket(data, server_hostname="localhost") as private:
                private.sendall(b"octets")
                private.unwrap()
        assert session.voidresp().startswith("226")
        assert session.sendcmd("SIZE f") == "213 6"
        session.close()

    await client(run)


@pytest.mark.parametrize("source", [CLIENT, "127.0.0.1"])
async def test_no_header_makes_a_login_in_the_clear_a_local_one(
    proxy_port: int, behind: Any, client: Any, source: str
) -> None:
    user = behind.account()

    def run() -> None:
        session = balanced(proxy_port, source)
        with pytest.raises(ftplib.error_perm, match="530"):
            session.login(user, "secret", secure=False)
        session.close()

    await client(run)
