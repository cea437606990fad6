"""Logins: passwords, TLS, limits."""

import poplib
import socket
from collections.abc import Callable
from dataclasses import replace

import pytest

from mail_access.pop3 import session
from mail_access.pop3.limits import DEFAULT_LIMITS
from postroom_runtime.peer import PeerAddress
from postroom_runtime.tls import verifying_client_context
from postroom_testing.certificates import Certificate
from postroom_testing.core import PASSWORD

Say = Callable[[bytes], list[bytes]]
LogIn = Callable[[], poplib.POP3]

WRONG = b"-ERR [AUTH] Wrong user name or password"


@pytest.fixture
def foreign_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    """All peers are on another machine."""
    monkeypatch.setattr(PeerAddress, "is_loopback", property(lambda _: False))


@pytest.fixture
def pops(ports: dict[str, int], certificate: Certificate) -> Callable[[], poplib.POP3_SSL]:
    """Connects to the port that speaks TLS from the first octet."""
    context = verifying_client_context(certificate.ca_file)
    return lambda: poplib.POP3_SSL("localhost", ports["pop3s"], timeout=20, context=context)


def attempt(user: str, password: str) -> bytes:
    return f"USER {user}\r\nPASS {password}\r\n".encode()


def test_a_wrong_password_is_told_like_an_unknown_user_and_three_end_it(address: str, say: Say) -> None:
    said = say(
        attempt(address, "wrong")
        + attempt("nobody@postroom.test", PASSWORD)
        + attempt("no-address", "x")
        + attempt(address, PASSWORD)
    )
    assert said == [b"+OK POP3 server ready", *([b"+OK Send the password", WRONG] * 3)]


def test_after_a_refused_login_the_right_one_is_taken(address: str, say: Say) -> None:
    said = say(attempt(address, "wrong") + attempt(address, PASSWORD) + b"QUIT\r\n")
    assert said[2:] == [WRONG, b"+OK Send the password", b"+OK 0 messages (0 octets)", b"+OK Goodbye"]


def test_too_many_failures_shut_the_right_password_out(address: str, say: Say) -> None:
    for _ in range(4):
        say(attempt(address, "wrong") * 3)
    said = say(attempt(address, PASSWORD) + b"QUIT\r\n")
    assert said[2] == b"-ERR [AUTH] Too many failed logins, try again later"


def test_an_account_has_a_bounded_number_of_sessions(pop: LogIn) -> None:
    first, *_ = [pop() for _ in range(50)]
    with pytest.raises(poplib.error_proto, match=r"\[IN-USE\]"):
        pop()
    first.quit()
    pop()


def test_a_maildrop_beyond_the_bound_is_refused(
    address: str, say: Say, deliver: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(b"Subject: one\r\n\r\n", b"Subject: two\r\n\r\n")
    monkeypatch.setattr(session, "DEFAULT_LIMITS", replace(DEFAULT_LIMITS, messages=1))
    refused = b"-ERR [SYS/PERM] The maildrop has too many messages for POP3"
    assert say(attempt(address, PASSWORD) + b"QUIT\r\n")[2] == refused


def test_a_password_from_elsewhere_needs_tls(
    ports: dict[str, int], certificate: Certificate, address: str, say: Say, foreign_peer: None
) -> None:
    said = say(b"CAPA\r\nUSER %b\r\nPASS x\r\nQUIT\r\n" % address.encode())
    assert b"STLS" in said
    assert b"USER" not in said
    assert said[-3:] == [
        b"-ERR Start TLS before you log in",
        b"-ERR Command not allowed now",
        b"+OK Goodbye",
    ]
    client = poplib.POP3("localhost", ports["pop3"], timeout=20)
    client.stls(verifying_client_context(certificate.ca_file))
    assert "USER" in client.capa()
    assert "STLS" not in client.capa()
    client.user(address)
    assert client.pass_(PASSWORD) == b"+OK 0 messages (0 octets)"
    client.quit()


def test_what_is_sent_ahead_of_tls_is_forgotten(ports: dict[str, int], certificate: Certificate) -> None:
    context = verifying_client_context(certificate.ca_file)
    with socket.create_connection(("127.0.0.1", ports["pop3"]), 20) as plain:
        plain.sendall(b"STLS\r\nCAPA\r\n")
        said = b""
        while said.count(b"\r\n") < 2:
            said += plain.recv(100)
        assert said == b"+OK POP3 server ready\r\n+OK Begin TLS negotiation\r\n"
        with context.wrap_socket(plain, server_hostname="localhost") as secure:
            secure.sendall(b"QUIT\r\n")
            assert secure.recv(100) == b"+OK Goodbye\r\n"


def test_implicit_tls_serves_the_same(pops: Callable[[], poplib.POP3_SSL], address: str) -> None:
    client = pops()
    assert "STLS" not in client.capa()
    client.user(address)
    client.pass_(PASSWORD)
    assert client.quit() == b"+OK Goodbye"
