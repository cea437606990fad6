"""The maildrop over a real directory, mail store and object store, by a client of its own."""

import imaplib
import poplib
import socket
import subprocess
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from uuid import UUID

import pytest

from mail_access.content import ContentReader, Piece, ReadRange
from mail_access.login import Login
from postroom_testing.certificates import Certificate
from postroom_testing.core import PASSWORD

ONE = b"Subject: one\r\n\r\n.dot\r\nsecond\r\nthird\r\n"
TWO = b"Subject: two\r\n\r\nx\r\n"
THREE = b"Subject: three\r\n\r\ny\r\n"

Deliver = Callable[..., None]
LogIn = Callable[[], poplib.POP3]


def whole(lines: Sequence[bytes]) -> bytes:
    return b"".join(line + b"\r\n" for line in lines)


def test_a_client_lists_reads_and_removes(deliver: Deliver, pop: LogIn) -> None:
    deliver(ONE, TWO, THREE)
    client = pop()
    assert client.stat() == (3, len(ONE + TWO + THREE))
    sizes = [b"%d %d" % (number, len(mail)) for number, mail in enumerate((ONE, TWO, THREE), 1)]
    assert client.list()[1] == sizes
    assert client.list(2) == b"+OK " + sizes[1]
    ids = [line.split()[1] for line in client.uidl()[1]]
    assert len(set(ids)) == 3
    assert client.uidl(2) == b"+OK 2 " + ids[1]
    assert whole(client.top(1, 1)[1]) == b"Subject: one\r\n\r\n.dot\r\n"
    assert whole(client.top(1, 0)[1]) == b"Subject: one\r\n\r\n"
    assert whole(client.retr(1)[1]) == ONE
    client.dele(1)
    client.dele(2)
    client.rset()
    client.dele(3)
    assert client.stat() == (2, len(ONE + TWO))
    with pytest.raises(poplib.error_proto, match="No such message"):
        client.retr(3)
    assert client.noop() == b"+OK"
    assert client.quit() == b"+OK Goodbye"

    again = pop()
    assert [line.split()[1] for line in again.uidl()[1]] == ids[:2]


def test_an_empty_maildrop(pop: LogIn) -> None:
    client = pop()
    assert client.stat() == (0, 0)
    assert client.list()[1] == client.uidl()[1] == []
    assert client.quit() == b"+OK Goodbye"


def test_nothing_is_removed_before_quit(deliver: Deliver, pop: LogIn) -> None:
    deliver(ONE, TWO)
    client = pop()
    client.dele(1)
    assert pop().stat() == (2, len(ONE + TWO))
    client.quit()
    assert pop().stat() == (1, len(TWO))


@pytest.mark.parametrize("politely", [True, False])
def test_a_connection_lost_before_quit_removes_nothing(
    deliver: Deliver, pop: LogIn, *, politely: bool
) -> None:
    deliver(ONE, TWO)
    client = pop()
    client.dele(1)
    client.dele(2)
    sock: socket.socket = client.sock  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType, reportUnknownMemberType]
    if politely:
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(1) == b""
    else:
        client.close()
    assert pop().stat() == (2, len(ONE + TWO))


def test_two_sessions_have_a_snapshot_each(deliver: Deliver, pop: LogIn) -> None:
    deliver(ONE, TWO)
    first, second = pop(), pop()
    first.dele(1)
    first.quit()
    deliver(THREE)
    assert second.stat() == (2, len(ONE + TWO))
    assert whole(second.retr(1)[1]) == ONE  # it is kept for a while, and this session was not told
    assert whole(second.retr(2)[1]) == TWO
    second.dele(1)  # is gone already, which is no failure
    second.dele(2)
    assert second.quit() == b"+OK Goodbye"
    assert whole(pop().retr(1)[1]) == THREE


def test_a_message_that_is_not_even_kept_is_refused(
    deliver: Deliver, pop: LogIn, forget_expunged: Callable[[], object]
) -> None:
    deliver(ONE, TWO)
    first, second = pop(), pop()
    first.dele(1)
    first.quit()
    forget_expunged()
    with pytest.raises(poplib.error_proto, match="removed by another session"):
        second.retr(1)
    assert whole(second.retr(2)[1]) == TWO


def test_unique_ids_are_uidvalidity_and_uid(inbox: imaplib.IMAP4, deliver: Deliver, pop: LogIn) -> None:
    validity = inbox.response("UIDVALIDITY")[1][0]
    deliver(ONE, TWO)
    assert isinstance(validity, bytes)
    assert pop().uidl()[1] == [b"1 %b.1" % validity, b"2 %b.2" % validity]


def test_exactly_what_was_marked_goes_whatever_its_flags(
    inbox: imaplib.IMAP4, deliver: Deliver, pop: LogIn
) -> None:
    deliver(ONE, TWO, THREE)
    inbox.store("2", "+FLAGS", "(\\Deleted)")
    client = pop()
    assert client.stat()[0] == 3
    client.dele(1)
    client.dele(3)
    client.quit()
    inbox.noop()
    assert inbox.uid("SEARCH", "ALL") == ("OK", [b"2"])


def test_reading_changes_no_flag(inbox: imaplib.IMAP4, deliver: Deliver, pop: LogIn) -> None:
    deliver(ONE)
    client = pop()
    client.retr(1)
    client.quit()
    inbox.noop()
    assert inbox.search(None, "UNSEEN") == ("OK", [b"1"])


def test_a_message_without_a_last_line_end_gets_one(deliver: Deliver, pop: LogIn) -> None:
    deliver(b"Subject: x\r\n\r\n..\r\n.")
    client = pop()
    assert whole(client.retr(1)[1]) == b"Subject: x\r\n\r\n..\r\n.\r\n"
    assert client.noop() == b"+OK"


def test_commands_may_be_sent_ahead(
    address: str, deliver: Deliver, say: Callable[[bytes], list[bytes]]
) -> None:
    deliver(ONE, TWO)
    said = say(
        b"USER %b\r\nPASS %b\r\n" % (address.encode(), PASSWORD.encode()) + b"RETR 2\r\nDELE 1\r\nQUIT\r\n"
    )
    assert said == [
        b"+OK POP3 server ready",
        b"+OK Send the password",
        b"+OK 2 messages (%d octets)" % len(ONE + TWO),
        b"+OK %d octets" % len(TWO),
        *TWO.split(b"\r\n")[:-1],
        b".",
        b"+OK Message 1 deleted",
        b"+OK Goodbye",
    ]


def test_very_many_commands_at_once_are_answered_in_turn(
    address: str, say: Callable[[bytes], list[bytes]]
) -> None:
    login = b"USER %b\r\nPASS %b\r\n" % (address.encode(), PASSWORD.encode())
    said = say(login + b"NOOP\r\n" * 50_000 + b"QUIT\r\n")
    assert len(said) == 50_004
    assert said[-1] == b"+OK Goodbye"


def test_a_large_message_goes_no_faster_than_its_reader(
    ports: dict[str, int], address: str, deliver: Deliver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """12 MB of which the sockets' buffers hold a part; the rest is not even read from the store."""
    line = b"%09d the quick brown fox jumps over the lazy dog....\r\n"
    mail = b"Subject: large\r\n\r\n" + b"".join(line % at for at in range(200_000))
    deliver(mail)
    read, quiet = [0], threading.Event()
    original = ContentReader.read

    async def counting(
        self: ContentReader, login: Login, mailbox_id: UUID, ranges: Sequence[ReadRange]
    ) -> AsyncGenerator[Piece]:
        async with aclosing(original(self, login, mailbox_id, ranges)) as pieces:
            async for piece in pieces:
                read[0] += len(piece.octets)
                yield piece

    monkeypatch.setattr(ContentReader, "read", counting)
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
        sock.settimeout(20)
        sock.connect(("127.0.0.1", ports["pop3"]))
        sock.sendall(b"USER %b\r\nPASS %b\r\nRETR 1\r\n" % (address.encode(), PASSWORD.encode()))
        before = -1
        while not read[0] or read[0] != before:
            before = read[0]
            quiet.wait(0.3)
        assert before < len(mail) - 2_000_000
        sock.sendall(b"QUIT\r\n")
        said = bytearray()
        while piece := sock.recv(1 << 20):
            said += piece
    head, _, rest = bytes(said).partition(b" octets\r\nSubject")
    assert head.endswith(b"+OK %d" % len(mail))
    assert rest == mail.removeprefix(b"Subject") + b".\r\n+OK Goodbye\r\n"


def test_top_ends_within_a_large_message(deliver: Deliver, pop: LogIn) -> None:
    deliver(b"Subject: large\r\n\r\n" + b"0123456789abcdef\r\n" * 100_000)
    client = pop()
    assert len(client.top(1, 3)[1]) == 5
    assert client.noop() == b"+OK"


def test_curl_reads_and_removes(
    ports: dict[str, int],
    certificate: Certificate,
    address: str,
    deliver: Deliver,
    pop: LogIn,
    debian_tool: Callable[[str], Path],
) -> None:
    deliver(ONE, TWO)
    curl = debian_tool("curl")

    def run(*arguments: str) -> bytes:
        common = [curl, "-sS", "--cacert", certificate.ca_file, "--user", f"{address}:{PASSWORD}"]
        return subprocess.run([*common, *arguments], capture_output=True, check=True, timeout=20).stdout

    plain, secure = f"pop3://localhost:{ports['pop3']}", f"pop3s://localhost:{ports['pop3s']}"
    assert run(f"{plain}/1") == ONE
    assert run(f"{secure}/2") == TWO
    assert run("--ssl-reqd", f"{plain}/2") == TWO
    run("--request", "DELE 1", "--head", f"{plain}/")
    assert whole(pop().retr(1)[1]) == TWO


def test_an_internationalized_message_comes_in_ascii_unless_utf8_is_said(
    deliver: Deliver, pop: LogIn, say: Callable[[bytes], list[bytes]], address: str
) -> None:
    mail = "From: J\u00fcrgen <j\u00fcrgen@example.com>\r\nSubject: Gr\u00fc\u00dfe\r\n\r\nHello\r\n".encode()
    deliver(mail)
    surrogate = whole(pop().retr(1)[1])
    assert surrogate.isascii()
    assert b"Subject: =?utf-8?" in surrogate
    assert surrogate.endswith(b"\r\n\r\nHello\r\n")
    login = f"USER {address}\r\nPASS {PASSWORD}\r\n".encode()
    said = say(b"UTF8\r\n" + login + b"LIST 1\r\nRETR 1\r\nTOP 1 0\r\nQUIT\r\n")
    size, header = b"%d" % len(mail), mail.removesuffix(b"Hello\r\n")
    answers = [b"+OK 1 " + size, b"+OK " + size + b" octets", mail + b".", b"+OK Top of message follows"]
    assert whole(said[4:]) == whole([*answers, header + b".", b"+OK Goodbye"])
