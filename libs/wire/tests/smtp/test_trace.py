"""The lines on top of a message."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from email.utils import parsedate_to_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom_wire.mime.scan import scan
from postroom_wire.smtp import (
    LocalProtocolError,
    Mailbox,
    Trace,
    count_received,
    format_date_time,
    received_line,
    return_path_line,
    trace_separator,
)

TRACE = Trace(
    helo="client.example",
    peer_address="192.0.2.1",
    by="mx.example.com",
    protocol="ESMTPS",
    id="0190-7f",
    when=datetime(2026, 2, 3, 4, 5, 6, 789, tzinfo=UTC),
)


def test_a_received_line_says_from_by_with_and_id() -> None:
    assert received_line(TRACE) == (
        b"Received: from client.example ([192.0.2.1])\r\n"
        b"\tby mx.example.com with ESMTPS id 0190-7f;\r\n"
        b"\tTue, 3 Feb 2026 04:05:06 +0000\r\n"
    )


def test_a_received_line_has_the_peers_name_and_the_one_recipient() -> None:
    trace = replace(
        TRACE, peer_address="2001:DB8::1", peer_name="host.example", recipient=Mailbox("ann", "example.com")
    )
    assert received_line(trace) == (
        b"Received: from client.example (host.example [IPv6:2001:db8::1])\r\n"
        b"\tby mx.example.com with ESMTPS id 0190-7f\r\n"
        b"\tfor <ann@example.com>;\r\n"
        b"\tTue, 3 Feb 2026 04:05:06 +0000\r\n"
    )


@pytest.mark.parametrize("name", ["a b", "x\r\nEvil: 1", "(", "", "hôte.example"])
def test_a_peer_name_that_is_no_domain_is_left_out(name: str) -> None:
    assert received_line(replace(TRACE, peer_name=name)) == received_line(TRACE)


def test_a_scope_of_an_address_is_left_out() -> None:
    assert b"([IPv6:fe80::1])" in received_line(replace(TRACE, peer_address="fe80::1%eth0"))


def test_a_utf8_recipient_is_named_in_smtputf8_messages_only() -> None:
    trace = replace(TRACE, recipient=Mailbox("änne", "example.com"))
    assert b"for" not in received_line(trace)
    assert "for <änne@example.com>".encode() in received_line(replace(trace, protocol="UTF8SMTPS"))


@pytest.mark.parametrize("queue_id", ["", "a b", "a\r\nb", "<x>", "a;b"])
def test_an_id_is_an_atom(queue_id: str) -> None:
    with pytest.raises(LocalProtocolError):
        received_line(replace(TRACE, id=queue_id))


def test_an_instant_has_a_zone() -> None:
    with pytest.raises(LocalProtocolError):
        received_line(replace(TRACE, when=TRACE.when.replace(tzinfo=None)))


@given(
    when=st.datetimes(
        min_value=datetime(1970, 1, 2),  # noqa: DTZ001  Hypothesis wants naive bounds
        timezones=st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))),
    )
)
def test_a_date_is_read_as_the_instant_it_was(when: datetime) -> None:
    assert parsedate_to_datetime(format_date_time(when)) == when.replace(microsecond=0)


def test_one_instant_has_the_text_of_each_zone_that_it_is_said_in() -> None:
    zones = [timezone(timedelta(hours=hours)) for hours in (0, 2, -3)]
    texts = [format_date_time(TRACE.when.astimezone(zone)) for zone in zones]
    assert texts == [
        "Tue, 3 Feb 2026 04:05:06 +0000",
        "Tue, 3 Feb 2026 06:05:06 +0200",
        "Tue, 3 Feb 2026 01:05:06 -0300",
    ]


def test_a_return_path_line_holds_the_reverse_path() -> None:
    assert return_path_line(None) == b"Return-Path: <>\r\n"
    assert return_path_line(Mailbox("a b", "example.com")) == b'Return-Path: <"a b"@example.com>\r\n'


@pytest.mark.parametrize(
    ("content", "count"),
    [
        (b"", 0),
        (b"Received: a\r\n\tb\r\nX: received: no\r\nRECEIVED : c\r\n\r\nReceived: body\r\n", 2),
        (b"\r\nReceived: body\r\n", 0),
        (b"X-Received: a\r\nReceived: b", 1),
    ],
)
def test_the_servers_that_were_passed_are_counted_in_the_header(content: bytes, count: int) -> None:
    assert count_received(content) == count


FIELD, EMPTY, MBOX = b"", b"\r\n", b"X-Mailbox-Line: "


@pytest.mark.parametrize(
    ("content", "separator"),
    [
        (b"Subject: hi\r\n\r\nhi\r\n", FIELD),
        (b"Subject\t : hi\r\n", FIELD),
        (b"X!#$%&'*+-/=?^_`{|}~;,.<>[]()\\\"@: any name of ftext\r\n", FIELD),
        (b"From: ann@example.com\r\n", FIELD),
        (b"From : ann@example.com\r\n", FIELD),
        (b"\r\nonly a body\r\n", FIELD),
        (b"Hello Bob,\r\nwhere are you?\r\n", EMPTY),
        (b"Hello\r\n", EMPTY),
        (b" folded: no field\r\n", EMPTY),
        (b"\tfolded: no field\r\n", EMPTY),
        (b": no name\r\n", EMPTY),
        ("Grüße: von Bob\r\n".encode(), EMPTY),
        (b"at 10:30 we meet\r\n", EMPTY),
        (b"x" * 1_200 + b": too long for a line\r\n", EMPTY),
        (b"From ann@example.com Tue Feb  3 04:05:06 2026\r\nSubject: hi\r\n", MBOX),
        (b">From ann@example.com  Tue Feb  3 04:05 2026\r\nSubject: hi\r\n", MBOX),
        (b"From my point of view it is fine\r\n", EMPTY),
        (b"From Bob\r\n", EMPTY),
    ],
)
def test_text_without_a_header_does_not_become_a_part_of_ours(content: bytes, separator: bytes) -> None:
    assert trace_separator(content) == separator
    beginnings = (content[:size] for size in range(len(content) + 1))
    found = [trace_separator(beginning) for beginning in beginnings]
    assert {each for each in found if each is not None} == {separator}  # however it comes
    whole = received_line(TRACE) + separator + content
    header_length = scan(whole).table.message.header_length
    assert (content in whole[header_length:]) == (separator == EMPTY)


@given(st.binary(max_size=1_500))
def test_a_line_is_enough_to_tell_what_goes_above_it(content: bytes) -> None:
    assert trace_separator(content + b"\r\n") is not None
