"""Mail of more than 256 KiB goes through the object store, both ways."""

import asyncio
import base64
from collections.abc import AsyncIterator
from functools import partial

import pytest
from pydantic import SecretStr

import mailstore.serve
from mail_access.settings import Settings
from mailstore.settings import Settings as MailstoreSettings
from postroom_embedded.seaweedfs import S3Address
from postroom_testing.imap_client import Connect
from postroom_testing.restartable import Restartable


@pytest.fixture
async def own_store(
    mailstore_settings: MailstoreSettings, object_store: S3Address
) -> AsyncIterator[Restartable]:
    """A mail store with an object store."""
    settings = mailstore_settings.model_copy(
        update={
            "s3_endpoint": object_store.endpoint,
            "s3_region": object_store.region,
            "s3_access_key": SecretStr(object_store.access_key),
            "s3_secret_key": SecretStr(object_store.secret_key),
        }
    )
    async with Restartable(partial(mailstore.serve.serve, settings)) as running:
        yield running


def mail(octets: int) -> bytes:
    head = b"Subject: large\r\nFrom: a@b.test\r\n\r\n"
    line = b"%08d the quick brown fox jumps over the lazy dog\r\n"
    body = b"".join(line % at for at in range(octets // 50))
    return head + body


@pytest.mark.parametrize("octets", [300_000, 6_000_000], ids=["one PUT", "parts"])
async def test_a_large_message_comes_back_octet_by_octet(own_imap: Connect, octets: int) -> None:
    alice = await own_imap()
    whole = mail(octets)
    assert (await alice.append("INBOX", whole)).ok
    await alice.ok("SELECT INBOX")
    (fetched,) = await alice.ok("FETCH 1 BODY.PEEK[]")
    assert fetched == b"* 1 FETCH (BODY[] {%d}\r\n%b)" % (len(whole), whole)
    (fetched,) = await alice.ok("FETCH 1 BODY.PEEK[TEXT]<250000.10>")
    start = whole.index(b"\r\n\r\n") + 4 + 250_000
    assert fetched == b"* 1 FETCH (BODY[TEXT]<250000> {10}\r\n%b)" % whole[start : start + 10]


async def test_a_large_append_cut_in_the_middle_leaves_nothing(own_imap: Connect) -> None:
    alice, phone = await own_imap(), await own_imap()
    whole = mail(6_000_000)
    alice.send(b"a APPEND INBOX {%d+}\r\n%b" % (len(whole), whole[:5_500_000]))
    await alice.close()
    assert await phone.ok("STATUS INBOX (MESSAGES)") == [b"* STATUS INBOX (MESSAGES 0)"]


async def test_what_is_announced_over_the_limit_is_refused(
    own_imap: Connect, access_settings: Settings
) -> None:
    alice = await own_imap()
    alice.send(b"a APPEND INBOX {%d}\r\n" % (access_settings.append_octets + 1))
    assert await alice.response() == b"a NO [TOOBIG] Message too big"


async def test_a_large_append_without_an_object_store_is_put_off(imap: Connect) -> None:
    alice = await imap()
    async with asyncio.timeout(15):
        answer = await alice.append("INBOX", mail(300_000))
    assert answer.text == b"NO [UNAVAILABLE] Temporarily unavailable, try again"
    assert (await alice.command("NOOP")).ok


async def test_large_messages_come_at_once_of_parts_and_decoded(own_imap: Connect) -> None:
    alice = await own_imap()
    small, large = mail(30_000), mail(300_000)
    head = b"Content-Type: application/x\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    encoded = head + base64.encodebytes(large).replace(b"\n", b"\r\n")
    messages = [small, large, encoded]
    command = b"APPEND INBOX" + b"".join(b" {%d+}\r\n%b" % (len(each), each) for each in messages)
    assert (await alice.command(command)).ok
    # What goes beyond 256 KiB is only known when it has come so far.
    parts = b"URL /INBOX/;UID=1 URL /INBOX/;UID=2 TEXT {5+}\r\ntext\n"
    assert (await alice.command(b"APPEND INBOX CATENATE (" + parts + b")")).ok
    await alice.ok("SELECT INBOX")
    messages.append(small + large + b"text\n")
    assert await alice.ok("FETCH 1:4 BODY.PEEK[]") == [
        b"* %d FETCH (BODY[] {%d}\r\n%b)" % (number, len(each), each)
        for number, each in enumerate(messages, 1)
    ]
    (fetched,) = await alice.ok("FETCH 3 (BINARY.SIZE[1] BINARY.PEEK[1])")
    assert fetched == b"* 3 FETCH (BINARY.SIZE[1] %d BINARY[1] {%d}\r\n%b)" % (len(large), len(large), large)
    answer = await alice.command(b"APPEND INBOX {%d+}\r\n%b CATENATE (URL x)" % (len(large), large))
    assert answer.text.startswith(b"NO [BADURL x]")
    assert await alice.ok("STATUS INBOX (MESSAGES)") == [b"* STATUS INBOX (MESSAGES 4)"]
