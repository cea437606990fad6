"""SORT and THREAD (RFC 5256, RFC 5957, RFC 5267 s3)."""

import pytest

from postroom_testing.imap_client import Connect, ImapClient


def mail(head: str, body: str = "Hello.") -> bytes:
    return f"{head}\n\n{body}\n".replace("\n", "\r\n").encode()


MAILS = (
    mail(
        "Message-ID: <1@x>\nFrom: Zoe <a@example.org>\nTo: =?utf-8?q?=C3=89mile?= <t@example.org>\n"
        "Subject: plans\nDate: Mon, 2 Nov 2026 17:00:00 +0100"
    ),
    mail(
        'Message-ID: <2@x>\nIn-Reply-To: <"1"@x>\nFrom: c@example.org\nTo: b@example.org\nCc: k@example.org\n'
        "Subject: Re: [list] Plans\nDate: Mon, 2 Nov 2026 16:30:00 +0000",
        "A longer one.",
    ),
    mail(
        "Message-ID: <3@x>\nReferences: <1@x>\n <2@x>\nFrom: =?utf-8?q?=C3=A9va?= <d@example.org>\n"
        "Subject: =?utf-8?q?fwd:_=C3=A4pfel?=\nDate: Mon, 2 Nov 2026 10:00:00 -0500"
    ),
    mail("Message-ID: <4@x>\nFrom: B@example.org\nSubject: =?utf-8?q?=C3=84PFEL?=\nDate: nonsense"),
)


@pytest.fixture
async def alice(imap: Connect) -> ImapClient:
    """Alice with four messages and a fifth that she has expunged in between; her inbox is selected."""
    alice = await imap()
    for number, octets in enumerate(MAILS):
        day = f'"0{9 - number}-Nov-2026 00:00:00 +0000"'
        await alice.ok(f"APPEND INBOX {day} {{{len(octets)}+}}\r\n".encode() + octets)
        if not number:
            assert (await alice.append("INBOX", octets, "(\\Deleted)")).ok
    await alice.ok("SELECT INBOX")
    await alice.ok("EXPUNGE")
    await alice.ok("STORE 2,3 +FLAGS.SILENT (\\Flagged)")
    return alice


@pytest.mark.parametrize(
    ("criteria", "order"),
    [
        ("(ARRIVAL)", b"4 3 2 1"),
        ("(REVERSE ARRIVAL)", b"1 2 3 4"),
        ("(DATE)", b"3 1 2 4"),  # the fourth has no date but that of its arrival
        ("(REVERSE DATE)", b"4 2 1 3"),
        ("(FROM)", b"1 4 2 3"),
        ("(SUBJECT)", b"3 4 1 2"),
        ("(REVERSE SUBJECT)", b"1 2 3 4"),  # what is equal stays in the mailbox's order
        ("(SUBJECT REVERSE DATE)", b"4 3 2 1"),
        ("(TO DATE)", b"3 4 2 1"),
        ("(CC ARRIVAL)", b"4 3 1 2"),
        ("(DISPLAYFROM)", b"4 2 3 1"),
        ("(DISPLAYTO ARRIVAL)", b"4 3 2 1"),
        ("(REVERSE SIZE ARRIVAL)", b"2 3 1 4"),
    ],
)
async def test_messages_come_in_the_order_that_is_asked_for(
    alice: ImapClient, criteria: str, order: bytes
) -> None:
    assert await alice.ok(f"SORT {criteria} UTF-8 ALL") == [b"* SORT " + order]


async def test_only_what_is_found_is_sorted(alice: ImapClient) -> None:
    assert await alice.ok("UID SORT (REVERSE DATE) UTF-8 FLAGGED") == [b"* SORT 3 4"]
    assert await alice.ok("SORT (SUBJECT) US-ASCII SUBJECT absent") == [b"* SORT"]
    assert (await alice.command("SORT (DATE) KOI8-R ALL")).text.startswith(b"NO [BADCHARSET ")


async def test_sorted_results_are_told_in_their_order(alice: ImapClient) -> None:
    tag = alice.send_command("UID SORT RETURN (MIN MAX COUNT ALL) (DATE) UTF-8 ALL")
    (line,) = (await alice.answer(tag)).untagged
    assert line == b'* ESEARCH (TAG "' + tag + b'") UID MIN 4 MAX 5 COUNT 4 ALL 4,1,3,5'
    tag = alice.send_command("SORT RETURN (PARTIAL 1:2 SAVE) (DATE) UTF-8 ALL")
    (line,) = (await alice.answer(tag)).untagged
    assert line == b'* ESEARCH (TAG "' + tag + b'") PARTIAL (1:2 3,1)'
    assert await alice.ok("SEARCH $") == [b"* SEARCH 1 3"]


@pytest.mark.parametrize(
    ("command", "threads"),
    [
        ("THREAD REFERENCES UTF-8 ALL", b"(1 2 3)(4)"),
        ("UID THREAD REFERENCES UTF-8 ALL", b"(1 3 4)(5)"),
        ("THREAD REFERENCES UTF-8 NOT 2", b"(1 3)(4)"),
        ("THREAD REFERENCES UTF-8 3:4", b"(4 3)"),  # by their subjects
        ("THREAD REFS UTF-8 3:4", b"(4)(3)"),
        ("THREAD REFS UTF-8 2:3", b"(2 3)"),
        ("THREAD ORDEREDSUBJECT UTF-8 ALL", b"(3 4)(1 2)"),
    ],
)
async def test_messages_come_as_threads(alice: ImapClient, command: str, threads: bytes) -> None:
    assert await alice.ok(command) == [b"* THREAD " + threads]


async def test_no_message_makes_no_thread(alice: ImapClient) -> None:
    assert await alice.ok("THREAD REFERENCES UTF-8 SUBJECT absent") == [b"* THREAD"]
    assert (await alice.command("THREAD REFERENCES KOI8-R ALL")).text.startswith(b"NO [BADCHARSET ")
