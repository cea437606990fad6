"""Delivery status notifications have the three parts that mail software looks for (RFC 3464, RFC 6522)."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage, Message
from typing import Final, cast

import pytest

from postroom_wire.mime import (
    Action,
    DeliveryReport,
    HeaderError,
    Mailbox,
    RecipientStatus,
    compose_delivery_report,
    display,
    scan,
)

DATE: Final = datetime(2026, 11, 23, 7, 0, tzinfo=UTC)
FAILED: Final = RecipientStatus(
    recipient="bob@example.org",
    action=Action.FAILED,
    status="5.1.1",
    original_recipient="rfc822;bob@example.org",
    remote_mta="mx.example.org",
    diagnostic="550 5.1.1 <bob@example.org>: no such user",
    last_attempt=DATE,
)
DELAYED: Final = RecipientStatus(
    recipient="jürgen@example.net",
    action=Action.DELAYED,
    status="4.4.1",
    will_retry_until=DATE + timedelta(days=5),
)
REPORT: Final = DeliveryReport(
    reporting_mta="mail.example.com",
    sender=Mailbox("postmaster@example.com", "Mail Delivery System"),
    recipient="ann@example.com",
    message_id="<2@example.com>",
    date=DATE,
    statuses=[FAILED, DELAYED],
    original=b"Subject: original\r\nFrom: ann@example.com\r\n\r\nsecret body\r\n",
    arrival_date=DATE - timedelta(hours=1),
    envelope_id="QQ314159",
)


def parts_of(octets: bytes) -> tuple[EmailMessage, list[Message], EmailMessage]:
    """The text, the blocks of fields, and the returned header, as the standard library reads them."""
    text, status, header = cast(
        "list[EmailMessage]", message_from_bytes(octets, policy=policy.default).get_payload()
    )
    return text, cast("list[Message]", status.get_payload()), header


def test_a_report_has_its_type_and_three_parts() -> None:
    octets = compose_delivery_report(REPORT)
    scanned = scan(octets)
    assert [part.media_type for part in scanned.table.parts] == [
        "multipart/report",
        "text/plain",
        "message/delivery-status",
        "text/rfc822-headers",
    ]
    assert b'("report-type" "delivery-status" "boundary" ' in scanned.body_structure
    assert scanned.subject == "Undelivered mail returned to sender"
    assert scanned.to[0].address == "ann@example.com"


def test_the_fields_of_each_recipient_are_there() -> None:
    _, (message, failed, delayed), _ = parts_of(compose_delivery_report(REPORT))
    assert dict(message.items()) == {
        "Original-Envelope-Id": "QQ314159",
        "Reporting-MTA": "dns; mail.example.com",
        "Arrival-Date": "Mon, 23 Nov 2026 06:00:00 +0000",
    }
    assert dict(failed.items()) == {
        "Original-Recipient": "rfc822;bob@example.org",
        "Final-Recipient": "rfc822; bob@example.org",
        "Action": "failed",
        "Status": "5.1.1",
        "Remote-MTA": "dns; mx.example.org",
        "Diagnostic-Code": "smtp; 550 5.1.1 <bob@example.org>: no such user",
        "Last-Attempt-Date": "Mon, 23 Nov 2026 07:00:00 +0000",
    }
    assert dict(delayed.items()) == {
        "Final-Recipient": "utf-8; j\\x{FC}rgen@example.net",
        "Action": "delayed",
        "Status": "4.4.1",
        "Will-Retry-Until": "Sat, 28 Nov 2026 07:00:00 +0000",
    }


def test_people_are_told_what_happened() -> None:
    octets = compose_delivery_report(REPORT)
    content = display(octets, scan(octets).table).text[0].content
    assert content is not None
    assert "bob@example.org" in content
    assert "mx.example.org said: 550 5.1.1" in content
    assert "jürgen@example.net" in content
    assert "We try again until Sat, 28 Nov 2026" in content


def test_only_the_header_of_the_original_goes_back() -> None:
    octets = compose_delivery_report(REPORT)
    _, _, header = parts_of(octets)
    assert header.get_content().replace("\r\n", "\n") == "Subject: original\nFrom: ann@example.com\n\n"
    assert b"secret" not in octets


@pytest.mark.parametrize(
    ("original", "returned"),
    [
        (b"", ""),
        (b"Subject: x\n\nbody", "Subject: x\n\n"),
        (b"Subject: x\r\n" + b"X: y\r\n" * 50_000, "Subject: x\n" + "X: y\n" * 10_920),
        (b"Subject: caf\xc3\xa9\r\n\r\nbody", "Subject: café\n\n"),
        (b"X: " + b"y" * 2_000 + b"\r\n\r\nbody", "X: " + "y" * 2_000 + "\n\n"),
        (b"no header", ""),
    ],
)
def test_any_header_can_go_back(original: bytes, returned: str) -> None:
    octets = compose_delivery_report(replace(REPORT, original=original))
    scanned = scan(octets)
    part = scanned.table.parts[-1]
    assert octets.isascii()
    assert max(map(len, octets.split(b"\r\n"))) <= 998
    _, _, header = parts_of(octets)
    content = cast("bytes", header.get_payload(decode=True)).decode().replace("\r\n", "\n")
    assert part.media_type == "text/rfc822-headers"
    assert content == returned


def test_a_peers_words_cannot_add_fields() -> None:
    evil = "550 no\r\nAction: delivered\r\n\r\n--x\r\n\u2028\xe9" + "y" * 5_000
    status = replace(FAILED, diagnostic=evil, remote_mta=evil, original_recipient=evil)
    octets = compose_delivery_report(replace(REPORT, statuses=[status], envelope_id=evil, reporting_mta=evil))
    _, blocks, _ = parts_of(octets)
    assert len(blocks) == 2
    assert blocks[1].get_all("Action") == ["failed"]
    assert max(map(len, octets.split(b"\r\n"))) <= 998


def test_a_status_must_be_one() -> None:
    with pytest.raises(HeaderError):
        compose_delivery_report(replace(REPORT, statuses=[replace(FAILED, status="550")]))


def test_subjects_say_what_it_is_about() -> None:
    def subject(action: Action) -> str:
        return scan(
            compose_delivery_report(replace(REPORT, statuses=[replace(FAILED, action=action)]))
        ).subject

    assert subject(Action.DELAYED) == "Delayed mail"
    assert subject(Action.RELAYED) == "Successful mail delivery report"
