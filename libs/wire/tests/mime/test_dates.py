"""Dates as people's software writes them (RFC 5322 s3.3, s4.3)."""

from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom_wire.mime.dates import format_date, parse_date

DATES: Final[dict[bytes, datetime | None]] = {
    b"Fri, 21 Nov 1997 09:55:06 -0600": datetime(1997, 11, 21, 15, 55, 6, tzinfo=UTC),
    b"Tue, 1 Jul 2003 10:52:37 +0200": datetime(2003, 7, 1, 8, 52, 37, tzinfo=UTC),
    b"Thu, 13 Feb 1969 23:32 -0330 (Newfoundland Time)": datetime(1969, 2, 14, 3, 2, tzinfo=UTC),
    b"21 Nov 97 09:55:06 GMT": datetime(1997, 11, 21, 9, 55, 6, tzinfo=UTC),
    b"Fri, 21 Nov 1997 09(comment):   55  :  06 -0600": datetime(1997, 11, 21, 15, 55, 6, tzinfo=UTC),
    b"21 Nov 49 00:00 EST": datetime(2049, 11, 21, 5, 0, tzinfo=UTC),
    b"21 Nov 103 00:00 PDT": datetime(2003, 11, 21, 7, 0, tzinfo=UTC),
    b"Mon, 1 Jan 2024 00:00:00 Z": datetime(2024, 1, 1, tzinfo=UTC),
    b"Mon, 1 January 2024 00:00:00": datetime(2024, 1, 1, tzinfo=UTC),
    b"1-Jan-2024 00:00:00 +05:30": datetime(2023, 12, 31, 18, 30, tzinfo=UTC),
    b"31 Dec 2016 23:59:60 +0000": datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC),
    b"Mon,1 Jan 2024 00:00:00 +0000": datetime(2024, 1, 1, tzinfo=UTC),
    b"31 Feb 2024 00:00:00 +0000": None,
    b"1 Foo 2024 00:00:00 +0000": None,
    b"1 Jan 2024 24:00:00 +0000": None,
    b"1 Jan 0000 00:00:00 +0000": None,
    b"31 Dec 9999 23:59:59 -0100": None,
    b"1 Jan 0001 00:00:00 +0100": None,
    b"yesterday": None,
    b"": None,
}


@pytest.mark.parametrize("value", DATES)
def test_a_date_is_read(value: bytes) -> None:
    assert parse_date(value) == DATES[value]


INSTANTS: Final = st.datetimes(
    min_value=datetime(1970, 1, 2),  # noqa: DTZ001 - hypothesis adds the zone
    max_value=datetime(2100, 1, 1),  # noqa: DTZ001
    timezones=st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))),
).map(lambda instant: instant.replace(microsecond=0))


@given(INSTANTS)
def test_a_date_that_we_wrote_is_read_again(instant: datetime) -> None:
    written = format_date(instant)
    assert parse_date(written.encode()) == instant
    assert written == format_datetime(instant)
