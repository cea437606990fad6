"""date and date-time (RFC 3501 s9)."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom_wire.imap.cursor import Cursor
from postroom_wire.imap.dates import encode_date_time
from postroom_wire.imap.errors import RemoteProtocolError


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        (b'"17-Jul-1996 02:44:25 -0700"', datetime(1996, 7, 17, 9, 44, 25, tzinfo=UTC)),  # s6.4.5
        (b'" 7-Feb-1994 21:52:25 +0000"', datetime(1994, 2, 7, 21, 52, 25, tzinfo=UTC)),
        (b'"01-jan-2026 00:30:00 +0130"', datetime(2025, 12, 31, 23, 0, 0, tzinfo=UTC)),
    ],
)
def test_a_date_time_is_read_as_its_instant(text: bytes, instant: datetime) -> None:
    assert Cursor(text).date_time() == instant


@given(
    instant=st.datetimes(datetime(1900, 1, 1), datetime(9000, 1, 1)),  # noqa: DTZ001 - gets its zone below
    minutes=st.integers(-23 * 60, 23 * 60),
)
def test_reading_undoes_writing(instant: datetime, minutes: int) -> None:
    aware = instant.replace(microsecond=0, tzinfo=timezone(timedelta(minutes=minutes)))
    assert Cursor(encode_date_time(aware)).date_time() == aware


@pytest.mark.parametrize(
    "text",
    [
        b'"31-Feb-1996 02:44:25 -0700"',
        b'"17-Foo-1996 02:44:25 -0700"',
        b'"17-Jul-1996 24:44:25 -0700"',
        b'"17-Jul-1996 02:44:60 +0000"',
        b'"17-Jul-1996 02:44:25 +9900"',
        b'"01-Jan-0001 00:00:00 +0100"',
        b'"31-Dec-9999 23:00:00 -0300"',
        b'"17-Jul-0000 02:44:25 +0000"',
        b'"7-Jul-1996 02:44:25 +0000"',
        b'"  -Jul-1996 02:44:25 +0000"',
        b'"17-Jul-1996"',
        b"17-Jul-1996 02:44:25 +0000",
    ],
)
def test_a_date_time_that_is_none_is_refused(text: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        Cursor(text).date_time()


@pytest.mark.parametrize("text", [b"1-Feb-1994", b'"1-Feb-1994"', b"01-feb-1994"])
def test_a_date_may_be_quoted(text: bytes) -> None:
    assert Cursor(text).date() == date(1994, 2, 1)


@pytest.mark.parametrize("text", [b"32-Jan-1994", b"1-Feb-94", b'"1-Feb-1994', b"1 Feb 1994", b"0-Feb-1994"])
def test_a_date_that_is_none_is_refused(text: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        Cursor(text).date()
