"""What a client, or the mail itself, does wrong."""

import pytest
from prometheus_client import REGISTRY

from postroom_testing.imap_client import Connect

MAIL = b"From: Ann <ann@example.org>\r\nSubject: Tea\r\n\r\nAt five.\r\n"


def nested(depth: int) -> bytes:
    """A message of parts within parts."""
    head = b"Subject: Nested\r\nMIME-Version: 1.0\r\n"
    opened = b"".join(
        b'Content-Type: multipart/mixed; boundary="b%d"\r\n\r\n--b%d\r\n' % (at, at) for at in range(depth)
    )
    closed = b"".join(b"\r\n--b%d--\r\n" % at for at in reversed(range(depth)))
    return head + opened + b"Content-Type: text/plain\r\n\r\ninnermost\r\n" + closed


BROKEN = {
    "no header at all": b"\r\njust a body\r\n",
    "only an empty line": b"\r\n",
    "no empty line": b"Subject: only a header\r\n",
    "a boundary that never ends": (
        b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\none\r\n--x\r\nContent-Type: text/"
    ),
    "a boundary that never begins": b"Content-Type: multipart/mixed; boundary=x\r\n\r\nnothing\r\n",
    "a thousand nested parts": nested(1_000),
    "a NUL and lone surrogates": b"Subject: a\x00b \xed\xa0\x80\r\nFrom: \xff\xfe\r\n\r\n\x00\xed\xb0\r\n",
    "bare line feeds": b"Subject: unix\nFrom: a@b\n\nbody\n",
}


@pytest.mark.parametrize("octets", BROKEN.values(), ids=list(BROKEN))
async def test_a_broken_message_is_given_back_as_it_is_and_has_a_structure(
    imap: Connect, octets: bytes
) -> None:
    alice = await imap()
    assert (await alice.append("INBOX", octets)).ok
    await alice.ok("SELECT INBOX")
    (whole,) = await alice.ok("FETCH 1 BODY.PEEK[]")
    assert whole == b"* 1 FETCH (BODY[] {%d}\r\n%b)" % (len(octets), octets)
    (facts,) = await alice.ok("FETCH 1 (ENVELOPE BODY BODYSTRUCTURE RFC822.SIZE)")
    assert facts.startswith(b"* 1 FETCH (ENVELOPE (")
    assert facts.count(b"(") == facts.count(b")")
    for section in ("1", "1.1.1", "TEXT", "HEADER", "HEADER.FIELDS (SUBJECT)", "1.MIME", "2.HEADER"):
        assert (await alice.command(f"FETCH 1 BODY.PEEK[{section}]")).ok
    assert (await alice.command("SEARCH TEXT body")).ok


async def test_a_header_of_many_megabytes_can_be_fetched(imap: Connect) -> None:
    alice = await imap()
    octets = b"Subject: first\r\n" + b"X-Long: " + b"y" * 240_000 + b"\r\n\r\nbody\r\n"
    assert (await alice.append("INBOX", octets)).ok
    await alice.ok("SELECT INBOX")
    (fetched,) = await alice.ok("FETCH 1 BODY.PEEK[HEADER.FIELDS (SUBJECT)]")
    assert fetched.endswith(b"{18}\r\nSubject: first\r\n\r\n)")
    (fetched,) = await alice.ok("FETCH 1 BODY.PEEK[TEXT]")
    assert fetched == b"* 1 FETCH (BODY[TEXT] {6}\r\nbody\r\n)"


async def test_a_literal_over_the_limit_is_refused_before_it_is_sent(imap: Connect) -> None:
    alice = await imap()
    alice.send(b"a APPEND INBOX {999999999}\r\n")
    assert await alice.response() == b"a NO [TOOBIG] Message too big"
    alice.send(b"b LOGIN {900000}\r\n")
    assert (await alice.response()).startswith(b"b BAD [TOOBIG]")
    assert (await alice.command("NOOP")).ok


async def test_a_line_over_the_limit_is_refused_and_the_session_goes_on(imap: Connect) -> None:
    alice = await imap()
    alice.send(b"a NOOP " + b"x" * 100_000 + b"\r\n")
    assert (await alice.response()).startswith(b"a BAD [TOOBIG]")
    assert (await alice.command("NOOP")).ok


async def test_an_append_cut_in_the_middle_leaves_nothing(imap: Connect) -> None:
    alice, phone = await imap(), await imap()
    alice.send(b"a APPEND INBOX {1000+}\r\nSubject: half of")
    await alice.close()
    assert await phone.ok("STATUS INBOX (MESSAGES)") == [b"* STATUS INBOX (MESSAGES 0)"]


async def test_an_append_with_more_behind_its_message_leaves_nothing(imap: Connect) -> None:
    alice = await imap()
    alice.send(b"a APPEND INBOX {%d+}\r\n%b garbage\r\n" % (len(MAIL), MAIL))
    assert (await alice.response()).startswith(b"a BAD ")
    assert await alice.ok("STATUS INBOX (MESSAGES)") == [b"* STATUS INBOX (MESSAGES 0)"]


async def test_an_append_to_nowhere_is_told_before_the_message_is_sent(imap: Connect) -> None:
    alice = await imap()
    alice.send(b"a APPEND Nowhere {10}\r\n")
    assert await alice.response() == b"a NO [TRYCREATE] No such mailbox"
    answer = await alice.append("Nowhere", MAIL)
    assert answer.text == b"NO [TRYCREATE] No such mailbox"
    assert (await alice.command("NOOP")).ok


@pytest.mark.parametrize(
    "line",
    [b"\x00\xff\r\n", b"a\r\n", b"a FETCH 1 FLAGS\r\n", b"a XYZZY\r\n", b"a SELECT\r\n", b"a LOGIN x y\r\n"],
)
async def test_nonsense_is_bad_and_the_session_goes_on(imap: Connect, line: bytes) -> None:
    alice = await imap()
    alice.send(line)
    assert b" BAD " in await alice.response()
    assert (await alice.command("NOOP")).ok


async def test_endless_nonsense_ends_the_connection(imap: Connect) -> None:
    alice = await imap(None)
    alice.send(b"x nonsense\r\n" * 60)
    assert (await alice.rest()).endswith(b"* BYE Too many commands that make no sense\r\n")


async def test_commands_that_come_at_once_are_answered_in_order(imap: Connect) -> None:
    alice = await imap()
    await alice.append("INBOX", MAIL)
    tags = [
        alice.send_command(text)
        for text in ("SELECT INBOX", "FETCH 1 BODY[]", "STORE 1 +FLAGS (\\Deleted)", "EXPUNGE", "LOGOUT")
    ]
    assert all([(await alice.answer(tag)).ok for tag in tags])
    assert await alice.rest() == b""


async def test_idle_ends_with_done_only(imap: Connect) -> None:
    alice = await imap()
    alice.send(b"a IDLE\r\n")
    assert await alice.response() == b"+ idling"
    alice.send(b"NOOP\r\n")
    assert await alice.response() == b"a BAD Expected DONE"
    assert (await alice.command("NOOP")).ok


async def test_a_client_that_hangs_up_in_the_middle_of_a_fetch_harms_nobody(imap: Connect) -> None:
    alice, phone = await imap(), await imap()
    body = b"Subject: long\r\n\r\n" + b"0123456789abcdef\r\n" * 10_000
    for _ in range(8):
        assert (await alice.append("INBOX", body)).ok
    await alice.ok("SELECT INBOX")
    alice.send_command("FETCH 1:* BODY.PEEK[]")
    await alice.close()
    await phone.ok("SELECT INBOX")
    fetched = await phone.ok("FETCH 1:* BODY.PEEK[]")
    assert [len(each) > len(body) for each in fetched] == [True] * 8


async def test_what_cannot_be_read_as_a_command_is_counted(imap: Connect) -> None:
    labels = {"command": "none", "outcome": "bad"}
    before = REGISTRY.get_sample_value("postroom_imap_commands_total", labels) or 0
    alice = await imap()
    for nonsense in ("FECTH 1 FLAGS", "FETCH 1 FLAGS", "LOGIN"):
        assert not (await alice.command(nonsense)).ok
    assert REGISTRY.get_sample_value("postroom_imap_commands_total", labels) == before + 3
