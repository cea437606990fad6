"""Sessions that come through a balancer, which says whose they are in a PROXY header."""

import imaplib
import poplib
import socket
from asyncio import to_thread

import pytest

from postroom_runtime.tls import verifying_client_context
from postroom_testing.certificates import Certificate


def balanced(port: int, source: str) -> socket.socket:
    """A connection of the balancer, which is this machine, that begins with a header."""
    connected = socket.create_connection(("127.0.0.1", port), timeout=20)
    connected.sendall(f"PROXY TCP4 {source} 198.51.100.1 40000 143\r\n".encode())
    return connected


class Imap(imaplib.IMAP4_SSL):
    """Of a balancer's client."""

    def _create_socket(self, timeout: float | None) -> socket.socket:
        del timeout
        return self.ssl_context.wrap_socket(balanced(self.port, "192.0.2.7"), server_hostname="localhost")


async def test_the_header_comes_before_tls_and_the_login_after_it(
    ports: dict[str, int], certificate: Certificate, mail_account: tuple[str, str]
) -> None:
    def run() -> None:
        context = verifying_client_context(certificate.ca_file)
        with Imap("localhost", ports["imaps-proxy"], ssl_context=context, timeout=20) as client:
            assert client.login(*mail_account)[0] == "OK"
            assert client.select()[0] == "OK"

    await to_thread(run)


@pytest.mark.parametrize("source", ["192.0.2.7", "127.0.0.1"])
async def test_no_login_in_the_clear_comes_through_a_balancer(
    ports: dict[str, int], mail_account: tuple[str, str], source: str
) -> None:
    """Nor is it one of this machine's because a header says so."""

    def imap() -> None:
        with balanced(ports["imap-proxy"], source) as connected, connected.makefile("rb") as replies:
            assert b"LOGINDISABLED" in replies.readline()
            connected.sendall(b'a LOGIN "%b" "%b"\r\n' % tuple(word.encode() for word in mail_account))
            assert replies.readline().startswith(b"a NO [PRIVACYREQUIRED]")

    def pop3() -> None:
        with balanced(ports["pop3-proxy"], source) as connected, connected.makefile("rb") as replies:
            assert replies.readline().startswith(b"+OK")
            connected.sendall(b"USER %b\r\n" % mail_account[0].encode())
            assert replies.readline().startswith(b"-ERR")

    await to_thread(imap)
    await to_thread(pop3)
    client = poplib.POP3("127.0.0.1", ports["pop3"], timeout=20)  # this machine itself
    assert client.user(mail_account[0]).startswith(b"+OK")
    client.close()
