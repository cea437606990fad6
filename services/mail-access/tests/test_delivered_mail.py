"""Mail that is delivered from outside wakes idle sessions, and begins with lines of each recipient's own."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import zstandard

from postroom.mailstore.v1 import content_pb2, delivery_pb2, delivery_pb2_grpc
from postroom_contracts.ids import DEFAULT_TENANT, new_id
from postroom_runtime.grpc_client import channel
from postroom_testing.imap_client import Connect
from postroom_testing.restartable import Restartable
from postroom_testing.small_directory_service import Account, SmallDirectory

MAIL = (
    b"From: Ann <ann@example.org>\r\nSubject: Tea\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: multipart/alternative; boundary=cut\r\n\r\n"
    b"--cut\r\n\r\nAt five.\r\n--cut\r\nContent-Type: text/html\r\n\r\n<p>At five.</p>\r\n--cut--\r\n"
)
PREFIX = b"Return-Path: <ann@example.org>\r\nDelivered-To: erin@postroom.test\r\n"


@pytest.fixture
async def deliver(
    own_store: Restartable, own_sockets: Path
) -> AsyncIterator[Callable[[Account], Awaitable[None]]]:
    """Has the store accept the mail for an account, as smtp-inbound does."""
    async with channel(f"unix:{own_sockets / 'mailstore.sock'}", "smtp-inbound") as opened:
        stub = delivery_pb2_grpc.DeliveryServiceStub(opened)

        async def accept(account: Account) -> None:
            item = delivery_pb2.AcceptItem(
                id=new_id().bytes,
                tenant_id=DEFAULT_TENANT.bytes,
                reverse_path="ann@example.org",
                recipients=[delivery_pb2.Recipient(address=account.address, account_id=account.id.bytes)],
                content=content_pb2.Content(
                    digest=hashlib.sha256(MAIL).digest(),
                    size=len(MAIL),
                    zstd=zstandard.ZstdCompressor().compress(MAIL),
                ),
            )
            item.received_at.GetCurrentTime()

            async def requests() -> AsyncIterator[delivery_pb2.AcceptRequest]:
                yield delivery_pb2.AcceptRequest(items=[item])

            async for response in stub.Accept(requests()):
                outcomes = [result.outcome for result in response.results]
                assert outcomes == [delivery_pb2.AcceptResult.OUTCOME_ACCEPTED]

        yield accept


async def test_it_wakes_idle_sessions_and_is_whole_with_its_prefix(
    own_imap: Connect, own_directory: SmallDirectory, deliver: Callable[[Account], Awaitable[None]]
) -> None:
    account = own_directory.add("erin@postroom.test", "secret")
    erin = await own_imap(None)
    await erin.login(account.address, account.password)
    await erin.ok("SELECT INBOX")
    tag = erin.send_command("IDLE")
    await erin.response()
    await deliver(account)
    async with asyncio.timeout(15):  # the stores of other tests hear the bell, too
        assert await erin.response() == b"* 1 EXISTS"
        assert await erin.response() == b"* 0 RECENT"  # claimed at the next command only
    erin.send(b"DONE\r\n")
    assert (await erin.answer(tag)).ok
    assert await erin.ok("FETCH 1 FLAGS") == [b"* 1 FETCH (FLAGS (\\Recent))"]

    whole = PREFIX + MAIL
    expected = {
        "BODY.PEEK[]": whole,
        "BODY.PEEK[]<10.80>": whole[10:90],
        "BODY.PEEK[HEADER]": whole[: whole.index(b"\r\n\r\n") + 4],
        "BODY.PEEK[HEADER.FIELDS (Return-Path Subject)]": (
            b"Return-Path: <ann@example.org>\r\nSubject: Tea\r\n\r\n"
        ),
        "BODY.PEEK[TEXT]": whole[whole.index(b"\r\n\r\n") + 4 :],
        "BODY.PEEK[1]": b"At five.",
        "BODY.PEEK[2]": b"<p>At five.</p>",
        "BODY.PEEK[2.MIME]": b"Content-Type: text/html\r\n\r\n",
    }
    for item, octets in expected.items():
        (fetched,) = await erin.ok(f"FETCH 1 {item}")
        assert fetched.endswith(b" {%d}\r\n%b)" % (len(octets), octets)), item
    assert await erin.ok("FETCH 1 RFC822.SIZE") == [b"* 1 FETCH (RFC822.SIZE %d)" % len(whole)]
