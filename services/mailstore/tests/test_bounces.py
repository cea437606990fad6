"""Bounces: a sender of ours hears of a failure exactly once, and nobody else does (RFC 3464)."""

import asyncio
from email import message_from_bytes, policy
from email.message import Message
from typing import cast
from uuid import UUID

import pytest

from mailstore.queue.bounces import Bouncer
from postroom.mailstore.v1 import queue_pb2
from postroom_testing.mail_store import MailAccount, MailStore

FAILED = queue_pb2.DeliveryReport.OUTCOME_FAILED
DEFERRED = queue_pb2.DeliveryReport.OUTCOME_DEFERRED
_OWED = "SELECT count(*) FROM mailstore.bounce"


@pytest.fixture
def store(own_store: MailStore) -> MailStore:
    """Bounces are written for everybody, so each test has a store of its own."""
    return own_store


def _bouncer(store: MailStore) -> Bouncer:
    parts = store.parts
    return Bouncer(store.database, parts.reader, parts.segment, store.hooks.ring, hostname="mx.postroom.test")


async def _fail(store: MailStore, sender: MailAccount | None, *recipients: str) -> bytes:
    """Mail that was refused for good; its id."""
    item = store.item(recipients, b"Subject: the original\r\n\r\nNot in the report.\r\n", sender)
    item.traceparent = "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"
    await store.accept(item)
    await _report(store, FAILED, "5.1.1")
    return item.id


async def _report(store: MailStore, outcome: queue_pb2.DeliveryReport.Outcome.ValueType, status: str) -> None:
    claim = await store.queue.Claim(queue_pb2.ClaimRequest(worker="relay", max_messages=50))
    request = queue_pb2.ReportRequest(claim_id=claim.claim_id, token=claim.token)
    for message in claim.messages:
        for recipient in message.recipients:
            request.reports.add(
                delivery_id=recipient.delivery_id,
                outcome=outcome,
                status=status,
                diagnostic="550 5.1.1 No such user",
                remote_host="mx.one.example",
            )
    await store.queue.Report(request)


async def test_the_sender_finds_one_report_with_every_recipient_that_failed(store: MailStore) -> None:
    ann = store.account()
    message_id = await _fail(store, ann, "a@one.example", "b@one.example")
    written = await asyncio.gather(*(_bouncer(store).run_once() for _ in range(3)))
    assert sum(written) == 1
    await store.file()
    (octets,) = await store.inbox(ann)
    report = message_from_bytes(octets, policy=policy.default)
    assert report.get_content_type() == "multipart/report"
    assert report.get_param("report-type") == "delivery-status"
    assert report["To"] == ann.address
    assert report["Auto-Submitted"] == "auto-replied"
    _, status, original = cast("list[Message]", report.get_payload())
    fields = cast("list[Message]", status.get_payload())
    assert fields[0]["Reporting-MTA"] == "dns; mx.postroom.test"
    assert sorted(each["Final-Recipient"] for each in fields[1:]) == [
        "rfc822; a@one.example",
        "rfc822; b@one.example",
    ]
    assert {(each["Action"], each["Status"]) for each in fields[1:]} == {("failed", "5.1.1")}
    assert fields[1]["Remote-MTA"] == "dns; mx.one.example"
    assert b"the original" in original.as_bytes()
    trace = await store.fetchval(
        "SELECT traceparent FROM mailstore.accepted WHERE id <> $1", UUID(bytes=message_id)
    )
    assert trace.split("-")[1] == "ab" * 16
    assert await store.fetchval(_OWED) == 0


async def test_a_report_has_the_null_reverse_path_and_is_never_bounced(store: MailStore) -> None:
    ann = store.account()
    await _fail(store, ann, "a@one.example")
    await _bouncer(store).run_once()
    await store.file()
    whole = await store.read(ann, await store.mailbox_id(ann), 1, prefix=True)
    assert whole.startswith(b"Return-Path: <>\r\n")
    item = store.item(["a@one.example"], sender=ann)
    item.reverse_path = ""
    await store.accept(item)
    await _report(store, FAILED, "5.0.0")
    assert await store.fetchval(_OWED) == 0


async def test_a_stranger_gets_no_report(store: MailStore) -> None:
    await _fail(store, None, "a@one.example")
    assert await store.fetchval(_OWED) == 0
    assert await store.fetchval("SELECT outcome FROM mailstore.delivery_history") == 2


async def test_mail_that_was_tried_too_long_is_reported_as_expired(store: MailStore) -> None:
    ann = store.account()
    await store.accept(store.item(["a@one.example"], sender=ann))
    await store.execute("UPDATE mailstore.accepted SET expires_at = now()")
    await _report(store, DEFERRED, "4.4.1")
    assert await store.fetchval("SELECT outcome FROM mailstore.delivery_history") == 3
    await _bouncer(store).run_once()
    await store.file()
    (octets,) = await store.inbox(ann)
    assert b"Status: 5.4.7\r\n" in octets


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE mailstore.segment_1 SET octets = 'x'",
        "DELETE FROM mailstore.segment_1",
        "DELETE FROM mailstore.blob",
    ],
)
async def test_a_report_is_written_without_an_original_that_is_lost(store: MailStore, statement: str) -> None:
    ann = store.account()
    await _fail(store, ann, "a@one.example")
    await store.execute(statement)
    assert await _bouncer(store).run_once() == 1
    await store.file()
    assert len(await store.inbox(ann)) == 1


async def test_a_report_whose_original_is_away_waits_and_holds_nobody_up(store: MailStore) -> None:
    ann = store.account()
    await _fail(store, ann, "a@one.example")
    await store.execute("UPDATE mailstore.blob SET segment = NULL, pack_id = id")
    await _fail(store, ann, "b@one.example")
    assert await _bouncer(store).run_once() == 1
    assert await store.fetchval(_OWED) == 1
    await store.execute("UPDATE mailstore.blob SET segment = 1, pack_id = NULL")
    assert await _bouncer(store).run_once() == 1
