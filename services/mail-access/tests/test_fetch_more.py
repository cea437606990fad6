"""BINARY (RFC 3516), OBJECTID (RFC 8474), SAVEDATE (RFC 8514) and PREVIEW (RFC 8970) of FETCH."""

import base64
import re
from datetime import UTC, datetime, timedelta

import pytest

from mail_access.imap import sections
from postroom_testing.imap_client import Connect, ImapClient

PLAIN = "Grüße, 1 = 1.\r\n".encode()
IMAGE = bytes(range(256)) * 3
LARGE = b"\x01\x02\x03\x04\x05 hello \r\n" * 12_000 + b"\0"
MAIL = b"\r\n".join(
    [
        b"Subject: parts",
        b"Message-ID: <root@postroom.test>",
        b"MIME-Version: 1.0",
        b"Content-Type: multipart/mixed; boundary=cut",
        b"",
        b"--cut",
        b"Content-Type: text/plain; charset=utf-8",
        b"Content-Transfer-Encoding: Quoted-Printable",
        b"",
        b"Gr=C3=BC=C3=9Fe, 1 =\r\n=3D 1.\r\n",
        b"--cut",
        b"Content-Type: image/png",
        b"Content-Transfer-Encoding: base64",
        b"",
        base64.encodebytes(IMAGE).replace(b"\n", b"\r\n"),
        b"--cut",
        b"Content-Type: text/plain",
        b"Content-Transfer-Encoding: x-rot13",
        b"",
        b"Uryyb",
        b"--cut",
        b"Content-Type: message/rfc822",
        b"",
        b"Subject: inner",
        b"Content-Transfer-Encoding: base64",
        b"",
        b"SGVsbG8=",
        b"--cut--",
        b"",
    ]
)
NUL = b"Subject: nul\r\n\r\na\0b\r\n"


@pytest.fixture
async def alice(imap: Connect) -> ImapClient:
    """Alice with a message of parts in her inbox, one with a NUL, and one that answers the first."""
    alice = await imap()
    assert (await alice.append("INBOX", MAIL)).ok
    assert (await alice.append("INBOX", NUL)).ok
    assert (await alice.append("INBOX", b"References: <root@postroom.test>\r\n\r\nMore.\r\n")).ok
    await alice.ok("SELECT INBOX")
    return alice


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ("BINARY.PEEK[1]", b"BINARY[1] {%d}\r\n%b" % (len(PLAIN), PLAIN)),
        ("BINARY.PEEK[1]<2.4>", b"BINARY[1]<2> {4}\r\n" + PLAIN[2:6]),
        ("BINARY.PEEK[1]<2000.4>", b"BINARY[1]<2000> {0}\r\n"),
        ("BINARY.SIZE[1]", b"BINARY.SIZE[1] %d" % len(PLAIN)),
        ("BINARY.PEEK[2]", b"BINARY[2] ~{768}\r\n" + IMAGE),
        ("BINARY.PEEK[2]<1.5>", b"BINARY[2]<1> {5}\r\n" + IMAGE[1:6]),
        ("BINARY.SIZE[2]", b"BINARY.SIZE[2] 768"),
        ("BINARY.PEEK[4.1]", b"BINARY[4.1] {5}\r\nHello"),
        ("BINARY.SIZE[4]", b"BINARY.SIZE[4] 61"),
        ("BINARY.PEEK[7]", b"BINARY[7] NIL"),
        ("BINARY.SIZE[7]", b"BINARY.SIZE[7] 0"),
    ],
)
async def test_parts_come_without_their_encoding(alice: ImapClient, item: str, said: bytes) -> None:
    assert await alice.ok(f"FETCH 1 {item}") == [b"* 1 FETCH (" + said + b")"]
    assert await alice.ok("FETCH 1 FLAGS") == [b"* 1 FETCH (FLAGS (\\Recent))"]


async def test_the_whole_message_comes_as_it_is(alice: ImapClient) -> None:
    assert await alice.ok("FETCH 2:3 (BINARY.PEEK[] BINARY.SIZE[])") == [
        b"* 2 FETCH (BINARY[] ~{%d}\r\n%b BINARY.SIZE[] %d)" % (len(NUL), NUL, len(NUL)),
        b"* 3 FETCH (BINARY[] {43}\r\nReferences: <root@postroom.test>\r\n\r\nMore.\r\n BINARY.SIZE[] 43)",
    ]


async def test_an_encoding_that_nobody_knows_fails_the_command(alice: ImapClient) -> None:
    for item in ("BINARY[3]", "BINARY.PEEK[3]", "BINARY.SIZE[3]"):
        answer = await alice.command(f"FETCH 1 {item}")
        assert answer.text == b"NO [UNKNOWN-CTE] Transfer encoding unknown"
        assert not any(b"BINARY" in each for each in answer.untagged)
    assert await alice.ok("FETCH 1 BODY.PEEK[3]") == [b"* 1 FETCH (BODY[3] {5}\r\nUryyb)"]


async def test_reading_a_part_marks_the_message_as_seen(alice: ImapClient) -> None:
    (fetched,) = await alice.ok("FETCH 2 BINARY[1]")
    assert fetched == b"* 2 FETCH (BINARY[1] ~{5}\r\na\0b\r\n FLAGS (\\Seen \\Recent))"


async def test_a_large_part_is_decoded_on_its_way(imap: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sections, "GATHERED", 100_000)
    alice = await imap()
    encoded = base64.encodebytes(LARGE).replace(b"\n", b"\r\n")
    head = b"Content-Type: application/x\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    assert (await alice.append("INBOX", head + encoded)).ok
    await alice.ok("SELECT INBOX")
    partials = "BINARY.PEEK[1]<100000.20> BINARY.PEEK[1]<3.4> BINARY.PEEK[1]<200000.1>"
    assert await alice.ok(f"FETCH 1 (BINARY.SIZE[1] BINARY.PEEK[1] {partials})") == [
        b"* 1 FETCH (BINARY.SIZE[1] %d BINARY[1] ~{%d}\r\n%b" % (len(LARGE), len(LARGE), LARGE)
        + b" BINARY[1]<100000> {20}\r\n%b" % LARGE[100_000:100_020]
        + b" BINARY[1]<3> {4}\r\n%b BINARY[1]<200000> {0}\r\n)" % LARGE[3:7]
    ]


async def test_ids_name_contents_and_conversations(alice: ImapClient) -> None:
    fetched = await alice.ok("FETCH 1:3 (EMAILID THREADID)")
    ids = [
        re.fullmatch(rb"\* \d FETCH \(EMAILID \((M[0-9a-f]{32})\) THREADID \((T[0-9a-f]{32})\)\)", each)
        for each in fetched
    ]
    emails, threads = zip(*(each.groups() for each in ids if each), strict=True)
    assert len(set(emails)) == 3
    assert threads[0] == threads[2] != threads[1]
    await alice.ok("COPY 1 Trash")
    await alice.ok("SELECT Trash")
    assert await alice.ok("UID FETCH 1 (EMAILID THREADID)") == [
        b"* 1 FETCH (UID 1 EMAILID (%b) THREADID (%b))" % (emails[0], threads[0])
    ]


async def test_the_save_date_is_of_the_mailbox_and_not_of_the_message(imap: Connect) -> None:
    alice = await imap()
    await alice.append("INBOX", NUL, '"01-Jan-2001 00:00:00 +0000"')
    await alice.ok("SELECT INBOX")
    (fetched,) = await alice.ok("FETCH 1 (INTERNALDATE SAVEDATE)")
    found = re.fullmatch(
        rb'\* 1 FETCH \(INTERNALDATE " 1-Jan-2001 00:00:00 \+0000" SAVEDATE "(.*)"\)', fetched
    )
    assert found is not None
    saved = datetime.strptime(found[1].decode().strip(), "%d-%b-%Y %H:%M:%S %z")
    assert abs(datetime.now(UTC) - saved) < timedelta(minutes=5)


async def test_a_preview_is_told_lazily_or_not(alice: ImapClient) -> None:
    assert await alice.ok("FETCH 1,3 (PREVIEW)") == [
        "* 1 FETCH (PREVIEW {15}\r\nGrüße, 1 = 1.)".encode(),
        b'* 3 FETCH (PREVIEW "More.")',
    ]
    assert await alice.ok("UID FETCH 3 PREVIEW (LAZY)") == [b'* 3 FETCH (UID 3 PREVIEW "More.")']


async def test_messages_are_found_by_their_ids_and_save_dates(alice: ImapClient) -> None:
    fetched = b"".join(await alice.ok("FETCH 1:3 (EMAILID THREADID)"))
    emails, threads = re.findall(rb"M[0-9a-f]{32}", fetched), re.findall(rb"T[0-9a-f]{32}", fetched)
    assert await alice.ok(b"SEARCH EMAILID " + emails[1]) == [b"* SEARCH 2"]
    assert await alice.ok(b"SEARCH THREADID " + threads[0]) == [b"* SEARCH 1 3"]
    assert await alice.ok(b"UID SEARCH NOT THREADID " + threads[0]) == [b"* SEARCH 2"]
    for nobody in (b"M0", b"x-y_Z", threads[0], b"T" + b"0" * 32):
        assert await alice.ok(b"SEARCH EMAILID " + nobody) == [b"* SEARCH"]
    assert (await alice.command(b"SEARCH EMAILID a.b")).text.startswith(b"BAD")
    assert await alice.ok("SEARCH SAVEDATESUPPORTED SAVEDSINCE 1-Jan-2020") == [b"* SEARCH 1 2 3"]
    assert await alice.ok("SEARCH SAVEDBEFORE 1-Jan-2020") == [b"* SEARCH"]
    today = datetime.now(UTC).strftime("%d-%b-%Y")
    assert await alice.ok(f"SEARCH OR SAVEDON {today} SAVEDBEFORE {today}") == [b"* SEARCH 1 2 3"]
